"""What docs/cluster.md says of a Slurm, with the toy graph: where jobs run, what ends them, and that nothing is lost.

These tests take minutes, most of them for the two further Snakemakes that Slurm's plugin starts for every job.
"""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from stages.core.networks.weights import read_weights
from tests.cluster.conftest import ON_GPUS, PREDICTED, SLURM, TOY, Driver, unlike, until

CLUSTERS = "results/toy/cim/cluster_labels/train.h5"
TRAINED = "results/toy/cim/network/weights.safetensors"
CLASSIFIER = "results/toy/classifier/cam/weights.safetensors"
LISTED = "results/toy/train/images.h5"
UPDATES = 1500


def on(cluster, folder: Path) -> Driver:
    """A driver that submits to the cluster."""
    return Driver(folder, *SLURM, environment=cluster.environment)


@pytest.fixture(scope="module")
def through_slurm(cluster, tmp_path_factory):
    """The same through Slurm, and its jobs."""
    driver = on(cluster, tmp_path_factory.mktemp("slurm"))
    before = {job.number for job in cluster.jobs()}
    done = driver.run(PREDICTED, "--configfile", str(TOY))
    assert done.returncode == 0, done.stdout + done.stderr
    return driver, [job for job in cluster.jobs() if job.number not in before]


def test_jobs_run_where_their_rule_belongs_with_the_gpus_that_it_asks_for(through_slurm):
    _, jobs = through_slurm
    assert {job.state for job in jobs} == {"COMPLETED"}
    assert {job.rule for job in jobs} > ON_GPUS
    for job in jobs:
        gpu = job.rule in ON_GPUS
        assert (job.partition, job.gpus) == (("gpu", 1) if gpu else ("cpu", 0)), job
        assert job.node == "gpu1" if gpu else job.node in ("cpu1", "cpu2")
        assert job.restarts == 0
    rules = [job.rule for job in jobs if job.rule in ON_GPUS]
    assert len(rules) == len(set(rules)), "a GPU job ran twice"


def test_shards_are_one_job_array_and_run_side_by_side(through_slurm):
    driver, jobs = through_slurm
    logs = driver.folder.glob(".snakemake/slurm_logs/rule_generate_proposals/*_*.log")
    assert sorted(path.stem.partition("_")[2] for path in logs) == ["1", "2", "3", "4"]
    shards = [job for job in jobs if job.rule == "generate_proposals"]
    assert len(shards) == 4
    assert any(one.beside(other) for one in shards for other in shards if one is not other)
    assert {job.node for job in shards} == {"cpu1", "cpu2"}


def test_artifacts_and_weights_equal_those_of_a_local_run_byte_for_byte(through_slurm, local):
    driver, _ = through_slurm
    assert unlike(driver, local) == set()


def overlay(folder: Path, **values: object) -> tuple[str, ...]:
    path = folder / "overlay.yaml"
    path.write_text(yaml.safe_dump(values))
    return ("--configfile", str(TOY), str(path))


def test_a_training_of_two_processes_is_one_job_with_two_gpus(cluster, submitted, tmp_path):
    driver = on(cluster, tmp_path / "run")
    configured = overlay(tmp_path, gpus=2, defaults={"training": {"accumulate": 2}})
    done = driver.run(CLASSIFIER, *configured)
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = submitted("train_classifier")
    assert (job.state, job.partition, job.gpus, job.restarts) == ("COMPLETED", "gpu", 2, 0)
    log = (driver.folder / "results/toy/logs/train_classifier.cam.log").read_text()
    assert "2 process(es)" in log
    assert log.count("train_classifier done in") == 1


@pytest.fixture(scope="module")
def on_two_nodes(cluster, tmp_path_factory):
    """A training of two processes on two nodes, the same by one process, and the job of the first."""
    folder = tmp_path_factory.mktemp("nodes")
    partitions = folder / "partitions.yaml"
    partitions.write_text(yaml.safe_dump({"partitions": {"cpu": {}, "gpus": {"max_gpu": 2, "max_nodes": 2}}}))
    # Without Adam, which makes a whole step of what is rounding noise in a gradient of zero.
    training = {"accumulate": 2, "optimizer": "sgd", "learning_rate": 0.05}
    several = Driver(
        folder / "several", *SLURM, environment={**cluster.environment, "SNAKEMAKE_SLURM_PARTITIONS": str(partitions)}
    )
    before = {job.number for job in cluster.jobs()}
    done = several.run(CLASSIFIER, *overlay(folder, nodes=2, threads=2, defaults={"training": training}))
    assert done.returncode == 0, done.stdout + done.stderr
    one = Driver(folder / "one")
    done = one.run(CLASSIFIER, *overlay(folder, threads=2, defaults={"training": training}), local=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (job,) = [job for job in cluster.jobs("train_classifier") if job.number not in before]
    return several, one, job


def test_a_training_over_two_nodes_is_one_job_with_a_process_on_each(on_two_nodes):
    driver, _, job = on_two_nodes
    assert (job.state, job.partition, job.node, job.restarts) == ("COMPLETED", "gpus", "gpu[1-2]", 0)
    assert (job.nodes, job.gpus, job.cpus) == (2, 2, 4)
    log = (driver.folder / "results/toy/logs/train_classifier.cam.log").read_text()
    assert "2 process(es)" in log
    assert log.count("train_classifier done in") == 1


def test_two_nodes_give_weights_and_losses_of_one_process(on_two_nodes):
    several, one, _ = on_two_nodes
    shared, alone = (read_weights(driver.folder / CLASSIFIER) for driver in (several, one))
    assert shared.keys() == alone.keys()
    for name, value in alone.items():
        assert torch.allclose(shared[name].double(), value.double(), rtol=1e-4, atol=1e-6), name
    curves = "results/toy/classifier/cam/curves.json"
    shared, alone = (json.loads((driver.folder / curves).read_text())["intervals"] for driver in (several, one))
    assert len(alone) == 3
    for many, single in zip(shared, alone, strict=True):
        assert many["losses"] == pytest.approx(single["losses"], rel=1e-4)


def test_the_log_of_a_failed_job_reaches_who_started_it(cluster, submitted, tmp_path):
    """`device: cuda` is planned on a machine without a GPU, and fails where the job finds none."""
    driver = on(cluster, tmp_path / "run")
    done = driver.run(CLASSIFIER, "--retries", "1", *overlay(tmp_path, device="cuda"))
    assert done.returncode != 0
    assert "device 'cuda' is not there (0 GPUs)" in done.stdout + done.stderr
    assert [job.state for job in submitted("train_classifier")] == ["FAILED"] * 2
    assert not (driver.folder / CLASSIFIER).exists()
    assert (driver.folder / LISTED).exists()


class Training:
    """A training of many updates on Slurm, after all that comes before it was made without."""

    def __init__(self, cluster, folder: Path, *, updates: int = UPDATES) -> None:
        self.driver = on(cluster, folder / "run")
        self.configured = overlay(folder, cim={"train": {"training": {"steps": updates, "checkpoint_minutes": 1e-5}}})
        done = self.driver.run(CLUSTERS, CLASSIFIER, *self.configured, local=True)
        assert done.returncode == 0, done.stdout + done.stderr
        self.log = self.driver.folder / "results/toy/logs/cim/train_cim.log"
        self.resumed: list[int] = []

    def running(self, submitted, number: int):
        """Wait until the training's attempt `number`, from 0 on, has saved a checkpoint of its own, and give its job."""

        def underway():
            jobs = submitted("train_cim")
            attempt = sum(1 + job.restarts for job in jobs)
            text = self.log.read_text() if self.log.exists() else ""
            if attempt <= number or jobs[-1].state != "RUNNING" or "checkpoint after update" not in text:
                return None
            return jobs[-1] if self.pids() else None

        job = until(underway, f"attempt {number} of the training")
        self.resumed += [int(update) for update in re.findall(r"resumed after update (\d+)", self.log.read_text())]
        return job

    @staticmethod
    def pids() -> list[int]:
        """Processes of the training."""
        found = subprocess.run(
            ["pgrep", "-f", "^[^ ]*python[^ ]* -m stages.cim.train_cim "], capture_output=True, text=True
        )
        return [int(pid) for pid in found.stdout.split()]

    def ended(self) -> None:
        """Wait until no process of it is left."""
        until(lambda: not self.pids(), "the training's process to end")


@pytest.fixture(scope="module")
def undisturbed(cluster, tmp_path_factory):
    """Weights of the training without Slurm and without an end before its time."""
    training = Training(cluster, tmp_path_factory.mktemp("undisturbed"))
    done = training.driver.run(TRAINED, *training.configured, local=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return (training.driver.folder / TRAINED).read_bytes()


@pytest.mark.kills
def test_a_training_that_is_cancelled_killed_and_loses_its_node_goes_on(cluster, submitted, tmp_path, undisturbed):
    training = Training(cluster, tmp_path)
    driver = training.driver.start(TRAINED, "--retries", "3", *training.configured)
    try:
        job = training.running(submitted, 0)
        cluster.run("scancel", str(job.number))
        training.ended()

        training.running(submitted, 1)
        for pid in training.pids():
            os.kill(pid, signal.SIGKILL)
        training.ended()

        job = training.running(submitted, 2)
        cluster.run("scontrol", "update", "nodename=gpu1", "state=down", "reason=test")
        cluster.kill(job.number)
        until(lambda: not cluster.steps(job.number), "the node to be rid of the job")
        cluster.run("scontrol", "update", "nodename=gpu1", "state=resume", check=False)  # it may have come by itself
        until(cluster.idle, "the node to be up")
        cluster.run(
            "scontrol", "update", f"jobid={job.number}", "StartTime=now", check=False
        )  # it would wait for minutes
        training.driver.end(driver)
    finally:
        driver.kill()
    training.resumed += [int(update) for update in re.findall(r"resumed after update (\d+)", training.log.read_text())]
    assert len(set(training.resumed)) >= 3
    assert sorted(set(training.resumed)) == list(dict.fromkeys(training.resumed))
    assert (training.driver.folder / TRAINED).read_bytes() == undisturbed


@pytest.mark.kills
def test_a_training_past_its_time_limit_goes_on_in_the_next_attempt(cluster, submitted, tmp_path):
    training = Training(cluster, tmp_path, updates=200_000)
    driver = training.driver.start(
        TRAINED, "--retries", "1", "--set-resources", "train_cim:runtime=1", *training.configured
    )
    try:
        training.running(submitted, 0)
        until(lambda: submitted("train_cim")[0].state == "TIMEOUT", "the time limit")
        training.running(submitted, 1)
        os.killpg(driver.pid, signal.SIGINT)
        training.driver.end(driver, status=1)
    finally:
        driver.kill()
    assert len(training.resumed) == 1
    assert training.resumed[0] > 0


@pytest.mark.kills
def test_a_driver_that_is_interrupted_cancels_its_jobs_and_one_that_is_killed_starts_again(
    cluster, submitted, tmp_path, undisturbed
):
    training = Training(cluster, tmp_path)
    first = training.driver.start(TRAINED, *training.configured)
    try:
        training.running(submitted, 0)
        first.send_signal(signal.SIGINT)
        training.driver.end(first, status=1)
    finally:
        first.kill()
    training.ended()
    until(lambda: submitted("train_cim")[0].state == "CANCELLED", "its job to be cancelled")

    second = training.driver.start(TRAINED, *training.configured)
    training.running(submitted, 1)
    second.kill()
    second.wait()
    locked = training.driver.run(TRAINED, *training.configured)
    assert locked.returncode != 0
    assert f"or scancel {submitted('train_cim')[1].number}" in locked.stdout + locked.stderr
    until(lambda: submitted("train_cim")[1].state == "COMPLETED", "the job that outlives its driver")

    third = training.driver.run(TRAINED, *training.configured)
    assert third.returncode == 0, third.stdout + third.stderr
    assert "and are taken away" in third.stdout + third.stderr
    assert len(submitted("train_cim")) == 2, "what was finished was trained again"
    assert training.resumed[0] > 0
    assert (training.driver.folder / TRAINED).read_bytes() == undisturbed
