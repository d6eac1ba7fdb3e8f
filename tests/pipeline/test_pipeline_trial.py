"""A trial on the command line: the same graph, in a folder of its own."""

from pathlib import Path

from tests.pipeline.conftest import Job, planned, snakemake


def shape(graph: list[Job]) -> list[tuple[str, tuple[str, ...]]]:
    """Rules and outputs, without the name of the data set."""
    return sorted((job.rule, tuple(path.replace("shapes-trial6/", "shapes/") for path in job.outputs)) for job in graph)


def test_a_trial_is_the_whole_graph_in_a_folder_of_its_own(tmp_path: Path, whole_graph: list[Job]) -> None:
    trial = planned(tmp_path, "--config", "trial=6")
    assert shape(trial) == shape(whole_graph)
    paths = [path for job in trial for path in (*job.inputs, *job.outputs) if path.startswith("results/")]
    assert paths and all(path.startswith("results/shapes-trial6/") for path in paths)


def test_a_trial_says_so_when_it_starts_and_lists_its_sample(tmp_path: Path) -> None:
    done = snakemake(tmp_path, "-c2", "--config", "trial=6", "--", "results/shapes-trial6/val/images.h5")
    assert done.returncode == 0, done.stderr
    assert "This is a trial: at most 6 images of each split" in done.stdout + done.stderr
    assert "images.sample: 6 of 100 images" in done.stdout + done.stderr
