from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stages.ops.components import label_components, measure_components

QUICK = settings(deadline=None, max_examples=60)
SIDES = st.integers(1, 8)
MASKS = st.tuples(st.integers(0, 3), SIDES, SIDES).flatmap(lambda shape: hnp.arrays(bool, shape))


def plain_labels(mask, connectivity, min_area):
    """Flood fill from each pixel in row-major order."""
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)] + ([(1, 1), (1, -1), (-1, 1), (-1, -1)] if connectivity == 8 else [])
    labels, seen, count = np.zeros(mask.shape, np.int32), ~mask, 0
    for start in zip(*np.nonzero(mask), strict=True):
        if seen[start]:
            continue
        seen[start], queue = True, [start]
        for y, x in queue:
            for dy, dx in steps:
                near = (y + dy, x + dx)
                if 0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1] and not seen[near]:
                    seen[near] = True
                    queue.append(near)
        if len(queue) >= min_area:
            count += 1
            labels[tuple(np.transpose(queue))] = count
    return labels, count


@QUICK
@given(masks=MASKS, connectivity=st.sampled_from([4, 8]), min_area=st.sampled_from([1, 3]))
def test_components_equal_a_flood_fill(place, host, masks, connectivity, min_area):
    labels, counts = label_components(place(masks), connectivity=connectivity, min_area=min_area)
    for number, mask in enumerate(masks):
        expected, count = plain_labels(mask, connectivity, min_area)
        assert np.array_equal(host(labels)[number], expected)
        assert host(counts)[number] == count
    assert host(labels).dtype == np.int32


@pytest.mark.parametrize(("connectivity", "count"), [(4, 2), (8, 1)])
def test_a_corner_connects_only_in_eight_directions(place, host, connectivity, count):
    _, counts = label_components(place(np.eye(2, dtype=bool)), connectivity=connectivity)
    assert int(host(counts)) == count


def test_components_below_the_area_are_background_and_do_not_use_up_a_number(place, host):
    mask = np.array([[1, 0, 1, 1], [0, 0, 1, 0]], bool)
    labels, count = label_components(place(mask), connectivity=4, min_area=3)
    assert host(labels).tolist() == [[0, 0, 1, 1], [0, 0, 1, 0]]
    assert int(count) == 1


def test_hand_computed_measures(place, host):
    labels = place(np.array([[1, 1, 0, 0], [1, 0, 0, 2], [0, 0, 0, 2]], np.int32))
    areas, boxes, centroids = (host(part) for part in measure_components(labels, 2))
    assert areas.tolist() == [3, 2]
    assert boxes.tolist() == [[0, 0, 2, 2], [3, 1, 4, 3]]
    assert centroids.tolist() == [[1 / 3, 1 / 3], [1.5, 3]]


def test_an_empty_mask_has_no_components(place, host):
    labels, count = label_components(place(np.zeros((3, 4), bool)), connectivity=8)
    assert (host(labels).any(), int(count)) == (False, 0)
    assert [len(part) for part in measure_components(labels, 0)] == [0, 0, 0]


def test_batched_maps_are_labelled_each_by_itself(place, host):
    masks = np.random.default_rng(0).random((2, 3, 6, 5)) < 0.4
    labels, counts = label_components(place(masks), connectivity=8)
    assert host(counts).shape == (2, 3)
    for index in np.ndindex(2, 3):
        single, count = label_components(masks[index], connectivity=8)
        assert np.array_equal(host(labels)[index], single)
        assert host(counts)[index] == count


@pytest.mark.parametrize(
    ("masks", "connectivity", "message"),
    [(np.zeros((3, 3), bool), 6, "connectivity is 6"), (np.zeros((3, 3)), 4, "masks are float64")],
    ids=["six neighbours", "masks of numbers"],
)
def test_refuses_with_what_was_found_and_expected(masks, connectivity, message):
    with pytest.raises(ValueError, match=message):
        label_components(masks, connectivity=connectivity)
