"""Damages inputs of every reader and counts what comes of it: `make fuzz`, or `python -m tests.fuzz.run --help`.

Each reader has a process of its own. Right are a result, and one error of the documented classes that names the file.
Anything else is printed with the seed and number of the trial, which make it again.
"""

import argparse
import collections
import json
import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from stages.core.workflow.step import EXPECTED_ERRORS, peak_megabytes
from tests.fuzz.readers import READERS, damaged, other_json

ROOT = Path(__file__).parents[2]
SECONDS = 10.0  # that a trial may take
MEMORY = 2 << 30


def trials_of(name, *, seed, trials, seconds):
    """Counts of outcomes, the slowest trial in seconds, and what was wrong; ends after so many trials or seconds."""
    logging.disable(logging.CRITICAL)
    counts, wrong, slowest = collections.Counter(), [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        reader = READERS[name](Path(folder))
        reader.read()  # what is right is read
        whole, until = reader.file.read_bytes(), time.monotonic() + seconds
        for number in range(trials):
            if number and time.monotonic() > until:
                break
            draw = np.random.default_rng([seed, number])
            print(number, file=sys.stderr, flush=True)
            if reader.file.suffix == ".json" and draw.random() < 0.6:
                data = json.dumps(other_json(json.loads(whole), draw)).encode()
            else:
                data = damaged(whole, draw)
            reader.file.write_bytes(data)
            start = time.perf_counter()
            try:
                reader.read()
                counts["read"] += 1
            except EXPECTED_ERRORS as error:
                counts["refused"] += 1
                if not any(word in str(error) for word in (str(reader.file), reader.file.name, *reader.named)):
                    wrong.append(f"seed {seed}, trial {number}: the message names no file: {error}"[:300])
            except Exception as error:  # what is looked for
                counts["wrong"] += 1
                wrong.append(f"seed {seed}, trial {number}: {type(error).__name__}: {error}"[:300])
            taken = time.perf_counter() - start
            slowest = max(slowest, taken)
            if taken > SECONDS:
                wrong.append(f"seed {seed}, trial {number}: took {taken:.1f} s")
    memory = int(peak_megabytes() * (1 << 20))
    if memory > MEMORY:
        wrong.append(f"took {memory >> 20} MB")
    return {"reader": name, **counts, "slowest": round(slowest, 2), "MB": memory >> 20, "wrong things": wrong}


def in_a_process(name, *, seed, trials, seconds):
    """The same, by a process of its own, whose death is a wrong thing, too."""
    command = [sys.executable, "-m", "tests.fuzz.run", "--one", name, "--seed", str(seed), "--trials", str(trials)]
    done = subprocess.run([*command, "--seconds", str(seconds)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    last = done.stderr.strip().splitlines()[-3:]
    return {"reader": name, "wrong things": [f"seed {seed}: ended with {done.returncode} after {last}"]}


def main():
    parser = argparse.ArgumentParser(description="Damages inputs of every reader.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=1_000_000, help="of each reader at most")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each reader at most")
    parser.add_argument("--one", choices=READERS, nargs="+", help="these readers alone, in this process")
    given = parser.parse_args()
    limits = {"seed": given.seed, "trials": given.trials, "seconds": given.seconds}
    if given.one:
        for name in given.one:
            print(json.dumps(trials_of(name, **limits)), flush=True)
        return
    print("| reader | read | refused | wrong | slowest (s) | MB |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    wrong = []
    for name in READERS:
        found = in_a_process(name, **limits)
        cells = [name, *(found.get(key, 0) for key in ("read", "refused", "wrong", "slowest", "MB"))]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        wrong += [f"{name}: {text}" for text in found["wrong things"]]
    print("\n".join(wrong), file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
