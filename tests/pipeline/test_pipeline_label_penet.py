"""Label-PEnet through the graph: its chain of modules, what a change reruns, and the pages and exports of its run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.storage import read
from stages.label_penet.settings import MODULES
from tests.inspection.gallery_page import GalleryPage
from tests.pipeline.conftest import ROOT, planned, snakemake

OVERLAYS = ("toy.yaml", "toy_label_penet.yaml")
RUN = "results/toy/label_penet"
TARGETS = (
    *(f"{RUN}/{part}val/metrics.json" for part in ("", "detection/", "detection_finetuned/")),
    f"{RUN}/gallery/index.html",
    f"{RUN}/val/exports/coco.json",
    f"{RUN}/model/README.md",
)
AFTER_FINETUNING = {"train_label_penet", "predict_label_penet", "evaluate_instances", "build_gallery", "export_coco"}


@pytest.fixture(scope="module")
def folder(project: Path, tmp_path_factory) -> Path:
    """A folder in which the targets are made, on images, proposals and classifier of the toy run."""
    folder = tmp_path_factory.mktemp("label_penet")
    for name in ("results", ".snakemake/metadata"):
        shutil.copytree(project / name, folder / name)
    for name in OVERLAYS:
        shutil.copy(ROOT / "tests" / "pipeline" / name, folder)
    done = snakemake(folder, "-c2", *TARGETS, "--configfile", *OVERLAYS)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def reruns(folder: Path, overlay: str) -> set[tuple[str, str]]:
    """Rules that would run now, with the module of those that are run for each."""
    (folder / "overlay.yaml").write_text(overlay)
    jobs = planned(folder, *TARGETS, "--configfile", *OVERLAYS, "overlay.yaml")
    modules = [next((name for name in MODULES if f"/{name}" in job.outputs[0]), "") for job in jobs]
    cascaded = {"pretrain_module", "propagate_labels", "report_masks"}
    return {(job.rule, name if job.rule in cascaded else "") for job, name in zip(jobs, modules, strict=True)}


def test_every_module_has_an_artifact_of_its_own_and_nothing_is_left_to_do(folder):
    for module in MODULES:
        assert (folder / RUN / module / "network" / "curves.png").is_file()
    for module in MODULES[:-1]:
        with read(folder / RUN / f"{module}_labels" / "train.h5", ModuleLabels) as labels:
            assert (labels.header["module"], labels.header["supervision"]) == (module, "image tags")
    for part in ("", "/detection", "/detection_finetuned"):
        metrics = json.loads((folder / f"{RUN}{part}" / "val" / "metrics.json").read_text())
        assert (metrics["method"], metrics["run"]) == ("label_penet", f"label_penet{part}")
        assert metrics["boxes"] and metrics["semantic"]
    assert reruns(folder, "{}") == set()


def test_the_gallery_shows_the_labels_of_each_module(folder):
    page = GalleryPage(folder / RUN / "gallery" / "index.html")
    assert len(page.rows) == 5
    titles = page.titles()
    for module in MODULES[:-1]:
        assert f"{module}: labels" in titles
    assert titles.count("predictions") == 1


def test_a_modules_labels_rerun_what_comes_after_it(folder):
    changed = "label_penet: {labels: {refinement: {score_threshold: 0.6}}}"
    later = {(rule, "") for rule in AFTER_FINETUNING}
    assert reruns(folder, changed) >= {("propagate_labels", "refinement"), ("pretrain_module", "segmentation")} | later
    untouched = {("propagate_labels", "detection"), ("pretrain_module", "refinement"), ("train_classifier", "")}
    assert not reruns(folder, changed) & untouched


def test_fine_tuning_reruns_no_module_and_prediction_no_training(folder):
    finetuned = {rule for rule, _ in reruns(folder, "label_penet: {finetune: {overlap: 0.6}}")}
    assert finetuned >= AFTER_FINETUNING and "pretrain_module" not in finetuned
    predicted = {rule for rule, _ in reruns(folder, "label_penet: {predict: {top_k: 2}}")}
    assert predicted == {"predict_label_penet", "evaluate_instances", "build_gallery", "export_coco", "pack_model"}


def test_mask_rcnn_is_trained_on_the_runs_own_masks(folder):
    (folder / "overlay.yaml").write_text("runs: {label_penet: {retrain: mask_rcnn}}")
    jobs = planned(folder, f"{RUN}/mask_rcnn/val/instances.h5", "--configfile", *OVERLAYS, "overlay.yaml")
    (pseudo,) = [job for job in jobs if job.rule == "make_pseudo_masks"]
    assert f"{RUN}/train/instances.h5" in pseudo.inputs
    assert {job.rule for job in jobs} == {
        "predict_label_penet", "make_pseudo_masks", "train_mask_rcnn", "predict_mask_rcnn"
    }  # fmt: skip


def test_a_packed_cascade_segments_new_images(folder, tmp_path, monkeypatch):
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 80, 3), np.uint8)).save(images / "new.png")
    monkeypatch.setenv("TAGMASK_MODEL", str(folder / RUN / "model"))
    monkeypatch.setenv("TAGMASK_IMAGES", str(images))
    model = folder / RUN / "model" / "segment.yaml"
    done = snakemake(tmp_path, "-c2", "segment", "--configfile", str(model))
    assert done.returncode == 0, done.stdout + done.stderr
    (coco,) = tmp_path.glob("results/*/label_penet/*/exports/coco.json")
    assert [image["file_name"] for image in json.loads(coco.read_text())["images"]] == ["new.png"]
