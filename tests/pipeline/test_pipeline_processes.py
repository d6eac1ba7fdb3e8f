"""Several processes of one training, as `gpus` asks for them: here on CPUs, by the very shell lines of the rules."""

import re

import pytest
import yaml

from stages.classifier.settings import ClassifierTrainingSettings
from stages.classifier.train_classifier import train_classifier
from stages.core.networks.weights import read_metadata, read_weights
from stages.core.workflow.environment import launcher
from tests.pipeline.conftest import ROOT, snakemake

TOY = ROOT / "tests" / "pipeline" / "toy.yaml"
TWO = {
    "gpus": 2,
    "threads": 2,
    # Without Adam, which makes a whole step of what is rounding noise in a gradient of zero.
    "defaults": {"training": {"accumulate": 2, "optimizer": "sgd", "learning_rate": 0.05}},
    "classifier": {"cam": {"train": {"backbone": {"norm": "train"}, "training": {"steps": 3}}}},
}


@pytest.fixture
def overlay(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text(yaml.safe_dump(TWO))
    return path


def test_one_process_needs_no_launcher():
    assert launcher(0, 4) == launcher(1, 4) == "python -m"


def test_slurm_gets_threads_for_every_process(tmp_path, overlay):
    """A training has the threads of all its processes, and each process is told its own share."""
    target = "results/toy/classifier/cam/weights.safetensors"
    done = snakemake(tmp_path, "-n", "-p", "-c16", target, "--configfile", str(TOY), str(overlay))
    assert done.returncode == 0, done.stdout + done.stderr
    (block,) = [part for part in re.split(r"\n(?=rule )", done.stdout) if part.startswith("rule train_classifier:")]
    assert "    threads: 4\n" in block
    assert "gpu=2" in block
    assert (
        "OMP_NUM_THREADS=2 torchrun --standalone --nproc-per-node=2 -m -- stages.classifier.train_classifier" in block
    )


def test_two_processes_train_the_network_of_one(tmp_path, overlay, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    folder = tmp_path / "results" / "toy" / "classifier" / "cam"
    target = "results/toy/classifier/cam/weights.safetensors"
    done = snakemake(tmp_path, "-c2", target, "--configfile", str(TOY), str(overlay))
    assert done.returncode == 0, done.stdout + done.stderr
    log = (tmp_path / "results" / "toy" / "logs" / "train_classifier.cam.log").read_text()
    assert "training on cpu, precision 32-true, 2 process(es)" in log
    metadata = read_metadata(folder / "weights.safetensors")
    train_classifier(
        images=tmp_path / "results" / "toy" / "train" / "images.h5", output_weights=tmp_path / "w.safetensors",
        output_curves=tmp_path / "c.json", output_plot=tmp_path / "c.png",
        settings=ClassifierTrainingSettings(**metadata["settings"]), device="cpu",
    )  # fmt: skip
    two, one = read_weights(folder / "weights.safetensors"), read_weights(tmp_path / "w.safetensors")
    trained = [name for name in one if "running" not in name and "batches" not in name]
    worst = max((two[name] - one[name]).abs().max().item() for name in trained)
    assert worst < 1e-5
