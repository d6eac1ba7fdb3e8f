"""What the lists of pinned packages hold, and what a package says about its licence."""

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# Environment: the list of its exact versions.
LISTS = {"tagmask": "constraints.txt", "docs": "envs/docs.txt", "importers": "envs/importers.txt"}

# Classifiers and words of authors, as SPDX names them.
SPDX = {
    "AGPL-3.0": "AGPL-3.0-only",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache-2": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "Apache Software License v2": "Apache-2.0",
    "BSD 2-Clause License": "BSD-2-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "BSD License": "LicenseRef-BSD",
    "FreeBSD": "BSD-2-Clause",
    "GNU Lesser General Public License v2 or later (LGPLv2+)": "LGPL-2.1-or-later",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "LGPL-2.1": "LGPL-2.1-only",
    "LGPL-2.1+": "LGPL-2.1-or-later",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
    "PSFL": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# SPDX's names, which authors write as they are.
NAMES = {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "LGPL-2.1-or-later", "MIT", "MPL-2.0", "PSF-2.0"}
# Metadata say nothing, or not which of several; this is what the licence file in the package says.
READ = {
    "axe-playwright-python": "MIT AND MPL-2.0",  # axe.min.js, axe-core, is MPL-2.0
    "conda-inject": "MIT",
    "cuda-toolkit": "LicenseRef-NVIDIA-Proprietary",  # an empty package that asks for NVIDIA's others
    "cycler": "BSD-3-Clause",
    "datumaro": "MIT",
    "docutils": "LicenseRef-Public-Domain AND BSD-2-Clause AND GPL-3.0-or-later",  # GPL: an Emacs mode, not installed
    "furo": "MIT",
    "gitdb": "BSD-3-Clause",
    "jinja2": "BSD-3-Clause",
    "json-stream": "MIT",
    "json-stream-rs-tokenizer": "MIT",
    "kiwisolver": "BSD-3-Clause",
    "label-studio-sdk": "Apache-2.0",
    "matplotlib": "LicenseRef-Matplotlib",  # PSF's with matplotlib's name
    "mpmath": "BSD-3-Clause",
    "numba": "BSD-2-Clause",
    "packaging": "Apache-2.0 OR BSD-2-Clause",
    "pycryptodomex": "BSD-2-Clause AND LicenseRef-Public-Domain",
    "python-dateutil": "BSD-3-Clause",
    "quickjs-ng": "MIT",
    "scikit-image": "BSD-3-Clause",
    "scipy": "BSD-3-Clause",
    "snakemake-interface-common": "MIT",
    "snakemake-interface-logger-plugins": "MIT",
    "snakemake-interface-report-plugins": "MIT",
    "snakemake-interface-scheduler-plugins": "MIT",
    "snakemake-interface-storage-plugins": "MIT",
    "sympy": "BSD-3-Clause",
    "torchvision": "BSD-3-Clause",
}
PERMISSIVE = {
    *("0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0"),
    *("CNRI-Python", "ISC", "LicenseRef-BSD", "LicenseRef-Matplotlib", "LicenseRef-Public-Domain", "MIT", "MIT-0"),
    *("MIT-CMU", "PSF-2.0", "TCL", "Zlib"),
}
WEAK_COPYLEFT = {"MPL-2.0"}  # of single files, which are used as they come
# torch's own build for NVIDIA's GPUs asks for CUDA's libraries; docutils' GPL file is not installed.
OF_ONE = {"GPL-3.0-or-later": {"docutils"}}
ALLOWED = {
    "tagmask": PERMISSIVE | WEAK_COPYLEFT | {"LicenseRef-NVIDIA-Proprietary"},
    "docs": PERMISSIVE | WEAK_COPYLEFT,
    # Readers that a test starts as programs of their own; nothing of them is imported by tagmask or passed on.
    "importers": PERMISSIVE | WEAK_COPYLEFT | {"LGPL-2.1-only", "LGPL-2.1-or-later", "AGPL-3.0-only"},
}


def normal(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(path: Path) -> dict[str, str]:
    """Version of each package of a list of `name==version`. Raises ValueError for a line that is no such pin."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        pin = line.partition("#")[0].removesuffix("\\").strip()
        if not pin or pin.startswith("--"):
            continue
        name, equal, version = pin.partition("==")
        if not equal or not version or " " in version:
            raise ValueError(f"{path}: {line!r} is no pin; expected name==version")
        found[normal(name)] = version
    return found


def direct() -> set[str]:
    """Packages that requirements.txt names."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return {normal(re.split(r"[<>=!~ ]", line)[0]) for line in lines if line and not line.startswith("#")}


def licence_of(metadata: dict[str, Any]) -> str | None:
    """SPDX's expression for a package's licence, from the metadata that it comes with; None where it is not known.

    Args:
        metadata: as `importlib.metadata` and `pip install --report` give it as JSON.
    """
    said = (metadata.get("license") or "").strip()
    if expression := metadata.get("license_expression"):
        return SPDX.get(expression, expression)
    if name := READ.get(normal(metadata["name"])):
        return name
    first = said.splitlines()[0].strip() if said else ""
    classified = [c.rpartition(" :: ")[2] for c in metadata.get("classifier", ()) if c.startswith("License ::")]
    known = [SPDX[one] for one in classified if one in SPDX]
    for words in (said, first):
        if words in NAMES or re.fullmatch(r"[\w.-]+( AND [\w.-]+)+", words):
            return words
        if words in SPDX and SPDX[words] != "LicenseRef-BSD":
            return SPDX[words]
    return known[0] if len(known) == len(classified) == 1 else None


def parts_of(expression: str) -> list[list[str]]:
    """Licences of an expression without brackets within brackets: each of the outer list holds, by one of the inner."""
    found, depth, start = [], 0, 0
    for place in range(len(expression) + 1):
        rest = expression[place:]
        depth += rest.startswith("(") - rest.startswith(")")
        if not rest or (depth == 0 and rest.startswith(" AND ")):
            found.append(expression[start:place].removeprefix(" AND ").strip("() ").split(" OR "))
            start = place
    return found


def refused(environment: str, name: str, expression: str) -> list[str]:
    """Parts of a licence that are not allowed for a package of an environment."""
    allowed = ALLOWED[environment] | {licence for licence, names in OF_ONE.items() if normal(name) in names}
    return [" OR ".join(choice) for choice in parts_of(expression) if not allowed & set(choice)]
