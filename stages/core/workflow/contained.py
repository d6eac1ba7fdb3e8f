"""Reads files with libraries that damaged bytes can kill, in a process of its own.

Such a library may end its process without a word, take all memory, or never come back. So a child process reads one
file after the other, and its death is an error that names the file. Nothing is pickled on the way back: mappings, lists
and text travel as JSON, arrays as their bytes. The first file costs the start of the child (0.4 s), any further one
1 ms, 5 us per array and 0.5 ms per MB.
"""

import atexit
import contextlib
import importlib
import json
import math
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.hdf5 import RefusedError

MEMORY = 4 << 30  # bytes that the child may take beyond what it starts with
SECONDS = 8.0  # for one file, and a second more for each MB of it
START = 120.0  # seconds for the child to load its libraries
ROOT = Path(__file__).parents[3]
LENGTHS = struct.Struct("<QQ")  # bytes of an answer's text and of all its arrays


class Contained:
    """A function of a path that is called in a child process: `Contained(read)(path)` for `read(path)`.

    What the function returns is made of mappings with text as keys, lists, text, numbers, None and NumPy arrays of
    numbers; anything else becomes None. The child starts with the first file, and again after it died. Calls from
    several threads wait for each other.
    """

    def __init__(
        self, function: Callable[[Path], Any], *, kind: str, memory: int = MEMORY, seconds: float = SECONDS
    ) -> None:
        """Contain a function of a module, which the child imports; `kind` is what messages call its files."""
        self._name = f"{function.__module__}:{function.__qualname__}"
        self._kind, self._memory, self._seconds = kind, memory, seconds
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __call__(self, path: Path, *, remedy: str) -> Any:
        """What the function makes of the file.

        Raises:
            ValueError: the function raised anything, or the child died, ran out of memory or out of time. The message
                names the file, what the function raised (of a RefusedError the text alone), and the remedy.
        """
        with self._lock:
            seconds = self._seconds + (path.stat().st_size / 1e6 if path.is_file() else 0)
            try:
                child = self._started()
                answer, arrays = self._ask(child, path, seconds)
            except (EOFError, BrokenPipeError) as error:
                raise ValueError(
                    f"{path} ended the process that read it ({self._end(dying=True)}); {remedy}"
                ) from error
            except TimeoutError as error:
                self._end()
                raise ValueError(f"{path} was not read within {seconds:.0f} s, and is given up; {remedy}") from error
            except BaseException:
                self._end()  # half an answer is in the pipe
                raise
        if "refused" in answer:
            raise ValueError(f"{path} {answer['refused']}; {remedy}")
        if "error" in answer:
            raise ValueError(f"{path} cannot be read as {self._kind} ({answer['error']}): {remedy}")
        return _joined(answer["value"], arrays)

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._child is None:
            path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
            # One thread: what libraries reserve for each counts as memory.
            environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
            command = [sys.executable, "-m", __name__, self._name, str(self._memory)]
            self._child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
            )
            atexit.register(self.close)
            assert self._child.stdout is not None
            _received(self._child.stdout.fileno(), 1, time.monotonic() + START)
        return self._child

    def _end(self, *, dying: bool = False) -> str:
        """End the child, which may be about to end by itself, and say how it came to its end."""
        child, self._child = self._child, None
        if child is None:
            return "it was not there"
        atexit.unregister(self.close)
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1 if dying else 0)
        child.kill()
        code = child.wait()
        child.stdin.close()
        child.stdout.close()
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _ask(self, child: "subprocess.Popen[bytes]", path: Path, seconds: float) -> tuple[dict[str, Any], bytearray]:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(os.fsencode(path).hex().encode() + b"\n")
        # Its end of the pipe is read without a buffer, so that waiting for it can have a limit.
        pipe, until = child.stdout.fileno(), time.monotonic() + seconds
        text, arrays = LENGTHS.unpack(_received(pipe, LENGTHS.size, until))
        return json.loads(_received(pipe, text, until)), _received(pipe, arrays, until)


def _received(pipe: int, size: int, until: float) -> bytearray:
    """So many bytes. Raises EOFError where the other end is closed before, and TimeoutError after `until`."""
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        if not select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
            raise TimeoutError
        count = os.readv(pipe, [rest])
        if count == 0:
            raise EOFError
        rest = rest[count:]
    return data


def _taken_apart(value: Any, arrays: list[np.ndarray]) -> Any:
    """A value as JSON has it; its arrays are appended, flat. What is none of the promised types becomes None."""
    if isinstance(value, dict):
        return {"mapping": {str(key): _taken_apart(inner, arrays) for key, inner in value.items()}}
    if isinstance(value, list):
        return [_taken_apart(inner, arrays) for inner in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "buif":
        # Columns first, as MATLAB has them, are sent as they lie.
        columns = value.flags.f_contiguous
        arrays.append(np.ravel(value, order="F" if columns else "C"))
        return {"dtype": value.dtype.str, "shape": list(value.shape), "order": "F" if columns else "C"}
    return value if isinstance(value, str | bool | int | float) else None


def _joined(value: Any, arrays: bytearray) -> Any:
    """The value that was taken apart, whose arrays lie one after the other."""
    start = 0

    def joined(value: Any) -> Any:
        nonlocal start
        if isinstance(value, list):
            return [joined(inner) for inner in value]
        if not isinstance(value, dict):
            return value
        if "mapping" in value:
            return {key: joined(inner) for key, inner in value["mapping"].items()}
        dtype, count = np.dtype(value["dtype"]), math.prod(value["shape"])
        flat = np.frombuffer(arrays, dtype, count, start) if count else np.zeros(0, dtype)
        start += flat.nbytes
        return flat.reshape(value["shape"], order=value["order"])

    return joined(value)


def _serve(name: str, memory: int) -> None:
    """In the child: read the paths of files from the standard input, and write what `name` makes of each."""
    module, _, function = name.partition(":")
    call = getattr(importlib.import_module(module), function)
    pipe = os.fdopen(os.dup(1), "wb", 1 << 20)
    os.dup2(2, 1)  # whatever a library prints goes elsewhere
    _limit(memory)
    pipe.write(b"!")  # ready
    pipe.flush()
    for line in sys.stdin:
        arrays: list[np.ndarray] = []
        text = json.dumps(_answer(call, Path(os.fsdecode(bytes.fromhex(line))), memory, arrays)).encode()
        pipe.write(LENGTHS.pack(len(text), sum(array.nbytes for array in arrays)) + text)
        for array in arrays:
            pipe.write(array.data)
        pipe.flush()


def _answer(call: Callable[[Path], Any], path: Path, memory: int, arrays: list[np.ndarray]) -> dict[str, Any]:
    """What the function makes of the file, or how it failed; the arrays of the former are appended."""
    try:
        return {"value": _taken_apart(call(path), arrays)}
    except RefusedError as error:
        refused = str(error)
    except MemoryError:
        refused = f"needs more than the {memory >> 20} MB that one file may take"
    except Exception as error:  # the library's, on bytes that it was not made for
        arrays.clear()
        return {"error": f"{type(error).__name__}: {error}"}
    arrays.clear()
    return {"refused": refused}


def _limit(memory: int) -> None:
    """Take no more than so many bytes beyond what there is now."""
    pages = Path("/proc/self/statm")
    if not pages.is_file():
        return  # not Linux, which alone says how much there is
    now = int(pages.read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = [limit for limit in (now + memory, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(wanted), hard))


if __name__ == "__main__":
    _serve(sys.argv[1], int(sys.argv[2]))
