"""Several processes of one training, as `gpus` asks for them: here on CPUs, by the very shell lines of the rules."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from stages.classifier.settings import ClassifierTrainingSettings
from stages.classifier.train_classifier import train_classifier
from stages.core.networks.weights import read_metadata, read_weights
from stages.core.workflow.environment import launcher
from tests.pipeline.conftest import ROOT, snakemake
from tests.pipeline.trainers import MODULES, prepare, train_all

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


def test_one_node_is_started_as_ever():
    assert launcher(1, 4, nodes=1) == "python -m"
    assert launcher(2, 4, nodes=1) == launcher(2, 4)


def test_a_training_over_nodes_is_planned_anywhere_and_started_on_slurm_alone(tmp_path, overlay, monkeypatch):
    """Prediction stays one process."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    four = tmp_path / "four.yaml"
    four.write_text(yaml.safe_dump({"nodes": 2, "defaults": {"training": {"accumulate": 4}}}))
    configured = ("--configfile", str(TOY), str(overlay), str(four))
    planned = snakemake(tmp_path, "-n", "-p", "-c16", "results/toy/val/cues/cam.h5", *configured)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    blocks = {part.split(":")[0]: part for part in re.split(r"\n(?=rule )", planned.stdout)}
    training, prediction = blocks["rule train_classifier"], blocks["rule find_cues"]
    assert "    threads: 4\n" in training
    assert "gres=gpu:2, nodes=2" in training
    assert "gpu=" not in training
    line = "OMP_NUM_THREADS=2 python -m stages.core.workflow.nodes --nodes=2 --processes=2 --cpus=4 --"
    assert f"{line} stages.classifier.train_classifier --images" in training
    assert "gpu=1" in prediction
    assert "nodes=" not in prediction
    assert "Shell command: python -m stages.classifier.find_cues" in prediction

    refused = snakemake(tmp_path, "-c1", "results/toy/classifier/cam/weights.safetensors", *configured)
    assert refused.returncode != 0
    assert "nodes is 2, but nothing starts train_classifier on several nodes here" in refused.stdout + refused.stderr
    assert not (tmp_path / "results" / "toy" / "train").exists(), "what comes before a training ran"
    listed = snakemake(tmp_path, "-c1", "results/toy/train/images.h5", *configured)
    assert listed.returncode == 0, listed.stdout + listed.stderr


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


TRAINERS = [
    "classifier", "semantics", "cim", "bestie", "mask_rcnn", *(f"label_penet_{module}" for module in MODULES),
    "label_penet", "core",
]  # fmt: skip
LEARNING = ("classifier", "semantics", "bestie", "core")  # whose batch norms learn
# Its passes predict labels by the running statistics of the passes before them, of which a process has seen its own:
# some pixels of a label differ. All other trainers differ by the rounding of sums alone. In BESTIE's instance decoder
# that moves, on some processors, an activation over zero.
CLOSE = {"label_penet": {"rtol": 0.02, "atol": 0.002}, "bestie": {"rtol": 0.02, "atol": 0.005}}
ROUNDING = {"rtol": 1e-4, "atol": 1e-6}
FILE = {"core": "w.safetensors"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """Folders of all trainers' results, by one process and by two that share each update's four passes."""
    folder = tmp_path_factory.mktemp("trainers")
    prepare(folder / "inputs")
    command = shlex.split(launcher(2, 1).partition(" ")[2])
    command = [str(Path(sys.executable).parent / command[0]), *command[1:], "tests.pipeline.trainers"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    two = subprocess.Popen(
        [*command, str(folder / "inputs"), str(folder / "two")], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    train_all(folder / "inputs", folder / "one")
    said, _ = two.communicate(timeout=300)
    assert two.returncode == 0, said
    return folder / "one", folder / "two"


def weights(folder: Path, trainer: str) -> dict:
    return read_weights(folder / trainer / FILE.get(trainer, "weights.safetensors"))


@pytest.mark.parametrize("trainer", TRAINERS)
def test_two_processes_give_parameters_and_statistics_of_one(trained, trainer):
    one, two = (weights(folder, trainer) for folder in trained)
    assert one.keys() == two.keys()
    for name, value in one.items():
        if value.is_floating_point():
            assert torch.allclose(two[name], value, **CLOSE.get(trainer, ROUNDING)), name
        else:
            assert torch.equal(two[name], value), name


@pytest.mark.parametrize("trainer", LEARNING)
def test_the_statistics_that_are_compared_have_learned(trained, trainer):
    """Else the comparison would hold for statistics that nobody touched."""
    one = weights(trained[0], trainer)
    counts = [value for name, value in one.items() if name.endswith("num_batches_tracked")]
    assert max(int(count) for count in counts) >= 12  # 3 updates of 4 passes
    assert any(bool(value.abs().max() > 0) for name, value in one.items() if name.endswith("running_mean"))


@pytest.mark.parametrize("trainer", TRAINERS)
def test_curves_are_the_means_of_all_processes(trained, trainer):
    name = "c.json" if trainer == "core" else "curves.json"
    one, two = (json.loads((folder / trainer / name).read_text())["intervals"] for folder in trained)
    assert [point["step"] for point in one] == [point["step"] for point in two]
    for alone, shared in zip(one, two, strict=True):
        limit = CLOSE.get(trainer, ROUNDING)
        assert shared["losses"] == pytest.approx(alone["losses"], rel=limit["rtol"], abs=limit["atol"])
        assert shared["rate"] == alone["rate"]


def test_a_checkpoint_is_set_aside_once_and_before_others_look(trained):
    folder = trained[1] / "aside"
    (left,) = (folder / "checkpoint").glob("checkpoint.*.pt")
    assert left.name != "checkpoint.pt"
    assert (folder / "w.safetensors").read_bytes() == (trained[1] / "core" / "w.safetensors").read_bytes()


def test_a_signal_to_one_process_stops_all_and_the_next_start_goes_on(trained):
    """The worker has asserted the message, and where the second start began."""
    stopped, whole = (trained[1] / name / "w.safetensors" for name in ("stopped", "core"))
    assert stopped.read_bytes() == whole.read_bytes()
