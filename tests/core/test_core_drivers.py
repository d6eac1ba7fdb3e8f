"""Notes of drivers: locks of a run that was killed go by themselves, those of anybody else stay."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.core.workflow import drivers
from stages.core.workflow.processes import mark_of_this_process

GONE = {"host": socket.gethostname(), "pid": 2**22 + 1, "start": "1", "since": "yesterday", "job": None}
ELSEWHERE = GONE | {"host": "another-host"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a lock; functions of atexit are called at the end of the test."""
    monkeypatch.chdir(tmp_path)
    drivers.NOTES.mkdir(parents=True)
    drivers.LOCKS.mkdir(parents=True)
    ends = []
    monkeypatch.setattr(drivers.atexit, "register", lambda function, **given: ends.append((function, given)))
    yield tmp_path
    for function, given in ends:
        function(**given)
    assert mine() == []


def mine():
    return list(Path(drivers.NOTES).glob(f"*.{os.getpid()}.json"))


def note(mark, name="other", *, age=100.0):
    path = Path(drivers.NOTES) / f"{name}.json"
    path.write_text(mark if isinstance(mark, str) else json.dumps(mark))
    os.utime(path, (time.time() - age,) * 2)
    return path


def lock(*, age=50.0):
    path = Path(drivers.LOCKS) / "0.input.lock"
    path.write_text("results/toy/images.h5\n")
    os.utime(path, (time.time() - age,) * 2)
    return path


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A function that puts a `squeue` on the path, which says what it is told."""

    def squeue(script):
        (tmp_path / "bin").mkdir()
        path = tmp_path / "bin" / "squeue"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")

    return squeue


def test_locks_of_a_killed_driver_go_and_it_is_named(folder, caplog):
    left, path = lock(), note(GONE)
    drivers.enter_folder()
    assert not left.exists()
    assert not path.exists()
    assert f"of a run that was killed (process {GONE['pid']} on {GONE['host']}, since yesterday)" in caplog.text


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        pytest.param([mark_of_this_process()], "another run works in", id="one that works"),
        pytest.param([mark_of_this_process(), GONE], "another run works in", id="one that works, and one that is gone"),
        pytest.param([ELSEWHERE], "another run works in", id="one of another host, which cannot be asked"),
        pytest.param([], "", id="one that left no note"),
        pytest.param(["{cut o"], "", id="one whose note was cut off"),
    ],
)
def test_locks_of_others_stay(folder, caplog, marks, said):
    left, paths = lock(), [note(mark, str(i)) for i, mark in enumerate(marks)]
    drivers.enter_folder()
    assert left.exists()
    assert all(path.exists() for path in paths)
    assert said in caplog.text
    assert "taken away" not in caplog.text


def test_a_lock_from_before_the_killed_driver_is_not_its_own(folder):
    left, path = lock(age=200.0), note(GONE)
    drivers.enter_folder()
    assert left.exists()
    assert path.exists()


def test_without_a_lock_notes_of_the_dead_are_swept(folder, caplog):
    dead, cut_off, elsewhere = note(GONE, "a"), note("{", "b"), note(ELSEWHERE, "c")
    long_ago = note(ELSEWHERE, "d", age=4000.0)
    drivers.enter_folder()
    assert [path.exists() for path in (dead, cut_off, elsewhere, long_ago)] == [False, False, True, False]
    assert not caplog.text


def test_jobs_of_slurm_that_go_on_keep_the_locks(folder, caplog, squeue):
    left = lock()
    note(GONE | {"executor": "slurm"})
    squeue(f"echo '12 {folder}'; echo '13 /somewhere/else'; echo '14_2 {folder}'")
    drivers.enter_folder()
    assert left.exists()
    assert "wait for their end, or scancel 12 14_2" in caplog.text


@pytest.mark.parametrize("script", ["exit 1", "echo '13 /somewhere/else'"])
def test_slurm_is_asked_whether_jobs_go_on(folder, caplog, squeue, script):
    left = lock()
    note(GONE | {"executor": "slurm"})
    squeue(script)
    drivers.enter_folder()
    assert left.exists() == (script == "exit 1")
    assert ("squeue does not tell" in caplog.text) == (script == "exit 1")


def test_a_driver_notes_itself_and_its_executor(folder):
    drivers.enter_folder()
    (path,) = mine()
    os.utime(path, (5, 5))
    assert json.loads(path.read_text()) == mark_of_this_process() | {"since": json.loads(path.read_text())["since"]}
    drivers.note_executor("slurm")
    assert json.loads(path.read_text())["executor"] == "slurm"
    assert path.stat().st_mtime == 5  # its locks are younger


def test_a_killed_process_is_gone_and_one_that_ends_leaves_no_note(tmp_path):
    """In processes: what is left after SIGKILL, after an error, and after an end."""
    code = "import sys, time; from stages.core.workflow.drivers import enter_folder; enter_folder(); "
    notes = tmp_path / drivers.NOTES

    def start(rest):
        return subprocess.Popen(
            [sys.executable, "-c", code + rest], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip

    for rest in ("pass", "1 / 0", "import os; os.chdir('/')"):
        start(rest).communicate()
        assert not list(notes.glob("*.json"))
    with start("print('there', flush=True); time.sleep(60)") as killed:
        assert killed.stdout.readline() == "there\n"
        killed.kill()
    assert len(list(notes.glob("*.json"))) == 1
    (tmp_path / drivers.LOCKS).mkdir()
    (tmp_path / drivers.LOCKS / "0.output.lock").touch()
    said = start("pass").communicate()[1]
    assert f"process {killed.pid} on" in said
    assert not list(notes.glob("*.json"))
    assert not list((tmp_path / drivers.LOCKS).iterdir())
