"""Snakemake in processes that are forked from one that has imported it: an invocation costs its work, not the imports.

As a script this file is the one that forks. It reads lines of JSON, `{"words": [...], "folder": ..., "variables": {...},
"bin": ..., "said": ..., "limit": ...}`, and answers each with the exit status of `python -m snakemake` with these words.
"""

import atexit
import contextlib
import functools
import json
import os
import resource
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

from tests.jobs import forked_jobs

ROOT = Path(__file__).parents[1]
OWN = "stages"  # package that copies of the project have, too


class Done(NamedTuple):
    """What `subprocess.run` would give."""

    returncode: int
    stdout: str
    stderr: str


def run_snakemake(
    words: Sequence[str],
    *,
    folder: Path,
    source: Path = ROOT,
    variables: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> Done:
    """Run `snakemake -s SOURCE/Snakefile` with these words in a folder; its jobs are forked, too (`tests/jobs.py`).

    Args:
        words: behind `snakemake`.
        folder: where it runs.
        source: the project; a copy brings its own package `stages`.
        variables: the whole environment; None: that of this process.
        limit: bytes that a file may have, as on a full disk; jobs are processes of their own then, which keep to it.
    """
    bin, needed = (None, {}) if limit is not None or "-n" in words else forked_jobs()
    with tempfile.TemporaryDirectory() as said:
        asked = {
            "words": ["-s", str(source / "Snakefile"), *words],
            "folder": str(folder),
            "variables": {**(os.environ if variables is None else variables), **needed},
            "bin": str(bin) if bin else None,
            "said": said,
            "limit": limit,
        }
        server = _server(os.getpid(), source == ROOT)
        print(json.dumps(asked), file=server.stdin, flush=True)
        status = json.loads(server.stdout.readline())
        texts = [(Path(said) / name).read_text(errors="replace") for name in ("stdout", "stderr")]
    return Done(status, *texts)


@functools.cache
def _server(_: int, ours: bool) -> subprocess.Popen[str]:
    """The process that forks, of this process; `ours`: it has imported this project's package, too."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.snakemakes", *(["--ours"] if ours else [])],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
    )  # fmt: skip
    atexit.register(_end, server)
    return server


def _end(server: subprocess.Popen[str]) -> None:
    for pipe in (server.stdin, server.stdout):
        if pipe is not None:
            pipe.close()
    server.wait()


def serve(*, ours: bool) -> None:
    """Answer all lines of standard input."""
    answers = os.fdopen(os.dup(1), "w")
    # Jobs of the processes must not hold the pipe of the answers open.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    warm(ours=ours)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if not pid:
            _child(asked)
        _, status = os.waitpid(pid, 0)
        print(json.dumps(os.waitstatus_to_exitcode(status)), file=answers, flush=True)


def warm(*, ours: bool) -> None:
    """Import what a dry run of the project imports; `ours`: also its own package, of this folder."""
    import_module("snakemake.cli")
    code = (
        "import atexit, json, sys; atexit.register(lambda: print('\\n' + json.dumps(list(sys.modules))));"
        "from snakemake.cli import main; main(sys.argv[1:])"
    )
    with tempfile.TemporaryDirectory() as folder:
        words = ["-s", str(ROOT / "Snakefile"), "--directory", folder, "-n", "--quiet", "all"]
        listed = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, cwd=ROOT
        )
    if ours:
        sys.path.insert(0, str(ROOT))
    for name in json.loads(listed.stdout.splitlines()[-1]):
        if name != "__main__" and (ours or name.partition(".")[0] != OWN):
            with contextlib.suppress(ImportError):  # of a name that a package has given itself
                import_module(name)


def _child(asked: dict) -> None:
    """Become the process that was asked for; does not return."""
    status = 1
    try:
        os.setsid()
        said = Path(asked["said"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for stream, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT), stream)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["variables"])
        if asked["limit"] is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (asked["limit"], asked["limit"]))
        sys.path[0] = asked["folder"]  # as `python -m` has it
        if asked["bin"] is not None:
            # Shell lines find Python beside that of Snakemake (`environment`); torchrun stands where it did.
            os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            sys.executable = f"{asked['bin']}/python"
        sys.argv = ["snakemake", *asked["words"]]
        try:
            import_module("snakemake.cli").main()
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(ours="--ours" in sys.argv)
