"""Jobs of a graph under test in processes forked from one that has imported the libraries: a job costs its work.

A step that needs a network imports torch, torchvision and timm for seconds, and a toy step works for less than one. The
forked process has the job's words, folder, variables and streams; the project's own modules it imports itself. As a
script this file is the process that forks.
"""

import atexit
import contextlib
import functools
import json
import os
import runpy
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIBRARIES = (
    "cv2", "h5py", "lightning_fabric", "matplotlib.figure", "numpy", "pydantic", "pycocotools.mask", "safetensors.torch",
    "scipy.ndimage", "scipy.sparse", "skimage.segmentation", "timm", "torch", "torchvision.models.detection",
    "torchvision.ops", "yaml",
)  # fmt: skip


def forked_jobs() -> tuple[Path, Mapping[str, str]]:
    """A folder whose `python` forks jobs, to stand first on a job's path, and the variables that this `python` needs."""
    return _server(os.getpid())


@functools.cache
def _server(_: int) -> tuple[Path, Mapping[str, str]]:
    """The server of this process."""
    folder = tempfile.TemporaryDirectory()
    client = Path(folder.name) / "python"
    words = shlex.join([sys.executable, "-SEs", str(ROOT / "tests" / "forked_job.py")])
    client.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    client.chmod(0o755)
    path = Path(folder.name) / "socket"
    # Libraries read the number of threads when they are imported; `_as_asked` sets it anew.
    server = subprocess.Popen(
        [sys.executable, __file__, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip

    def end() -> None:
        for pipe in (server.stdin, server.stdout):
            pipe.close()
        server.wait()
        folder.cleanup()

    atexit.register(end)
    assert server.stdout.readline() == "ready\n"
    return Path(folder.name), {"TAGMASK_JOBS": str(path), "TAGMASK_PYTHON": sys.executable}


def serve(path: str) -> None:
    """Fork a process for each client, until standard input ends. A client that goes takes its process with it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    for name in LIBRARIES:
        import_module(name)
    print("ready", flush=True)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    waiting = selectors.DefaultSelector()
    waiting.register(0, selectors.EVENT_READ)
    waiting.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            if key.fileobj == 0:
                return
            if key.fileobj is listener:
                client, _ = listener.accept()
                pid = _forked(client, waiting)
                ended = os.pidfd_open(pid)
                waiting.register(client, selectors.EVENT_READ, (pid, ended))
                waiting.register(ended, selectors.EVENT_READ, (pid, client))
            elif isinstance(key.fileobj, socket.socket):  # killed
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(key.data[0], signal.SIGKILL)
                waiting.unregister(key.fileobj)
            else:
                _answer(key, waiting)


def _answer(key: selectors.SelectorKey, waiting: selectors.BaseSelector) -> None:
    """Tell a client how its process ended."""
    pid, client = key.data
    _, status = os.waitpid(pid, 0)
    waiting.unregister(key.fileobj)
    os.close(key.fileobj)
    with contextlib.suppress(KeyError):
        waiting.unregister(client)
    with contextlib.suppress(OSError):
        client.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
    client.close()


def _forked(client: socket.socket, waiting: selectors.BaseSelector) -> int:
    """Id of a process that does what a client asks; its status and the folder are the job's."""
    length, streams, _, _ = socket.recv_fds(client, 4, 3)
    text = b""
    while len(text) < int.from_bytes(length, "big"):
        text += client.recv(1 << 16)
    pid = os.fork()
    if not pid:
        waiting.close()
        client.close()
        _run(json.loads(text), streams)
    for stream in streams:
        os.close(stream)
    return pid


def _run(asked: dict, streams: list[int]) -> None:
    """Become `python -m MODULE WORDS`; does not return."""
    status = 1
    try:
        _as_asked(asked, streams)
        runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as stop:
        if stop.code is not None and not isinstance(stop.code, int):
            print(stop.code, file=sys.stderr)
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _as_asked(asked: dict, streams: list[int]) -> None:
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["variables"])
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    own = {str(ROOT), str(ROOT / "tests")}
    sys.path[:] = [asked["folder"], *filter(None, before), *(place for place in sys.path if place not in own)]
    sys.argv = [asked["module"], *asked["words"]]
    if threads := os.environ.get("OMP_NUM_THREADS"):
        import_module("torch").set_num_threads(int(threads))


if __name__ == "__main__":
    serve(sys.argv[1])
