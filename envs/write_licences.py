"""Writes docs/licences.md: every package that is installed, and its licence.

python -m envs.write_licences             the packages of .venv; those of the two other environments stay as they are
python -m envs.write_licences --optional  ask the index for what the packages of those say, too
python -m envs.write_licences --check     write nothing; say what is not as it would be written, unknown or not allowed
"""

import importlib.metadata
import json
import re
import subprocess
import sys

from envs.packages import LISTS, ROOT, direct, licence_of, normal, pins, refused

ROW = re.compile(r"\| (?P<name>[\w-]+) \| (?P<version>\d[\w.+]*) \| (?P<licence>[^|]+) \|(?: .* \|)?")
PAGE = ROOT / "docs" / "licences.md"
UNKNOWN = "unknown"
HEADINGS = {
    "tagmask": "tagmask: what `make demo` and `make test` install",
    "docs": "The site of the pages: what `make docs` installs",
    "importers": "Readers of the exports: what `make test-importers` installs",
}
HEAD = """\
# Licences of others

Written by `python -m envs.write_licences` from the metadata of the packages, in SPDX's terms. `make check` refuses a
licence that is unknown, or that `envs/packages.py` does not allow. tagmask itself is Apache-2.0 ([NOTICE](../NOTICE));
this repository holds no file of others. What is installed beside it is listed once more, with what needs what, in
[envs/sbom.cdx.json](../envs/sbom.cdx.json).

* `LicenseRef-NVIDIA-Proprietary`: CUDA's libraries, which torch's wheels for Linux ask for, with such a GPU or without.
* `LicenseRef-Matplotlib`: Python's licence with matplotlib's name in it. `LicenseRef-BSD`: "BSD", without saying which
  one. `LicenseRef-Public-Domain`: no rights are claimed.
* MPL-2.0 is copyleft of single files, which are used as they come. The readers of the exports are started by one test
  as programs of their own: AGPL and LGPL stand among them, and nowhere else.
* Wheels carry libraries of others, whose licences lie in them: OpenBLAS and libgfortran (GPL-3.0 with the exception for
  its runtime) in NumPy and SciPy, FFmpeg (LGPL-2.1) in OpenCV, HDF5 in h5py, Node.js in Playwright, axe-core (MPL-2.0)
  in axe-playwright-python, Mermaid (MIT) in mermaidx. Of furo, style sheet and scripts (MIT) go into the site.
"""


def installed_licences() -> dict[str, str]:
    """Licence of each pinned package of the environment that runs this. Exits where one is not installed."""
    found = {}
    for name, version in pins(ROOT / LISTS["tagmask"]).items():
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            sys.exit(f"{name} of constraints.txt is not installed; run `make .venv/installed`")
        if distribution.version != version:
            sys.exit(f"{name} {distribution.version} is installed, constraints.txt has {version}; set .venv up anew")
        found[name] = licence_of(distribution.metadata.json) or UNKNOWN
    return found


def asked_licences(environment: str) -> dict[str, str]:
    """Licence of each package of another environment, by the metadata that pip gets from the index."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-deps"]
    command += ["--report", "-", "-r", str(ROOT / LISTS[environment])]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    packages = [package["metadata"] for package in report["install"]]
    return {normal(metadata["name"]): licence_of(metadata) or UNKNOWN for metadata in packages}


def written_licences(text: str) -> dict[str, dict[str, tuple[str, str]]]:
    """Version and licence of each package of each environment, as the page has them."""
    found: dict[str, dict[str, tuple[str, str]]] = {environment: {} for environment in LISTS}
    environment = ""
    for line in text.splitlines():
        environment = next((key for key, words in HEADINGS.items() if line == f"## {words}"), environment)
        if row := ROW.fullmatch(line):
            found[environment][row["name"]] = (row["version"], row["licence"])
    return found


def page(licences: dict[str, dict[str, str]]) -> str:
    """The text of the page."""
    text, wanted = HEAD, direct()
    for environment, words in HEADINGS.items():
        versions = pins(ROOT / LISTS[environment])
        own = environment == "tagmask"
        rows = [
            f"| {name} | {versions[name]} | {licences[environment].get(name, UNKNOWN)} |"
            + (f" {'yes' if name in wanted else ''} |" if own else "")
            for name in sorted(versions)
        ]
        head = "| package | version | licence |" + (" used directly |" if own else "")
        text += "\n".join(["", f"## {words}", "", head, "| --- | --- | --- |" + (" --- |" if own else ""), *rows, ""])
    return text


def problems(text: str, written: str) -> list[str]:
    """What of a page is not as it would be written, unknown or not allowed."""
    found = [] if text == written else [f"{PAGE.name} is not what the packages say; run `make format`"]
    for environment, packages in written_licences(written).items():
        versions = {name: version for name, (version, _) in packages.items()}
        if versions != pins(ROOT / LISTS[environment]):
            found.append(f"{PAGE.name} has other packages than {LISTS[environment]}; write it with --optional")
        found += [
            f"{name} ({environment}): {part!r} is no licence that envs/packages.py allows"
            for name, (_, licence) in packages.items()
            for part in refused(environment, name, licence)
        ]
    return found


def main(words: list[str]) -> list[str]:
    """Write or check; problems of what is there at the end."""
    written = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    licences = {"tagmask": installed_licences()}
    for environment in LISTS.keys() - licences.keys():
        old = {name: licence for name, (_, licence) in written_licences(written)[environment].items()}
        licences[environment] = asked_licences(environment) if "--optional" in words else old
    text = page(licences)
    if "--check" not in words:
        PAGE.write_text(text, encoding="utf-8")
        written = text
    return problems(text, written)


if __name__ == "__main__":
    sys.exit("\n".join(main(sys.argv[1:])) or 0)
