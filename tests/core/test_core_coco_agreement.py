"""Masks that are not what their entries say of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from stages.core.coco.agreement import Agreement, difference
from stages.core.coco.entries import Annotation
from stages.core.workflow.tally import Tally

MASK = np.zeros((48, 64), bool)
MASK[4:24, 6:30] = True  # area 480, box 6, 4, 24, 20
EMPTY = np.zeros((48, 64), bool)
PIXEL = EMPTY.copy()
PIXEL[0, 0] = True


def said(bbox: Any = None, area: float | None = None, number: int = 1) -> Annotation:
    return Annotation(f"annotation {number}", number, "1", "1", 1, [], bbox, area, False, False, None)


@pytest.mark.parametrize(
    ("annotation", "mask"),
    [
        pytest.param(said((6, 4, 24, 20), 480), MASK, id="same"),
        pytest.param(said((5.2, 3.1, 25.9, 21.7), 499.5), MASK, id="edges between pixels"),
        pytest.param(said((6, 4, 24, 20), 1), MASK, id="an area that means nothing beside a box"),
        pytest.param(said(None, 300), MASK, id="area alone"),
        pytest.param(said(None, None), MASK, id="nothing"),
        pytest.param(said((0, 0, 0, 0), 0), MASK, id="zeros for nothing"),
        pytest.param(said((10.2, 9.9, 0.4, 0.7), 0.2), EMPTY, id="an object smaller than a pixel"),
        pytest.param(said((0, 0, 1.5, 1.5), 1.1), PIXEL, id="an object of a pixel"),
        pytest.param(said(None, 0.5), EMPTY, id="an area smaller than a pixel"),
    ],
)
def test_masks_that_are_as_the_entry_says_pass(annotation: Annotation, mask: np.ndarray) -> None:
    assert difference(annotation, mask, scale=(1, 1)) is None


@pytest.mark.parametrize(
    ("annotation", "mask", "message"),
    [
        pytest.param(said((6, 4, 24, 20)), EMPTY, r"0 pixels .* bbox says 6 4 30 24 \(are its coordinates", id="empty"),
        pytest.param(said((6, 4, 24, 20)), PIXEL, "1 pixel in the box 0 0 1 1, .* shares of the sides", id="pixel"),
        pytest.param(said(None, 480), EMPTY, "0 pixels, but area says 480", id="empty by area"),
        pytest.param(said(None, 100), MASK, "480 pixels, but area says 100", id="area too small"),
        pytest.param(said(None, None), PIXEL, "its mask has 1 pixel$", id="pixel without a word"),
        pytest.param(said((6, 4, 30, 24), 480), MASK[:, ::-1], "may be of another entry", id="mirrored"),
        pytest.param(said((40, 30, 20, 15)), MASK, "may be of another entry or image", id="elsewhere"),
        pytest.param(said((10, 10, 1, 1)), MASK, "480 pixels .* bbox says 10 10 11 11", id="a box of a pixel"),
        pytest.param(said((12, 8, 48, 40)), MASK, "at 2 or 0.5 times its size", id="twice the size"),
        pytest.param(said((3, 2, 12, 10)), MASK, "at 0.5 or 2 times its size", id="half the size"),
    ],
)
def test_what_differs_is_said_with_a_likely_reason(annotation: Annotation, mask: np.ndarray, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(difference(annotation, mask, scale=(1, 1)))


def test_common_mistakes_are_recognised() -> None:
    wide = np.zeros((48, 64), bool)
    wide[2:8, 20:60] = True
    corners = np.zeros((48, 64), bool)
    corners[30:40, 40:50] = True
    assert "seem to be swapped" in str(difference(said((2, 20, 6, 40)), wide, scale=(1, 1)))
    assert "seems to be x0, y0, x1, y1" in str(difference(said((40, 30, 50, 40)), corners, scale=(1, 1)))
    by_rows = wide.reshape(-1).reshape(64, 48).T  # the runs of `wide` along its rows, read down the columns
    assert "along the rows" in str(difference(said((20, 2, 40, 6)), by_rows, scale=(1, 1)))


def test_boxes_and_areas_in_shares_are_compared_in_pixels() -> None:
    assert difference(said((6 / 64, 4 / 48, 24 / 64, 20 / 48), 480 / 3072), MASK, scale=(64, 48)) is None
    assert difference(said(None, 480 / 3072), MASK, scale=(64, 48)) is None
    assert difference(said((0.5, 0.5, 0.4, 0.4)), MASK, scale=(64, 48)) is not None


def see(masks: list[np.ndarray]) -> Agreement:
    agreement = Agreement("train.json")
    for number, mask in enumerate(masks, start=1):
        agreement.see(said((6, 4, 24, 20), number=number), mask, scale=(1, 1))
    return agreement


def test_one_odd_mask_among_many_is_a_warning_with_counts(caplog: pytest.LogCaptureFixture) -> None:
    see([MASK, EMPTY, MASK]).conclude()
    assert "1 of 3 masks of train.json are not what their entries say; they are taken as they are" in caplog.text
    assert "annotation 2: its mask has 0 pixels" in caplog.text


def test_masks_that_all_agree_are_not_worth_a_word(caplog: pytest.LogCaptureFixture) -> None:
    see([MASK, MASK]).conclude()
    Agreement("train.json").conclude()
    assert not caplog.records


@pytest.mark.parametrize("masks", [[EMPTY], [EMPTY, PIXEL, MASK]])
def test_mostly_odd_masks_stop(masks: list[np.ndarray]) -> None:
    with pytest.raises(
        ValueError, match=r"of train\.json are not what .*; mend the masks, .*:\n  annotation 1: its mask"
    ):
        see(masks).conclude()


@pytest.fixture
def tally() -> Callable[[int, int], Tally]:
    def make(odd: int, fine: int) -> Tally:
        made = Tally()
        for number in range(odd):
            made.see(f"case {number:03d}")
        for _ in range(fine):
            made.see(None)
        return made

    return make


def test_a_message_names_ten_cases_and_counts_the_rest(tally: Any) -> None:
    with pytest.raises(ValueError, match="13 of 13 are odd; mend them") as caught:
        tally(13, 0).conclude("are odd", "mend them")
    lines = str(caught.value).splitlines()
    assert lines[1:] == [*(f"  case {number:03d}" for number in range(10)), "  and 3 more"]


def test_half_is_not_most(tally: Any, caplog: pytest.LogCaptureFixture) -> None:
    tally(2, 2).conclude("are odd", "mend them")
    assert "2 of 4 are odd" in caplog.text
    with pytest.raises(ValueError, match="3 of 5"):
        tally(3, 2).conclude("are odd", "mend them")
