"""Writes envs/locked/: the pinned versions with the sha256 of each file that pip may choose.

python -m envs.write_locked --uv uv  ask the index, with this uv, and write
python -m envs.write_locked          say whether names and versions are those of the lists

Files are those for PYTHONS on Linux x86-64 with glibc. What comes as source alone stands in a list of its own, which is
installed last and without build isolation: pip would fetch what the build needs without looking at a hash.
"""

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging import tags, utils

from envs.check_machine import PYTHONS
from envs.packages import LISTS, ROOT, normal, pins

LOCKED = ROOT / "envs" / "locked"
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(5, 60)]
PLATFORMS += [f"{name}_x86_64" for name in ("manylinux1", "manylinux2010", "manylinux2014", "linux")]
HEAD = """\
# {source} with the sha256 of each file that pip may choose on Linux x86-64 with Python {first} to {last}{what}.
# Written by envs/write_locked.py.
"""


def tags_of(minor: int) -> frozenset[tags.Tag]:
    """Tags of the wheels that CPython 3.`minor` takes on Linux x86-64."""
    own = tags.cpython_tags((3, minor), abis=[f"cp3{minor}"], platforms=PLATFORMS)
    return frozenset([*own, *tags.compatible_tags((3, minor), interpreter=f"cp3{minor}", platforms=PLATFORMS)])


def chosen(package: dict[str, Any], wanted: dict[int, frozenset[tags.Tag]]) -> tuple[list[str], bool]:
    """Hashes of the files of a package that pip may choose, and whether they are wheels.

    Args:
        package: as PEP 751 has it, with `wheels` and `sdist`.
        wanted: tags of the wheels that each Python takes, by its minor version.

    Raises:
        ValueError: where some of the Pythons find a wheel and others do not, or there is no file at all.
    """
    wheels = {
        wheel["hashes"]["sha256"]: utils.parse_wheel_filename(Path(wheel["url"]).name)[3]
        for wheel in package.get("wheels", ())
    }
    fitting = {minor: {digest for digest, found in wheels.items() if found & mine} for minor, mine in wanted.items()}
    lacking = [f"3.{minor}" for minor, found in fitting.items() if not found]
    if not lacking:
        return sorted(set().union(*fitting.values())), True
    if len(lacking) < len(fitting) or "sdist" not in package:
        raise ValueError(f"{package['name']} {package['version']} has no wheel for Python {', '.join(lacking)}")
    return [package["sdist"]["hashes"]["sha256"]], False


def asked(uv: str, source: Path) -> list[dict[str, Any]]:
    """The packages of a list with all their files, as uv writes them (PEP 751)."""
    command = [uv, "pip", "compile", "--quiet", "--no-deps", "--universal", "--no-header", "--format", "pylock.toml"]
    command += ["--python-version", "3.11.5", str(source)]  # what the newest of the pages' packages asks for
    return tomllib.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["packages"]


def write(environment: str, uv: str) -> None:
    """Write the locked lists of an environment."""
    source = LISTS[environment]
    wanted = {minor: tags_of(minor) for minor in PYTHONS}
    wheels, sources = "", ""
    for package in asked(uv, ROOT / source):
        hashes, is_wheel = chosen(package, wanted)
        lines = "".join(f" \\\n    --hash=sha256:{digest}" for digest in hashes)
        entry = f"{normal(package['name'])}=={package['version']}{lines}\n"
        wheels, sources = (wheels + entry, sources) if is_wheel else (wheels, sources + entry)
    about = {"source": source, "first": f"3.{PYTHONS[0]}", "last": f"3.{PYTHONS[-1]}"}
    LOCKED.mkdir(exist_ok=True)
    head = HEAD.format(what="", **about) + "--only-binary :all:\n"
    (LOCKED / f"{environment}.txt").write_text(head + wheels, encoding="utf-8")
    if sources:
        head = HEAD.format(what=" (no wheels)", **about)
        (LOCKED / f"{environment}_sources.txt").write_text(head + sources, encoding="utf-8")


def problems(environment: str) -> list[str]:
    """How the locked lists of an environment differ from its list of versions."""
    source = LISTS[environment]
    paths = [LOCKED / f"{environment}.txt", LOCKED / f"{environment}_sources.txt"]
    locked = {name: version for path in paths if path.is_file() for name, version in pins(path).items()}
    listed = pins(ROOT / source)
    names = sorted(name for name in listed.keys() | locked.keys() if listed.get(name) != locked.get(name))
    return [
        f"{name}: {source} has {listed.get(name, 'nothing')}, envs/locked has {locked.get(name, 'nothing')}; "
        "run `python -m envs.write_locked --uv uv`"
        for name in names
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--uv", help="uv's command; the index is asked with it")
    uv = parser.parse_args().uv
    if uv:
        for environment in LISTS:
            write(environment, uv)
    sys.exit("\n".join(line for environment in LISTS for line in problems(environment)) or 0)
