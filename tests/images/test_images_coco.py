"""COCO JSON: polygons and RLE, crowds, ids, and its bad input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_masks

Save = Callable[..., None]
CROWD = np.zeros((4, 6), bool)
CROWD[3] = True
COMPRESSED = np.zeros((4, 6), bool)
COMPRESSED[:2, 4:] = True


def annotations() -> dict[str, Any]:
    counts = [3] + [1, 3] * 5 + [1]  # column-major: the last pixel of each column of four
    packed = coco_masks.encode(np.asfortranarray(COMPRESSED.astype(np.uint8)))
    square = {"id": 11, "image_id": 42, "category_id": 7, "iscrowd": 0, "segmentation": [[1, 1, 3, 1, 3, 3, 1, 3]]}
    crowd = {
        "id": 12,
        "image_id": 42,
        "category_id": 1,
        "iscrowd": 1,
        "segmentation": {"size": [4, 6], "counts": counts},
    }
    rle = {"size": [4, 6], "counts": packed["counts"].decode()}
    ignored = {"id": 13, "image_id": 42, "category_id": 7, "iscrowd": 0, "ignore": 1, "segmentation": rle}
    return {
        "images": [
            {"id": 42, "file_name": "b.jpg", "height": 4, "width": 6},
            {"id": 5, "file_name": "a.jpg", "height": 4, "width": 6},
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [square, crowd, ignored],
    }


@pytest.fixture
def coco(tmp_path: Path, save: Save) -> Path:
    root = tmp_path / "coco"
    for name in ("a", "b"):
        save(root / "train" / f"{name}.jpg", np.zeros((4, 6, 3), np.uint8))
    (root / "train.json").write_text(json.dumps(annotations()))
    return root


def test_instances_ids_crowds_and_ignored_are_kept(coco: Path, listing: Any) -> None:
    with listing("coco", root=coco) as made:
        assert made.images.header["classes"] == ["person", "dog"]  # in order of their ids
        assert made.images.header["category_ids"] == [1, 7]
        assert (made.images.header["negatives"], made.images.header["unknown"]) == (1, 0)
        assert made.images.ids == ["42", "5"]
        assert [image.path for image in made.images] == ["train/b.jpg", "train/a.jpg"]
        assert made.images.find("42").tags.tolist() == [True, True]
        ground_truth = made.ground_truth.find("42")
        assert ground_truth.annotation_ids.tolist() == [11, 12, 13]
        assert ground_truth.classes.tolist() == [1, 0, 1]
        assert ground_truth.crowd.tolist() == [False, True, False]
        assert ground_truth.difficult.tolist() == [False, False, True]
        square = np.zeros((4, 6), bool)
        square[1:3, 1:3] = True
        np.testing.assert_array_equal(ground_truth.regions.masks(), [square, CROWD, COMPRESSED])
        assert made.points.find("42").classes.tolist() == [1, 1]  # a crowd has no point
        assert made.ground_truth.find("5").annotated
        assert len(made.ground_truth.find("5").classes) == 0


def test_classes_select_and_crowds_tag_by_setting(coco: Path, listing: Any) -> None:
    with listing("coco", root=coco, crowd_tags=False) as made:
        assert made.images[0].tags.tolist() == [False, True]
    with listing("coco", root=coco, classes=["dog"]) as made:
        assert made.images.header["category_ids"] == [7]
        assert made.ground_truth[0].annotation_ids.tolist() == [11, 13]


def test_a_list_without_annotations_is_unknown_and_not_annotated(coco: Path, listing: Any) -> None:
    # COCO's test sets come as image_info files: images and categories only.
    data = annotations()
    del data["annotations"]
    (coco / "train.json").write_text(json.dumps(data))
    with listing("coco", root=coco) as made:
        assert (made.images.header["negatives"], made.images.header["unknown"]) == (0, 2)
        assert not any(ground_truth.annotated for ground_truth in made.ground_truth)


def test_boxes_without_segmentation_give_tags_but_no_masks(coco: Path, listing: Any) -> None:
    data = annotations()
    del data["annotations"][0]["segmentation"]
    (coco / "train.json").write_text(json.dumps(data))
    with listing("coco", root=coco) as made:
        assert made.images[0].tags.all()
        assert not made.ground_truth[0].annotated


def test_an_annotation_without_area_is_kept_empty(coco: Path, listing: Any) -> None:
    data = annotations()
    data["annotations"][0]["segmentation"] = []
    (coco / "train.json").write_text(json.dumps(data))
    with listing("coco", root=coco) as made:
        assert made.ground_truth[0].regions.areas().tolist() == [0, 6, 4]
        assert made.points[0].classes.tolist() == [1]


def change(*keys: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def edit(data: Any) -> None:
        for key in keys[:-1]:
            data = data[key]
        data[keys[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(change("annotations", 0, "category_id", value=9), "annotation 11 tags category 9", id="category"),
        pytest.param(change("annotations", 0, "image_id", value=9), "annotation 11 is of image 9, which", id="image"),
        pytest.param(change("images", 0, "height", value=5), "image 42 is 5x6 pixels .* image is 4x6", id="image size"),
        pytest.param(
            change("annotations", 2, "segmentation", "size", value=[6, 4]),
            r"annotation 13 .*size is \[6, 4\]",
            id="mask size",
        ),
        pytest.param(
            change("annotations", 1, "segmentation", "counts", value=[3, 1]),
            "annotation 12 .*sum to 4, expected",
            id="counts",
        ),
        pytest.param(
            change("annotations", 0, "segmentation", value=[[1, 1, 2, 2]]), "annotation 11 .*corners", id="box"
        ),
        pytest.param(change("annotations", 0, "segmentation", value=[["x"] * 6]), "annotation 11 .*mend it", id="text"),
        pytest.param(change("images", 1, "id", value=42), "images names 42 more than once", id="image id twice"),
        pytest.param(change("images", 1, "file_name", value="b.jpg"), "names b.jpg more than once", id="file twice"),
        pytest.param(change("images", 1, "file_name", value="/etc/a.jpg"), "not a path inside", id="absolute path"),
        pytest.param(change("images", 1, value={"id": 3}), "entry of images lacks id or file_name", id="no file name"),
        pytest.param(change("categories", 0, "name", value="person"), "names person more than once", id="name twice"),
        pytest.param(change("images", value=[]), "lists no images", id="no images"),
        pytest.param(lambda data: data.pop("categories"), "has no categories", id="no categories"),
    ],
)
def test_bad_json_is_named_with_a_remedy(
    coco: Path, refused: Any, edit: Callable[[dict[str, Any]], Any], message: str
) -> None:
    data = annotations()
    edit(data)
    (coco / "train.json").write_text(json.dumps(data))
    refused(rf"train\.json.*{message}|{message}", "coco", root=coco)


def test_missing_and_broken_files_are_named(coco: Path, refused: Any) -> None:
    (coco / "train.json").write_text("{")
    refused(r"train\.json is not JSON", "coco", root=coco)
    (coco / "train.json").unlink()
    refused(r"train\.json does not exist; set the path of the annotations", "coco", root=coco)


def test_real_images(real_data: Path, tmp_path: Path, listing: Any) -> None:
    root = real_data / "data" / "coco_mini"
    data = json.loads((root / "annotations/instances_val2017.json").read_text())
    data["images"] = data["images"][:6]
    kept = {image["id"] for image in data["images"]}
    data["annotations"] = [a for a in data["annotations"] if a["image_id"] in kept]
    (tmp_path / "few.json").write_text(json.dumps(data))
    files = {"images": "val2017", "annotations": str(tmp_path / "few.json")}
    with listing("coco", "val", root=root, splits={"val": files}) as made:
        assert len(made.images.header["classes"]) == 80
        assert max(made.images.header["category_ids"]) == 90
        areas = {a["id"]: a["area"] for a in data["annotations"] if not a["iscrowd"]}
        for ground_truth in made.ground_truth:
            for number, area in zip(ground_truth.annotation_ids, ground_truth.regions.areas(), strict=True):
                if number in areas:
                    # The official area is the polygon's, not that of its pixels.
                    assert area == pytest.approx(areas[number], rel=0.05, abs=30)
        assert sum(len(ground_truth.classes) for ground_truth in made.ground_truth) == len(data["annotations"])
