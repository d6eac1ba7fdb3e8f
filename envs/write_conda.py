"""Writes envs/tagmask.yaml, the conda form of constraints.txt, which Snakemake copies: it may point at no other file.

python envs/write_conda.py          write it
python envs/write_conda.py --check  say whether it is what would be written
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "envs" / "tagmask.yaml"
HEAD = """\
# The same software for conda or mamba, written from constraints.txt by envs/write_conda.py (make format):
#   conda env create -f envs/tagmask.yaml
#   snakemake -c4 --software-deployment-method conda
name: tagmask
channels: [conda-forge]
dependencies:
  - python=3.11
  - pip
  - cxx-compiler
  - pip:
"""


def conda_environment() -> str:
    """The text of the file."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return HEAD + "".join(f"      - {pin}\n" for pin in pins)


if __name__ == "__main__":
    if "--check" not in sys.argv:
        TARGET.write_text(conda_environment(), encoding="utf-8")
    elif TARGET.read_text(encoding="utf-8") != conda_environment():
        sys.exit(f"{TARGET} is not what constraints.txt says; run `make format`")
