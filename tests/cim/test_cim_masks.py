"""Masks of chosen instances: votes against a plain loop and by hand, and the dense CRF."""

import numpy as np
import pytest

from stages.cim.masks import refined, voted, votes
from stages.ops.crf import dense_crf
from stages.ops.regions import Regions
from tests.cim.test_cim_decoding import bars

CRF = {"iterations": 3, "colour_sxy": 10.0, "colour_srgb": 10.0, "colour_compat": 10.0}


def vote(regions, scores, proposals, classes, *, overlap):
    return voted(regions, votes(regions, scores, proposals, classes, overlap=overlap), proposals)


def plain_vote(masks, scores, proposals, classes, overlap):
    """Pixel by pixel: the weighted share of the proposals that overlap the chosen one; without a majority, itself."""
    voted = []
    for proposal, label in zip(proposals, classes, strict=True):
        total, weight = np.zeros(masks.shape[1:]), 0.0
        for mask, score in zip(masks, scores[:, label].astype(np.float64), strict=True):
            both, either = (mask & masks[proposal]).sum(), (mask | masks[proposal]).sum()
            if np.float32(both / either) >= np.float32(overlap):
                total, weight = total + score * mask, weight + score
        mask = total / weight > 0.5
        voted.append(mask if mask.any() else masks[proposal])
    return np.stack(voted)


@pytest.mark.parametrize("seed", range(15))
def test_voted_masks_are_those_of_a_plain_loop(masks_of, seed):
    rng = np.random.default_rng(seed)
    masks = masks_of(rng, int(rng.integers(1, 20)))
    scores = rng.random((len(masks), 3)).astype(np.float32)
    proposals, classes = rng.integers(len(masks), size=8), rng.integers(3, size=8)
    found = vote(Regions.from_masks(masks), scores, proposals, classes, overlap=0.3)
    assert (found.masks() == plain_vote(masks, scores, proposals, classes, 0.3)).all()


def test_a_vote_takes_what_most_proposals_share():
    # Three alike to within a column or two: the majority is the middle one's span, whatever is chosen.
    regions = bars((0, 10), (0, 9), (0, 8), (20, 30))
    scores = np.full((4, 1), 0.5, np.float32)
    assert vote(regions, scores, np.array([0]), np.array([0]), overlap=0.5).masks()[0, 0].nonzero()[0].max() == 8
    alone = vote(regions, scores, np.array([0]), np.array([0]), overlap=None)
    assert alone.masks()[0, 0].nonzero()[0].max() == 9


def test_where_no_pixel_has_the_majority_the_proposal_stays():
    regions = bars((0, 10), (5, 15))
    scores = np.array([[0.2], [0.2]], np.float32)
    halves = vote(regions, scores, np.array([0]), np.array([0]), overlap=0.3).masks()
    assert halves[0, 0].nonzero()[0].tolist() == list(range(5, 10))  # the common part
    scores = np.array([[0.0], [0.2]], np.float32)
    apart = vote(bars((0, 10), (20, 30)), scores, np.array([0]), np.array([0]), overlap=0.3).masks()
    assert apart[0, 0].nonzero()[0].tolist() == list(range(10))


def test_nothing_chosen_gives_no_mask():
    empty = np.zeros(0, np.int64)
    found = vote(bars((0, 10)), np.ones((1, 1), np.float32), empty, empty, overlap=0.5)
    assert found.masks().shape == (0, 2, 30)


@pytest.fixture
def scene():
    """A bright square on dark ground, a proposal that misses four columns of it, and one that is elsewhere."""
    rgb = np.full((40, 60, 3), 30, np.uint8)
    rgb[10:30, 10:30] = 200
    masks = np.zeros((2, 40, 60), bool)
    masks[0, 10:30, 10:26], masks[1, 5:15, 45:55] = True, True
    regions = Regions.from_masks(masks)
    chosen, classes = np.array([0, 1]), np.array([1, 0])
    shares = votes(regions, np.ones((2, 2), np.float32), chosen, classes, overlap=None)
    return rgb, regions, shares, classes


def settings_of(official, **changes):
    changes = {"crf": CRF, **changes}
    return official(predict=changes).predict


def refine(scene, settings, labels=None):
    rgb, regions, shares, classes = scene
    return refined(
        rgb, voted(regions, shares, np.array([0, 1])), regions, shares, classes, labels=labels, settings=settings
    )


def test_a_mask_follows_the_colours_of_the_image(scene, official):
    square = (scene[0] == 200).all(2)
    masks = refine(scene, settings_of(official)).masks()
    assert (masks[0] == square).mean() > 0.99
    assert (scene[1].masks()[0] == square).mean() < 0.98


def test_without_iterations_masks_stay(scene, official):
    settings = settings_of(official, crf={**CRF, "iterations": 0})
    assert (refine(scene, settings).masks() == scene[1].masks()).all()


def test_only_the_best_instances_are_refined(scene, official):
    masks = refine(scene, settings_of(official, crf_instances=1)).masks()
    assert (masks[1] == scene[1].masks()[1]).all()
    assert (masks[0] != scene[1].masks()[0]).any()


def test_probabilities_are_the_formula_in_the_window(scene, official):
    rgb, regions, shares, _ = scene
    labels = np.zeros((40, 60), np.uint8)
    labels[10:30, 10:30], labels[0:5, 40:60] = 2, 1
    settings = settings_of(official, map_weight=1.5)
    window = np.s_[7:33, 7:29]  # rows 10 to 29, columns 10 to 25, and 15 % of 20 pixels on each side
    share = np.clip(shares[0][regions.atoms][window], 0.02, 0.98)
    logit = np.log(share / (1 - share)) + np.where(labels[window] == 2, 1.5, -1.5)
    inside = 1 / (1 + np.exp(-logit))
    plain = dense_crf(
        np.ascontiguousarray(rgb[window]),
        np.stack([1 - inside, inside]).astype(np.float32),
        **settings.crf.model_dump(),
    )
    expected = np.zeros((40, 60), bool)
    expected[window] = plain[1] > 0.5
    assert (refine(scene, settings, labels).masks()[0] == expected).all()


def test_a_mask_that_the_map_takes_away_stays(scene, official):
    masks = refine(scene, settings_of(official, map_weight=50.0), np.zeros((40, 60), np.uint8)).masks()
    assert (masks == scene[1].masks()).all()


def test_nothing_chosen_is_nothing_refined(scene, official):
    rgb, regions, shares, classes = scene
    none = refined(
        rgb, regions.select([]), regions, shares[:0], classes[:0], labels=None, settings=settings_of(official)
    )
    assert none.masks().shape == (0, 40, 60)
