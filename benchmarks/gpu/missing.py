"""Print which packages of a list are not installed; needs none of them.

python benchmarks/gpu/missing.py benchmarks/gpu/packages.txt
"""

import importlib.metadata
import sys
from pathlib import Path

REQUIRED = ("torch", "torchvision", "timm")  # too large to bring along


def main() -> None:
    """One name a line. Exits with a sentence where torch, torchvision or timm is missing."""
    listed = [line.partition("#")[0].strip() for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    for name in REQUIRED:
        if not is_there(name):
            sys.exit(f"{sys.executable} has no {name}; install it with the build for your GPU")
    print("\n".join(name for name in listed if name and not is_there(name)), end="")


def is_there(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
