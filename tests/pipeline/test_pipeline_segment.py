"""New images with finished weights: the graph, and the whole way from a trained run to masks of a folder."""

import contextlib
import io
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO

from stages.images.folder import PngMasks
from stages.images.settings import ChosenImages
from stages.images.shapes import Shapes
from stages.project.overlays import merged
from stages.project.packing import pack_settings
from stages.project.project import load_files
from tests.pipeline.conftest import ROOT, snakemake

TRAINING = {
    "train_classifier", "find_cues", "label_clusters", "train_cim", "take_points", "make_pseudo_masks", "train_mask_rcnn",
    "label_pixels", "train_semantics", "transfer_semantics", "train_bestie", "pretrain_module", "propagate_labels",
    "train_label_penet",
}  # fmt: skip
BROUGHT = "runs: {prm: null, bestie: null, label_penet: null, cim: {retrain: none, trained: {network: %s}}}"
BESTIE = "runs: {prm: null, cim: null, label_penet: null, bestie: {retrain: %s, trained: {network: %s}}}"
RETRAINED = (
    "runs: {prm: null, bestie: null, label_penet: null, "
    "cim: {retrain: mask_rcnn, trained: {network: %s, mask_rcnn: %s}}}"
)
RUNS = ("cim", "cim/mask_rcnn", "bestie", "prm", "label_penet")  # and not its modules
EXPORTS = {"export_coco", "export_ids", "export_overlays", "segment"}


@pytest.fixture
def weights(tmp_path) -> Path:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"")
    return path


def test_segment_names_masks_of_every_run_and_evaluate_split(graph_of):
    jobs = graph_of("{}", "segment")
    wanted = {path for job in jobs if job.rule == "segment" for path in job.inputs}
    files = {"coco.json", "overlays", "ids"}
    assert wanted == {f"results/shapes/{run}/val/exports/{file}" for run in RUNS for file in files}
    assert not {job.rule for job in jobs} & {"evaluate_instances", "build_gallery", "export_voc", "pack_model"}


def test_exports_name_everything_and_results_where_ids_are_official(graph_of, tmp_path, monkeypatch):
    found = {job.rule for job in graph_of("{}", "exports")}
    forms = {"coco", "voc", "yolo", "label_studio", "cvat"}
    assert {f"export_{form}" for form in forms} | {f"export_pseudo_{form}" for form in forms} <= found
    assert {"export_ids", "export_overlays", "pack_model"} <= found
    assert "export_results" not in found
    coco = f"images: {{kind: coco, name: coco, coco: {{root: {tmp_path}}}}}"
    assert "export_results" in {job.rule for job in graph_of(coco, "exports")}


def test_all_makes_no_exports(whole_graph):
    names = {job.rule for job in whole_graph}
    assert not {name for name in names if name.startswith(("export", "draw_", "pack_", "segment"))}


def test_with_brought_weights_nothing_is_trained_and_they_are_read(graph_of, weights):
    jobs = graph_of(BROUGHT % weights, "segment")
    names = {job.rule for job in jobs}
    assert names == {"list_images", "generate_proposals", "merge_proposals", "predict_cim"} | EXPORTS
    assert not [job for job in jobs if any(path.endswith("ground_truth.h5") for path in job.inputs)]
    (predict,) = [job for job in jobs if job.rule == "predict_cim"]
    assert str(weights) in predict.inputs


@pytest.mark.parametrize(
    ("overlay", "converts", "trains"),
    [
        pytest.param(BROUGHT, "convert_cim", "train_cim", id="CIM"),
        pytest.param(BESTIE.replace("%s", "none", 1), "convert_bestie", "train_bestie", id="BESTIE"),
        pytest.param("classifier: {pam: {trained: %s}}", "convert_classifier", None, id="PAM"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_an_official_code_is_converted_and_not_trained(graph_of, tmp_path, overlay, converts, trains):
    checkpoint = tmp_path / "model_step44999.pth"
    checkpoint.touch()
    jobs = graph_of(overlay % checkpoint)
    conversions = [job for job in jobs if job.rule.startswith("convert_")]
    assert [job.rule for job in conversions] == [converts]
    assert trains not in {job.rule for job in jobs}
    for job in conversions:
        weights, card = job.outputs
        assert str(checkpoint) in job.inputs
        assert card == weights.replace("weights.safetensors", "README.md")
        assert [other for other in jobs if weights in other.inputs]


def test_a_classifier_that_brings_our_weights_is_not_trained(graph_of, weights):
    jobs = graph_of(f"{{runs: {{bestie: null, prm: null}}, classifier: {{cam: {{trained: {weights}}}}}}}")
    assert {"train_classifier", "convert_classifier"}.isdisjoint(job.rule for job in jobs)
    readers = {job.rule for job in jobs if str(weights) in job.inputs}
    assert {"find_cues", "train_cim"} <= readers  # and the backbone that starts from it


def test_a_brought_network_of_bestie_needs_images_alone(graph_of, weights):
    jobs = graph_of(BESTIE % ("none", weights), "segment")
    assert {job.rule for job in jobs} == {"list_images", "predict_bestie"} | EXPORTS
    (predict,) = [job for job in jobs if job.rule == "predict_bestie"]
    assert set(predict.inputs) == {str(weights), "results/shapes/val/images.h5"}


def test_a_mask_rcnn_can_be_trained_on_masks_of_a_brought_network_of_bestie(graph_of, weights):
    overlay = BESTIE % ("mask_rcnn", weights) + "\nmask_rcnn: {train: {backbone: {weights: none}}}"
    names = {job.rule for job in graph_of(overlay, "segment")}
    assert names & TRAINING == {"make_pseudo_masks", "train_mask_rcnn"}


def test_a_packed_network_of_bestie_segments_with_images_alone(graph_of, tmp_path, monkeypatch):
    """The overlay that `pack_model` writes, but for the classes."""
    (tmp_path / "weights.safetensors").write_bytes(b"")
    (tmp_path / "images").mkdir()
    monkeypatch.setenv("TAGMASK_MODEL", str(tmp_path))
    monkeypatch.setenv("TAGMASK_IMAGES", str(tmp_path / "images"))
    project = load_files(ROOT / "config.yaml")
    names = {"runs": list(project.runs), "splits": ["train", "val"]}
    overlay = pack_settings(project, "bestie", code={}, **names).overlay
    jobs = graph_of(yaml.safe_dump(merged(overlay, {"images": {"classes": ["disc", "star"]}})), "segment")
    assert {job.rule for job in jobs} == {"list_images", "predict_bestie"} | EXPORTS


def test_a_brought_mask_rcnn_needs_images_alone(graph_of, weights):
    jobs = graph_of(RETRAINED % ("null", weights), "segment")
    assert {job.rule for job in jobs} == {"list_images", "predict_mask_rcnn"} | EXPORTS
    (predict,) = [job for job in jobs if job.rule == "predict_mask_rcnn"]
    assert str(weights) in predict.inputs


def test_a_mask_rcnn_can_be_trained_on_masks_of_a_brought_network(graph_of, weights):
    names = {job.rule for job in graph_of(RETRAINED % (weights, "null"), "segment")}
    assert {"predict_cim", "make_pseudo_masks", "train_mask_rcnn", "predict_mask_rcnn"} <= names
    assert "train_cim" not in names


def test_a_brought_network_of_label_penet_needs_images_and_is_measured_by_module(graph_of, weights):
    brought = f"runs: {{prm: null, bestie: null, cim: null, label_penet: {{trained: {{network: {weights}}}}}}}"
    assert {job.rule for job in graph_of(brought, "segment")} == {"list_images", "predict_label_penet"} | EXPORTS
    jobs = graph_of(brought, "evaluation")
    assert not {job.rule for job in jobs} & TRAINING
    measured = {job.outputs[0].split("/val/")[0] for job in jobs if job.rule == "evaluate_instances"}
    parts = ("", "/classification_finetuned", "/detection_finetuned", "/refinement_finetuned")
    assert measured == {f"results/shapes/label_penet{part}" for part in parts}


def test_with_brought_weights_a_labelled_data_set_is_still_measured(graph_of, weights):
    names = {job.rule for job in graph_of(BROUGHT % weights)}
    assert {"evaluate_instances", "compare_runs"} <= names
    assert not names & TRAINING


def test_weights_below_results_of_another_data_set_are_read_and_not_made(graph_of, tmp_path):
    for name in ("network", "model"):
        path = tmp_path / "results" / "old" / "cim" / name / "weights.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        jobs = graph_of(BROUGHT % path.relative_to(tmp_path), "segment")
        assert not {job.rule for job in jobs} & (TRAINING | {"pack_model"})


def test_missing_weights_stop_before_anything_runs(tmp_path):
    (tmp_path / "overlay.yaml").write_text(BROUGHT % "nowhere.safetensors")
    done = snakemake(tmp_path, "-n", "segment", "--configfile", str(tmp_path / "overlay.yaml"))
    assert done.returncode != 0
    assert "Missing input files for rule predict_cim" in done.stdout + done.stderr
    assert "nowhere.safetensors" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("run", "proposals"),
    [
        ("cim", {"results/shapes/train/proposals/heg.h5"}),
        ("cim/mask_rcnn", {"results/shapes/train/proposals/heg.h5"}),
        ("bestie", set()),
        ("bestie/mask_rcnn", set()),
    ],
)
def test_a_model_is_packed_from_its_network_and_metrics(graph_of, run, proposals):
    jobs = graph_of("runs: {bestie: {retrain: mask_rcnn}}", f"results/shapes/{run}/model/README.md")
    (pack,) = [job for job in jobs if job.rule == "pack_model"]
    assert set(pack.inputs) == proposals | {
        f"results/shapes/{run}/network/weights.safetensors", "results/shapes/train/images.h5",
        f"results/shapes/{run}/val/metrics.json",
    }  # fmt: skip


@pytest.mark.parametrize("run", ["prm", "other"])
def test_what_has_no_network_cannot_be_packed(tmp_path, run):
    done = snakemake(tmp_path, "-n", f"results/shapes/{run}/model/README.md")
    assert done.returncode != 0
    assert "MissingRuleException" in done.stdout + done.stderr


def toy_images(folder: Path) -> None:
    """Three scenes that the toy run has not seen, one of them in a subfolder."""
    project = load_files(ROOT / "config.yaml", ROOT / "tests" / "pipeline" / "toy.yaml")
    chosen = project.images.chosen("val")
    block = chosen.block.model_copy(update={"splits": {"new": 3}})
    scenes = Shapes(ChosenImages(**{**chosen.__dict__, "block": block}), "new")
    (folder / "more").mkdir(parents=True)
    for image, name in zip(scenes.images, ("one.png", "two.png", "more/three.png"), strict=True):
        (folder / name).write_bytes(scenes.embedded(image))


def test_a_packed_model_segments_a_folder_of_new_images_in_a_fresh_clone(rounds, tmp_path, monkeypatch):
    """The whole way, with the network that ranks the proposals: a folder, new images, and the project as it is shipped."""
    model, images, work = tmp_path / "model", tmp_path / "images", tmp_path / "work"
    shutil.copytree(rounds / "fitting" / "model", model)
    maps = rounds / "semantics" / "cam" / "weights.safetensors"
    assert (model / "semantics.safetensors").read_bytes() == maps.read_bytes()
    toy_images(images)
    work.mkdir()
    monkeypatch.setenv("TAGMASK_MODEL", str(model))
    monkeypatch.setenv("TAGMASK_IMAGES", str(images))
    # One shard and an untrained network's low scores are the only changes to the documented command.
    (work / "toy.yaml").write_text("{shards: 1, exports: {predictions: {score_threshold: 0.0, top_k: 5}}}")
    overlays = ["--configfile", str(model / "segment.yaml"), str(work / "toy.yaml")]
    done = snakemake(work, "segment", "-c2", *overlays)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list((work / "results").rglob("network"))  # nothing was trained
    exports = work / "results" / "new_images" / "fitting" / "new" / "exports"
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(exports / "coco.json"))
    assert {entry["file_name"] for entry in coco.imgs.values()} == {"one.png", "two.png", "more/three.png"}
    assert coco.anns
    files = {"one": "one.png", "two": "two.png", "more/three": "more/three.png"}
    names = [coco.cats[i]["name"] for i in sorted(coco.cats)]
    masks = PngMasks(exports / "ids", files, {name: i for i, name in enumerate(names)}, None)
    for image in files:
        with Image.open(exports / "overlays" / f"{image}.jpg") as overlay:
            assert overlay.size == (80, 64)
        assert masks.ground_truth(image, 64, 80) is not None
    # The same network on the same kind of images: what is predicted has the classes that were learned.
    with h5py.File(rounds / "fitting" / "val" / "instances.h5") as trained:
        assert all(name in trained.attrs["header"] for name in names)
    assert np.all([entry["area"] > 0 for entry in coco.anns.values()])
