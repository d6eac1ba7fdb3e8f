"""Says what this machine lacks before anything is installed. Standard library only: nothing else is there yet."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

TRIED = (3, 11)
NEEDED_GIGABYTES = 9  # torch with its CUDA libraries is 6 of them


def problems() -> list[str]:
    """One line for each thing that is missing, with what to do."""
    found = []
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < TRIED:
        found.append(f"Python is {version}, expected 3.11 or newer: make PYTHON=/path/to/python3.11")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if not header.is_file():
        found.append(f"Python's headers are missing ({header}): install python3-dev (Debian, Ubuntu) or python3-devel")
    compiler = os.environ.get("CXX", "c++").split()[0]
    if not any(shutil.which(name) for name in (compiler, "g++", "clang++")):
        found.append("no C++ compiler (pydensecrf2 is built from source): install g++ (Debian: build-essential)")
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    if free < NEEDED_GIGABYTES and not Path(".venv").is_dir():
        found.append(
            f"{free:.1f} GB of disk are free here, expected {NEEDED_GIGABYTES} GB: free some, or clone elsewhere"
        )
    return found


if __name__ == "__main__":
    lines = problems()
    if sys.version_info[:2] != TRIED:
        print(f"note: tagmask was tried with Python 3.11, this is {sys.version.split()[0]}")
    if lines:
        sys.exit("this machine cannot install tagmask yet:\n" + "\n".join(f"  - {line}" for line in lines))
