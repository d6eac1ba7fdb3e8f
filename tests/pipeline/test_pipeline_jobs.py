"""Jobs of the graph under test are forked from a process with warm imports; they end, speak and die as their own would."""

import os
import signal
import subprocess
import time

import pytest

from tests.jobs import forked_jobs

PROBE = """
import os, sys, time
print(os.getcwd(), sys.argv[1:], os.environ["ASKED"], sys.argv[0])
print("to standard error", file=sys.stderr)
if sys.argv[1:] == ["wait"]:
    print(os.getpid(), flush=True)
    time.sleep(60)
if sys.argv[1:] == ["fail"]:
    raise ValueError("on purpose")
if sys.argv[1:] == ["die"]:
    os.kill(os.getpid(), 9)
sys.exit({"three": 3, "text": "a sentence"}.get(sys.argv[1]))
"""


@pytest.fixture
def start(tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "probe.py").write_text(PROBE)
    folder, needed = forked_jobs()

    def start(*words):
        return subprocess.Popen(
            [folder / "python", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
            env=os.environ | needed | {"ASKED": "for", "PYTHONPATH": str(tmp_path)},
        )  # fmt: skip

    return start


@pytest.mark.parametrize(
    ("word", "status", "error"),
    [
        pytest.param("", 0, "", id="done"),
        pytest.param("three", 3, "", id="a status"),
        pytest.param("text", 1, "a sentence\n", id="a text"),
        pytest.param("fail", 1, "ValueError: on purpose\n", id="an exception"),
        pytest.param("die", -signal.SIGKILL, "", id="a signal"),
    ],
)
def test_a_forked_job_is_what_python_would_have_been(start, tmp_path, word, status, error):
    job = start("-m", "stages.probe", word)
    out, said = job.communicate(timeout=60)
    assert job.returncode == status
    if word != "die":
        assert out == f"{tmp_path} ['{word}'] for {tmp_path / 'stages' / 'probe.py'}\n"
        assert said.startswith("to standard error\n")
    assert said.endswith(error)


def test_a_job_dies_with_what_started_it(start):
    with start("-m", "stages.probe", "wait") as job:
        job.stdout.readline()
        forked = int(job.stdout.readline())
        assert forked != job.pid
        os.kill(forked, 0)
        job.kill()
    with pytest.raises(ProcessLookupError):
        for _ in range(100):
            os.kill(forked, 0)
            time.sleep(0.1)


def test_other_scripts_run_in_python_itself(start):
    job = start("-c", "import os, sys; print(os.getpid(), sys.argv[1:])", "word")
    assert job.communicate()[0] == f"{job.pid} ['word']\n"
