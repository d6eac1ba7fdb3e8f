"""A driver and its jobs are killed, and the same command goes on; docs/reliability.md has what came of fifty kills."""

import json
import os
import signal
import subprocess
import sys

from benchmarks.kill_graph import results_of, steps_of, unlike
from tests.pipeline.conftest import ROOT

TRAINED = "results/toy/classifier/cam/weights.safetensors"
LONGER = "classifier: {cam: {train: {training: {steps: 40, checkpoint_minutes: 1.0e-5}}}}"


def test_a_graph_that_is_killed_again_and_again_comes_to_the_same_files(tmp_path):
    (tmp_path / "longer.yaml").write_text(LONGER)
    done = subprocess.run(
        [
            sys.executable, "-m", "benchmarks.kill_graph", str(tmp_path / "trial"), TRAINED, "--kills", "2", "--seed", "1",
            "--between", "3", "6", "--configfile", "tests/pipeline/toy.yaml", str(tmp_path / "longer.yaml"),
        ],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["killed"] + said["ended before the signal"] == 2
    assert said["differing"] == said["left"] == []
    assert said["files"] >= 4  # images, weights, curves


def test_what_is_unlike_is_seen(tmp_path):
    for name in ("a", "b"):
        folder = tmp_path / name / "results" / "toy"
        (folder / "logs").mkdir(parents=True)
        (folder / "logs" / "step.log").write_text(name)
        (folder / "curves.json").write_text(name)
        (folder / "weights.safetensors").write_text("the same")
    expected, found = (results_of(tmp_path / name) for name in ("a", "b"))
    assert unlike(expected, found) == set()
    (tmp_path / "b" / "results" / "toy" / "weights.safetensors").write_text("others")
    (tmp_path / "b" / "results" / "toy" / "more.h5").touch()
    (tmp_path / "b" / "results" / "toy" / "curves.json").unlink()
    assert unlike(expected, results_of(tmp_path / "b")) == {
        "results/toy/weights.safetensors", "results/toy/more.h5", "results/toy/curves.json"
    }  # fmt: skip


def test_steps_are_found_by_the_group_of_their_processes(tmp_path):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "probe.py").write_text("print('there', flush=True); input()")
    line = f"'{sys.executable}' -m stages.probe; true"
    with subprocess.Popen(
        ["bash", "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path, start_new_session=True
    ) as group:
        group.stdout.readline()
        assert steps_of(group.pid) == ["probe"]
        assert steps_of(os.getpid()) == []
        os.killpg(group.pid, signal.SIGKILL)
