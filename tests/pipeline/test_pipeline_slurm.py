"""What profiles/slurm asks of a cluster, told by commands of Slurm's names that only note how they are called."""

import os
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from stages.project.resources import GROWTH
from tests.pipeline.conftest import ROOT, snakemake

TOY = ROOT / "tests" / "pipeline" / "toy.yaml"
LISTED = "results/toy/train/images.h5"
TRAINED = "results/toy/classifier/cam/weights.safetensors"


@pytest.fixture
def submit(tmp_path):
    """A function that plans targets in a folder of its own, and gives the options of each submission that it tries."""
    commands = tmp_path / "commands"
    commands.mkdir()
    for name in ("sbatch", "squeue", "sinfo", "scontrol", "sacct", "scancel"):
        (commands / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >> {commands}/calls\nexit 1\n')
        (commands / name).chmod(0o755)

    folder = tmp_path / "elsewhere"
    folder.mkdir()

    def submit(
        targets: str, *arguments: str, said: str = "SLURM sbatch failed", **environment: str
    ) -> list[dict[str, str]]:
        command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--directory", str(folder)]
        command += ["--profile", str(ROOT / "profiles" / "slurm"), "--workflow-profile", "none", "--latency-wait", "0"]
        command += ["--retries", "1"]
        command += ["--slurm-init-seconds-before-status-checks", "1", *targets.split()]
        command += ["--configfile", str(TOY), *arguments]
        path = f"{commands}:{os.environ['PATH']}"
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "PATH": path, **environment}
        )
        assert done.returncode != 0, "no submission can have worked"
        assert said in done.stdout + done.stderr, done.stdout + done.stderr
        calls = [line for line in (commands / "calls").read_text().splitlines() if line.startswith("sbatch ")]
        return [options(line) for line in calls]

    return submit


def options(line: str) -> dict[str, str]:
    """The options of a submission, before the command that it wraps."""
    words = shlex.split(line.partition("--wrap=")[0])
    pairs = dict(re.fullmatch(r"(--[\w-]+)=(.*)", word).groups() for word in words if re.match(r"--[\w-]+=", word))
    short = {word: words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-p", "-t", "--mem", "--comment")}
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


def test_reports_of_a_split_are_one_submission_that_asks_for_what_all_need(submit, tmp_path):
    overlay = tmp_path / "sources.yaml"
    overlay.write_text(yaml.safe_dump({"proposals": {name: {"like": "heg"} for name in "abcde"}}))
    made = [f"results/toy/{split}/proposals/{name}.h5" for split in ("train", "val") for name in "abcde"]
    for path in ("results/toy/train/ground_truth.h5", "results/toy/val/ground_truth.h5", *made):
        (tmp_path / "elsewhere" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "elsewhere" / path).touch()
    reports = " ".join(path.replace(".h5", ".report.json") for path in made)
    # Snakemake drops what its plugin says of a group.
    calls = submit(reports, str(overlay), said="failed: report_proposals")
    assert sorted(one["--comment"] for one in calls) == 2 * ["rule_reports.train_report_proposals"] + 2 * [
        "rule_reports.val_report_proposals"
    ]
    # Five steps of 2000 MB and 120 minutes each, four side by side; half as much more in the second attempt.
    asked = sorted((int(one["--mem"]), int(one["-t"]), one["--cpus-per-task"], one["-p"]) for one in calls)
    assert asked == 2 * [(8000, 240, "4", "cpu")] + 2 * [(12000, 360, "4", "cpu")]


def test_only_small_steps_without_a_gpu_are_grouped_and_no_group_is_larger_than_a_node(tmp_path):
    profile, partitions = (
        yaml.safe_load((ROOT / "profiles" / "slurm" / name).read_text()) for name in ("config.yaml", "partitions.yaml")
    )
    side, node = profile["resources"]["beside"], partitions["partitions"]["cpu"]
    done = snakemake(tmp_path, "-n", "-c4", "all", "exports", "--configfile", str(TOY))
    assert done.returncode == 0, done.stdout + done.stderr
    blocks = [part for part in re.split(r"\n(?=(?:local)?rule )", done.stdout) if part.startswith("rule ")]
    asked = {block.split(":")[0].removeprefix("rule "): block for block in blocks}
    assert set(profile["groups"].values()) == profile["group-components"].keys()
    grouped = profile["groups"].keys() & asked.keys()
    assert len(grouped) >= len(profile["groups"]) - 1, "export_results is of data sets in COCO's format alone"
    for rule in grouped:
        assert "gpu=" not in asked[rule], rule
        assert "    threads:" not in asked[rule], f"{rule} has more than one thread"
        largest = int(re.search(r"mem_mb=(\d+)|mem_mb=<TBD>", asked[rule])[1] or 8000) * GROWTH**2
        beside = min(side, profile["group-components"][profile["groups"][rule]])
        assert beside * largest <= node["max_mem_mb"], rule
    assert side <= node["max_threads"]
