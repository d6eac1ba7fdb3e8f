"""Point labels: inside each mask, or as the text files say."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from stages.images.centers import innermost, mask_centers, read_points
from stages.images.dataset import PointFiles, make_annotations


def rows(*lines: str) -> np.ndarray:
    return np.array([[mark == "#" for mark in line] for line in lines])


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        pytest.param(rows("#####", "#####", "#####"), (1, 1), id="first of the innermost in row-major order"),
        pytest.param(rows(".....", ".###.", ".###.", ".###."), (2, 2), id="middle of a square"),
        pytest.param(rows("#######", "#.....#", "#.....#"), (0, 0), id="a ring has its point on itself"),
        pytest.param(rows("..", ".#"), (1, 1), id="one pixel"),
        pytest.param(rows("#..###", "...###", "...###"), (1, 4), id="of two pieces the thicker"),
    ],
)
def test_innermost_pixel(mask: np.ndarray, expected: tuple[int, int]) -> None:
    assert innermost(mask) == expected


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)).filter(np.any))
def test_a_point_lies_inside_its_mask(mask: np.ndarray) -> None:
    assert mask[innermost(mask)]


def test_crowds_and_empty_masks_have_no_point() -> None:
    masks = [rows("#.", ".."), rows("..", ".."), rows("..", ".#")]
    ground_truth = make_annotations(masks, [4, 5, 6], [1, 2, 3], shape=(2, 2), crowd=[True, False, False])
    points, classes = mask_centers(ground_truth)
    np.testing.assert_array_equal(points, [[1, 1]])
    np.testing.assert_array_equal(classes, [6])
    points, classes = mask_centers(make_annotations([], [], [], shape=(2, 2)))
    assert points.shape == (0, 2)
    assert classes.shape == (0,)


FILES = {0: 2, 1: None, 2: 0}


def test_point_files_keep_their_order_and_cut_to_pixels(tmp_path: Path) -> None:
    # Center_points of BESTIE as CIM reads them: lines "x y class conf", pixel = (int(y), int(x)), in file order.
    (tmp_path / "a.txt").write_text("7.9 3.2 2 1.0\n\n5 9 1 1.0\n0 0.9 0 0.5\n")
    points, classes = read_points(PointFiles(str(tmp_path), FILES), "a", 10, 10)
    np.testing.assert_array_equal(points, [[3, 7], [0, 0]])
    np.testing.assert_array_equal(classes, [0, 2])
    assert points.dtype == classes.dtype == np.int32


def test_an_image_without_point_file_is_told_from_one_without_points(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    files = PointFiles(str(tmp_path), FILES)
    assert read_points(files, "none", 4, 4) is None
    points, _ = read_points(files, "empty", 4, 4)
    assert points.shape == (0, 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 0", "expected 'x y class conf'"),
        ("one 2 0 1.0", "expected 'x y class conf'"),
        ("nan 2 0 1.0", "expected 'x y class conf'"),
        ("1 2 3 1.0", "class 3 is not among the classes 0 to 2"),
        ("4 0 0 1.0", "x 4, y 0 is outside the image of 3x4"),
        ("-1 0 0 1.0", "outside the image"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"0 0 0 1.0\n{line}\n")
    with pytest.raises(ValueError, match=re.escape(f"{path} line 2") + f".*{message}"):
        read_points(PointFiles(str(tmp_path), FILES), "a", 3, 4)
