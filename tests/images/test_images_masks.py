"""Masks of own images and of VOC: one bit a pixel, JSON of other names and categories, class maps that count otherwise."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.images.test_images_voc import xml

Save = Callable[..., None]
CLASSES = ["square", "disc"]
NAMES = ("a.png", "day1/1.png", "day2/1.png")
MASK = np.zeros((6, 8), bool)
MASK[1:4, 2:7] = True
OUTLINE = [[2, 1, 7, 1, 7, 4, 2, 4]]


@pytest.fixture
def images(tmp_path: Path, save: Save) -> Path:
    for name in NAMES:
        save(tmp_path / "images" / name, np.zeros((6, 8, 3), np.uint8))
    return tmp_path / "images"


def splits(images: Path, masks: Path) -> dict[str, Any]:
    return {"train": {"images": str(images), "tags": None, "masks": str(masks), "points": None}}


def write_maps(folder: Path, mode: str, value: int = 1) -> Path:
    folder.mkdir()
    numbers = MASK * np.array(255 if mode == "1" else value, np.uint16 if mode == "I;16" else np.uint8)
    Image.fromarray(numbers).convert(mode).save(folder / "a.png")
    (folder / "instances.csv").write_text(f"image,instance,class\na,{value},square\n")
    return folder


@pytest.mark.parametrize(("mode", "value"), [("1", 1), ("L", 1), ("L", 200), ("I;16", 300)])
def test_maps_of_any_depth_are_numbers(mode: str, value: int, tmp_path: Path, images: Path, listing: Any) -> None:
    maps = write_maps(tmp_path / "maps", mode, value)
    with listing("folder", classes=CLASSES, splits=splits(images, maps)) as made:
        np.testing.assert_array_equal(made.ground_truth.find("a").regions.masks(), [MASK])
        assert made.ground_truth.find("a").annotation_ids.tolist() == [value]


def test_maps_in_colour_stay_refused(tmp_path: Path, images: Path, refused: Any) -> None:
    maps = write_maps(tmp_path / "maps", "RGB")
    refused(r"a\.png holds colours \(mode RGB\)", "folder", classes=CLASSES, splits=splits(images, maps))


def coco(path: Path, names: list[str], categories: dict[int, str], used: int = 1, **changes: Any) -> Path:
    data = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
        "annotations": [
            {"id": i, "image_id": i, "category_id": used, "segmentation": OUTLINE, "bbox": [2, 1, 5, 3]} | changes
            for i in range(len(names))
        ],
    }
    path.write_text(json.dumps(data))
    return path


@pytest.mark.parametrize(
    ("names", "known"),
    [
        (["a.png", "day1/1.png"], ["a", "day1/1"]),
        (["day1\\1.png", "day2\\1.png"], ["day1/1", "day2/1"]),
        (["day2/1.jpg"], ["day2/1"]),
        (["C:\\images\\day2\\1.png"], ["day2/1"]),
        (["a"], ["a"]),
        (["a.png", "1.png"], ["a"]),  # no folder is left out where other names have theirs
    ],
)
def test_json_masks_are_found_by_path(
    names: list[str], known: list[str], tmp_path: Path, images: Path, listing: Any
) -> None:
    masks = coco(tmp_path / "masks.json", names, {1: "square"})
    with listing("folder", classes=CLASSES, splits=splits(images, masks)) as made:
        assert [record.image for record in made.ground_truth if record.annotated] == known


def test_json_masks_of_two_images_are_refused(tmp_path: Path, images: Path, refused: Any) -> None:
    masks = coco(tmp_path / "masks.json", ["1.png"], {1: "square"})
    message = r"masks\.json: '1\.png' may be the image day1/1\.png or day2/1\.png"
    refused(message, "folder", classes=CLASSES, splits=splits(images, masks))


def test_unused_categories_are_left_out_and_used_ones_must_be_classes(
    tmp_path: Path, images: Path, listing: Any, refused: Any, caplog: Any
) -> None:
    caplog.set_level("INFO")
    masks = coco(tmp_path / "masks.json", ["a.png"], {0: "shapes", 1: "square"})
    with listing("folder", classes=CLASSES, splits=splits(images, masks)) as made:
        assert made.images.header["classes"] == CLASSES
        assert made.ground_truth.find("a").classes.tolist() == [0]
    assert "no annotation is of the categories shapes, which are left out" in caplog.text
    masks = coco(tmp_path / "masks.json", ["a.png"], {0: "shapes", 1: "square"}, used=0)
    message = "annotations of categories that are not among images.classes: shapes; add them"
    refused(message, "folder", classes=CLASSES, splits=splits(images, masks))


def test_json_masks_are_held_against_their_entries(
    tmp_path: Path, images: Path, listing: Any, refused: Any, caplog: Any
) -> None:
    masks = coco(tmp_path / "masks.json", ["a.png"], {1: "square"}, segmentation=[[0, 0, 0, 1, 1, 1]])
    refused("annotation 0: its mask has 1 pixel in", "folder", classes=CLASSES, splits=splits(images, masks))
    masks = coco(tmp_path / "masks.json", ["a.png"], {1: "square"}, segmentation=[])
    with listing("folder", classes=CLASSES, splits=splits(images, masks)) as made:
        assert not made.ground_truth.find("a").annotated
    assert "1 images have entries without a mask" in caplog.text


def write_voc(root: Path, save: Save, shown: list[int], named: list[str]) -> Path:
    """A VOC in which image i has one instance of category `shown[i]` in its map and `named[i]` in its XML."""
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "Annotations").mkdir()
    for i, (category, name) in enumerate(zip(shown, named, strict=True)):
        save(root / "JPEGImages" / f"{i}.jpg", np.zeros((6, 8, 3), np.uint8))
        save(root / "SegmentationObject" / f"{i}.png", MASK.astype(np.uint8))
        save(root / "SegmentationClass" / f"{i}.png", MASK.astype(np.uint8) * category)
        (root / "Annotations" / f"{i}.xml").write_text(xml((name, 1)))
    (root / "ImageSets/Segmentation/train.txt").write_text("\n".join(map(str, range(len(shown)))))
    return root


def test_class_maps_that_count_on_their_own_stop(tmp_path: Path, save: Save, refused: Any) -> None:
    root = write_voc(tmp_path / "VOC", save, [1, 2, 1], ["cat", "dog", "cat"])
    message = (
        "3 of 3 classes that SegmentationClass shows .* not named by the image's XML file; .*\n  0: the map shows "
    )
    refused(f"(?s){message}aeroplane, 0.xml names cat", "voc", root=root, classes=["cat", "dog"])


def test_one_class_that_an_xml_file_lacks_is_a_warning(tmp_path: Path, save: Save, listing: Any, caplog: Any) -> None:
    root = write_voc(tmp_path / "VOC", save, [8, 12, 8], ["cat", "cat", "cat"])
    with listing("voc", root=root) as made:
        assert len(made.ground_truth[1].classes) == 1
    assert "1 of 3 classes that SegmentationClass shows" in caplog.text
    assert "1: the map shows dog, 1.xml names cat" in caplog.text


def test_maps_and_xml_files_that_agree_are_not_worth_a_word(
    tmp_path: Path, save: Save, listing: Any, caplog: Any
) -> None:
    root = write_voc(tmp_path / "VOC", save, [8, 12], ["cat", "dog"])
    with listing("voc", root=root):
        pass
    assert "SegmentationClass" not in caplog.text
