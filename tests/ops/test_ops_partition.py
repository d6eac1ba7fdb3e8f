from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stages.ops import overlaps, partition

QUICK = settings(deadline=None, max_examples=50)
MATRICES = st.tuples(st.integers(0, 5), st.integers(1, 12)).flatmap(lambda shape: hnp.arrays(bool, shape))


def plain_groups(matrix):
    columns = [tuple(column) for column in matrix.T.tolist()]
    seen = list(dict.fromkeys(columns))
    return [seen.index(column) for column in columns], [columns.index(column) for column in seen]


@QUICK
@given(matrix=MATRICES)
def test_equal_columns_are_grouped_by_first_appearance(place, host, matrix):
    inverse, first = partition.equal_columns(place(matrix))
    assert (host(inverse).tolist(), host(first).tolist()) == plain_groups(matrix)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 63, 64, 65, 127, 128, 129])
def test_no_row_is_lost_at_the_border_of_a_word(place, host, rows):
    """Each column differs from column 0 in one row, the last two in two rows that are 64 apart."""
    matrix = np.concatenate([np.zeros((rows, 1), bool), np.eye(rows, dtype=bool)], 1)
    both = np.zeros((rows, 1), bool)
    both[[rows - 1, rows - 1 - 64 if rows > 64 else 0]] = True
    matrix = np.concatenate([matrix, both, matrix[:, :1]], 1)
    inverse, first = partition.equal_columns(place(matrix))
    assert (host(inverse).tolist(), host(first).tolist()) == plain_groups(matrix)


@QUICK
@given(matrix=MATRICES)
def test_colliding_hashes_are_noticed_and_resolved(matrix):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "_hash", lambda words: words[0] * 0)
        inverse, first = partition.equal_columns(np.repeat(matrix, 40, axis=0))
    assert (inverse.tolist(), first.tolist()) == plain_groups(matrix)


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 130])
def test_words_made_on_a_device_equal_those_made_on_the_host(rows):
    matrix = np.random.default_rng(rows).random((rows, 50)) < 0.5
    assert np.array_equal(
        partition._words_on_device(torch.from_numpy(matrix)).numpy(), partition._words_on_host(matrix)
    )


@QUICK
@given(codes=hnp.arrays(np.int64, st.integers(1, 20), elements=st.integers(-3, 3)))
def test_unique_numbers_values_by_first_appearance(place, host, codes):
    inverse, first, counts = (host(part).tolist() for part in partition.unique(place(codes)))
    seen = list(dict.fromkeys(codes.tolist()))
    assert inverse == [seen.index(code) for code in codes]
    assert first == [codes.tolist().index(code) for code in seen]
    assert counts == [codes.tolist().count(code) for code in seen]


def test_bounds_of_a_part_without_pixels_are_neutral(place, host):
    boxes = partition.bounds(place(np.array([[0, 0, 2], [0, 2, 2]], np.int32)), 3)
    assert host(boxes).tolist() == [[0, 0, 2, 2], [3, 2, 0, 0], [1, 0, 3, 2]]


@pytest.mark.parametrize(("band", "height"), [(1, 1), (12, 2), (1000, 7)])
def test_bands_of_rows_give_what_the_whole_map_gives(band, height, monkeypatch):
    """Pixels of a band, rows of the first one: a row at least, two, and all."""
    monkeypatch.setattr(partition, "BAND", band)
    generator = np.random.default_rng(0)
    parts, others = generator.integers(0, 9, (2, 7, 6)).astype(np.int32)
    assert partition.bands(7, 6)[0] == slice(0, height)
    assert np.concatenate([parts[rows] for rows in partition.bands(7, 6)]).tolist() == parts.tolist()
    of_part = [np.argwhere(parts == part) for part in range(9)]
    expected = [[*places.min(0)[::-1], *(places.max(0) + 1)[::-1]] for places in of_part]
    assert partition.bounds(parts, 9).tolist() == expected
    assert partition.areas(parts, 9).tolist() == [len(places) for places in of_part]
    assert (partition.renumbered(parts, np.arange(9, 0, -1, dtype=np.int32)) == 9 - parts).all()
    shared = overlaps.common_pixels(parts, others)
    pairs, counts = np.unique(np.stack([parts, others], 2).reshape(-1, 2), axis=0, return_counts=True)
    assert np.stack([shared.first, shared.second], 1).tolist() == pairs.tolist()
    assert shared.pixels.tolist() == counts.tolist()
