"""Mistakes as users make them, by the names that docs/troubleshooting.md has: each provokes a message of tagmask.

A mistake is a function of a folder of files (`Case`) that raises what a step would print and stop with.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import timm
import torch
import yaml
from safetensors.torch import save_file

from stages.borrowing.borrow_artifact import borrow_artifact
from stages.borrowing.settings import BorrowedSettings
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.points import Points
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import build_backbone
from stages.core.networks.weights import read_trained, save_tensors
from stages.project.project import load_files
from tests.docs.blocks import ROOT
from tests.pipeline.test_pipeline_cases import OUTLINE, VOC, Case, annotation, own, voc

MISTAKES: dict[str, Callable[[Case], object]] = {}


def mistake(function: Callable[[Case], object]) -> Callable[[Case], object]:
    """Put a function into MISTAKES; its name has spaces in the page."""
    MISTAKES[function.__name__.replace("_", " ")] = function
    return function


def settings(case: Case, text: str) -> object:
    """Read an overlay as Snakemake does."""
    return load_files(ROOT / "config.yaml", case.write("mine.yaml", text))


def tagged(case: Case, rows: str, **more) -> object:
    """List two images with these rows of tags."""
    case.draw("a.jpg", "b.jpg")
    case.write("tags.csv", f"image,tags\n{rows}")
    return case.listed(case.of_folder(classes=["scratch", "dent"], **more))


def annotated(case: Case, entry: dict) -> object:
    """List an image whose COCO JSON has one annotation."""
    case.draw("a.jpg")
    case.coco("train.json", ["a.jpg"], [entry])
    return case.listed(case.of_coco())


@mistake
def key_misspelt(case):
    settings(case, "classifier: {cam: {train: {training: {learning_rat: 0.01}}}}")


@mistake
def variable_not_set(case):
    settings(case, "images: {kind: voc, voc: {root: '${TAGMASK_DATA}/VOCdevkit'}}")


@mistake
def tag_misspelt(case):
    tagged(case, "a.jpg,scratch\nb.jpg,dnet\n")


@mistake
def image_missing(case):
    tagged(case, "a.jpg,scratch\nb.JPG,dent\n")


@mistake
def image_of_another_kind(case):
    case.write("images/c.heic", b"\0\0\0\x18ftypheic")
    tagged(case, "a.jpg,scratch\nc.heic,dent\n")


@mistake
def image_cut_off(case):
    case.draw("c.jpg")
    whole = (case.images / "c.jpg").read_bytes()
    (case.images / "c.jpg").write_bytes(whole[:-200])
    tagged(case, "c.jpg,dent\n")


@mistake
def name_not_in_utf8(case):
    case.draw("a.jpg")
    (case.images / "a.jpg").rename(os.fsdecode(os.fsencode(case.images) + b"/caf\xe9.jpg"))
    case.listed(case.of_folder(tags=None))


@mistake
def unknown_encoding_of_xml(case):
    text = '<?xml version="1.0" encoding="ansi"?>' + VOC[0].format("") + VOC[1].format("cat")
    voc(case, {"2008_000001": text})
    case.listed(case.of_voc())


@mistake
def class_maps_of_your_own(case):
    voc(case, {"2008_000001": VOC[0].format("") + VOC[1].format("cat")}, category=1)
    case.listed(case.of_voc())


@mistake
def coordinate_that_is_none(case):
    annotated(case, annotation(1, 1, [[6, 4, 26, None, 26, 24]]))


@mistake
def category_that_is_not_listed(case):
    annotated(case, annotation(1, 1, [OUTLINE], category=7))


@mistake
def no_proposals_of_an_image(case):
    case.draw("a.jpg", "b.jpg")
    (case.folder / "sam").mkdir()
    case.write("sam/a.json", [{"segmentation": [OUTLINE], "predicted_iou": 0.9, "stability_score": 0.9}])
    case.proposed(case.of_folder(tags=None, **own(case, "sam")))


@mistake
def proposals_cut_off(case):
    case.draw("a.jpg")
    case.write("proposals.json", '[{"image_id": "a", "segmentation": [[6, 4, 26')
    case.proposed(case.of_folder(tags=None, **own(case)))


@mistake
def artifact_damaged(case):
    tagged(case, "a.jpg,scratch\nb.jpg,dent\n")
    path = case.folder / "train" / "images.h5"
    path.write_bytes(path.read_bytes()[:3000])
    with read(path, ImageRecord) as images:
        list(images)


@mistake
def artifact_of_another_kind(case):
    tagged(case, "a.jpg,scratch\nb.jpg,dent\n")
    with read(case.folder / "train" / "images.h5", Points) as points:
        list(points)


@mistake
def weights_of_other_classes(case):
    tagged(case, "a.jpg,scratch\nb.jpg,dent\n")
    metadata = {"step": "train_cim", "settings": {}, "classes": ["dent", "scratch"], "supervision": "image tags"}
    save_tensors(case.folder / "weights.safetensors", {"a": torch.zeros(1)}, metadata)
    read_trained(
        case.folder / "weights.safetensors", step="train_cim", classes=["scratch", "dent"],
        listed=case.folder / "train" / "images.h5",
    )  # fmt: skip


@mistake
def borrowed_from_other_classes(case):
    tagged(case, "a.jpg,scratch\nb.jpg,dent\n")
    metadata = {"step": "train_classifier", "settings": {}, "classes": ["dent", "scratch"], "supervision": "image tags"}
    save_tensors(case.folder / "weights.safetensors", {"a": torch.zeros(1)}, metadata)
    borrow_artifact(
        artifact=case.folder / "weights.safetensors", listed=None, earlier=None,
        images=case.folder / "train" / "images.h5", output=case.folder / "own.safetensors",
        output_note=case.folder / "own.json",
        settings=BorrowedSettings(name="classifier.cam", kind="weights", made_by="train_classifier"),
    )  # fmt: skip


@mistake
def weights_of_another_method(case):
    metadata = {"step": "train_cim", "settings": {}, "classes": ["dent"], "supervision": "image tags"}
    save_tensors(case.folder / "weights.safetensors", {"a": torch.zeros(1)}, metadata)
    read_trained(case.folder / "weights.safetensors", step="train_bestie", classes=["dent"], listed=Path("images.h5"))


def backbone(case: Case, weights: str) -> object:
    """Build the backbone of the demo's classifier as a ResNet-18 with other weights."""
    settings = load_files(ROOT / "config.yaml").classifier["cam"].train.backbone
    chosen = settings.model_copy(update={"name": "resnet18", "weights": weights})
    return build_backbone(chosen)


@mistake
def weights_without_a_network(case):
    with mock.patch.object(timm, "create_model", side_effect=OSError("Network is unreachable")):
        backbone(case, "timm")


@mistake
def weights_that_fit_no_tensor(case):
    save_file({"model.conv1.weight": torch.zeros(1)}, case.folder / "mine.safetensors")
    backbone(case, str(case.folder / "mine.safetensors"))


@mistake
def package_not_installed(case):
    backbone(case, "package:efficientnet-lite0-pytorch-mod")


@mistake
def one_class_for_label_penet(case):
    settings(case, "images: {classes: [disc]}")


@mistake
def points_without_a_classifier(case):
    settings(case, "runs: {cim: {cues: points}}")


@mistake
def run_of_a_source_that_is_not_there(case):
    settings(case, "runs: {cim: {proposals: cob}}")


@mistake
def tiles_without_masks(case):
    folder = {"tiling": {"size": 512, "overlap": 64, "min_share": 0.25}}
    files = {"images": "a", "tags": "tags.csv", "masks": None, "points": None}
    folder["splits"] = {"train": files, "val": files}
    overlay = {"images": {"kind": "folder", "classes": ["dent", "rust"], "folder": folder}}
    settings(case, yaml.safe_dump(overlay | {"splits": {"train": "train.tiles", "evaluate": ["val"]}}))


@mistake
def machine_that_lacks_something(case):
    done = subprocess.run(
        [sys.executable, "-S", str(ROOT / "envs" / "check_machine.py")],
        capture_output=True, text=True, cwd=case.folder, env={"PATH": "", "CXX": "none"},
    )  # fmt: skip
    raise OSError(done.stderr)
