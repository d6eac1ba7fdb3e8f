"""What docs/cluster.md says of one machine with a queue, with the toy graph: a second engine, without a cluster."""

import os
import re
import signal
import subprocess

import pytest

from tests.cluster.conftest import ON_GPUS, PREDICTED, ROOT, TOY, Driver, unlike, until

CLASSIFIER = "results/toy/classifier/cam/weights.safetensors"
QUEUE = ROOT / "profiles" / "task_spooler" / "queue"


@pytest.fixture(scope="module")
def environment(asked, tmp_path_factory):
    """Of queues of the tests' own, with two CPU threads and one GPU, which its jobs hide."""
    folder = tmp_path_factory.mktemp("queues")
    variables = {"TAGMASK_QUEUES": str(folder), "TAGMASK_CPUS": "2", "TAGMASK_GPUS": "1", "TAGMASK_VISIBLE": ""}
    yield os.environ | variables
    for queue in ("cpu", "gpu"):
        subprocess.run(["tsp", "-K"], env={**os.environ, "TS_SOCKET": str(folder / queue)}, capture_output=True)


def on(environment, folder):
    return Driver(folder, "--profile", str(QUEUE.parent), environment=environment)


def jobs(environment, queue):
    """Names and commands of a queue's jobs, with state and exit status."""
    listed = subprocess.run(
        ["tsp", "-l"], env={**environment, "TS_SOCKET": f"{environment['TAGMASK_QUEUES']}/{queue}"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [line.split() for line in listed.splitlines()[1:]]


def test_the_graph_goes_through_the_queues_to_the_files_of_a_local_run(environment, local, tmp_path):
    driver = on(environment, tmp_path / "run")
    done = driver.run(PREDICTED, "--configfile", str(TOY))
    assert done.returncode == 0, done.stdout + done.stderr
    assert unlike(driver, local) == set()
    finished = {queue: jobs(environment, queue) for queue in ("cpu", "gpu")}
    assert all(row[1] == "finished" and row[3] == "0" for rows in finished.values() for row in rows)
    assert len(finished["gpu"]) == len(ON_GPUS)
    assert len(finished["cpu"]) > len(ON_GPUS)


def test_the_log_of_a_failed_job_reaches_who_started_it(environment, tmp_path):
    driver = on(environment, tmp_path / "run")
    (tmp_path / "cuda.yaml").write_text("device: cuda")
    done = driver.run(CLASSIFIER, "--retries", "0", "--configfile", str(TOY), str(tmp_path / "cuda.yaml"))
    assert done.returncode != 0
    assert "device 'cuda' is not there (0 GPUs)" in done.stdout + done.stderr


def test_a_driver_that_was_killed_takes_up_the_job_that_lives_on(environment, tmp_path):
    driver = on(environment, tmp_path / "run")
    (tmp_path / "long.yaml").write_text(
        "classifier: {cam: {train: {training: {steps: 150, checkpoint_minutes: 1.0e-5}}}}"
    )
    configured = ("--configfile", str(TOY), str(tmp_path / "long.yaml"))
    log = driver.folder / "results/toy/logs/train_classifier.cam.log"
    before = len(jobs(environment, "gpu"))
    first = driver.start(CLASSIFIER, *configured)
    try:
        until(lambda: log.exists() and re.search(r"update \d+ of", log.read_text()), "the training")
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    second = driver.run(CLASSIFIER, *configured)
    assert second.returncode == 0, second.stdout + second.stderr
    assert len(jobs(environment, "gpu")) == before + 1, "the training was submitted twice"
    assert "resumed" not in log.read_text()


def test_what_can_never_run_is_refused(environment, tmp_path):
    script = tmp_path / "job.sh"
    script.write_text("exit 0\n")
    done = subprocess.run([QUEUE, "submit", "2", "1", "made", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "asks for 2 GPUs, but this machine has 1" in done.stderr


def test_a_job_that_is_cancelled_or_unknown_has_failed(environment, tmp_path):
    script = tmp_path / "job.sh"
    script.write_text("sleep 60\n")

    def queue(*words):
        done = subprocess.run([QUEUE, *words], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    running, waiting = (queue("submit", "1", "1", f"made {i}", str(script)) for i in range(2))
    assert queue("submit", "1", "1", "made 1", str(script)) == waiting  # it is made already
    assert queue("submit", "0", "1", "made 1", str(script)) != waiting
    assert queue("status", running) == queue("status", waiting) == "running"
    queue("cancel", waiting, running)
    until(lambda: queue("status", running) == "failed", "the job to end")
    assert queue("status", waiting) == "failed"
    assert queue("status", "cpu-1-1") == "failed"
