"""What profiles/slurm asks of a cluster, told by commands of Slurm's names that only note how they are called."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from tests.pipeline.conftest import ROOT, snakemake

TOY = ROOT / "tests" / "pipeline" / "toy.yaml"
LISTED = "results/toy/train/images.h5"
TRAINED = "results/toy/classifier/cam/weights.safetensors"


@pytest.fixture
def submit(tmp_path):
    """A function that plans a target in a folder of its own, and gives the options of each submission that it tries."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name in ("sbatch", "squeue", "sinfo", "scontrol", "sacct", "scancel"):
        (commands / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> {commands}/calls\nexit 1\n')
        (commands / name).chmod(0o755)

    folder = tmp_path / "elsewhere"
    folder.mkdir()

    def submit(target: str, *arguments: str, **environment: str) -> list[dict[str, str]]:
        command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--directory", str(folder)]
        command += ["--profile", str(ROOT / "profiles" / "slurm"), "--workflow-profile", "none", "--latency-wait", "0"]
        command += ["--retries", "1"]
        command += ["--slurm-init-seconds-before-status-checks", "1", target, "--configfile", str(TOY), *arguments]
        path = f"{commands}:{os.environ['PATH']}"
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PATH": path, **environment}
        )
        assert "SLURM sbatch failed" in done.stdout + done.stderr, done.stdout + done.stderr
        calls = [line for line in (commands / "calls").read_text().splitlines() if line.startswith("sbatch ")]
        return [options(line) for line in calls]

    return submit


def options(line: str) -> dict[str, str]:
    """The options of a submission, before the command that it wraps."""
    words = shlex.split(line.partition("--wrap=")[0])
    pairs = dict(re.fullmatch(r"(--[\w-]+)=(.*)", word).groups() for word in words if re.match(r"--[\w-]+=", word))
    short = {word: words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-p", "-t", "--mem")}
    return pairs | short


def test_partitions_are_found_from_any_folder_and_a_further_attempt_asks_for_more(submit):
    first, second = submit(LISTED)
    assert first["-p"] == second["-p"] == "cpu"
    assert [int(one["--mem"]) for one in (first, second)] == [4000, 6000]
    assert int(second["-t"]) == 1.5 * int(first["-t"])


def test_partitions_of_your_own_win(submit, tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"partitions": {"mine": {"max_runtime": 9999}}}))
    assert {one["-p"] for one in submit(LISTED, SNAKEMAKE_SLURM_PARTITIONS=str(path))} == {"mine"}


def test_a_training_of_several_processes_asks_for_gpus_and_threads_for_all(submit, tmp_path):
    overlay = tmp_path / "two.yaml"
    overlay.write_text(yaml.safe_dump({"gpus": 2, "threads": 3, "defaults": {"training": {"accumulate": 2}}}))
    made = snakemake(tmp_path / "elsewhere", "-c2", LISTED, "--configfile", str(TOY))
    assert made.returncode == 0, made.stdout + made.stderr
    first, second = submit(TRAINED, str(overlay))
    for one in (first, second):
        assert (one["-p"], one["--gpus"], one["--cpus-per-task"]) == ("gpu", "2", "6")


def test_a_training_over_nodes_asks_for_gpus_and_threads_on_each(submit, tmp_path):
    overlay = tmp_path / "four.yaml"
    settings = {"gpus": 2, "nodes": 3, "threads": 3, "defaults": {"training": {"accumulate": 6}}}
    overlay.write_text(yaml.safe_dump(settings))
    made = snakemake(tmp_path / "elsewhere", "-c2", LISTED, "--configfile", str(TOY))
    assert made.returncode == 0, made.stdout + made.stderr
    for one in submit(TRAINED, str(overlay)):
        assert (one["-p"], one["--nodes"], one["--gres"], one["--cpus-per-task"]) == ("gpu", "3", "gpu:2", "6")
        assert "--gpus" not in one
