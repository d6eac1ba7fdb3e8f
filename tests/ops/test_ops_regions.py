from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from stages.ops.regions import Regions

QUICK = settings(deadline=None, max_examples=50)
SIDES = st.integers(1, 7)
MASKS = st.tuples(st.integers(0, 6), SIDES, SIDES).flatmap(lambda shape: hnp.arrays(bool, shape))
PAIRS = st.tuples(st.integers(0, 4), st.integers(0, 4), SIDES, SIDES).flatmap(
    lambda s: st.tuples(hnp.arrays(bool, (s[0], *s[2:])), hnp.arrays(bool, (s[1], *s[2:])))
)

# Three regions of a 4 x 4 image: the left half, the upper half, one pixel in both.
LEFT, UPPER, CORNER = np.zeros((3, 4, 4), bool)
LEFT[:, :2] = UPPER[:2] = CORNER[0, 0] = True
FOUR = np.stack([LEFT, UPPER, CORNER])
NOTHING = np.zeros((1, 4, 4), bool)


def plain_intersections(masks, others):
    return np.array([[(a & b).sum() for b in others] for a in masks], np.int64).reshape(len(masks), len(others))


def plain_iou(masks, others):
    values = [[(a & b).sum() / max((a | b).sum(), 1) for b in others] for a in masks]
    return np.array(values, np.float64).astype(np.float32).reshape(len(masks), len(others))


def plain_containment(masks):
    values = [[(a & b).sum() / max(b.sum(), 1) for b in masks] for a in masks]
    return np.array(values, np.float64).astype(np.float32).reshape(len(masks), len(masks))


def plain_box(mask):
    ys, xs = np.nonzero(mask)
    return (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) if len(ys) else (0, 0, 0, 0)


def plain_crop(mask, size):
    x0, y0, x1, y1 = plain_box(mask)
    if x0 == x1:
        return np.zeros((size, size), bool)
    cut = Image.fromarray(mask[y0:y1, x0:x1].astype(np.uint8))
    return np.array(cut.resize((size, size), Image.Resampling.NEAREST)).astype(bool)


def crowded(count=150, height=20, width=30, seed=0):
    """More regions than one 64-bit word holds, made of superpixels, so that atoms are large."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 9, (height // 5, width // 5)).repeat(5, 0).repeat(5, 1)
    return labels, generator.random((count, 9)) < 0.4


@QUICK
@given(masks=MASKS)
@example(masks=FOUR)
@example(masks=NOTHING)
@example(masks=~NOTHING)
@example(masks=np.zeros((0, 3, 2), bool))
def test_masks_survive_the_way_to_atoms_and_back(place, host, masks):
    regions = Regions.from_masks(place(masks))
    assert len(regions) == len(masks)
    assert regions.shape == masks.shape[1:]
    assert np.array_equal(host(regions.masks()), masks)


@QUICK
@given(masks=MASKS)
@example(masks=FOUR)
def test_atoms_are_the_coarsest_partition_numbered_by_first_pixel(place, host, masks):
    regions = Regions.from_masks(place(masks))
    columns = masks.reshape(len(masks), masks.shape[1] * masks.shape[2]).T
    seen = list(dict.fromkeys(map(tuple, columns.tolist())))
    expected = np.array([seen.index(tuple(column)) for column in columns.tolist()])
    assert np.array_equal(host(regions.atoms).reshape(-1), expected)
    assert host(regions.sizes).tolist() == np.bincount(expected).tolist()


def test_hand_computed_image_of_four_by_four(place, host):
    regions = Regions.from_masks(place(FOUR))
    assert host(regions.atoms).tolist() == [[0, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert host(regions.membership).astype(int).tolist() == [[1, 1, 0, 1, 0], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]
    assert host(regions.sizes).tolist() == [1, 3, 4, 4, 4]
    assert host(regions.areas()).tolist() == [8, 8, 1]
    assert host(regions.intersections()).tolist() == [[8, 4, 1], [4, 8, 1], [1, 1, 1]]
    assert (
        host(regions.iou()).tolist() == np.float32([[1, 1 / 3, 1 / 8], [1 / 3, 1, 1 / 8], [1 / 8, 1 / 8, 1]]).tolist()
    )
    assert host(regions.containment()).tolist() == [[1, 0.5, 1], [0.5, 1, 1], [0.125, 0.125, 1]]
    assert host(regions.boxes()).tolist() == [[0, 0, 2, 4], [0, 0, 4, 2], [0, 0, 1, 1]]
    assert host(regions.holding(place(np.array([[0, 0], [0, 3], [3, 3]])))).tolist() == [
        [True, True, True],
        [False, True, False],
        [False, False, False],
    ]


def test_containment_row_contains_column(place, host):
    """CIM, official code: asy[i, j] = |i and j| / |j|."""
    contains = host(Regions.from_masks(place(FOUR)).containment())
    assert contains[0, 2] == 1
    assert contains[2, 0] == np.float32(1 / 8)


@QUICK
@given(masks=MASKS)
def test_areas_intersections_iou_and_containment_equal_the_plain_definition(place, host, masks):
    regions = Regions.from_masks(place(masks))
    assert np.array_equal(host(regions.areas()), masks.sum((1, 2)))
    assert np.array_equal(host(regions.intersections()), plain_intersections(masks, masks))
    assert np.array_equal(host(regions.iou()), plain_iou(masks, masks))
    assert np.array_equal(host(regions.containment()), plain_containment(masks))
    iou, containment = regions.overlaps()
    assert np.array_equal(host(iou), plain_iou(masks, masks))
    assert np.array_equal(host(containment), plain_containment(masks))
    assert host(iou).dtype == host(containment).dtype == np.float32
    assert host(regions.intersections()).dtype == host(regions.areas()).dtype == np.int64


@QUICK
@given(pair=PAIRS)
def test_overlaps_with_other_regions_equal_the_plain_definition(place, host, pair):
    masks, others = pair
    ours, theirs = (Regions.from_masks(place(part)) for part in pair)
    assert np.array_equal(host(ours.intersections(theirs)), plain_intersections(masks, others))
    assert np.array_equal(host(ours.iou(theirs)), plain_iou(masks, others))


@pytest.mark.parametrize("pixels", [1 << 24, (1 << 24) + 1])
def test_counts_stay_exact_beyond_the_integers_of_float32(place, host, pixels):
    """2^24 + 1 is no float32: counts of a large image go through float64."""
    sizes = place(np.array([pixels - 1, 1, 2], np.int64))
    membership = place(np.array([[True, True, False], [True, False, True]]))
    shape = (4097, 4096)
    atoms = torch.zeros(1, dtype=torch.int32).expand(shape) if isinstance(sizes, torch.Tensor) else None
    atoms = np.broadcast_to(np.int32(0), shape) if atoms is None else atoms.to(sizes.device)
    regions = Regions(atoms, membership, sizes)
    assert host(regions.intersections()).tolist() == [[pixels, pixels - 1], [pixels - 1, pixels + 1]]


def test_counts_are_exact_where_the_sum_of_two_areas_leaves_float32(place, host):
    """Areas a + b may exceed 2^24 although the image does not; the union is made without that sum."""
    pixels = (1 << 24) - 1
    sizes = np.array([pixels - 2, 1, 1], np.int64)
    membership = np.array([[True, True, False], [True, False, True], [True, False, False]])
    shape = (pixels // 5, 5)
    atoms = place(np.zeros((1, 1), np.int32))
    atoms = atoms.expand(shape) if isinstance(atoms, torch.Tensor) else np.broadcast_to(atoms, shape)
    iou = host(Regions(atoms, place(membership), place(sizes)).iou())
    expected = [
        [1, (pixels - 2) / pixels, (pixels - 2) / (pixels - 1)],
        [(pixels - 2) / pixels, 1, (pixels - 2) / (pixels - 1)],
        [(pixels - 2) / (pixels - 1), (pixels - 2) / (pixels - 1), 1],
    ]
    assert np.array_equal(iou, np.array(expected).astype(np.float32))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_counts_are_exact_whatever_precision_torch_multiplies_in(precision, device):
    labels, indicator = crowded(height=200, width=300)
    regions = Regions.from_superpixels(labels, indicator)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        with torch.autocast(device, dtype=torch.bfloat16):
            counts = regions.to(device)._counts()
    finally:
        torch.set_float32_matmul_precision(before)
    assert np.array_equal(counts.cpu().numpy(), regions.intersections())
    # Not every processor multiplies in fewer bits when it may, so the type is looked at as well.
    assert counts.dtype == (torch.float32 if (precision, device) == ("highest", "cpu") else torch.float64)


@QUICK
@given(masks=MASKS, size=st.sampled_from([1, 2, 7]))
@example(masks=FOUR, size=7)
def test_boxes_and_crops_equal_those_of_the_bitmaps(place, host, masks, size):
    regions = Regions.from_masks(place(masks))
    assert host(regions.boxes()).tolist() == [list(plain_box(mask)) for mask in masks]
    expected = np.array([plain_crop(mask, size) for mask in masks]).reshape(len(masks), size, size)
    assert np.array_equal(host(regions.crops(size)), expected)


def test_crops_read_the_pixels_that_pillow_reads_at_every_width(place, host):
    """CIM, official code: Pillow NEAREST to 7 x 7. Stripes show any position that is off by one."""
    for width in range(1, 300):
        mask = np.zeros((2, width), bool)
        mask[0, ::2] = mask[1, 1::2] = True
        mask[1, [0, -1]] = True
        crop = host(Regions.from_masks(place(mask[None])).crops())[0]
        assert np.array_equal(crop, plain_crop(mask, 7)), width


@QUICK
@given(masks=MASKS, data=st.data())
def test_points_are_held_by_the_regions_whose_mask_is_set_there(place, host, masks, data):
    _, height, width = masks.shape
    point = st.tuples(st.integers(0, height - 1), st.integers(0, width - 1))
    points = np.array(data.draw(st.lists(point, max_size=5)), np.int32).reshape(-1, 2)
    held = host(Regions.from_masks(place(masks)).holding(place(points)))
    assert np.array_equal(held, masks[:, points[:, 0], points[:, 1]].T)


@QUICK
@given(masks=MASKS, threshold=st.sampled_from([0.0, 0.5, 2 / 3, 0.7]), data=st.data())
def test_mean_support_equals_the_thresholded_mean_of_the_masks(place, host, masks, threshold, data):
    """CIM, official code: the mean of all proposals that hold the peak, strictly above the threshold."""
    chosen = data.draw(hnp.arrays(bool, (3, len(masks))))
    regions = Regions.from_masks(place(masks))
    support = regions.mean_support(place(chosen), threshold)
    means = [masks[row].mean(0) if row.any() else np.zeros(masks.shape[1:]) for row in chosen]
    expected = np.array(means) > threshold
    assert np.array_equal(host(support.masks()), expected)
    assert np.array_equal(host(support.iou(regions)), plain_iou(expected, masks))


def test_mean_support_needs_strictly_more_than_the_threshold(place, host):
    """CIM, official code: seven of ten is not above 0.7, eight of ten is."""
    masks = np.zeros((10, 1, 3), bool)
    masks[:7, 0, 0] = masks[:8, 0, 1] = True
    support = Regions.from_masks(place(masks)).mean_support(place(np.ones((1, 10), bool)), 0.7)
    assert host(support.masks()).tolist() == [[[False, True, False]]]


@QUICK
@given(masks=MASKS, data=st.data())
def test_mean_support_may_weigh_the_masks(place, host, masks, data):
    weights = data.draw(hnp.arrays(np.float64, (2, len(masks)), elements=st.sampled_from([0.0, 0.25, 1.0, 3.0])))
    support = Regions.from_masks(place(masks)).mean_support(place(weights), 0.6)
    totals = [(row[:, None, None] * masks).sum(0) for row in weights]
    expected = [total / row.sum() > 0.6 if row.any() else total > 0 for total, row in zip(totals, weights, strict=True)]
    assert np.array_equal(host(support.masks()), np.array(expected))


@QUICK
@given(masks=MASKS, data=st.data())
def test_selection_keeps_the_masks_and_merges_atoms_that_nothing_cuts(place, host, masks, data):
    picks = st.lists(st.integers(0, max(len(masks) - 1, 0)), max_size=6 if len(masks) else 0)
    index = np.array(data.draw(picks), np.int64)
    selected = Regions.from_masks(place(masks)).select(place(index))
    assert np.array_equal(host(selected.masks()), masks[index])
    fresh = Regions.from_masks(masks[index])
    assert np.array_equal(host(selected.atoms), fresh.atoms)
    assert np.array_equal(host(selected.membership), fresh.membership)
    assert np.array_equal(host(selected.sizes), fresh.sizes)


@pytest.mark.parametrize("index", [slice(1, 3), np.array([True, False, True]), []], ids=["slice", "boolean", "none"])
def test_selection_takes_every_kind_of_index(index):
    regions = Regions.from_masks(FOUR)
    index = np.array(index, int) if isinstance(index, list) else index
    assert np.array_equal(regions.select(index).masks(), FOUR[index])
    assert np.array_equal(regions.masks(index), FOUR[index])
    loose = regions.select(index, compact=False)
    assert loose.atoms is regions.atoms
    assert np.array_equal(loose.masks(), FOUR[index])


@QUICK
@given(masks=MASKS, seed=st.integers(0, 99))
def test_permuting_the_regions_permutes_every_answer(masks, seed):
    order = np.random.default_rng(seed).permutation(len(masks))
    regions, permuted = Regions.from_masks(masks), Regions.from_masks(masks[order])
    assert np.array_equal(permuted.atoms, regions.atoms)
    assert np.array_equal(permuted.iou(), regions.iou()[order][:, order])
    assert np.array_equal(permuted.containment(), regions.containment()[order][:, order])
    assert np.array_equal(permuted.crops(), regions.crops()[order])


@QUICK
@given(pair=PAIRS)
def test_concatenation_is_that_of_the_masks(place, host, pair):
    joined = Regions.concatenate([Regions.from_masks(place(part)) for part in pair])
    fresh = Regions.from_masks(np.concatenate(pair))
    assert np.array_equal(host(joined.masks()), np.concatenate(pair))
    assert np.array_equal(host(joined.atoms), fresh.atoms)


@QUICK
@given(masks=MASKS)
def test_flip_is_that_of_the_masks_and_its_own_inverse(place, host, masks):
    regions = Regions.from_masks(place(masks))
    assert np.array_equal(host(regions.flip().masks()), masks[:, :, ::-1])
    assert np.array_equal(host(regions.flip().flip().atoms), host(regions.atoms))


@QUICK
@given(masks=MASKS)
def test_packed_storage_gives_back_the_same_regions(place, masks):
    atoms, packed, count = Regions.from_masks(place(masks)).packed()
    assert (atoms.dtype, packed.dtype) == (np.uint32, np.uint8)
    assert packed.shape == (len(masks), -(-count // 8))
    regions, fresh = Regions.from_packed(atoms, packed, count), Regions.from_masks(masks)
    assert np.array_equal(regions.masks(), masks)
    assert np.array_equal(regions.sizes, fresh.sizes)
    assert np.array_equal(regions.atoms, fresh.atoms)


def test_regions_of_superpixels_equal_those_of_their_masks(place, host):
    labels, indicator = crowded()
    regions, fresh = Regions.from_superpixels(place(labels), place(indicator)), Regions.from_masks(indicator[:, labels])
    assert np.array_equal(host(regions.atoms), fresh.atoms)
    assert np.array_equal(host(regions.membership), fresh.membership)
    assert np.array_equal(host(regions.sizes), fresh.sizes)


def test_superpixels_of_the_same_regions_become_one_atom_and_unused_ones_vanish(place, host):
    labels = np.array([[3, 1], [0, 3]])
    indicator = np.array([[True, True, False, False, True]])
    regions = Regions.from_superpixels(place(labels), place(indicator))
    assert host(regions.atoms).tolist() == [[0, 1], [1, 0]]
    assert host(regions.membership).tolist() == [[False, True]]
    assert host(regions.sizes).tolist() == [2, 2]


def test_more_regions_than_bits_of_a_word(place, host):
    labels, indicator = crowded(count=193)
    masks = indicator[:, labels]
    regions = Regions.from_masks(place(masks))
    assert np.array_equal(host(regions.masks()), masks)
    assert np.array_equal(host(regions.iou()), plain_iou(masks, masks))


def test_masks_lie_row_by_row_in_memory(place):
    """Readers go mask by mask; fancy indexing alone would give NumPy masks pixel by pixel."""
    masks = Regions.from_masks(place(FOUR)).masks()
    assert masks.is_contiguous() if isinstance(masks, torch.Tensor) else masks.flags.c_contiguous


def test_no_region_in_an_image():
    regions = Regions.empty(3, 5)
    assert (len(regions), regions.shape, regions.sizes.tolist()) == (0, (3, 5), [15])
    assert regions.masks().shape == (0, 3, 5)
    assert regions.iou().shape == regions.containment().shape == (0, 0)
    assert regions.boxes().shape == (0, 4)
    assert regions.crops().shape == (0, 7, 7)
    assert regions.holding(np.array([[2, 4]])).shape == (1, 0)
    assert len(Regions.concatenate([regions, regions])) == 0


def test_empty_regions_overlap_nothing_not_even_themselves(place, host):
    regions = Regions.from_masks(place(np.concatenate([NOTHING, ~NOTHING])))
    assert host(regions.iou()).tolist() == [[0, 0], [0, 1]]
    assert host(regions.containment()).tolist() == [[0, 0], [0, 1]]
    assert host(regions.boxes()).tolist() == [[0, 0, 0, 0], [0, 0, 4, 4]]
    assert not host(regions.crops())[0].any()


def test_numpy_and_torch_give_the_same_types_and_values():
    labels, indicator = crowded()
    regions = Regions.from_superpixels(labels, indicator)
    tensors = regions.to("cpu")
    for name in ("areas", "boxes", "crops", "intersections", "iou", "containment"):
        ours, theirs = getattr(regions, name)(), getattr(tensors, name)()
        assert ours.dtype == theirs.numpy().dtype, name
        assert np.array_equal(ours, theirs.numpy()), name
    assert np.array_equal(tensors.numpy().masks(), regions.masks())


SMALL = Regions.from_masks(FOUR)
REFUSED = {
    "masks of numbers": (lambda: Regions.from_masks(FOUR.astype(np.uint8)), "masks have type uint8, expected bool"),
    "one mask without an axis for regions": (lambda: Regions.from_masks(LEFT), r"masks have shape \(4, 4\)"),
    "an image without pixels": (lambda: Regions.from_masks(np.zeros((1, 0, 4), bool)), "image without pixels"),
    "a superpixel without column": (
        lambda: Regions.from_superpixels(np.array([[0, 3]]), np.ones((1, 3), bool)),
        "labels go from 0 to 3, expected 0 to 2",
    ),
    "negative superpixels": (
        lambda: Regions.from_superpixels(np.array([[-1, 0]]), np.ones((1, 3), bool)),
        "labels go from -1 to 0",
    ),
    "bits for fewer atoms": (
        lambda: Regions.from_packed(SMALL.packed()[0], SMALL.packed()[1], 9),
        r"shape \(3, 1\), expected uint8 \(regions, 2\) for 9 atoms",
    ),
    "atoms beyond their count": (
        lambda: Regions.from_packed(SMALL.packed()[0], SMALL.packed()[1], 4),
        "atoms go from 0 to 4, expected 0 to 3",
    ),
    "a point below the image": (lambda: SMALL.holding(np.array([[4, 0]])), "y of points go from 4 to 4"),
    "a point left of the image": (lambda: SMALL.holding(np.array([[0, -1]])), "x of points go from -1 to -1"),
    "points of three numbers": (lambda: SMALL.holding(np.zeros((1, 3), int)), r"expected \(points, 2\)"),
    "images of two sizes": (lambda: SMALL.iou(Regions.empty(4, 5)), "no common pixels"),
    "NumPy with torch": (lambda: SMALL.iou(SMALL.to("cpu")), "bring both to one"),
    "arrays of two kinds": (
        lambda: Regions(SMALL.atoms, torch.from_numpy(SMALL.membership), SMALL.sizes),
        "all NumPy arrays or all torch tensors",
    ),
    "sizes of other atoms": (
        lambda: Regions(SMALL.atoms, SMALL.membership, SMALL.sizes[1:]),
        r"expected \(5,\) as membership has 5 atoms",
    ),
    "nothing to concatenate": (lambda: Regions.concatenate([]), "no parts given"),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses_with_what_was_found_and_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()
