"""Ends a training again and again at seeded random moments, and compares what it gives with an undisturbed one.

    .venv/bin/snakemake -c2 --configfile tests/pipeline/toy.yaml
    .venv/bin/python -m benchmarks.kills results/toy/cim/network/weights.safetensors \\
        --configfile tests/pipeline/toy.yaml

The shell line is that of the rule. First it runs undisturbed. Then, without outputs and checkpoints, it is started and
gets a signal, SIGKILL or SIGTERM to its process group, `--ends` times each, and at last runs to its end. A start that
comes to its end before its signal is compared and begins anew. Last, the outputs get lost, as where Snakemake removes
those of a failed job, and are made again.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.planned import environment, planned_jobs


def main() -> None:
    """Print, as JSON, how often a training was ended and whether it gave the same files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="output of the training's rule, made before")
    parser.add_argument("--configfile", nargs="+", required=True)
    parser.add_argument("--ends", type=int, default=10, help="of each signal")
    parser.add_argument("--seed", type=int, default=0)
    values = parser.parse_args()
    line, folder = shell_line(values.weights, values.configfile), values.weights.parent
    shutil.rmtree(folder, ignore_errors=True)
    began = time.perf_counter()
    run(line)
    whole, lasted = files_of(folder), time.perf_counter() - began
    shutil.rmtree(folder)
    chance = random.Random(values.seed)
    numbers = [signal.SIGKILL, signal.SIGTERM] * values.ends
    chance.shuffle(numbers)
    ends: dict[str, int] = {}
    differing: set[str] = set()
    for number in numbers:
        status = ended(line, number, after=chance.uniform(0.2, 0.6) * lasted)
        name = f"{number.name}: exit {status}" if status else "ended before its signal"
        ends[name] = ends.get(name, 0) + 1
        if not status:
            differing |= unlike(whole, files_of(folder))
            shutil.rmtree(folder)
    run(line)
    found = files_of(folder)
    differing |= unlike(whole, found)
    for path in folder.glob("[!.]*.*"):
        path.unlink()
    run(line)
    again = files_of(folder) == found
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob(".*"))
    said = {
        "seconds": round(lasted, 1),
        "ends": ends,
        "differing": sorted(differing),
        "left": left,
        "made again equal": again,
    }
    print(json.dumps(said, indent=2))
    sys.exit(bool(differing - {"curves.json", "curves.png"} or left or not again))


def unlike(whole: dict[str, str], found: dict[str, str]) -> set[str]:
    """Names of the outputs that are not those of the undisturbed training."""
    return {name for name in whole if found.get(name) != whole[name]}


def shell_line(weights: Path, configfiles: list[str]) -> str:
    """What the rule would run."""
    return next(job.line for job in planned_jobs([str(weights)], configfiles) if weights in job.outputs)


def run(line: str) -> None:
    """Run to the end."""
    subprocess.run(["bash", "-c", line], check=True, env=environment(), capture_output=True)


def ended(line: str, number: signal.Signals, *, after: float) -> int:
    """Run, signal after so many seconds, and give the exit status (negative: the signal that it died of)."""
    with subprocess.Popen(
        ["bash", "-c", f"exec {line}"], env=environment(), start_new_session=True, stderr=subprocess.DEVNULL
    ) as process:
        try:
            return process.wait(timeout=after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, number)
            return process.wait(timeout=60)


def files_of(folder: Path) -> dict[str, str]:
    """Digest of each output."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("[!.]*.*")}


if __name__ == "__main__":
    main()
