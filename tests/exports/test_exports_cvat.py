""" "CVAT for images 1.1", parsed as XML and decoded as its description says."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest

from stages.exports.export_cvat import export_cvat
from tests.exports.conftest import SIZE, rectangle


def decoded(mask: ElementTree.Element, height: int, width: int) -> np.ndarray:
    """A mask element as pixels of the image: runs of outside and inside in turn along the rows of its box."""
    left, top, wide, high = (int(mask.get(key)) for key in ("left", "top", "width", "height"))
    runs = [int(run) for run in mask.get("rle").split(",")]
    assert sum(runs) == wide * high
    image = np.zeros((height, width), bool)
    image[top : top + high, left : left + wide] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(high, wide)
    return image


@pytest.fixture
def export(split, selection):
    """A function that exports the split and gives the root of annotations.xml."""

    def run(**changes) -> ElementTree.Element:
        export_cvat(**split.write(), output=split.folder / "cvat", settings=selection(**changes))
        return ElementTree.parse(split.folder / "cvat" / "annotations.xml").getroot()

    return run


def test_every_mask_is_there_with_class_score_and_order(split, export):
    split.predicted["b"] = ([rectangle(3, 9, 30, 32), rectangle(0, 1, 0, 1)], [1, 0], [0.75, 0.25])
    root = export()
    assert root.findtext("version") == "1.1"
    assert [label.findtext("name") for label in root.iter("label")] == ["cat", "dog"]
    images = root.findall("image")
    assert [image.get("name") for image in images] == ["a.png", "b.png", "sub/c.png"]
    assert [image.get("id") for image in images] == ["0", "1", "2"]
    assert root.findtext("meta/task/size") == "3"
    for image, (masks, classes, scores) in zip(images, split.predicted.values(), strict=True):
        assert (image.get("width"), image.get("height")) == (str(SIZE[1]), str(SIZE[0]))
        found = image.findall("mask")
        assert [mask.get("label") for mask in found] == [["cat", "dog"][kind] for kind in classes]
        assert [float(mask.findtext("attribute[@name='score']")) for mask in found] == scores
        assert [int(mask.get("z_order")) for mask in found] == list(range(len(found)))[::-1]
        assert {mask.get("occluded") for mask in found} <= {"0"}
        for element, mask in zip(found, masks, strict=True):
            np.testing.assert_array_equal(decoded(element, *SIZE), mask)
            inside = np.argwhere(mask)
            assert [int(element.get("top")), int(element.get("left"))] == inside.min(axis=0).tolist()


def test_the_selection_holds(export):
    assert len(list(export(top_k=1).iter("mask"))) == 2
    assert not list(export(score_threshold=0.95).iter("mask"))


def test_noise_comes_back_pixel_by_pixel(split, export):
    masks = [np.random.default_rng(seed).random(SIZE) < 0.5 for seed in range(20)]
    split.predicted["a"] = (masks, [0] * 20, np.linspace(1, 0.5, 20).tolist())
    for element, mask in zip(export().find("image").findall("mask"), masks, strict=True):
        np.testing.assert_array_equal(decoded(element, *SIZE), mask)


@pytest.mark.parametrize("names", [["a|b <img src=x onerror=alert(1)>", "]]>"], ["line\nbreak\r\t", "\"é' &amp;"]])
def test_any_name_of_a_class_or_an_image_comes_back(split, export, names):
    split.classes = names
    split.on_disk({"a": 'a <b> & "c".png', "b": "ü\t.png", "c": "c.png"})
    root = export()
    assert {mask.get("label") for mask in root.iter("mask")} == set(names)
    assert [image.get("name") for image in root.iter("image")] == ['a <b> & "c".png', "ü\t.png", "c.png"]
    assert [label.findtext("name") for label in root.iter("label")] == names


def test_the_labels_for_cvat_are_those_of_the_masks(split, export):
    export()
    labels = json.loads((split.folder / "cvat" / "labels.json").read_text(encoding="utf-8"))
    assert [label["name"] for label in labels] == ["cat", "dog"]
    assert [attribute["name"] for attribute in labels[0]["attributes"]] == ["score"]


@pytest.mark.parametrize("name", ["b\x07ell", "\ufffe"])
def test_a_name_that_xml_cannot_hold_is_refused_and_leaves_nothing(split, export, name):
    split.classes = ["cat", name]
    with pytest.raises(ValueError, match=r"has the character U\+[0-9A-F]{4}, which no XML file can hold"):
        export()
    assert not (split.folder / "cvat").exists()
