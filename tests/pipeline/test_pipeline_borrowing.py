"""A second project starts from what a first one has made, in its own folder, which it leaves as it is."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.pipeline.conftest import planned, snakemake

TARGET = "results/toy/comparison.md"
FILES = ["--configfile", "../toy.yaml", "overlay.yaml"]
OVERLAY = """
runs: {cim: null, bestie: null}
evaluation: {corloc: false}
borrow:
  proposals: {heg: ../results/toy}
  classifier: {cam: ../results/toy/}
"""
BORROWED = ("train/proposals/heg.h5", "val/proposals/heg.h5", "classifier/cam/weights.safetensors")


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def second(project: Path) -> Path:
    """A project that borrows proposals and classifier of the toy run, beside its results."""
    folder = project / "second"
    folder.mkdir()
    (folder / "overlay.yaml").write_text(OVERLAY)
    before = digests(project / "results")
    done = snakemake(folder, "-c2", TARGET, *FILES, source=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert digests(project / "results") == before
    return folder


def test_nothing_that_is_borrowed_is_made_again(second):
    logs = second / "results" / "toy" / "logs"
    assert {path.name.split(".")[0] for path in logs.rglob("*.log")} == {
        "list_images", "list_boxes", "borrow_artifact", "find_cues", "retrieve_prm", "evaluate_instances",
        "chart_instances", "compare_runs",
    }  # fmt: skip


def test_results_are_those_of_a_project_that_has_made_all_itself(project, second):
    for path in (*BORROWED, "val/images.h5", "val/cues/cam.h5", "prm/val/instances.h5", "prm/val/charts.json"):
        found, expected = (folder / "results" / "toy" / path for folder in (second, project))
        assert found.read_bytes() == expected.read_bytes(), path


def test_reports_say_where_it_comes_from(second):
    text, page = ((second / TARGET).with_suffix(suffix).read_text() for suffix in (".md", ".html"))
    for path in BORROWED:
        note = json.loads((second / "results" / "toy" / f"{path}.borrowed.json").read_text())
        assert note["from"] == f"../results/toy/{path}"
        for report in (text, page):
            assert f"{note['from']} ({note['sha256'][:12]})" in report
    assert "| train_classifier | - |" in text  # settings are the same


def test_what_the_first_project_makes_anew_is_borrowed_anew_with_all_that_stands_on_it(project, second):
    assert planned(second, TARGET, *FILES, source=project) == []
    lent = project / "results" / "toy" / "val" / "proposals" / "heg.h5"
    before = lent.read_bytes()
    lent.write_bytes((project / "results" / "toy" / "train" / "proposals" / "heg.h5").read_bytes())
    try:
        jobs = planned(second, TARGET, *FILES, source=project)
    finally:
        lent.write_bytes(before)
    assert {job.rule for job in jobs} == {
        "borrow_artifact", "retrieve_prm", "evaluate_instances", "chart_instances", "compare_runs"
    }  # fmt: skip


def test_nothing_of_the_first_project_is_deleted(project, second):
    done = snakemake(second, "-n", TARGET, "--delete-all-output", *FILES, source=project)
    said = done.stdout + done.stderr
    assert "results/toy/prm/val/instances.h5" in said
    assert "../results" not in said


def test_a_project_does_not_borrow_from_itself(tmp_path):
    (tmp_path / "results" / "shapes").mkdir(parents=True)
    (tmp_path / "overlay.yaml").write_text(f"borrow: {{proposals: {{heg: {tmp_path}/results/shapes}}}}")
    done = snakemake(tmp_path, "-n", "--configfile", "overlay.yaml")
    assert done.returncode != 0
    assert "the results of this project; name those of another" in done.stdout + done.stderr


EVERY_STAGE = """
runs: {cim: {retrain: none, cim: {train: {backbone: {weights: none}}}}, label_penet: null}
borrow:
  cues: {cam: first}
  semantics: {cam: first}
  labels: {cim/cluster_labels: first}
  networks: {bestie: first}
  instances: {prm: first}
"""


def test_what_any_stage_makes_can_be_borrowed(tmp_path, graph_of):
    lent = {
        *(f"{split}/{path}" for split in ("train", "val") for path in ("cues/cam.h5", "semantics/cam.h5")),
        *(f"cim/cluster_labels/{split}.h5" for split in ("train", "val")),
        *(f"prm/{split}/instances.h5" for split in ("train", "val")),
        "bestie/network/weights.safetensors",
    }
    for path in (*lent, "train/images.h5", "val/images.h5"):
        (tmp_path / "first" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "first" / path).touch()
    jobs = graph_of(EVERY_STAGE)
    makers = {path: job.rule for job in jobs for path in job.outputs}
    needed = {path for path in lent if f"results/shapes/{path}" in makers}
    assert lent - needed == set()
    assert {makers[f"results/shapes/{path}"] for path in needed} == {"borrow_artifact"}
    assert {job.rule for job in jobs} & {
        "find_cues", "train_classifier", "label_pixels", "train_semantics", "predict_semantics", "label_clusters",
        "transfer_semantics", "train_bestie", "retrieve_prm",
    } == set()  # fmt: skip
    assert {"train_cim", "predict_bestie"} <= {job.rule for job in jobs}
