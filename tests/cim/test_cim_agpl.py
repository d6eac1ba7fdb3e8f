"""AGPL against the plain definition of the official code, and by hand."""

import time

import numpy as np
import pytest

from stages.cim.agpl import assign_clusters, cast_votes, choose_peaks, response_areas
from stages.cim.columns import BACKGROUND
from stages.cim.settings import AgplSettings
from stages.ops.regions import Regions

SETTINGS = AgplSettings(votes="equal", response_share=0.3, response_power=2.0, support_threshold=0.7, iou_threshold=0.5)
RESPONSE = SETTINGS.model_copy(update={"votes": "response"})


def plain_clusters(masks, points, classes, scores):
    """Steps 1 to 6 of the official labelling, mask by mask: labels (N, C + 1) as the label file holds them."""
    labels = np.zeros((len(masks), 4), int)
    touched = set()
    cluster = 1
    for i in sorted(range(len(points)), key=lambda i: scores[i]):
        y, x = points[i]
        holding = masks[masks[:, y, x]]
        support = holding.mean(0) > 0.7 if len(holding) else np.zeros(masks.shape[1:], bool)
        for n, mask in enumerate(masks):
            union = (mask | support).sum()
            iou = np.float32((mask & support).sum()) / np.float32(union) if union else 0
            if iou > 0.5:
                labels[n] = 0
                labels[n, classes[i] + 1] = cluster
            elif iou > 0:
                touched.add(n)
        cluster += 1
    for n in touched:
        if not labels[n].any():
            labels[n, 0] = cluster
    return labels


def as_matrix(clusters, classes):
    labels = np.zeros((len(clusters), 4), int)
    labels[np.arange(len(clusters)), classes + 1] = clusters
    return labels


@pytest.mark.parametrize("seed", range(25))
def test_clusters_are_those_of_the_plain_definition(masks_of, seed):
    rng = np.random.default_rng(seed)
    masks = masks_of(rng, int(rng.integers(1, 40)))
    count = int(rng.integers(1, 9))
    points = np.stack([rng.integers(0, 12, count), rng.integers(0, 16, count)], axis=1)
    classes, scores = rng.integers(0, 3, count), rng.permutation(count) + 11.0
    order = choose_peaks(classes, scores, tags=np.ones(3, bool), ordered=False)
    regions = Regions.from_masks(masks)
    found = assign_clusters(regions, regions.holding(points[order]), classes[order], tagged=True, settings=SETTINGS)
    np.testing.assert_array_equal(as_matrix(*found), plain_clusters(masks, points, classes, scores))


def columns(*spans):
    """Masks of one row of ten pixels, from half-open spans of columns."""
    masks = np.zeros((len(spans), 1, 10), bool)
    for mask, (start, end) in zip(masks, spans, strict=True):
        mask[0, start:end] = True
    return masks


def clusters(masks, points, classes, *, tagged=True):
    points = np.array(points, np.int64).reshape(-1, 2)
    regions = Regions.from_masks(masks)
    votes = regions.holding(points)
    return assign_clusters(regions, votes, np.array(classes, int), tagged=tagged, settings=SETTINGS)


def test_support_is_held_by_more_than_seven_tenths_of_the_proposals_at_a_point_equation_1():
    # Pixel 0 lies in ten proposals; pixel 1 in seven of them (not more than .7), so the support is pixel 0 alone.
    masks = columns(*[(0, 2)] * 7, *[(0, 1)] * 3, (1, 2))
    ids, classes = clusters(masks, [[0, 0]], [2])
    assert ids.tolist() == [2] * 7 + [1] * 3 + [0]  # IoU 1/2 is not above .5: background
    assert classes.tolist() == [BACKGROUND] * 7 + [2] * 3 + [BACKGROUND]


def test_a_later_point_takes_proposals_from_an_earlier_one_equation_2():
    ids, classes = clusters(columns((0, 4), (0, 4), (8, 9)), [[0, 0], [0, 1]], [0, 1])
    assert ids.tolist() == [2, 2, 0]
    assert classes.tolist() == [1, 1, BACKGROUND]


def test_all_background_shares_one_id_beyond_the_points():
    # The point's proposals hold 0..3; (3, 10) and (2, 9) touch that with small overlap.
    ids, classes = clusters(columns((0, 4), (0, 4), (0, 4), (3, 10), (2, 9)), [[0, 0], [0, 0]], [0, 0])
    assert ids.tolist() == [2, 2, 2, 3, 3]
    assert classes.tolist() == [0, 0, 0, BACKGROUND, BACKGROUND]


def test_a_point_in_no_proposal_uses_up_an_id_and_assigns_nothing():
    ids, _ = clusters(columns((0, 4), (0, 5)), [[0, 9], [0, 0]], [0, 0])
    assert ids.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("masks", "points", "tagged", "ids"),
    [
        pytest.param(columns(), [[0, 3]], True, [], id="no proposals"),
        pytest.param(columns((0, 3)), [], True, [0], id="tags without a peak: ignored"),
        pytest.param(columns((0, 3)), [[0, 1]], True, [1], id="one proposal"),
        pytest.param(columns((0, 3), (2, 5)), [], False, [1, 1], id="no tags: all background"),
    ],
)
def test_poor_images_get_sane_labels(masks, points, tagged, ids):
    found, classes = clusters(masks, points, [0] * len(points), tagged=tagged)
    assert found.tolist() == ids
    assert found.dtype == classes.dtype == np.int32


def test_order_of_proposals_does_not_matter(masks_of):
    rng = np.random.default_rng(0)
    masks, points = masks_of(rng, 30), rng.integers(0, 12, (6, 2))
    order = rng.permutation(30)
    whole = clusters(masks, points, [0, 1, 2, 0, 1, 2])
    shuffled = clusters(masks[order], points, [0, 1, 2, 0, 1, 2])
    for straight, mixed in zip(whole, shuffled, strict=True):
        np.testing.assert_array_equal(straight[order], mixed)


def test_peaks_of_tagged_classes_vote_by_ascending_score():
    classes, scores = np.array([0, 0, 0, 1, 1, 2]), np.array([12.0, 9.0, 12.0, 3.0, 14.0, 30.0])
    chosen = choose_peaks(classes, scores, tags=np.array([True, True, False]), ordered=False)
    assert chosen.tolist() == [3, 1, 0, 2, 4]


def test_points_keep_the_order_of_their_file():
    classes, scores = np.array([2, 0, 1]), np.array([1.0, 1.0, 1.0])
    chosen = choose_peaks(classes, scores, tags=np.array([True, False, True]), ordered=True)
    assert chosen.tolist() == [0, 1]
    chosen = choose_peaks(classes, scores[::-1], tags=np.ones(3, bool), ordered=True)
    assert chosen.tolist() == [0, 1, 2]


def test_votes_weigh_as_much_as_a_proposal_agrees_with_its_classs_response():
    # Class 1 is seen in columns 0 to 3 of ten; the point (0, 1) lies in the first three proposals.
    regions = Regions.from_masks(columns((0, 4), (0, 2), (0, 8), (4, 10)))
    responses = np.stack([np.zeros((1, 10)), [[9.0] * 4 + [0.0] * 6]]).astype(np.float32)
    votes = cast_votes(regions, np.array([[0, 1]]), np.array([1]), responses=responses, settings=RESPONSE)
    np.testing.assert_allclose(votes, [[1, 0.25, 0.25, 0]])  # IoU 1, 1/2, 1/2, squared; the last one does not hold it
    # Columns 0 and 1 have all votes, 2 and 3 5/6 of them, 4 to 7 1/6: the support is columns 0 to 3.
    ids, classes = assign_clusters(regions, votes, np.array([1]), tagged=True, settings=RESPONSE)
    assert ids.tolist() == [1, 2, 2, 0]
    assert classes.tolist() == [1, BACKGROUND, BACKGROUND, BACKGROUND]


def test_a_class_responds_above_a_share_of_its_maximum_counted_from_zero_or_from_the_minimum_below():
    responses = np.array([[[-4, 1, 3, 4]], [[-4, -3, -1, 0]], [[-0.875, -0.75, -0.75, -0.5]]], np.float32)
    found = response_areas(responses, (1, 4), share=0.5)[:, 0].tolist()
    assert found == [[False, False, True, True], [False, False, True, True], [False, False, False, True]]


def test_equal_votes_are_one_each_and_do_not_ask_for_responses():
    regions = Regions.from_masks(columns((0, 4), (0, 2), (4, 10)))
    votes = cast_votes(
        regions, np.array([[0, 1]]), np.array([0]), responses=np.zeros((2, 0, 0), np.float32), settings=SETTINGS
    )
    assert votes.dtype == bool
    assert votes.tolist() == [[True, True, False]]


def test_response_votes_without_response_maps_are_an_error_with_a_remedy():
    regions = Regions.from_masks(columns((0, 4)))
    with pytest.raises(ValueError, match="no response maps; set votes: equal"):
        cast_votes(
            regions, np.array([[0, 1]]), np.array([0]), responses=np.zeros((2, 0, 0), np.float32), settings=RESPONSE
        )


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        pytest.param([2.0, 0.7, 0.5, -3.0], [True, True, False, False], id="above 0.3 of the maximum, from 0"),
        pytest.param([-1.0, -2.0, -3.5, -4.0], [True, True, False, False], id="nothing positive: from the minimum"),
        pytest.param([0.0, 0.0, 0.0, 0.0], [False] * 4, id="flat: nowhere"),
    ],
)
def test_a_class_is_seen_where_its_response_is_a_share_of_its_maximum(response, expected):
    areas = response_areas(np.array([[response]], np.float32), (1, 4), share=0.3)
    assert areas.tolist() == [[expected]]


def test_a_thousand_proposals_are_labelled_many_times_faster_than_mask_by_mask():
    rng = np.random.default_rng(1)
    cells = rng.integers(0, 350, (375, 500))
    regions = Regions.from_superpixels(cells, rng.random((1000, 350)) < 0.2)
    points, classes = rng.integers(0, 375, (10, 2)), rng.integers(0, 3, 10)
    part = regions.select(np.arange(100)).masks()

    def ours():
        return assign_clusters(regions, regions.holding(points), classes, tagged=True, settings=SETTINGS)

    # Both share the machine, with whatever else runs on it: a tenth of the proposals, mask by mask, takes longer.
    assert fastest(ours) < fastest(lambda: plain_clusters(part, points, classes, np.arange(10)))


def fastest(work):
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)
