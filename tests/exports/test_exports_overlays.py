"""Overlays of predictions as files."""

import cv2
import numpy as np
import pytest

from stages.exports.export_overlays import export_overlays
from stages.exports.settings import OverlayFormSettings, OverlaySettings, SelectionSettings
from tests.exports.conftest import SIZE, Split, rectangle


@pytest.fixture
def split(tmp_path) -> Split:
    split = Split(tmp_path)
    for image in split.sizes:
        split.sizes[image] = (240, 320)
        masks, classes, scores = split.predicted[image]
        split.predicted[image] = ([np.kron(mask, np.ones((10, 10), bool)) for mask in masks], classes, scores)
    return split


def settings(longer_side: int | None = None, opacity: float = 0.5, threshold: float = 0.0) -> OverlaySettings:
    return OverlaySettings(
        selection=SelectionSettings(score_threshold=threshold, top_k=None, tagged_only=False),
        form=OverlayFormSettings(longer_side=longer_side, jpeg_quality=95, opacity=opacity),
    )


def test_every_image_gets_one_and_masks_are_painted_in_it(split):
    export_overlays(**split.write(), output=split.folder / "overlays", settings=settings())
    found = {str(path.relative_to(split.folder / "overlays")) for path in (split.folder / "overlays").rglob("*.jpg")}
    assert found == {"a.jpg", "b.jpg", "sub/c.jpg"}
    drawn, untouched = (cv2.imread(str(split.folder / "overlays" / name)) for name in ("a.jpg", "sub/c.jpg"))
    assert drawn.shape == untouched.shape == (240, 320, 3)
    assert np.abs(untouched.astype(int) - 90).max() <= 2
    changed = np.abs(drawn.astype(int) - 90).max(axis=2) > 20
    painted = np.logical_or.reduce(split.predicted["a"][0])
    assert changed[painted].mean() > 0.95
    # The compression and a name that is wider than its mask may touch a few pixels more.
    assert changed[~painted].mean() < 0.1


@pytest.mark.parametrize(("longer_side", "shape"), [(160, (120, 160, 3)), (640, (480, 640, 3))])
def test_overlays_may_be_smaller_or_larger(split, longer_side, shape):
    export_overlays(**split.write(), output=split.folder / "overlays", settings=settings(longer_side))
    assert cv2.imread(str(split.folder / "overlays" / "a.jpg")).shape == shape


def test_names_are_written_also_where_masks_are_transparent(split):
    export_overlays(**split.write(), output=split.folder / "overlays", settings=settings(opacity=0.0, threshold=0.3))
    drawn = cv2.imread(str(split.folder / "overlays" / "a.jpg")).astype(int)
    assert (drawn.min(axis=2) > 200).any()
    assert (drawn.max(axis=2) < 30).any()


def test_an_image_that_has_changed_stops_and_leaves_nothing(split):
    split.root = str(split.folder)
    split.paths["b"] = "b.png"
    cv2.imwrite(str(split.folder / "b.png"), np.zeros((240, 320, 3), np.uint8))
    with pytest.raises(ValueError, match=r"b.png has .* bytes, but had"):
        export_overlays(**split.write(), output=split.folder / "overlays", settings=settings())
    assert not (split.folder / "overlays").exists()


def test_masks_of_another_size_are_refused(split):
    paths = split.write()
    split.folder = split.folder / "small"
    split.sizes = dict.fromkeys(split.sizes, SIZE)
    split.predicted = {"a": ([rectangle(0, 2, 0, 2)], [0], [0.5])}
    with pytest.raises(ValueError, match="'a' has 240x320 pixels, its instances have 24x32"):
        export_overlays(
            images=paths["images"], instances=split.write()["instances"], output=split.folder / "o", settings=settings()
        )
