"""Kills a driver with all of its jobs again and again at seeded random moments, and compares what comes out at last.

    .venv/bin/python -m benchmarks.kill_graph /tmp/killed --kills 50 --seed 1 \\
        --configfile tests/pipeline/toy.yaml tests/pipeline/toy_label_penet.yaml tests/pipeline/toy_all.yaml

The graph runs undisturbed in FOLDER/whole. In FOLDER/killed it is started `--kills` times and gets SIGKILL, the driver
and what it has started, after a time drawn from `--between`; each start is the same command, nothing is unlocked or
deleted. A run that comes to its end before its signal is compared and begins anew. Then one start runs to its end.

Files must be the same bytes but for those that hold how long something took, and nothing unfinished may be left.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.planned import ROOT
from benchmarks.remake import LEFT_OUT, OF_SNAKEMAKE, WALL_TIMES, digests

OF_A_RUN = {"times.json", "times.svg"}  # hold wall times, too
DRAWN = "gallery"  # pages that draw curves, among others


def main() -> None:
    """Print, as JSON, how many starts were killed, at what, and which files are unlike those of the undisturbed run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--configfile", nargs="+", required=True, type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--between", nargs=2, type=float, default=(3.0, 15.0), help="seconds")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    values = parser.parse_args()
    chance = random.Random(values.seed)
    whole, killed = (values.folder / name for name in ("whole", "killed"))
    for folder in (whole, killed):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    command = [
        sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), f"-c{values.cores}", "--workflow-profile",
        str(ROOT / "profiles" / "default"), "--configfile", *(str(path.resolve()) for path in values.configfile), "--",
        *values.targets,
    ]  # fmt: skip
    began = time.monotonic()
    run(command, whole)
    undisturbed = time.monotonic() - began
    expected = results_of(whole)
    at_work: Counter[str] = Counter()
    differing: set[str] = set()
    ended = 0
    for _ in range(values.kills):
        jobs = killed_after(command, killed, seconds=chance.uniform(*values.between))
        if jobs is None:
            ended += 1
            differing |= unlike(expected, results_of(killed))
            shutil.rmtree(killed)
            killed.mkdir()
            continue
        at_work.update(jobs or ["nothing"])
    run(command, killed)
    differing |= unlike(expected, results_of(killed))
    hidden = (path for path in killed.glob("results/**/.*") if path.name != OF_SNAKEMAKE)
    left = sorted(str(path.relative_to(killed)) for path in hidden)
    said = {
        "seconds undisturbed": round(undisturbed, 1),
        "seconds in all": round(time.monotonic() - began, 1),
        "killed": values.kills - ended,
        "ended before the signal": ended,
        "at work when killed": dict(at_work.most_common()),
        "files": len(expected),
        "differing": sorted(differing),
        "left": left,
    }
    print(json.dumps(said, indent=2))
    sys.exit(bool(differing or left))


def run(command: list[str], folder: Path) -> None:
    """Run to the end; a failure ends this script with what was said."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{folder}: exit {done.returncode}\n{done.stdout}{done.stderr}")


def killed_after(command: list[str], folder: Path, *, seconds: float) -> list[str] | None:
    """Steps at work when the run was killed after so many seconds; None where it came to its end before.

    A run that fails ends this script with what it said.
    """
    log = folder / "said.txt"
    with (
        log.open("w") as said,
        subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, start_new_session=True) as driver,
    ):
        try:
            status = driver.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            jobs = steps_of(driver.pid)
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
            return jobs
    if status:
        raise SystemExit(f"{folder}: exit {status}\n{log.read_text()}")
    return None


def steps_of(group: int) -> list[str]:
    """Names of the steps that the processes of a group run."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            words = (path.parent / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if int(fields[2]) == group and b"-m" in words:
            module = words[words.index(b"-m") + 1].decode()
            found |= {module.rpartition(".")[2]} if module.startswith("stages.") else set()
    return sorted(found)


def unlike(expected: dict[str, str], found: dict[str, str]) -> set[str]:
    """Files that are not those of the undisturbed run."""
    return {name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)}


def results_of(folder: Path) -> dict[str, str]:
    """Digest of each result, by its path; of those that hold wall times that they are there."""
    found = {Path(name): digest for name, digest in digests(folder / "results").items()}
    wanted = {path: digest for path, digest in found.items() if not (LEFT_OUT & set(path.parts) or path.name[0] == ".")}
    return {str("results" / path): "" if timed(path) else digest for path, digest in wanted.items()}


def timed(path: Path) -> bool:
    """Whether a file may hold wall times: pages show curves."""
    return path.name in OF_A_RUN.union(WALL_TIMES) or DRAWN in path.parts


if __name__ == "__main__":
    main()
