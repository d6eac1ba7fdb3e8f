"""PNG maps in VOC's form and of instance ids, read back by Pillow and by our own reader of own images."""

import csv

import numpy as np
import pytest
from PIL import Image

from stages.exports.export_ids import export_ids
from stages.exports.export_voc import export_voc
from stages.exports.maps import instance_map, voc_palette
from stages.images.folder import PngMasks
from stages.ops.regions import Regions
from tests.exports.conftest import SIZE, rectangle, ring


def values(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)


def test_where_instances_overlap_the_best_wins_and_hidden_ones_get_no_number():
    masks = np.stack([rectangle(0, 10, 0, 10), rectangle(2, 5, 2, 5), rectangle(0, 12, 5, 20)])
    numbers, visible = instance_map(Regions.from_masks(masks))
    assert visible.tolist() == [0, 2]
    expected = np.where(masks[0], 1, np.where(masks[2], 2, 0))
    np.testing.assert_array_equal(numbers, expected)


def test_a_map_of_nothing_is_background():
    numbers, visible = instance_map(Regions.empty(3, 4))
    assert (numbers.shape, numbers.any(), len(visible)) == ((3, 4), False, 0)


def test_colours_are_those_of_the_development_kit():
    palette = voc_palette()
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    known |= {255: (224, 224, 192)}
    assert {value: tuple(palette[value].tolist()) for value in known} == known


def test_voc_maps_hold_objects_and_their_classes(split, selection):
    export_voc(**split.write(), output=split.folder / "voc", settings=selection())
    folder = split.folder / "voc"
    objects, classes = (values(folder / name / "a.png") for name in ("SegmentationObject", "SegmentationClass"))
    masks, labels, _ = split.predicted["a"]
    expected = np.where(masks[0], 1, np.where(masks[1], 2, np.where(masks[2], 3, 0)))
    np.testing.assert_array_equal(objects, expected)
    np.testing.assert_array_equal(classes, np.array([0, *(label + 1 for label in labels)])[expected])
    assert not values(folder / "SegmentationObject" / "sub" / "c.png").any()
    with Image.open(folder / "SegmentationClass" / "a.png") as image:
        assert (image.mode, image.getpalette()[3:6]) == ("P", [128, 0, 0])
    assert (folder / "ImageSets" / "Segmentation" / "val.txt").read_text().split() == ["a", "b", "sub/c"]
    assert (folder / "labelmap.txt").read_text().splitlines()[1:] == [
        "background:0,0,0::", "cat:128,0,0::", "dog:0,128,0::",
    ]  # fmt: skip


def test_on_voc_classes_have_their_official_numbers(split, selection):
    split.kind, split.category_ids = "voc", [8, 12]
    export_voc(**split.write(), output=split.folder / "voc", settings=selection(top_k=1))
    assert set(np.unique(values(split.folder / "voc" / "SegmentationClass" / "a.png"))) == {0, 8}
    assert "cat:64,0,0::" in (split.folder / "voc" / "labelmap.txt").read_text()


def crowd(split, count: int) -> None:
    """As many instances of one pixel each in image a."""
    masks = [rectangle(i // 32, i // 32 + 1, i % 32, i % 32 + 1) for i in range(count)]
    split.predicted["a"] = (masks, [0] * count, np.linspace(1, 0.5, count).tolist())


def test_more_instances_than_a_byte_holds_are_refused_in_voc_maps_and_leave_nothing(split, selection):
    crowd(split, 255)
    with pytest.raises(ValueError, match=r"'a' has 255 instances, VOC's maps hold 254; lower exports.*top_k"):
        export_voc(**split.write(), output=split.folder / "voc", settings=selection())
    assert not (split.folder / "voc").exists()
    crowd(split, 254)
    export_voc(**split.write(), output=split.folder / "voc", settings=selection())


def test_too_many_classes_for_voc_maps(split, selection):
    split.kind, split.category_ids = "voc", [1, 300]
    with pytest.raises(ValueError, match="do not fit VOC's maps of 1 to 254"):
        export_voc(**split.write(), output=split.folder / "voc", settings=selection())


@pytest.mark.parametrize(("count", "mode"), [(255, "L"), (256, "I;16")])
def test_ids_take_16_bits_where_8_do_not_hold_them(split, selection, count, mode):
    crowd(split, count)
    export_ids(**split.write(), output=split.folder / "ids", settings=selection())
    with Image.open(split.folder / "ids" / "a.png") as image:
        assert image.mode == mode
        assert np.array(image).max() == count


def test_ids_are_masks_that_own_images_can_be_given(split, selection):
    export_ids(**split.write(), output=split.folder / "ids", settings=selection())
    masks = PngMasks(split.folder / "ids", dict.fromkeys(split.paths, ""), {"cat": 0, "dog": 1}, None)
    ground_truth = masks.ground_truth("a", *SIZE)
    assert ground_truth.classes.tolist() == [0, 1, 1]
    np.testing.assert_array_equal(ground_truth.masks[0], ring())
    assert len(masks.ground_truth("sub/c", *SIZE).classes) == 0
    with (split.folder / "ids" / "instances.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == {"image": "a", "instance": "1", "class": "cat", "score": "0.9"}
