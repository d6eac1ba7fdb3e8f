"""Jobs of the graph as a dry run lists them, and what runs their shell lines without Snakemake."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Planned:
    """A job: its rule, input and output files as in the results, and its shell line."""

    rule: str
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    line: str


def planned_jobs(targets: list[str], configfiles: list[str], *options: str) -> list[Planned]:
    """What Snakemake would run for some targets, were nothing made; without targets for all that the graph makes."""
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "-p", "-F", *targets]
    command += ["--workflow-profile", "none", *options, "--configfile", *configfiles]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    jobs = []
    for block in re.split(r"\n(?=(?:local)?rule )", said.stdout + said.stderr):
        name = re.match(r"(?:local)?rule (\w+):", block)
        line = re.search(r"^(?:Shell command: |    shell:\n        )(.*)$", block, re.MULTILINE)
        if name and line:
            files = {kind: re.search(rf"^    {kind}: (.*)$", block, re.MULTILINE) for kind in ("input", "output")}
            split = {kind: tuple(map(Path, found[1].split(", "))) if found else () for kind, found in files.items()}
            jobs.append(Planned(name[1], split["input"], split["output"], line[1]))
    return jobs


def environment(**variables: str) -> dict[str, str]:
    """That of a rule: it finds the stages, and this Python."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": path, "OMP_NUM_THREADS": "1", **variables}
