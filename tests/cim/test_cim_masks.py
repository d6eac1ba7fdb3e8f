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


def test_without_iterations_masks_stay_and_one_moves_them(scene, official):
    still, once = (settings_of(official, crf={**CRF, "iterations": iterations}) for iterations in (0, 1))
    assert (refine(scene, still).masks() == scene[1].masks()).all()
    assert (refine(scene, once).masks()[0] != scene[1].masks()[0]).any()


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


@pytest.mark.parametrize(
    ("rows", "columns", "window"),
    [
        pytest.param((20, 37), (20, 37), (17, 40, 17, 40), id="15 % of 17 are 2.55: three pixels"),
        pytest.param((20, 36), (20, 36), (18, 38, 18, 38), id="15 % of 16 are 2.4: two"),
        pytest.param((20, 26), (10, 27), (17, 29, 7, 30), id="of the longer side, on either"),
        pytest.param((1, 18), (52, 58), (0, 21, 49, 60), id="within the image"),
    ],
)
def test_the_crf_sees_a_window_about_the_votes(official, monkeypatch, rows, columns, window):
    rgb = np.zeros((50, 60, 3), np.uint8)
    rgb[..., 0], rgb[..., 1] = np.mgrid[:50, :60]
    mask = np.zeros((1, 50, 60), bool)
    mask[0, slice(*rows), slice(*columns)] = True
    regions, seen = Regions.from_masks(mask), []

    def crf(rgb, inside, **_):
        seen.append((rgb[0, 0, 0], 1 + rgb[-1, -1, 0], rgb[0, 0, 1], 1 + rgb[-1, -1, 1]))
        assert inside.shape == rgb.shape[:2]
        return np.ones(inside.shape, np.float32)

    monkeypatch.setattr("stages.cim.masks.one_object_crf", crf)
    shares = regions.membership.astype(np.float64)
    found = refined(rgb, regions, regions, shares, np.array([0]), labels=None, settings=settings_of(official))
    assert seen == [window]
    y0, y1, x0, x1 = window
    assert (found.areas().tolist(), found.boxes().tolist()) == ([(y1 - y0) * (x1 - x0)], [[x0, y0, x1, y1]])


def test_half_a_vote_is_no_majority_after_the_crf_either(official):
    """Neighbours that pull at nothing leave the probability of a half that one of two proposals has given."""
    masks = np.zeros((2, 20, 30), bool)
    masks[0, 5:15, 5:20], masks[1, 5:15, 10:25] = True, True
    regions, chosen, classes = Regions.from_masks(masks), np.array([0]), np.array([0])
    shares = votes(regions, np.ones((2, 1), np.float32), chosen, classes, overlap=0.3)
    still = settings_of(official, crf={**CRF, "iterations": 1, "smooth_compat": 0.0, "colour_compat": 0.0})
    found = refined(
        np.zeros((20, 30, 3), np.uint8), voted(regions, shares, chosen), regions, shares, classes, labels=None,
        settings=still,
    )  # fmt: skip
    assert (found.masks()[0] == masks.all(0)).all()


def test_a_mask_that_the_map_takes_away_stays(scene, official):
    masks = refine(scene, settings_of(official, map_weight=50.0), np.zeros((40, 60), np.uint8)).masks()
    assert (masks == scene[1].masks()).all()


def test_nothing_chosen_is_nothing_refined(scene, official):
    rgb, regions, shares, classes = scene
    none = refined(
        rgb, regions.select([]), regions, shares[:0], classes[:0], labels=None, settings=settings_of(official)
    )
    assert none.masks().shape == (0, 40, 60)
