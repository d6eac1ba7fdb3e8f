"""Points of some images in the place of a classifier's cues."""

import logging
from pathlib import Path

import numpy as np
import pytest

from stages.classifier.join_points import join_points
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.points import Points
from stages.core.artifacts.storage import MissingImage, Provenance, create, read

CLASSES = ["cat", "dog"]
TAGS = {"p0": [True, True], "p1": [True, False], "p2": [False, True]}


def write(path: Path, kind: type, records: list, **header) -> Path:
    with create(
        path, kind, header={"classes": CLASSES, **header}, provenance=Provenance("test", None, 0, {})
    ) as writer:
        for record in records:
            writer.append(record)
    return path


def given(image: str, *rows: tuple[int, int, int]) -> Points:
    """Points as (y, x, class)."""
    table = np.array(rows, np.int32).reshape(-1, 3)
    return Points(image=image, points=table[:, :2], classes=table[:, 2])


def seen(image: str) -> Cues:
    return Cues(
        image=image, responses=np.ones((2, 3, 4), np.float32), class_scores=np.array([2, -1], np.float32),
        peaks=np.array([[5, 6]], np.int32), peak_classes=np.array([0], np.int32), peak_scores=np.array([7], np.float32),
    )  # fmt: skip


@pytest.fixture
def joined(tmp_path: Path):
    """A function that joins points with the cues of three images, and opens what comes out."""

    def joined(
        points: list[Points], *, images: dict = TAGS, of_points: dict | None = None, of_cues: dict | None = None
    ):
        records = [
            ImageRecord(
                image=image, path="", encoded=np.zeros(0, np.uint8), height=20, width=20, file_size=0, digest="",
                tags=np.array(tags), looked_at=True,
            )
            for image, tags in images.items()
        ]  # fmt: skip
        cues = {"head": "cam", "supervision": "image tags", "weights": "abc", **(of_cues or {})}
        output = tmp_path / "joined.h5"
        join_points(
            images=write(tmp_path / "images.h5", ImageRecord, records, root=""),
            points=write(tmp_path / "points.h5", Points, points, **(of_points or {})),
            cues=write(tmp_path / "cues.h5", Cues, [seen(image) for image in TAGS], **cues),
            output=output,
        )
        return read(output, Cues)

    return joined


def test_an_image_has_its_points_or_the_cues_of_the_classifier(joined) -> None:
    with joined([given("p0", (3, 4, 1), (1, 2, 0)), given("p1"), given("p2")]) as cues:
        assert list(cues.ids) == ["p0", "p1", "p2"]
        assert cues.header["supervision"] == "image tags + points on 1 of 3 images"
        assert (cues.header["head"], cues.header["weights"]) == ("points or cam", "abc")
        first, second = cues.find("p0"), cues.find("p1")
        assert first.from_points and not second.from_points
        assert first.peaks.tolist() == [[3, 4], [1, 2]]
        assert first.peak_classes.tolist() == [1, 0]
        assert first.peak_scores.tolist() == [1, 1]
        assert second.peaks.tolist() == [[5, 6]] and second.responses.shape == (2, 3, 4)


def test_tags_of_an_image_with_points_that_have_none_are_counted(joined, caplog) -> None:
    with caplog.at_level(logging.WARNING), joined([given("p0", (3, 4, 1)), given("p1"), given("p2")]):
        assert "1 tags of images with points have no point" in caplog.text


def test_points_of_all_images_leave_the_classifier_nothing(joined, caplog) -> None:
    with joined([given(image, (1, 1, 0)) for image in TAGS]) as cues:
        assert all(record.from_points for record in cues)
        assert cues.header["supervision"] == "image tags + points on 3 of 3 images"


@pytest.mark.parametrize(
    ("points", "changes", "message"),
    [
        pytest.param([given(image) for image in TAGS], {}, "none of 3 images has a point", id="no point"),
        pytest.param([given(i) for i in TAGS], {"of_points": {"classes": ["cat"]}}, "list both again", id="classes of points"),
        pytest.param(
            [given(i, (1, 1, 0)) for i in TAGS], {"of_cues": {"classes": ["cow", "dog"]}}, "find the cues again", id="classes of cues"
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(joined, points, changes, message, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        joined(points, **changes)
    assert not (tmp_path / "joined.h5").exists()


def test_an_image_without_a_record_of_points_is_refused(joined) -> None:
    with pytest.raises((KeyError, MissingImage), match="p2"):
        joined([given("p0", (1, 1, 0)), given("p1")])
