"""Says what this machine lacks before anything is installed. Standard library only: nothing else is there yet."""

import os
import platform
import shutil
import sys
import sysconfig
from pathlib import Path

TRIED = (3, 11)
PYTHONS = (11, 12, 13)  # Python 3.x of which envs/locked/ knows the files
NEEDED_GIGABYTES = 9  # torch with its CUDA libraries is 6 of them


def problems(hashes: bool) -> list[str]:
    """One line for each thing that is missing, with what to do; `hashes`: whether files are checked by their hashes."""
    found = []
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < TRIED:
        found.append(f"Python is {version}, expected 3.11 or newer: make PYTHON=/path/to/python3.11")
    elif hashes and not _are_locked():
        found.append(
            f"hashes are known for Python 3.{PYTHONS[0]} to 3.{PYTHONS[-1]} on Linux x86-64 with glibc, this is Python "
            f"{version} on {platform.system()} {platform.machine()}: make HASHES=no installs the same versions "
            "without looking at what their files hold"
        )
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


def _are_locked() -> bool:
    place = (platform.system(), platform.machine(), platform.libc_ver()[0], platform.python_implementation())
    return place == ("Linux", "x86_64", "glibc", "CPython") and sys.version_info[1] in PYTHONS


if __name__ == "__main__":
    lines = problems(hashes="HASHES=no" not in sys.argv)
    if sys.version_info[:2] != TRIED:
        print(f"note: tagmask was tried with Python 3.11, this is {sys.version.split()[0]}")
    if lines:
        sys.exit("this machine cannot install tagmask yet:\n" + "\n".join(f"  - {line}" for line in lines))
