from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from stages.ops import rle
from stages.ops.regions import Regions

QUICK = settings(deadline=None, max_examples=60)
SIDES = st.integers(1, 12)
MASKS = st.tuples(st.integers(0, 4), SIDES, SIDES).flatmap(lambda shape: hnp.arrays(bool, shape))


@QUICK
@given(masks=MASKS)
def test_masks_survive_both_forms_and_json(masks):
    _, height, width = masks.shape
    for encoded in (rle.encode(masks), rle.encode_uncompressed(masks)):
        assert np.array_equal(rle.decode(json.loads(json.dumps(encoded)), height, width), masks)


@QUICK
@given(masks=MASKS)
def test_both_forms_are_those_of_pycocotools(masks):
    _, height, width = masks.shape
    for mask, text, counts in zip(masks, rle.encode(masks), rle.encode_uncompressed(masks), strict=True):
        official = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        assert text["counts"].encode() == official["counts"]
        assert text["size"] == counts["size"] == official["size"]
        assert coco_mask.frPyObjects(counts, height, width)["counts"] == official["counts"]
        assert np.array_equal(rle.decode([official], height, width)[0], mask)


@QUICK
@given(masks=MASKS)
def test_regions_go_out_and_in(masks):
    _, height, width = masks.shape
    encoded = rle.encode_regions(Regions.from_masks(masks))
    assert encoded == rle.encode(masks)
    assert np.array_equal(rle.decode_regions(encoded, height, width).masks(), masks)


@QUICK
@given(masks=MASKS, data=st.data())
def test_pixels_that_do_not_count_leave_the_regions(masks, data):
    counted = data.draw(hnp.arrays(bool, masks.shape[1:]))
    assert rle.encode_regions(Regions.from_masks(masks), counted=counted) == rle.encode(masks & counted)


def test_many_regions_come_in_batches():
    masks = np.random.default_rng(0).random((2 * rle.BATCH + 3, 6, 5)) < 0.5
    encoded = rle.encode(masks)
    found, fresh = rle.decode_regions(encoded, 6, 5), Regions.from_masks(masks)
    assert np.array_equal(found.masks(), masks)
    assert np.array_equal(found.atoms, fresh.atoms)
    assert rle.encode_regions(fresh) == encoded


def test_long_runs_and_large_differences_are_read():
    """Counts of several digits and negative differences, which small images do not have."""
    mask = np.zeros((700, 900), bool)
    mask[:, 1:700] = mask[5:9, 800] = mask[1, 850] = True
    assert np.array_equal(rle.decode(rle.encode(mask[None]), 700, 900)[0], mask)


def test_a_number_has_seven_digits_at_most():
    """A run of 2^31 pixels has as many; zeros above the value do not change it."""
    padded = {"size": [2, 2], "counts": "TPPPPP0"}
    assert rle.decode([padded], 2, 2).tolist() == [[[False, False], [False, False]]]
    with pytest.raises(ValueError, match="not COCO's compressed text"):
        rle.decode([padded | {"counts": "TPPPPPP0"}], 2, 2)


COLUMNS = {
    "empty": ([[0, 0], [0, 0]], [4]),
    "full": ([[1, 1], [1, 1]], [0, 4]),
    "down the columns": ([[0, 1], [1, 1]], [1, 3]),
    "beginning with the region": ([[1, 0], [0, 1]], [0, 1, 2, 1]),
}


@pytest.mark.parametrize(("mask", "counts"), COLUMNS.values(), ids=COLUMNS)
def test_uncompressed_runs_begin_with_background_and_go_down_the_columns(mask, counts):
    assert rle.encode_uncompressed(np.array([mask], bool)) == [{"size": [2, 2], "counts": counts}]


GOOD = rle.encode(np.eye(4, dtype=bool)[None])[0]
MALFORMED = {
    "size of another image": ({"size": [4, 5], "counts": [20]}, r"RLE 1: its size is \[4, 5\], but the image's is"),
    "no size": ({"counts": [16]}, r"RLE 1: found \['counts'\], expected an object with 'size' and 'counts'"),
    "a polygon": ([[0, 0, 3, 0, 3, 3]], "RLE 1: found list, expected an object"),
    "runs that end too early": ({"size": [4, 4], "counts": [3, 4]}, r"sum to 7, expected sum 4 x 4 = 16"),
    "runs beyond the image": ({"size": [4, 4], "counts": [3, 14]}, "sum to 17"),
    "a negative run": ({"size": [4, 4], "counts": [20, -4]}, r"runs \(smallest -4\)"),
    "runs that are no integers": ({"size": [4, 4], "counts": [8.0, 8.0]}, "neither text nor a list"),
    "runs beyond any image": ({"size": [4, 4], "counts": [1 << 70]}, "neither text nor a list"),
    "no runs": ({"size": [4, 4], "counts": []}, "sum to 0"),
    "empty text": ({"size": [4, 4], "counts": ""}, "sum to 0"),
    "text cut off": ({"size": [4, 4], "counts": GOOD["counts"][:-1]}, "sum to"),
    "text cut off inside a number": ({"size": [4, 4], "counts": "0P"}, "not COCO's compressed text"),
    "text of other characters": ({"size": [4, 4], "counts": "0!0"}, "not COCO's compressed text"),
    "text beyond ASCII": ({"size": [4, 4], "counts": "0é"}, "not COCO's compressed text"),
    "a number without end": ({"size": [4, 4], "counts": "PPPPPPPPPP0"}, "not COCO's compressed text"),
}


@pytest.mark.parametrize(("encoding", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_encodings_are_named_by_number(encoding, message):
    with pytest.raises(ValueError, match=message):
        rle.decode([GOOD, encoding], 4, 4)


def test_refuses_masks_that_are_not_bool():
    with pytest.raises(ValueError, match=r"masks are uint8 \(1, 2, 2\), expected bool"):
        rle.encode(np.zeros((1, 2, 2), np.uint8))
