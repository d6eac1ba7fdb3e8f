"""All that wants a GPU to be measured, in ten minutes; see `benchmarks/gpu.sh`.

    python -m benchmarks.gpu --output gpu.json --table benchmarks/gpu.md

Each part is a process of its own with a time limit, and each number is written as soon as it is known, so that what
ends early keeps what it has. Exits with 1 where a part failed or missed a limit; parts that were out of time or skipped
say so in the results.
"""

import argparse
import contextlib
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import animals, limits, many_proposals, suite, training
from benchmarks.gpu.results import Part, Results, table
from benchmarks.gpu.trainers import ROOT, TRAINERS
from stages.core.artifacts.files import write_text

# Seconds of each part, in the order in which they run: 10 minutes less what starting takes.
LIMITS = {"tests": 50, "limits": 45, "proposals": 30, "trainers": 145, "animals": 310}
BAD = ("failed", "missed")


def main() -> None:
    """Run the parts, and write results and table."""
    arguments = _arguments()
    results = Results(arguments.output)
    try:
        sizes = "tiny networks and images, whatever a row says (--quick)" if arguments.quick else "of the presets"
        cores = len(os.sched_getaffinity(0))
        results.start(commit=commit(), machine=platform.machine(), cores=cores, sizes=sizes)
        if arguments.table is not None:
            write_text(arguments.table, table(results.read()))
    except OSError as error:
        sys.exit(f"the results cannot be written: {error}; give --output and --table where files can be made")
    answer = _in_a_process(lambda: describe(results, arguments.device), seconds=120)
    if answer != 0:
        sys.exit(1)
    states = {}
    for name in arguments.parts:
        print(f"{name}: {arguments.limits[name]} s at most", flush=True)
        states[name] = run_part(name, results, arguments)
        if arguments.table is not None:
            write_text(arguments.table, table(results.read()))
        print(f"{name}: {states[name]}", flush=True)
    if any(state in BAD for state in states.values()):
        sys.exit(f"{arguments.output} says what failed or missed its limit")


def run_part(name: str, results: Results, arguments: argparse.Namespace) -> str:
    """Run a part in a process of its own, and give its state: done, missed, failed, skipped or out of time."""
    seconds = arguments.limits[name]
    why = animals.why_not() if name == "animals" else None
    if why is not None:
        results.set(name, state="skipped", why=why, seconds=0)
        return "skipped"
    start = time.monotonic()
    part, device = Part(results, name), torch.device(arguments.device)
    quick = arguments.quick
    jobs: dict[str, Callable[[], None]] = {
        "tests": lambda: suite.run(part),
        "limits": lambda: limits.run(part, device=device, quick=quick),
        "proposals": lambda: many_proposals.run(part, device=device, quick=quick),
        "trainers": lambda: training.run(part, device=device, quick=quick, trainers=arguments.trainers),
        "animals": lambda: animals.run(part, device=device, quick=quick, until=start + seconds - 5),
    }
    results.set(name)
    status = _in_a_process(lambda: _noting(results, name, jobs[name]), seconds=seconds)
    found = part.found()
    missed = [str(one["what"]) for one in found if one.get("held") is False]
    if status is None:
        state, values = "out of time", {"why": f"ended after {seconds} s; what was measured by then is kept"}
    elif status != 0:
        state, values = "failed", {}
        if not results.read()["parts"][name].get("why"):
            values = {"why": f"the process ended with status {status}"}
    elif missed:
        state, values = "missed", {"why": "; ".join(missed)}
    elif found and all(one.get("outcome") == "skipped" for one in found):
        state, values = "skipped", {"why": "each test needs a CUDA device"}
    else:
        state, values = "done", {}
    results.set(name, state=state, seconds=round(time.monotonic() - start, 1), **values)
    return state


def describe(results: Results, device: str) -> None:
    """Say what the numbers are of. Exits where the device is not there."""
    about: dict[str, Any] = {"torch": torch.__version__, "device": platform.processor() or platform.machine()}
    if device == "cuda":
        if not torch.cuda.is_available():
            print(
                f"torch {torch.__version__} sees no CUDA device; look at nvidia-smi and at the build of torch, or give"
                " --device cpu --quick to see the script run",
                file=sys.stderr,
            )
            sys.exit(1)
        properties = torch.cuda.get_device_properties(0)
        about |= {
            "device": properties.name, "device_GB": round(properties.total_memory / 1e9, 1), "driver": driver(),
            "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
            "tf32": f"convolutions {torch.backends.cudnn.allow_tf32}, products {torch.backends.cuda.matmul.allow_tf32}",
        }  # fmt: skip
    results.describe(**about)


def driver() -> str:
    """Version of NVIDIA's driver."""
    words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=20).stdout.split("\n")[0]
    return "unknown, as nvidia-smi does not say"


def commit() -> str:
    """Of the code, and whether files differ from it."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"], check=True, capture_output=True,
            text=True, cwd=ROOT,
        )  # fmt: skip
        return found.stdout.strip()
    return "unknown, as this is no git repository"


def _noting(results: Results, name: str, job: Callable[[], None]) -> None:
    try:
        job()
    except Exception as error:
        traceback.print_exc()
        results.set(name, why=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        sys.exit(1)


def _in_a_process(job: Callable[[], None], *, seconds: float) -> int | None:
    """Exit status of a process forked for the job, with all that it starts; None where it was ended for its time.

    It has the libraries that this process has imported. CUDA is not touched here, as a fork of it cannot be used.
    """

    def group() -> None:
        os.setsid()
        job()

    process = multiprocessing.get_context("fork").Process(target=group)
    process.start()
    process.join(seconds)
    ended = process.exitcode is None
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)  # the job, or what it has left behind
    process.join()
    return None if ended else process.exitcode


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="All that wants a GPU to be measured, in ten minutes.")
    parser.add_argument("--output", type=Path, default=Path("gpu.json"), help="JSON of the results")
    parser.add_argument("--table", type=Path, help="Markdown of the results; benchmarks.gpu.results writes it later")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see the script run")
    parser.add_argument("--parts", nargs="+", default=list(LIMITS), metavar="PART", help=f"of {', '.join(LIMITS)}")
    parser.add_argument(
        "--trainers", nargs="+", default=list(TRAINERS), metavar="TRAINER", help=f"of {', '.join(TRAINERS)}"
    )
    parser.add_argument(
        "--limit", nargs="+", default=[], metavar="PART=SECONDS", help=f"other than {_spelled(LIMITS)}"
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.device == "cpu" and not arguments.quick:
        sys.exit("--device cpu needs --quick: at the papers' sizes an update takes minutes on a CPU")
    for word, given, known in (
        ("part", arguments.parts, list(LIMITS)),
        ("trainer", arguments.trainers, list(TRAINERS)),
    ):
        unknown = [name for name in given if name not in known]
        if unknown:
            sys.exit(f"there is no {word} {unknown[0]!r}; there are {', '.join(known)}")
    arguments.limits = LIMITS | dict(_limit(text) for text in arguments.limit)
    return arguments


def _limit(text: str) -> tuple[str, int]:
    name, _, seconds = text.partition("=")
    if name not in LIMITS or not seconds.isdecimal() or not int(seconds):
        sys.exit(f"--limit {text!r}: expected PART=SECONDS with a part of {', '.join(LIMITS)}, such as tests=60")
    return name, int(seconds)


def _spelled(limits: dict[str, int]) -> str:
    return " ".join(f"{name}={seconds}" for name, seconds in limits.items())


if __name__ == "__main__":
    main()
