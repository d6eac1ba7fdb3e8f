"""Classes of a COCO data set are one list for all splits, matched by name, whatever numbers the files give them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.images.conftest import make_settings

Save = Callable[..., None]
Categories = dict[int | str, str]
SPLITS = {split: {"images": "images", "annotations": f"{split}.json"} for split in ("train", "val")}
CROSS = {"square": [[1, 1, 3, 1, 3, 3, 1, 3]], "disc": [[0, 0, 5, 0, 5, 2, 0, 2]], "star": [[2, 0, 6, 0, 6, 4]]}


@pytest.fixture
def root(tmp_path: Path, save: Save) -> Path:
    for name in ("a", "b"):
        save(tmp_path / "coco" / "images" / f"{name}.jpg", np.zeros((4, 6, 3), np.uint8))
    return tmp_path / "coco"


def write(root: Path, split: str, categories: list[tuple[Any, str]], tags: list[str], **keys: str) -> None:
    """A file of two images; the first has an annotation of each tag. `keys` gives categories their supercategory."""
    number = {name: category for category, name in categories}
    data = {
        "images": [{"id": i, "file_name": f"{name}.jpg"} for i, name in enumerate("ab")],
        "categories": [
            {"id": category, "name": name} | ({"supercategory": keys[name]} if name in keys else {})
            for category, name in categories
        ],
        "annotations": [
            {"id": i, "image_id": 0, "category_id": number[tag], "segmentation": CROSS[tag]}
            for i, tag in enumerate(tags)
        ],
    }
    (root / f"{split}.json").write_text(json.dumps(data))


def test_splits_that_number_classes_otherwise_have_the_same_classes(root: Path, listing: Any) -> None:
    write(root, "train", [(1, "square"), (2, "disc")], ["square", "disc"])
    write(root, "val", [(1, "disc"), (2, "square")], ["disc"])
    for split, ids, tags, labels in (("train", [1, 2], [True, True], [0, 1]), ("val", [2, 1], [False, True], [1])):
        with listing("coco", split, root=root, splits=SPLITS) as made:
            assert made.images.header["classes"] == ["square", "disc"]
            assert made.images.header["category_ids"] == ids  # each split's own, for export
            assert made.images[0].tags.tolist() == tags
            assert made.ground_truth[0].classes.tolist() == labels


def test_classes_of_the_settings_need_no_other_file(root: Path, listing: Any, caplog: Any) -> None:
    write(root, "val", [(7, "disc"), (9, "square"), (4, "star")], ["disc", "star"])
    with listing("coco", "val", root=root, splits=SPLITS, classes=["square", "disc"]) as made:
        assert made.images.header["category_ids"] == [9, 7]
        assert made.ground_truth[0].classes.tolist() == [1]
    assert "left out" not in caplog.text  # they were chosen


def test_a_class_of_the_settings_must_be_in_the_training_file_alone(root: Path, listing: Any, refused: Any) -> None:
    write(root, "train", [(1, "square"), (2, "disc")], ["disc"])
    write(root, "val", [(1, "disc")], ["disc"])
    with listing("coco", "val", root=root, splits=SPLITS, classes=["square", "disc"]) as made:
        assert made.images.header["classes"] == ["square", "disc"]
        assert made.images.header["category_ids"] == [2, 1]
    refused("names cube, not among the classes of .*train.json", "coco", root=root, splits=SPLITS, classes=["cube"])


def test_a_class_that_a_split_lacks_gets_a_free_id_and_a_word(root: Path, listing: Any, caplog: Any) -> None:
    write(root, "train", [(1, "square"), (2, "disc"), (3, "star")], ["square", "disc", "star"])
    write(root, "val", [(1, "disc"), (3, "square")], ["disc"])
    with listing("coco", "val", root=root, splits=SPLITS) as made:
        assert made.images.header["classes"] == ["square", "disc", "star"]
        assert made.images.header["category_ids"] == [3, 1, 4]
    assert "val.json: no category is called star; no image of this split can have it" in caplog.text


def test_a_class_that_the_training_split_lacks_is_left_out_with_a_word(root: Path, listing: Any, caplog: Any) -> None:
    write(root, "train", [(1, "square"), (2, "disc")], ["square", "disc"])
    write(root, "val", [(1, "disc"), (2, "star"), (3, "square")], ["star", "disc"])
    with listing("coco", "val", root=root, splits=SPLITS) as made:
        assert made.images.header["classes"] == ["square", "disc"]
        assert made.ground_truth[0].classes.tolist() == [1]
    assert "val.json: star are not among the classes of the training split" in caplog.text


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        (
            [(1, "Disc"), (2, "square")],
            r"val\.json has the category 'Disc', where .*train\.json has 'disc'; write both",
        ),
        (
            [(1, "cat"), (2, "dog")],
            r"val\.json has none of the classes of .*train\.json \(square, disc\), but cat, dog",
        ),
    ],
)
def test_splits_of_other_classes_stop(root: Path, categories: Any, message: str, refused: Any) -> None:
    write(root, "train", [(1, "square"), (2, "disc")], ["square"])
    write(root, "val", categories, [])
    data = json.loads((root / "val.json").read_text())
    data["annotations"] = [{"id": 1, "image_id": 0, "category_id": 1, "segmentation": CROSS["disc"]}]
    (root / "val.json").write_text(json.dumps(data))
    refused(message, "coco", "val", root=root, splits=SPLITS)


def test_a_missing_file_of_the_training_split_is_named_with_what_it_is_for(root: Path, refused: Any) -> None:
    write(root, "val", [(1, "disc")], ["disc"])
    message = (
        r"train\.json does not exist; the categories of the training split are the classes of all: .* images\.classes"
    )
    refused(message, "coco", "val", root=root, splits=SPLITS)


def test_headings_are_no_classes_in_any_split(root: Path, listing: Any, caplog: Any) -> None:
    above = {"square": "shapes", "disc": "shapes", "shapes": "none"}
    for split in SPLITS:
        write(root, split, [(0, "shapes"), (1, "square"), (2, "disc")], ["square", "disc"], **above)
        with listing("coco", split, root=root, splits=SPLITS) as made:
            assert made.images.header["classes"] == ["square", "disc"]
            assert made.images.header["category_ids"] == [1, 2]
    assert "the categories shapes only stand above others and have no annotation; they are no classes" in caplog.text


def test_unused_classes_stay_and_are_named(root: Path, listing: Any, caplog: Any) -> None:
    # COCO's person is its own supercategory: no heading, even where no image has one.
    above = {"square": "thing", "disc": "disc", "star": "thing"}
    write(root, "train", [(1, "square"), (2, "disc"), (3, "star")], ["square"], **above)
    with listing("coco", root=root, splits=SPLITS) as made:
        assert made.images.header["classes"] == ["square", "disc", "star"]
    assert "no image of this split is tagged with disc, star: nothing is learned of what no image shows" in caplog.text


def test_categories_may_be_named_by_text(root: Path, listing: Any, caplog: Any) -> None:
    write(root, "train", [("sq", "square"), ("di", "disc")], ["disc"])
    with listing("coco", root=root, splits=SPLITS) as made:
        assert made.images.header["classes"] == ["square", "disc"]
        assert made.images.header["category_ids"] == [1, 2]
        assert made.ground_truth[0].classes.tolist() == [1]
    assert "ids of categories are text; the categories are numbered from 1 on" in caplog.text


def test_a_split_depends_on_its_own_files_and_the_json_of_the_training_split() -> None:
    def chosen(split: str, **names: str) -> Any:
        splits = {
            name: {"images": "images", "annotations": names.get(name, f"{name}.json")}
            for name in ("train", "val", "test")
        }
        return make_settings("coco", root="/data", splits=splits).chosen(split, "train")

    assert list(chosen("val").block.splits) == ["val"]
    assert chosen("val").reference == chosen("train").reference == "train.json"
    assert make_settings("coco", root="/data").chosen("train").reference is None
    assert make_settings("shapes").chosen("val", "train").reference is None
    assert chosen("val") == chosen("val", test="other.json")
    assert chosen("val") != chosen("val", train="other.json")
    assert chosen("train") == chosen("train", val="other.json")
