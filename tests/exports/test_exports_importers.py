"""The importers of CVAT (datumaro), Label Studio and FiftyOne read what is exported.

They want other versions of NumPy and OpenCV than tagmask, so they live in an environment of their own:

    python -m venv importers && importers/bin/pip install datumaro label-studio-sdk fiftyone
    TAGMASK_IMPORTERS=importers/bin/python python -m pytest tests/exports/test_exports_importers.py
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.exports.export_coco import export_coco
from stages.exports.export_voc import export_voc
from tests.exports.conftest import SIZE, ring

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


@pytest.fixture
def importer(tmp_path):
    """A function that runs a script under the importers' Python and gives what it called `found`."""
    if "TAGMASK_IMPORTERS" not in os.environ:
        pytest.skip("needs the importers: set TAGMASK_IMPORTERS to a Python that has them (see the head of this file)")

    def run(script: str, *arguments: Path) -> Any:
        text = f"import json, sys\n{script}\nprint('found', json.dumps(found))"
        command = [os.environ["TAGMASK_IMPORTERS"], "-c", text, *map(str, arguments)]
        home = {"HOME": str(tmp_path), "FIFTYONE_DO_NOT_TRACK": "1", "PATH": os.environ["PATH"]}
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
