"""Which instances are exported, and artifacts that do not belong together."""

import numpy as np
import pytest

from stages.exports.predictions import read_predictions
from stages.exports.settings import SelectionSettings
from tests.exports.conftest import SIZE, Split, rectangle


@pytest.fixture
def split(tmp_path) -> Split:
    return Split(tmp_path)


def selected(split, **settings) -> list[list[float]]:
    """Scores of the selected instances, image by image."""
    every = {"score_threshold": 0.0, "top_k": None, "tagged_only": False}
    with read_predictions(**split.write(), settings=SelectionSettings(**every | settings)) as predictions:
        return [prediction.scores.astype(float).round(3).tolist() for prediction in predictions]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({}, [[0.9, 0.5, 0.1], [0.25], []], id="all"),
        pytest.param({"score_threshold": 0.25}, [[0.9, 0.5], [0.25], []], id="threshold belongs to it"),
        pytest.param({"top_k": 1}, [[0.9], [0.25], []], id="best of each image"),
        pytest.param({"tagged_only": True}, [[0.9], [0.25], []], id="tagged classes"),
        pytest.param({"score_threshold": 0.95}, [[], [], []], id="none"),
    ],
)
def test_selection(split, settings, expected):
    assert selected(split, **settings) == expected


def test_instances_come_best_first_and_empty_masks_not_at_all(split):
    split.predicted["a"] = (
        [rectangle(0, 2, 0, 2), rectangle(0, 0, 0, 0), rectangle(1, 3, 0, 2)],
        [0, 0, 1],
        [0.2, 0.9, 0.4],
    )
    assert selected(split)[0] == [0.4, 0.2]


def test_tags_of_untagged_images_select_nothing_and_that_is_said(split):
    split.tags = {image: [] for image in split.tags}
    with pytest.raises(ValueError, match="none of the 3 images of .* has a tag.*set it to false"):
        selected(split, tagged_only=True)
    assert selected(split)[1] == [0.25]


def test_other_classes_are_refused(split):
    paths = split.write(classes=["dog", "cat"])
    with pytest.raises(ValueError, match=r"has the classes \['dog', 'cat'\].*\['cat', 'dog'\]"):
        read_predictions(**paths, settings=_all()).__enter__()


def test_images_of_another_split_are_refused(split):
    split.predicted["z"] = split.predicted["b"]
    split.sizes["z"] = SIZE
    with pytest.raises(ValueError, match=r"holds 1 images that .* does not list, such as 'z'"):
        selected(split)


def test_masks_of_another_size_are_refused(split):
    paths = split.write()
    split.sizes["b"] = (10, 10)
    split.predicted["b"] = ([np.ones((10, 10), bool)], [0], [0.5])
    paths["instances"] = split.write()["instances"]
    split.sizes["b"] = SIZE
    split.folder = split.folder / "again"
    paths["images"] = split.folder / "images.h5"
    split.predicted["b"] = ([], [], [])
    split.write()
    with (
        pytest.raises(ValueError, match="'b' has 24x32 pixels, its instances have 10x10"),
        read_predictions(**paths, settings=_all()) as predictions,
    ):
        list(predictions)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "does not exist", id="missing"),
        pytest.param(b"", "no HDF5 file or was cut off", id="empty"),
        pytest.param("images", "kind 'images', expected 'instances'", id="wrong kind"),
        pytest.param("cut", "no HDF5 file or was cut off", id="cut off"),
    ],
)
def test_a_file_that_is_no_instances_artifact(split, content, message):
    paths = split.write()
    data = paths["images" if content == "images" else "instances"].read_bytes()
    paths["instances"].unlink()
    if content is not None:
        paths["instances"].write_bytes({"images": data, "cut": data[: len(data) // 2]}.get(content, b""))
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_predictions(**paths, settings=_all()).__enter__()


def _all():
    return SelectionSettings(score_threshold=0.0, top_k=None, tagged_only=False)
