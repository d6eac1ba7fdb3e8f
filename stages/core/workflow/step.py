"""Runs one step: its command line comes from the signature of its function.

A step file has one public function with keyword parameters and ends with `step.run(function)`. `--settings` takes the
JSON of the function's section; paths, numbers and texts are options of the same name. Snakemake is not needed: the
command that it prints can be pasted into a shell.
"""

import argparse
import contextlib
import inspect
import logging
import os
import resource
import sys
import time
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from stages.core.artifacts.records import MissingImage
from stages.core.config.section import Section
from stages.core.workflow.signals import StoppedBySignal

T = TypeVar("T")
log = logging.getLogger("tagmask")
SECONDS_BETWEEN_REPORTS = 10.0
EXPECTED_ERRORS = (ValueError, MissingImage, OSError, FloatingPointError)


def run(function: Callable[..., None], arguments: list[str] | None = None) -> None:
    """Call a step with the command line's arguments; report time and memory; exit with 1 on an error.

    Errors that a user can mend (bad input, bad settings, full disk) are one message without a traceback; any other
    error keeps its traceback. A step that a signal has stopped exits as the shell would say it: 143 for SIGTERM.
    """
    values = vars(_parser(function).parse_args(arguments))
    with _reporting(values.pop("log")):
        start = time.perf_counter()
        try:
            function(**values)
        except StoppedBySignal as stopped:
            log.warning("%s stopped: %s", function.__name__, stopped)
            sys.exit(stopped.status)
        except EXPECTED_ERRORS as error:
            log.error("%s stopped: %s", function.__name__, error)
            sys.exit(1)
        except Exception:
            log.exception("%s failed: this is a bug in tagmask, please report it with this log", function.__name__)
            sys.exit(1)
        taken = clock(time.perf_counter() - start)
        log.info("%s done in %s, peak memory %.0f MB", function.__name__, taken, peak_megabytes())


def progress(items: Iterable[T], *, total: int, label: str) -> Iterator[T]:
    """Iterate and log count, rate and time left every few seconds."""
    start = reported = time.perf_counter()
    for done, item in enumerate(items):
        yield item
        now = time.perf_counter()
        if now - reported > SECONDS_BETWEEN_REPORTS:
            reported = now
            rate = (done + 1) / (now - start)
            left = clock((total - done - 1) / rate)
            log.info("%s %d of %d, %.2f per second, %s left", label, done + 1, total, rate, left)
    log.info("%s: %d in %s", label, total, clock(time.perf_counter() - start))


def clock(seconds: float) -> str:
    """A duration for people: 8.3s, 4m05s, 2h13m."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def peak_megabytes() -> float:
    """Largest resident memory of this process so far, in MB.

    The kernel's own peak counts from the start of the program; `getrusage` also has what the process was forked from.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seed_everything(seed: int) -> None:
    """Seed torch's global generator, where torch is loaded; nothing of ours draws from NumPy's."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _parser(function: Callable[..., None]) -> argparse.ArgumentParser:
    summary = (inspect.getdoc(function) or function.__name__).splitlines()[0]
    parser = argparse.ArgumentParser(prog=f"python -m {_module_of(function)}", description=summary, allow_abbrev=False)
    hints = typing.get_type_hints(function)
    for name, parameter in inspect.signature(function).parameters.items():
        required = parameter.default is inspect.Parameter.empty
        kind, several, optional = _kind(hints[name])
        # An optional value may be empty (`--labels --output o.h5`), so that a rule can name an input that is not there.
        count = "*" if several else "?" if optional else None
        parser.add_argument(
            f"--{name.replace('_', '-')}", dest=name, type=_reader(kind), nargs=count,
            required=required and not optional, default=None if required else parameter.default,
        )  # fmt: skip
    parser.add_argument("--log", type=Path, default=None, help="file that gets a copy of what is reported")
    return parser


def _module_of(function: Callable[..., None]) -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec.name if function.__module__ == "__main__" and spec else function.__module__


def _kind(hint: Any) -> tuple[Any, bool, bool]:
    """The type of one value, whether there are several, and whether it may be absent."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        kinds = [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
        if len(kinds) == 1:
            return kinds[0], False, True
        return hint, False, False
    if typing.get_origin(hint) is list:
        return typing.get_args(hint)[0], True, False
    return hint, False, False


def _reader(kind: Any) -> Callable[[str], Any]:
    if kind is bool:
        return _read_bool
    if isinstance(kind, type) and issubclass(kind, Section):
        return lambda text: _read_section(kind, text)
    return kind


def _read_bool(text: str) -> bool:
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, found {text!r}")
    return text == "true"


def _read_section(kind: type[Section], text: str) -> Section:
    try:
        return kind.parse(text)
    except ValidationError as error:
        raise argparse.ArgumentTypeError(f"not valid settings of {kind.__name__}: {error}") from error


@contextlib.contextmanager
def _reporting(path: Path | None) -> Iterator[None]:
    """Send what is logged to the terminal and to the file, for the time of the step.

    Of the processes that torchrun starts, one per GPU, the first says what all do; the others say their errors alone.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    first = os.environ.get("RANK", "0") == "0"
    if not first:
        handlers[0].setLevel(logging.ERROR)
    if path is not None and first:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="w", encoding="utf-8"))
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        root.addHandler(handler)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
