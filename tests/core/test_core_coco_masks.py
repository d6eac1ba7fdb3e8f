"""Segmentations of COCO's JSON in all the forms that programs write, and those that no mask can be read from."""

import math
from typing import Any

import numpy as np
import pytest

from stages.core.coco.entries import Annotation
from stages.core.coco.masks import decode, in_shares
from stages.core.coco.shares import find_shares
from stages.ops import rle

HEIGHT, WIDTH = 12, 16
SQUARE = [3, 2, 9, 2, 9, 8, 3, 8]
EXPECTED = np.zeros((HEIGHT, WIDTH), bool)
EXPECTED[2:8, 3:9] = True
POINTS = [[3, 2], [9, 2], [9, 8], [3, 8]]
COMPRESSED = rle.encode(EXPECTED[None])[0]
UNCOMPRESSED = rle.encode_uncompressed(EXPECTED[None])[0]

FORMS = {
    "list of polygons": [SQUARE],
    "flat polygon": SQUARE,
    "numbers as text": [[f"{number}.0" for number in SQUARE]],
    "flat, as text": [str(number) for number in SQUARE],
    "points": POINTS,
    "polygons of points": [POINTS],
    "points as objects": [{"x": x, "y": y} for x, y in POINTS],
    "polygons of points as objects": [[{"x": x, "y": y} for x, y in POINTS]],
    "a contour of OpenCV": [[point] for point in POINTS],
    "contours of OpenCV": [[[point] for point in POINTS]],
    "two polygons that share an edge": [[3, 2, 6, 2, 6, 8, 3, 8], [6, 2, 9, 2, 9, 8, 6, 8]],
    "an empty part": [SQUARE, []],
    "compressed RLE": COMPRESSED,
    "uncompressed RLE": UNCOMPRESSED,
    "RLE with numbers of other types": {
        "size": [f"{HEIGHT}", float(WIDTH)], "counts": [float(count) for count in UNCOMPRESSED["counts"]],
    },
    "rows of 0 and 1": EXPECTED.astype(int).tolist(),
    "rows of 0.0 and 1.0": EXPECTED.astype(float).tolist(),
    "rows of false and true": EXPECTED.tolist(),
    "rows of 0 and 255": (EXPECTED * 255).tolist(),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_mask(form: str) -> None:
    np.testing.assert_array_equal(decode(FORMS[form], HEIGHT, WIDTH, shares=False), EXPECTED)


def test_shares_of_the_sides_are_scaled() -> None:
    shares = [[number / (HEIGHT if i % 2 else WIDTH) for i, number in enumerate(SQUARE)]]
    assert in_shares([shares])
    np.testing.assert_array_equal(decode(shares, HEIGHT, WIDTH, shares=True), EXPECTED)


@pytest.mark.parametrize("nothing", [None, [], [[]], [[], []]])
def test_nothing_is_an_empty_mask(nothing: Any) -> None:
    assert not decode(nothing, HEIGHT, WIDTH, shares=False).any()


def test_a_bitmap_of_nothing_and_of_everything_is_read() -> None:
    assert not decode(np.zeros((HEIGHT, WIDTH), int).tolist(), HEIGHT, WIDTH, shares=False).any()
    assert decode(np.ones((HEIGHT, WIDTH), bool).tolist(), HEIGHT, WIDTH, shares=False).all()


def test_small_polygons_with_corners_at_0_and_1_are_no_bitmaps() -> None:
    corner = [[0, 0], [1, 0], [1, 1], [0, 1]]
    for form in (corner, [[0, 0, 1, 0, 1, 1, 0, 1]]):
        mask = decode(form, HEIGHT, WIDTH, shares=False)
        assert mask.sum() == 1
        assert mask[0, 0]


def replaced(value: Any) -> list[list[Any]]:
    return [[*SQUARE[:3], value, *SQUARE[4:]]]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        pytest.param(replaced(None), "a polygon has null, expected finite numbers", id="null"),
        pytest.param(replaced(math.nan), "a polygon has nan", id="NaN"),
        pytest.param(replaced(math.inf), "a polygon has inf", id="Infinity"),
        pytest.param(replaced(-math.inf), "a polygon has -inf", id="-Infinity"),
        pytest.param(replaced("x"), "a polygon has 'x'", id="text"),
        pytest.param(replaced(True), "a polygon has true", id="a flag"),
        pytest.param(replaced({}), "found 3 in its lists", id="an object"),
        pytest.param(replaced([1]), "found 3 in its lists", id="a list"),
        pytest.param(replaced(10**400), "a polygon has 1000", id="more digits than a float has"),
        pytest.param(replaced(2**31), r"coordinate 2\.14748e\+09, far from the image of 12x16", id="beyond 32 bits"),
        pytest.param(replaced(129), "coordinate 129, far from the image", id="beyond eight sides"),
        pytest.param(replaced(-1e300), "far from the image", id="beyond 64 bits"),
        pytest.param([SQUARE[:7]], r"odd number of coordinates \(7\)", id="odd"),
        pytest.param([SQUARE[:4]], "fewer than three corners", id="box"),
        pytest.param([[1, 2], [3, 4]], "fewer than three corners", id="two points"),
        pytest.param([None], "a polygon has null", id="null for a polygon"),
        pytest.param([SQUARE, None], "found null in its lists, expected polygons", id="null among polygons"),
        pytest.param([[[[[SQUARE]]]]], "in its lists, expected polygons", id="too many lists"),
        pytest.param("mask.png", "found 'mask.png', expected polygons", id="a file"),
        pytest.param(True, "found true, expected polygons", id="true"),
        pytest.param(7, "found 7, expected polygons", id="a number"),
        pytest.param(EXPECTED[:-1].tolist(), "found 11 rows of 16 values 0 and 1, .* 12 rows of 16", id="rows short"),
        pytest.param(EXPECTED.T.astype(int).tolist(), "found 16 rows of 12 values", id="bitmap on its side"),
        pytest.param({"counts": UNCOMPRESSED["counts"]}, "expected an object with 'size'", id="no size"),
        pytest.param({}, "expected an object with 'size' and 'counts'", id="empty object"),
        pytest.param(UNCOMPRESSED | {"size": [WIDTH, HEIGHT]}, r"size is \[16, 12\]", id="sides swapped"),
        pytest.param(UNCOMPRESSED | {"size": [HEIGHT, None]}, "size of its RLE has null", id="size null"),
        pytest.param(UNCOMPRESSED | {"size": 5}, "its size is 5", id="size no list"),
        pytest.param(UNCOMPRESSED | {"counts": [5, 3]}, "sum to 8, expected sum 12 x 16 = 192", id="counts short"),
        pytest.param(UNCOMPRESSED | {"counts": [200, -8]}, "smallest -8", id="counts negative"),
        pytest.param(UNCOMPRESSED | {"counts": [2**40]}, "pixel counts", id="counts huge"),
        pytest.param(UNCOMPRESSED | {"counts": [5, 2.5]}, "counts of its RLE has 2.5", id="counts with fractions"),
        pytest.param(UNCOMPRESSED | {"counts": [5, True]}, "counts of its RLE has true", id="counts with flags"),
        pytest.param(UNCOMPRESSED | {"counts": None}, "neither text nor a list", id="counts null"),
        pytest.param(COMPRESSED | {"counts": "oooooooooooo"}, "not COCO's compressed text", id="text without end"),
        pytest.param(COMPRESSED | {"counts": "é"}, "not COCO's compressed text", id="text of other letters"),
    ],
)
def test_what_is_no_mask_is_refused_before_c_code_sees_it(segmentation: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(segmentation, HEIGHT, WIDTH, shares=False)


def test_coordinates_may_lie_somewhat_outside() -> None:
    mask = decode([[-20, -20, 40, -20, 40, 30, -20, 30]], HEIGHT, WIDTH, shares=False)
    assert mask.all()


def annotated(segmentation: Any, bbox: Any = None) -> Annotation:
    return Annotation("annotation 1", 1, "1", "1", 1, segmentation, bbox, None, False, False, None)


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ([annotated([[0.1, 0.2, 0.5, 0.2, 0.5, 0.9]])], (True, True)),
        ([annotated([[0.1, 0.2, 0.5, 0.2, 0.5, 0.9]], (1.0, 2.0, 6.0, 9.0))], (True, False)),
        ([annotated([[0.1, 0.2, 0.5, 0.2, 0.5, 0.9]], (0.1, 0.2, 0.4, 0.7))], (True, True)),
        ([annotated([SQUARE], (0.2, 0.2, 0.4, 0.5))], (False, True)),
        ([annotated([[0.1, 0.2, 0.5, 0.2, 0.5, 0.9]]), annotated([SQUARE])], (False, False)),
        ([annotated([[0, 0, 1, 0, 1, 1]])], (False, False)),  # one pixel
        ([annotated(COMPRESSED), annotated([])], (False, False)),
        ([annotated([[0.1, None, 0.5, 0.2, 0.5, 0.9]])], (False, False)),
        ([annotated(None, (0.25, 0.5, 0.5, 0.5)), annotated(None, (0.0, 0.0, 1.0, 1.0))], (False, True)),
        ([annotated(None, (0.0, 0.0, 1.0, 1.0))], (False, False)),
        ([], (False, False)),
    ],
)
def test_shares_are_told_by_the_file_as_a_whole(annotations: list[Annotation], expected: tuple[bool, bool]) -> None:
    assert find_shares(annotations) == expected
    assert find_shares(annotations).scale(10, 20) == ((20, 10) if expected[1] else (1, 1))
