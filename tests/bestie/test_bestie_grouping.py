"""Grouping and center clustering against plain loops over components (equation 1, appendix), and by hand."""

import numpy as np
import pytest
import torch

from stages.bestie.components import batched
from stages.bestie.grouping import MAX_CENTERS, group
from stages.core.artifacts.map_components import class_components
from tests.bestie import reference

CLASS_COUNT = 3


def batch_of(labels, tags, min_area=1):
    return batched(
        [class_components(part, classes=own, min_area=min_area) for part, own in zip(labels, tags, strict=True)]
    )


def smooth(rng, shape, cells=6):
    """Random maps without sharp edges, so that peaks and short offsets form patches."""
    coarse = torch.from_numpy(rng.normal(size=(1, *shape[:-2], cells, cells))).float().flatten(1, -3)
    return torch.nn.functional.interpolate(coarse, shape[-2:], mode="bicubic").reshape(shape)


def random_case(seed, *, batch=2, size=(48, 56), scale=6.0):
    """Blobs of all classes that touch one another, center heatmaps and offsets."""
    rng = np.random.default_rng(seed)
    fields = smooth(rng, (batch, CLASS_COUNT + 1, *size), cells=5 + seed % 5).numpy()
    labels = fields.argmax(1).astype(np.uint8)
    labels[smooth(rng, (batch, *size)).numpy() > 1.2] = 255
    tags = rng.random((batch, CLASS_COUNT)) < 0.8
    heatmap = 0.5 * smooth(rng, (batch, CLASS_COUNT, *size), cells=9)
    if seed % 3 == 0:  # many ties
        heatmap = (heatmap * 5).round() / 5
    return labels, tags, heatmap, scale * smooth(rng, (batch, 2, *size), cells=8)


def as_set(instances):
    return [(i.image, i.component, i.category, i.number, i.center, i.argmax, i.clustered) for i in instances]


def flattened(groups):
    lists = (
        groups.centers.images, groups.component_id, groups.centers.classes, groups.rank + 1, groups.centers.yx, groups.argmax,
        groups.clustered,
    )  # fmt: skip
    return [
        (*row[:4], tuple(row[4]), tuple(row[5]), row[6]) for row in zip(*(part.tolist() for part in lists), strict=True)
    ]


CASES = [
    pytest.param({}, id="official"),
    pytest.param({"cluster_distance": None, "cluster_exclusive": False}, id="paper"),
    pytest.param({"cluster_distance": 9.0, "cluster_tolerance": 12, "window": 11}, id="near clusters"),
    pytest.param({"clustering": False, "window": 5, "center_threshold": 0.05}, id="no clusters, many centers"),
]


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize("changes", CASES)
@pytest.mark.parametrize("kept", [False, True])
def test_grouping_equals_plain_loops(official, seed, changes, kept):
    settings = official().train.refinement.grouping.model_copy(update=changes)
    labels, tags, heatmap, offsets = random_case(seed)
    expected = reference.group(heatmap, offsets, labels, tags, min_area=12, settings=settings, keep_without_center=kept)
    found = group(heatmap, offsets, batch_of(labels, tags, 12), settings=settings, keep_without_center=kept)
    assert flattened(found) == as_set(expected)
    ids = found.ids(torch.Size(labels.shape))
    for number, instance in enumerate(expected):
        assert torch.equal(ids[instance.image] == number + 1, instance.mask)
        assert found.scores[number] == instance.score
        assert found.areas[number] == instance.mask.sum()
    assert sum(int((part > 0).sum()) for part in ids) == sum(int(i.mask.sum()) for i in expected)


def test_the_random_cases_hold_what_they_are_to_test(official):
    """Clusters, several centers in a component, and components of one class within one window."""
    settings = official().train.refinement.grouping.model_copy(update=CASES[2].values[0])
    groups = [
        group(heatmap, offsets, batch_of(labels, tags, 12), settings=settings, keep_without_center=False)
        for labels, tags, heatmap, offsets in map(random_case, range(9))
    ]
    assert sum(int(found.clustered.sum()) for found in groups) >= 5
    assert max(int(found.rank.max()) for found in groups) >= 3


def one(labels, heatmap, offsets, settings, kept=False):
    """Grouping of one image of class 0."""
    maps = torch.zeros(1, 1, *labels.shape)
    maps[0, 0] = torch.as_tensor(heatmap)
    parts = batch_of([labels], [np.array([True])])
    return group(maps, torch.as_tensor(offsets)[None].float(), parts, settings=settings, keep_without_center=kept)


def canvas(height=60, width=60):
    return np.ones((height, width), np.uint8), np.zeros((height, width), np.float32), np.full((2, height, width), 9.0)


@pytest.mark.parametrize(
    ("scores", "centers"),
    [
        pytest.param({(5, 5): 0.3}, [], id="at the threshold"),
        pytest.param({(5, 5): 0.31}, [(5, 5)], id="above"),
        pytest.param({(5, 5): 0.9, (5, 25): 0.5}, [(5, 5)], id="weaker, 20 pixels beside"),
        pytest.param({(5, 5): 0.9, (5, 26): 0.5}, [(5, 5), (5, 26)], id="weaker, 21 pixels beside"),
        pytest.param({(5, 5): 0.9, (25, 25): 0.5}, [(5, 5)], id="the window is a square"),
        pytest.param({(9, 30): 0.5, (8, 40): 0.5}, [(8, 40), (9, 30)], id="equal: both, row by row"),
    ],
)
def test_a_center_is_the_highest_of_its_window_and_above_the_threshold(official, scores, centers):
    """Section 3.2: equal before and after max-pooling; official: window 41, score above 0.3."""
    labels, heatmap, offsets = canvas()
    for yx, value in scores.items():
        heatmap[yx] = value
    settings = official().train.refinement.grouping
    ys, xs = np.indices(labels.shape)
    # every pixel points to the nearest of the centers, so none of them is left without pixels
    if centers:
        yx = np.array(centers)[:, :, None, None]
        nearest = ((yx - np.stack([ys, xs])) ** 2).sum(1).argmin(0)
        offsets = np.array(centers)[nearest].transpose(2, 0, 1) - np.stack([ys, xs])
    found = one(labels, heatmap, offsets, settings.model_copy(update={"clustering": False}))
    assert [tuple(yx) for yx in found.centers.yx.tolist()] == centers


def test_two_components_of_a_class_within_one_window_do_not_see_each_other(official):
    labels, heatmap, offsets = canvas()
    labels[:, 20] = 0
    heatmap[5, 18], heatmap[5, 22] = 0.9, 0.5
    found = one(labels, heatmap, offsets, official().train.refinement.grouping)
    assert found.centers.yx.tolist() == [[5, 18], [5, 22]]
    assert found.component_id.tolist() == [0, 1]


def test_a_pixel_belongs_to_the_center_that_its_offset_points_to_and_to_the_first_of_equally_near_ones(official):
    """Equation 1."""
    labels = np.zeros((9, 60), np.uint8)
    labels[4] = 1
    heatmap = np.zeros(labels.shape, np.float32)
    heatmap[4, 10], heatmap[4, 40] = 0.8, 0.9
    offsets = np.zeros((2, 9, 60))
    offsets[1, 4, 12] = 28  # points to the other one
    offsets[0, 4, 11] = 7  # upwards: as far from both as before
    settings = official().train.refinement.grouping.model_copy(update={"clustering": False})
    ids = one(labels, heatmap, offsets, settings).ids(torch.Size((1, 9, 60)))[0, 4]
    expected = torch.where(torch.arange(60) <= 25, 1, 2)  # 25 is as far from 10 as from 40
    expected[12] = 2
    assert torch.equal(ids, expected.int())


def patch(offsets, y, x, area):
    """Short offsets on `area` connected pixels from (y, x) on, five per row."""
    for place in range(area):
        offsets[:, y + place // 5, x + place % 5] = 0
    return offsets


@pytest.mark.parametrize(
    ("area", "exclusive", "found"),
    [
        (18, True, 0), (19, True, 1), (23, True, 1), (24, True, 0),
        (17, False, 0), (18, False, 1), (24, False, 1), (25, False, 0),
    ],
)  # fmt: skip
def test_a_cluster_has_the_right_area(official, area, exclusive, found):
    """Appendix: 21 plus or minus 3; the official code leaves out the ends."""
    labels, heatmap, offsets = canvas()
    heatmap[:] = 0.1
    settings = official().train.refinement.grouping.model_copy(update={"cluster_exclusive": exclusive})
    assert len(one(labels, heatmap, patch(offsets, 10, 10, area), settings).centers.yx) == found


@pytest.mark.parametrize(
    ("length", "found"), [pytest.param(2.49, 1, id="below 2.5"), pytest.param(2.5, 0, id="2.5 itself")]
)
def test_an_offset_is_short_below_the_magnitude(official, length, found):
    labels, heatmap, offsets = canvas()
    heatmap[:] = 0.1
    patch(offsets, 10, 10, 21)
    offsets[1][offsets[1] == 0] = length
    assert len(one(labels, heatmap, offsets, official().train.refinement.grouping).centers.yx) == found


def test_corners_do_not_connect_a_cluster(official):
    labels, heatmap, offsets = canvas()
    heatmap[:] = 0.1
    patch(offsets, 10, 10, 20)  # rows 10 to 13, columns 10 to 14
    offsets[:, 14, 15] = 0
    offsets[:, 14, 16:40] = 0  # with it the set would have 45 pixels
    assert len(one(labels, heatmap, offsets, official().train.refinement.grouping).centers.yx) == 1


@pytest.mark.parametrize(
    ("score", "found"), [pytest.param(0.05, 0, id="0.05 itself"), pytest.param(0.06, 1, id="above")]
)
def test_a_cluster_needs_a_least_score_at_its_truncated_centroid_and_has_score_one_from_then_on(official, score, found):
    labels, heatmap, offsets = canvas()
    patch(offsets, 10, 10, 21)  # centroid (11.71, 11.9)
    heatmap[11, 11] = score
    groups = one(labels, heatmap, offsets, official().train.refinement.grouping)
    assert groups.centers.yx.tolist() == [[11, 11]] * found
    assert groups.scores.tolist() == [1.0] * found
    assert groups.clustered.tolist() == [True] * found


@pytest.mark.parametrize(
    ("peak", "distance", "centers"),
    [
        pytest.param((11, 111), 100.0, [[11, 111]], id="100 pixels: too near"),
        pytest.param((11, 112), 100.0, [[11, 112], [11, 11]], id="101 pixels: added after the peak"),
        pytest.param((11, 15), None, [[11, 15], [11, 11]], id="any distance (paper)"),
        pytest.param((11, 11), None, [[11, 11]], id="on the peak: it is the peak"),
    ],
)
def test_a_cluster_is_added_far_from_every_peak(official, peak, distance, centers):
    labels, heatmap, offsets = canvas(60, 130)
    patch(offsets, 10, 10, 21)
    heatmap[11, 11] = 0.1
    heatmap[peak] = 0.9
    settings = official().train.refinement.grouping.model_copy(update={"cluster_distance": distance})
    offsets[:, 12:, 60:] = 0
    assert one(labels, heatmap, offsets, settings).centers.yx.tolist() == centers


def test_a_component_without_a_center_is_nothing_or_one_instance(official):
    labels, heatmap, offsets = canvas(5, 8)
    heatmap[1, 2] = 0.25
    settings = official().train.refinement.grouping
    assert len(one(labels, heatmap, offsets, settings).areas) == 0
    found = one(labels, heatmap, offsets, settings, kept=True)
    assert found.areas.tolist() == [40]
    assert found.centers.yx.tolist() == [[2, 3]]
    assert found.scores.tolist() == [0.25]
    assert found.argmax.tolist() == [[1, 2]]


def test_a_batch_gives_what_its_images_give(official):
    settings = official().train.refinement.grouping.model_copy(update={"window": 11})
    labels, tags, heatmap, offsets = random_case(4, batch=3)
    both = group(heatmap, offsets, batch_of(labels, tags), settings=settings, keep_without_center=True)
    count = 0
    for image in range(3):
        rows = slice(image, image + 1)
        alone = group(
            heatmap[rows],
            offsets[rows],
            batch_of(labels[rows], tags[rows]),
            settings=settings,
            keep_without_center=True,
        )
        own = both.centers.images == image
        assert torch.equal(both.centers.yx[own], alone.centers.yx)
        ids = both.ids(torch.Size(labels.shape))[image]
        assert torch.equal(torch.where(ids > 0, ids - count, 0), alone.ids(torch.Size((1, *labels.shape[1:])))[0])
        count += len(alone.areas)


@pytest.mark.parametrize("label", [0, 255, 2], ids=["background", "uncertain", "not tagged"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5)])
def test_nothing_to_group_gives_no_instance(official, label, size):
    labels = np.full((2, *size), label, np.uint8)
    tags = np.array([[True, False]] * 2)
    found = group(
        torch.ones(2, 2, *size), torch.zeros(2, 2, *size), batch_of(labels, tags),
        settings=official().train.refinement.grouping, keep_without_center=True,
    )  # fmt: skip
    assert len(found.areas) == 0
    assert not found.ids(torch.Size(labels.shape)).any()


def test_a_component_of_one_pixel(official):
    found = one(np.ones((1, 1), np.uint8), [[0.7]], np.zeros((2, 1, 1)), official().train.refinement.grouping)
    assert found.areas.tolist() == [1]


def test_numbers_that_are_none_make_no_center(official):
    labels, heatmap, offsets = canvas()
    heatmap[:], offsets[0, 3, 3] = np.nan, np.nan
    settings = official().train.refinement.grouping
    assert len(one(labels, heatmap, offsets, settings).areas) == 0
    heatmap[:] = 0.0
    heatmap[30, 30], heatmap[5, 5] = 0.8, np.nan
    assert one(labels, heatmap, offsets, settings).centers.yx.tolist() == [[30, 30]]


def test_a_flat_center_map_does_not_take_forever(official):
    labels, heatmap, offsets = canvas(100, 100)
    heatmap[:] = 0.7
    found = one(labels, heatmap, np.zeros_like(offsets), official().train.refinement.grouping)
    assert int(found.rank.max()) + 1 == MAX_CENTERS
