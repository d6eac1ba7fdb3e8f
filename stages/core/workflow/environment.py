"""The environment of a job's shell line."""

import shlex
import sys
from pathlib import Path


def environment(root: str | Path, *, own_python: bool) -> str:
    """What stands before every shell line, so that it finds the stages of the checkout at `root`.

    With `own_python` it finds this process's Python too, else the one that Snakemake has activated. Quoted for the
    shell, whatever the paths hold, with the braces doubled that Snakemake would read as its own.
    """
    variables = {"PYTHONPATH": shlex.quote(str(root)), "PYTHONUNBUFFERED": "1"}
    if own_python:
        variables["PATH"] = f"{shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    assignments = " ".join(f"{name}={value}" for name, value in variables.items())
    return f"export {assignments}; ".replace("{", "{{").replace("}", "}}")
