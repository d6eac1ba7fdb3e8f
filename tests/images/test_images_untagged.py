"""Images without a tag: somebody looked and none of the classes is in them, or nobody looked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Save = Callable[..., None]
PIXELS = np.zeros((4, 6, 3), np.uint8)
BOX = {"bbox": [1, 1, 2, 2], "segmentation": [[1, 1, 3, 1, 3, 3]], "area": 4, "iscrowd": 0}
XML = "<annotation>{}</annotation>"
OBJECT = "<object><name>{}</name><difficult>{}</difficult></object>"


@pytest.fixture
def images(tmp_path: Path, save: Save) -> Path:
    for name in ("a", "b", "c"):
        save(tmp_path / "images" / f"{name}.jpg", PIXELS)
    return tmp_path / "images"


def folder(images: Path, tags: str) -> dict[str, Any]:
    (images.parent / "tags.csv").write_text(tags)
    files = {"images": str(images), "tags": str(images.parent / "tags.csv"), "masks": None, "points": None}
    return {"splits": {"train": files}, "classes": ["cat", "dog"]}


def coco(images: Path, *annotations: dict[str, Any], **keys: Any) -> dict[str, Any]:
    listed = [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate("abc")]
    data = {"images": listed, "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "cow"}]}
    entries = [{"id": i, "image_id": i} | BOX | entry for i, entry in enumerate(annotations)]
    (images.parent / "train.json").write_text(json.dumps(data | {"annotations": entries}))
    splits = {"train": {"images": "images", "annotations": "train.json"}}
    return {"root": images.parent, "splits": splits, "classes": ["cat"]} | keys


def voc(images: Path, *objects: str, **keys: Any) -> dict[str, Any]:
    root = images.parent / "VOC"
    for name in ("ImageSets/Segmentation", "Annotations"):
        (root / name).mkdir(parents=True)
    images.rename(root / "JPEGImages")
    (root / "ImageSets/Segmentation/train.txt").write_text("a\nb\nc\n")
    for name, found in zip("abc", objects, strict=True):
        (root / "Annotations" / f"{name}.xml").write_text(XML.format(found))
    return {"root": root, "classes": ["cat"]} | keys


KINDS = {  # each: a cat, something else or nothing, and an image of which the case says why nothing is known
    "folder": (lambda images: folder(images, "image,tags\na,cat\nb,\nc,;\n"), [1, -1, -1]),
    "folder, a row per tag": (lambda images: folder(images, "image,tag\na,cat\nb,\nc,dog\n"), [1, -1, 1]),
    "coco": (lambda images: coco(images, {"category_id": 1}, {"category_id": 2}), [1, -1, -1]),
    "coco, a crowd that tags nothing": (
        lambda images: coco(images, {"category_id": 1}, {"category_id": 1, "iscrowd": 1}, crowd_tags=False), [1, 0, -1],
    ),
    "voc": (lambda images: voc(images, OBJECT.format("cat", 0), OBJECT.format("cow", 0), ""), [1, -1, -1]),
    "voc, a difficult object that tags nothing": (
        lambda images: voc(images, OBJECT.format("cat", 0), OBJECT.format("cat", 1), "", difficult_tags=False), [1, 0, -1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("untagged", ["negative", "unknown"])
@pytest.mark.parametrize("case", KINDS)
def test_an_image_without_the_classes_is_negative_or_unknown_by_setting(
    images: Path, listing: Any, caplog: Any, case: str, untagged: str
) -> None:
    caplog.set_level("INFO")
    options, wanted = KINDS[case][0](images), np.array(KINDS[case][1])  # 1: tagged, -1: none of the classes, 0: unknown
    with listing(case.split(",")[0], untagged=untagged, **options) as made:
        tagged = [image.tags.any() for image in made.images]
        looked_at = made.images.column("looked_at")
        header, ids = made.images.header, np.array(made.images.ids)
    np.testing.assert_array_equal(tagged, wanted == 1)
    np.testing.assert_array_equal(looked_at, wanted != 0 if untagged == "negative" else wanted == 1)
    assert (header["negatives"], header["unknown"]) == ((looked_at & ~np.array(tagged)).sum(), (~looked_at).sum())
    negatives = ", ".join(ids[(wanted == -1) & (untagged == "negative")])
    assert (f"show none of the classes: {negatives}" in caplog.text) == bool(negatives)
    unknown = ", ".join(ids[~looked_at])
    assert (f"say nothing and are not trained on: {unknown}" in caplog.text) == bool(unknown)


@pytest.mark.parametrize("untagged", ["negative", "unknown"])
def test_without_a_file_of_tags_nobody_looked(images: Path, listing: Any, untagged: str) -> None:
    options = folder(images, "") | {
        "splits": {"train": {"images": str(images), "tags": None, "masks": None, "points": None}}
    }
    with listing("folder", untagged=untagged, **options) as made:
        assert (made.images.header["negatives"], made.images.header["unknown"]) == (0, 3)
        assert not made.images.column("looked_at").any()


def test_the_setting_takes_one_of_two_words(settings_of: Any) -> None:
    with pytest.raises(ValueError, match="untagged\n.*'negative' or 'unknown'"):
        settings_of("shapes", untagged="background")
