"""Makes one job of every rule again, in a folder of its own, and compares its files byte for byte.

    .venv/bin/snakemake -c2 --configfile tests/pipeline/toy.yaml
    .venv/bin/python -m benchmarks.remake --configfile tests/pipeline/toy.yaml

It runs where `results/` lies. Of each rule it takes a job at random (`--seed`), gives it the results that are there,
and runs its shell line with `--threads` threads. Trainings begin at their first update. What may differ is WALL_TIMES:
they hold how long something took. No other rule than those that draw may read them, which is looked at, too.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.planned import Planned, environment, planned_jobs

WALL_TIMES = ("curves.json", "curves.png", "comparison.json", "comparison.md", "comparison.html")
DRAWING = {"compare_runs", "build_gallery", "build_sample_gallery", "build_joint_gallery"}  # rules that may read them
LEFT_OUT = {"checkpoint", "logs", "benchmarks"}  # folders that are no results
OF_SNAKEMAKE = ".snakemake_timestamp"  # in a folder that is an output


def main() -> None:
    """Print, as JSON, which files of which rule came out unlike those that are there; exit 1 where none may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--configfile", nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    values = parser.parse_args()
    jobs = planned_jobs(values.targets, values.configfile)
    readers = {job.rule for job in jobs if job.outputs for path in job.inputs if path.name in WALL_TIMES} - DRAWING
    chance = random.Random(values.seed)
    by_rule: dict[str, list[Planned]] = {}
    for job in jobs:
        if job.outputs and all(path.exists() for path in job.inputs + job.outputs):
            by_rule.setdefault(job.rule, []).append(job)
    found = {}
    unexplained: list[Path] = []
    for rule, ones in by_rule.items():
        began = time.perf_counter()
        unlike = remade(chance.choice(ones), threads=values.threads)
        unexplained += [path for path in unlike if path.name not in WALL_TIMES]
        found[rule] = {"seconds": round(time.perf_counter() - began, 1), "unlike": [str(path) for path in unlike]}
        print(rule, found[rule], file=sys.stderr)
    missing = sorted({job.rule for job in jobs} - by_rule.keys())
    print(json.dumps({"rules": found, "not there": missing, "read wall times": sorted(readers)}, indent=2))
    sys.exit(bool(unexplained or readers))


def remade(job: Planned, *, threads: int) -> list[Path]:
    """The job's files that come out unlike those that are there."""
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        mine = {path for path in job.outputs if not path.is_dir()}
        folders = [path for path in job.outputs if path.is_dir()]
        for path in Path("results").rglob("*"):
            outside = path not in mine and not any(one in path.parents for one in folders)
            if path.is_file() and outside and not LEFT_OUT & set(path.parts):
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).symlink_to(here / path)
        for path in job.outputs:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["bash", "-c", job.line],
            cwd=folder,
            env=environment(OMP_NUM_THREADS=str(threads)),
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{job.rule} failed:\n{done.stdout}{done.stderr}")
        return sorted(path for path in job.outputs if digests(folder / path) != digests(path))


def digests(path: Path) -> dict[str, str]:
    """Digest of a file, or of each in a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    wanted = [one for one in files if one.is_file() and one.name != OF_SNAKEMAKE]
    return {str(one.relative_to(path)): hashlib.sha256(one.read_bytes()).hexdigest() for one in wanted}


if __name__ == "__main__":
    main()
