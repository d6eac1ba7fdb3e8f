"""A method is a folder, a rule file and a name in one list: a toy method runs through the graph with no other file changed."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.inspection.gallery_page import GalleryPage
from tests.pipeline.conftest import ROOT, planned, snakemake

NEW = Path(__file__).with_name("new_method")
TARGETS = ("all", "exports")


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """A copy of the project with the method added as docs/adding_a_method.md says, and its toy run done."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("stages", "rules", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(NEW / "mean_colour", folder / "stages" / "mean_colour")
    shutil.copy(NEW / "mean_colour.smk", folder / "rules")
    shutil.copy(NEW / "run.yaml", folder)
    methods = folder / "stages" / "project" / "methods.py"
    text = methods.read_text()
    assert text.count('"mask_rcnn")') == 1
    methods.write_text(text.replace('"mask_rcnn")', '"mask_rcnn", "mean_colour")'))
    done = snakemake(folder, "-c2", *TARGETS, "--configfile", "run.yaml", source=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_training_prediction_and_evaluation_of_the_run_and_of_its_part(extended):
    results = extended / "results" / "toy"
    for run in ("colours", "colours/wide", "again", "again/wide"):
        metrics = json.loads((results / run / "val" / "metrics.json").read_text())
        assert (metrics["run"], metrics["method"], metrics["supervision"]) == (run, "mean_colour", "image tags")
        assert metrics["n_predictions"] > 0
    assert not list(results.rglob("cues")) and not list(results.rglob("proposals"))


def test_comparison_names_all_parts_and_the_settings_that_differ(extended):
    text = (extended / "results" / "toy" / "comparison.md").read_text()
    for run in ("| colours |", "| colours/wide |", "| again |", "| again/wide |"):
        assert run in text
    assert "| mean_colour.predict.distance | 60.0 | 40.0 |" in text
    assert "colours/train_mean_colour" in text


def test_the_gallery_shows_the_predictions_of_the_run_and_of_its_part(extended):
    page = GalleryPage(extended / "results" / "toy" / "colours" / "gallery" / "index.html")
    assert "Method mean_colour" in page.text
    assert len(page.rows) == 3  # inspection.images of the test's configuration
    assert {"predictions", "predictions, wide"} <= set(page.titles())


def test_exports_and_a_packed_model_that_segments_new_images(extended, tmp_path, monkeypatch):
    results = extended / "results" / "toy"
    for run in ("colours", "colours/wide"):
        assert json.loads((results / run / "val" / "exports" / "coco.json").read_text())["annotations"]
    model = results / "colours" / "model"
    assert "Mean colour (nobody, nowhere): takes the pixels near" in (model / "README.md").read_text()
    assert not (results / "colours" / "wide" / "model").exists()
    overlay = yaml.safe_load((model / "segment.yaml").read_text())
    assert overlay["runs"]["colours"]["mean_colour"] == {"predict": {"distance": 40.0, "use_tags": False}}
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(next((results / "colours" / "val" / "exports" / "overlays").glob("*.jpg")), images)
    monkeypatch.setenv("TAGMASK_MODEL", str(model))
    monkeypatch.setenv("TAGMASK_IMAGES", str(images))
    jobs = planned(
        tmp_path, "segment", "--configfile", str(NEW / "run.yaml"), str(model / "segment.yaml"), source=extended
    )
    assert {job.rule for job in jobs if job.rule.endswith("mean_colour")} == {"predict_mean_colour"}


def test_the_rest_of_the_project_is_as_it_was(extended):
    """Without a run of it, the new method needs no section and changes no job."""
    before = {(job.rule, job.outputs) for job in planned(extended.parent, source=ROOT)}
    assert {(job.rule, job.outputs) for job in planned(extended.parent, source=extended)} == before
