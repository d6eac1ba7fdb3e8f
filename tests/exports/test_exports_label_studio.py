"""Brush masks of Label Studio, decoded bit by bit as its format says."""

import json
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest

from stages.exports import brush
from stages.exports.brush import brush_runs
from stages.exports.export_label_studio import export_label_studio
from stages.exports.settings import LabelStudioExportSettings
from tests.exports.conftest import SIZE, rectangle, ring


def decoded(runs: list[int], height: int, width: int) -> np.ndarray:
    """The RGBA image of the bytes: a header, then blocks of equal or of single values (rle-pack of thi.ng/umbrella)."""
    bits, place = "".join(f"{byte:08b}" for byte in runs), 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        assert place <= len(bits)
        return int(bits[place - count : place], 2)

    values: list[int] = []
    total, word, sizes = read(32), read(5) + 1, [read(4) + 1 for _ in range(4)]
    while len(values) < total:
        equal = read(1)
        length = read(sizes[read(2)]) + 1
        values += [read(word)] * length if equal else [read(word) for _ in range(length)]
    return np.array(values).reshape(height, width, 4)


def assert_same(mask: np.ndarray) -> None:
    np.testing.assert_array_equal(
        decoded(brush_runs(mask), *mask.shape), np.where(mask, 255, 0)[..., None].repeat(4, -1)
    )


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(ring(), id="holes and islands"),
        pytest.param(np.ones((1, 1), bool), id="one pixel"),
        pytest.param(np.zeros((3, 5), bool), id="nothing"),
        pytest.param(np.ones((150, 220), bool), id="longer than the longest run"),
        pytest.param(np.arange(16384 * 3).reshape(3, -1) < 16384 * 2, id="twice the longest run"),
        *[pytest.param(np.arange(80)[None] < pixels, id=f"run of {pixels * 4}") for pixels in (1, 2, 3, 4, 5, 64, 65)],
        pytest.param(np.random.default_rng(1).random((19, 23)) < 0.5, id="noise"),
    ],
)
def test_the_bits_are_the_mask(mask):
    assert_same(mask)


def test_an_image_beyond_32_bits_is_refused(monkeypatch):
    monkeypatch.setattr(brush, "COUNT_BITS", 8)
    with pytest.raises(
        ValueError, match="8x8 pixels does not fit Label Studio's brush masks, which count to 64 pixels"
    ):
        brush_runs(np.ones((8, 8), bool))


@pytest.fixture
def export(split, selection):
    """A function that exports the split and gives the tasks and the labelling configuration."""

    def run(prefix: str = "/data/local-files/?d=", **changes):
        settings = LabelStudioExportSettings(selection=selection(**changes), form={"image_prefix": prefix})
        export_label_studio(**split.write(run="cim"), output=split.folder / "ls", settings=settings)
        configuration = ElementTree.parse(split.folder / "ls" / "label_config.xml").getroot()
        return json.loads((split.folder / "ls" / "tasks.json").read_text(encoding="utf-8")), configuration

    return run


def test_tasks_hold_every_mask_with_class_and_score(split, export):
    tasks, configuration = export()
    assert len(tasks) == 3
    labels, image = configuration.find("BrushLabels"), configuration.find("Image")
    assert [label.get("value") for label in labels] == ["cat", "dog"]
    for task, (masks, classes, scores) in zip(tasks, split.predicted.values(), strict=True):
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "tagmask cim"
        assert prediction.get("score") == (pytest.approx(np.mean(scores)) if scores else None)
        assert [region["score"] for region in prediction["result"]] == scores
        assert len({region["id"] for region in prediction["result"]}) == len(masks)
        for region, mask, kind in zip(prediction["result"], masks, classes, strict=True):
            assert (region["original_height"], region["original_width"], region["image_rotation"]) == (*SIZE, 0)
            assert region["type"] == "brushlabels" and region["value"]["format"] == "rle"
            assert region["value"]["brushlabels"] == [["cat", "dog"][kind]]
            assert (region["from_name"], region["to_name"]) == (labels.get("name"), image.get("name"))
            found = decoded(region["value"]["rle"], *SIZE)[:, :, 3] == 255
            np.testing.assert_array_equal(found, mask)


def test_the_selection_holds(export):
    tasks, _ = export(score_threshold=0.3)
    assert [len(task["predictions"][0]["result"]) for task in tasks] == [2, 0, 0]


@pytest.mark.parametrize("prefix", ["/data/local-files/?d=", "https://images.example/a/", ""])
def test_images_are_named_by_the_prefix_and_their_quoted_path(split, export, prefix):
    split.on_disk({"a b#?": "a b#?.png", "ü&+%41": "ü&+%41.png", "s/c": "s/c.png"})
    named = [task["data"]["image"] for task in export(prefix)[0]]
    assert named[0] == f"{prefix}a%20b%23%3F.png"
    assert [unquote(name.removeprefix(prefix)) for name in named] == ["a b#?.png", "ü&+%41.png", "s/c.png"]


@pytest.mark.parametrize("names", [['a"><script>x</script>', "b&amp;"], ["line\nbreak\r\t", "é 'x'"]])
def test_any_name_of_a_class_is_the_same_in_tasks_and_configuration(split, export, names):
    split.classes = names
    tasks, configuration = export()
    assert [label.get("value") for label in configuration.find("BrushLabels")] == names
    assert tasks[0]["predictions"][0]["result"][1]["value"]["brushlabels"] == [names[1]]


def test_a_class_that_xml_cannot_hold_is_refused(split, export):
    split.classes = ["cat", "b\x00ell"]
    with pytest.raises(ValueError, match=r"'b\\x00ell' has the character U\+0000.*rename the class"):
        export()
    assert not (split.folder / "ls").exists()


def test_classes_have_colours_of_their_own(split, export):
    split.classes = [f"class {i}" for i in range(300)]
    split.category_ids = list(range(300))
    _, configuration = export()
    colours = [label.get("background") for label in configuration.find("BrushLabels")]
    assert len(set(colours)) == 255 and colours[255] == colours[0]
    assert "#000000" not in colours
    assert_same(rectangle(3, 9, 4, 20))
