"""The readers of other programs read what is exported: datumaro, Label Studio, FiftyOne, supervision, ultralytics.

They want other versions of NumPy and OpenCV than tagmask, so they live in an environment of their own, which
`make test-importers` sets up from envs/importers.txt. TAGMASK_IMPORTERS names another Python that has them.
"""

import json
import os
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.exports.export_coco import export_coco
from stages.exports.export_cvat import export_cvat
from stages.exports.export_label_studio import export_label_studio
from stages.exports.export_voc import export_voc
from stages.exports.export_yolo import export_yolo
from stages.exports.settings import LabelStudioExportSettings
from tests.exports.conftest import SIZE, rectangle, ring

DATUMARO_COCO = """
from datumaro.components.dataset import Dataset
found = {}
for item in Dataset.import_from(sys.argv[1], "coco_instances"):
    found[item.id] = [[type(a).__name__, a.attributes.get("score")] for a in item.annotations]
    if item.id == "a":
        found["ring"] = sum(int(a.get_area()) for a in item.annotations if type(a).__name__ != "Bbox" and a.group == 1)
"""
DATUMARO_VOC = """
from datumaro.components.annotation import AnnotationType
from datumaro.components.dataset import Dataset
data = Dataset.import_from(sys.argv[1], "voc_instance_segmentation")
names = [label.name for label in data.categories()[AnnotationType.label]]
found = {item.id: [[names[a.label], int(a.image.sum())] for a in item.annotations] for item in data}
"""
LABEL_STUDIO = """
from label_studio_sdk.converter.imports.coco import convert_coco_to_ls
convert_coco_to_ls(sys.argv[1], sys.argv[2])
found = {}
for task in json.load(open(sys.argv[2])):
    shapes = [shape for shape in task["annotations"][0]["result"] if shape["type"] == "polygonlabels"]
    name = task["data"]["image"].split("=")[-1]
    found[name] = [[shape["value"]["polygonlabels"][0], len(shape["value"]["points"])] for shape in shapes]
"""
FIFTYONE = """
import fiftyone.utils.coco as coco
importer = coco.COCODetectionDatasetImporter(data_path=sys.argv[1], labels_path=sys.argv[2], label_types="segmentations")
found = {}
with importer:
    for path, size, labels in importer:
        seen = labels.detections if labels is not None else []
        found[path.split("/")[-1]] = [[d.label, d.confidence, int(d.mask.sum())] for d in seen]
"""
# Masks are compared where they are read; `wanted` holds the masks (N, H, W) of each image.
COMPARE = """
import numpy as np
wanted = np.load(sys.argv[1])
def iou(image, masks):
    pairs = zip(wanted[image], [np.asarray(mask, bool) for mask in masks], strict=True)
    return [float((a & b).sum() / (a | b).sum()) for a, b in pairs]
"""
YOLO_BY_SUPERVISION = (
    COMPARE
    + """
import supervision
folder = sys.argv[2]
data = supervision.DetectionDataset.from_yolo(
    f"{folder}/images/val", f"{folder}/labels/val", f"{folder}/data.yaml", force_masks=True)
found = {"classes": data.classes}
for path, detections in data.annotations.items():
    image = path.split("/")[-1].rsplit(".", 1)[0]
    some = len(detections) > 0
    found[image] = [detections.class_id.tolist(), iou(image, detections.mask)] if some else [[], []]
"""
)
YOLO_BY_ULTRALYTICS = (
    COMPARE
    + """
sys.path.append(sys.argv[3])  # torch is tagmask's own
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset, polygon2mask
info = check_det_dataset(f"{sys.argv[2]}/data.yaml")
found = {"classes": list(info["names"].values())}
for label in YOLODataset(img_path=info["train"], data=info, task="segment", augment=False, imgsz=64).labels:
    image = label["im_file"].split("/images/val/")[-1].rsplit(".", 1)[0]
    height, width = label["shape"]
    lines = [(shares * np.array([width, height], np.float32)).reshape(-1) for shares in label["segments"]]
    masks = [polygon2mask((height, width), [line]) for line in lines]
    found[image] = [label["cls"].reshape(-1).astype(int).tolist(), iou(image, masks)]
"""
)
BRUSH_BY_LABEL_STUDIO = (
    COMPARE
    + """
from urllib.parse import unquote
from label_studio_sdk.converter.brush import decode_rle
from label_studio_sdk.label_interface import LabelInterface
interface = LabelInterface(open(f"{sys.argv[2]}/label_config.xml", encoding="utf-8").read())
interface.validate()
found = {"classes": list(interface.get_control("mask").labels), "errors": []}
for task in json.load(open(f"{sys.argv[2]}/tasks.json", encoding="utf-8")):
    prediction = task["predictions"][0]
    found["errors"] += interface.validate_prediction(prediction, return_errors=True)
    shapes = [(r["value"], r["original_height"], r["original_width"]) for r in prediction["result"]]
    masks = [decode_rle(value["rle"]).reshape(height, width, 4)[..., 3] == 255 for value, height, width in shapes]
    image = unquote(task["data"]["image"].split("=")[-1].rsplit(".", 1)[0])
    classes = [found["classes"].index(value["brushlabels"][0]) for value, _, _ in shapes]
    found[image] = [classes, iou(image, masks)]
"""
)
CVAT_BY_DATUMARO = (
    COMPARE
    + """
from datumaro.components.annotation import AnnotationType
from datumaro.components.dataset import Dataset
data = Dataset.import_from(sys.argv[2], "cvat")
found = {"classes": [label.name for label in data.categories()[AnnotationType.label]], "scores": {}}
for item in data:
    found[item.id] = [[a.label for a in item.annotations], iou(item.id, [a.image for a in item.annotations])]
    found["scores"][item.id] = [float(a.attributes["score"]) for a in item.annotations]
"""
)


@pytest.fixture
def importer(tmp_path):
    """A function that runs a script under the importers' Python and gives what it called `found`."""
    if "TAGMASK_IMPORTERS" not in os.environ:
        pytest.skip("needs readers of other programs: make test-importers")

    def run(script: str, *arguments: Path) -> Any:
        text = f"import json, sys\n{script}\nprint('found', json.dumps(found))"
        command = [os.environ["TAGMASK_IMPORTERS"], "-c", text, *map(str, arguments)]
        home = {"HOME": str(tmp_path), "FIFTYONE_DO_NOT_TRACK": "1", "YOLO_OFFLINE": "true", "PATH": os.environ["PATH"]}
        done = subprocess.run(command, capture_output=True, text=True, env=home)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.rpartition("found ")[2])

    return run


@pytest.mark.parametrize("form", ["polygons", "rle"])
def test_cvat_reads_coco(split, coco_form, importer, form):
    folder = split.folder / "set"
    (folder / "images").mkdir(parents=True)
    export_coco(**split.write(), output=folder / "annotations" / "instances_val.json", settings=coco_form(form))
    found = importer(DATUMARO_COCO, folder)
    scores = {name: sorted({score for _, score in shapes}) for name, shapes in found.items() if name != "ring"}
    assert scores == {"a": [0.1, 0.5, 0.9], "b": [0.25], "sub/c": []}
    assert found["ring"] == ring().sum()


def test_cvat_reads_voc_with_its_own_classes(split, selection, importer):
    export_voc(**split.write(), output=split.folder / "voc", settings=selection(top_k=1))
    found = importer(DATUMARO_VOC, split.folder / "voc")
    assert found == {"a": [["cat", ring().sum()]], "b": [["dog", SIZE[0] * SIZE[1]]], "sub/c": []}


def test_label_studio_reads_polygons_a_shape_a_part(split, coco_form, importer):
    export_coco(**split.write(), output=split.folder / "coco.json", settings=coco_form("polygons"))
    found = importer(LABEL_STUDIO, split.folder / "coco.json", split.folder / "tasks.json")
    assert [name for name, _ in found["a.png"]] == ["cat", "cat", "dog", "dog"]
    assert found["b.png"] == [["dog", 4]]


@pytest.mark.parametrize("form", ["polygons", "rle"])
def test_fiftyone_reads_masks_and_scores(split, coco_form, importer, form):
    images = split.folder / "images"
    for image in split.paths:
        (images / image).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(images / f"{image}.png")
    export_coco(**split.write(), output=split.folder / "coco.json", settings=coco_form(form))
    found = importer(FIFTYONE, images, split.folder / "coco.json")
    assert [entry[:2] for entry in found["a.png"]] == [["cat", 0.9], ["dog", 0.5], ["dog", 0.1]]
    assert found["a.png"][0][2] == ring().sum()


@pytest.fixture
def named(split):
    """The split with images on disk, odd names, and masks with holes; and a file of the masks by image."""
    split.classes = ["a|b <c>: #1", "line\nbreak"]
    split.on_disk({"a b": "a b.png", "ü#x": "ü#x.png", "none": "none.png"})
    holed = rectangle(2, 20, 3, 25) & ~rectangle(6, 15, 8, 20)
    split.predicted["a b"] = ([holed, rectangle(0, 12, 0, 16), rectangle(5, 6, 31, 32)], [0, 1, 1], [0.9, 0.5, 0.1])
    wanted = {image: np.array(masks) for image, (masks, _, _) in split.predicted.items()}
    np.savez(split.folder / "wanted.npz", **wanted)
    return split


def assert_exact(found: dict[str, Any], split) -> None:
    """All masks of all images pixel by pixel, with their classes."""
    for image, (_, classes, _) in split.predicted.items():
        assert found[image] == [classes, [1.0] * len(classes)]


@pytest.mark.parametrize("script", [YOLO_BY_SUPERVISION, YOLO_BY_ULTRALYTICS], ids=["supervision", "ultralytics"])
def test_yolo_labels_are_exact_masks_of_every_image(named, yolo_form, importer, script):
    export_yolo(**named.write(), output=named.folder / "yolo", settings=yolo_form())
    found = importer(script, named.folder / "wanted.npz", named.folder / "yolo", Path(sysconfig.get_path("purelib")))
    assert found["classes"] == named.classes
    assert_exact(found, named)


def test_ultralytics_finds_labels_in_subfolders_and_bridges_cost_little(split, yolo_form, importer):
    split.predicted["sub/c"] = split.predicted["b"]
    masks = {image: np.array(masks) for image, (masks, _, _) in split.predicted.items()}
    np.savez(split.folder / "wanted.npz", **masks)
    export_yolo(**split.write(), output=split.folder / "yolo", settings=yolo_form())
    arguments = (split.folder / "wanted.npz", split.folder / "yolo", Path(sysconfig.get_path("purelib")))
    found = importer(YOLO_BY_ULTRALYTICS, *arguments)
    assert found["sub/c"] == [[1], [1.0]]
    assert found["a"][1][0] == pytest.approx(ring().sum() / (ring().sum() + 3))
    assert found["a"][1][1:] == [1.0, 1.0]


def test_label_studio_decodes_its_brush_masks(named, selection, importer):
    settings = LabelStudioExportSettings(selection=selection(), form={"image_prefix": "/data/local-files/?d="})
    export_label_studio(**named.write(), output=named.folder / "ls", settings=settings)
    found = importer(BRUSH_BY_LABEL_STUDIO, named.folder / "wanted.npz", named.folder / "ls")
    assert (found["classes"], found["errors"]) == (named.classes, [])
    assert_exact(found, named)


def test_datumaro_reads_the_xml_of_cvat(named, selection, importer):
    folder = named.folder / "cvat"
    export_cvat(**named.write(), output=folder, settings=selection())
    (folder / "images").symlink_to(named.root)
    found = importer(CVAT_BY_DATUMARO, named.folder / "wanted.npz", folder)
    assert found["classes"] == named.classes
    assert found["scores"] == {image: scores for image, (_, _, scores) in named.predicted.items()}
    assert_exact(found, named)


@pytest.fixture
def exported(named, selection, yolo_form):
    """Folder in which the exports lie where docs/exports.md says."""
    place = named.folder / "results" / "shapes" / "cim" / "val" / "exports"
    brush = LabelStudioExportSettings(selection=selection(), form={"image_prefix": "/data/local-files/?d="})
    paths = named.write()
    export_yolo(**paths, output=place / "yolo", settings=yolo_form())
    export_label_studio(**paths, output=place / "label_studio", settings=brush)
    export_cvat(**paths, output=place / "cvat", settings=selection())
    (place / "cvat" / "images").symlink_to(named.root)
    return named.folder


@pytest.mark.parametrize("name", ["supervision", "label_studio_sdk", "datumaro"])
def test_what_the_page_says_to_run_gives_every_mask(exported, importer, project_root, name):
    blocks = re.findall(r"```python\n(.*?)```", (project_root / "docs" / "exports.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if name in block]
    count = "found = sum(len(some) for some in masks.values() if some is not None)"
    assert importer(f"import os\nos.chdir(sys.argv[1])\n{block}\n{count}", exported) == 4
