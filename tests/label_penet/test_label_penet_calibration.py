"""Proposal calibration by hand: candidates, attention in the image, background, masks and boxes."""

import numpy as np
import pytest

from stages.label_penet.calibration import (
    Candidates,
    Shapes,
    calibrate,
    choose_candidates,
    crf_masks,
    density,
    sum_maps,
)
from stages.label_penet.settings import CalibrationSettings
from stages.ops.regions import Regions

CRF = {
    "iterations": 0, "smooth_sxy": 3.0, "smooth_compat": 3.0, "colour_sxy": 50.0, "colour_srgb": 5.0, "colour_compat": 10.0,
}  # fmt: skip
PAPER = {
    "attention": "ebp", "nms_threshold": 0.3, "score_threshold": 0.0, "candidate_share": 0.7, "max_per_class": 1,
    "box_margin": 1.2, "least_share": 0.2, "most_share": 0.95, "proposal_overlap": None, "crf": CRF,
}  # fmt: skip


def settings(**changes):
    return CalibrationSettings.model_validate(PAPER | changes)


BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [20, 0, 30, 10], [0, 0, 9, 10]], np.float32)
SCORES = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]], np.float32)
BOTH = np.array([True, True])


def candidates(tags=BOTH, boxes=BOXES, scores=SCORES, **changes):
    own = scores.argmax(1)
    return choose_candidates(boxes, scores, scores, own, tags=np.asarray(tags), settings=settings(**changes))


def test_one_candidate_of_each_tagged_class_the_best():
    found = candidates()
    assert found.regions.tolist() == [0, 3]
    assert found.classes.tolist() == [0, 1]
    np.testing.assert_allclose(found.weights, [0.9, 0.6])
    assert candidates(tags=[False, True]).classes.tolist() == [1]


def test_what_the_candidate_suppresses_is_affiliated_if_it_is_of_the_class():
    """Boxes 1 and 3 overlap the candidate 0; 3 is more probably of class 1. Of class 1 the candidate stands alone."""
    assert candidates().affiliated.tolist() == [[True, True, False, False], [False, False, False, True]]


def test_an_overlap_equal_to_the_threshold_is_affiliated():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 5, 10]], np.float32)
    scores = np.array([[0.9], [0.5]], np.float32)
    for threshold, joined in ((0.5, True), (0.51, False)):
        found = candidates(tags=[True], boxes=boxes, scores=scores, nms_threshold=threshold)
        assert found.affiliated[0, 1] == joined


def test_further_candidates_of_a_class_have_a_share_of_the_best_score():
    assert candidates(tags=[True, False], max_per_class=5).regions.tolist() == [0, 2]  # .7 of .9 is below .7
    assert candidates(tags=[True, False], max_per_class=5, candidate_share=0.8).regions.tolist() == [0]
    assert candidates(tags=[True, False], max_per_class=5, score_threshold=0.75).regions.tolist() == [0]


def test_the_best_of_a_class_is_a_candidate_however_weak():
    assert candidates(tags=[False, True], score_threshold=0.99).regions.tolist() == [3]


def test_a_region_belongs_to_its_nearest_candidate():
    boxes = np.array([[0, 0, 10, 10], [14, 0, 24, 10], [6, 0, 16, 10], [8, 0, 18, 10]], np.float32)
    scores = np.array([[0.9], [0.8], [0.1], [0.1]], np.float32)
    found = candidates(tags=[True], boxes=boxes, scores=scores, max_per_class=5, nms_threshold=0.2)
    assert found.regions.tolist() == [0, 1]
    assert found.affiliated.tolist() == [[True, False, True, False], [False, True, False, True]]


@pytest.mark.parametrize(
    ("boxes", "scores", "tags"),
    [
        pytest.param(np.zeros((0, 4)), np.zeros((0, 2)), BOTH, id="no region"),
        pytest.param(BOXES, SCORES, [False, False], id="no tag"),
        pytest.param(BOXES, np.zeros((4, 2)), BOTH, id="all scores zero"),
    ],
)
def test_nothing_gives_no_candidate(boxes, scores, tags):
    own = scores.argmax(1) if len(scores) else np.zeros(0, np.int64)
    found = choose_candidates(
        boxes.astype(np.float32), scores.astype(np.float32), scores.astype(np.float32), own, tags=np.asarray(tags),
        settings=settings(),
    )  # fmt: skip
    assert len(found.classes) == 0
    assert found.affiliated.shape == (0, len(boxes))
    objects = calibrate(np.zeros((12, 32, 3), np.uint8), boxes, found, never, settings=settings())
    assert objects.masks.shape == (0, 12, 32)
    assert objects.boxes.shape == (0, 4)


def test_one_region_is_its_own_candidate():
    found = candidates(tags=[True, False], boxes=BOXES[:1], scores=SCORES[:1])
    assert (found.regions.tolist(), found.affiliated.tolist()) == ([0], [[True]])


def test_a_class_that_is_never_the_most_probable_has_its_best_region_alone():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.8, 0.1]], np.float32)
    found = candidates(tags=[False, True], scores=scores)
    assert found.affiliated.tolist() == [[False, False, True, False]]


def never(index, label):
    raise AssertionError("no attention is asked for")


def test_a_map_lies_in_its_box():
    maps = np.array([[[1.0, 2.0], [3.0, 4.0]]], np.float32)
    found = sum_maps(maps, np.array([[2, 1, 4, 3]], np.float32), (4, 6))
    assert found[1:3, 2:4].tolist() == [[1, 2], [3, 4]]
    assert found.sum() == 10


def test_between_cells_a_map_is_bilinear_and_maps_are_summed():
    maps = np.array([[[0.0, 4.0]] * 2, [[1.0, 1.0]] * 2], np.float32)
    boxes = np.array([[0, 0, 4, 2], [0, 0, 4, 2]], np.float32)
    np.testing.assert_allclose(sum_maps(maps, boxes, (2, 4))[0], np.array([0, 1, 3, 4]) + 1)


def test_a_box_beyond_the_image_is_cut_and_one_outside_adds_nothing():
    maps = np.ones((2, 2, 2), np.float32)
    found = sum_maps(maps, np.array([[-2, -2, 2, 2], [10, 10, 12, 12]], np.float32), (4, 4))
    assert found.sum() == 4
    for outside in ([-9, 0, -7, 2], [0, -9, 2, -7], [-3, 0, -1, 2], [0, -3, 2, -1], [1.6, 0, 2.4, 2], [0, 1.6, 2, 2.4]):
        assert not sum_maps(maps[:1], np.array([outside], np.float32), (4, 4)).any()  # the last two hold no center


def test_attention_is_per_pixel():
    maps = np.ones((2, 2, 2), np.float32)
    found = density(maps, np.array([[0, 0, 2, 2], [0, 0, 4, 8]], np.float32))
    assert found[:, 0, 0].tolist() == [1.0, 0.125]


def test_the_background_is_what_attention_leaves():
    """One label of A, one of max(0, 1 - A): where A is above a half the object wins; two objects compete."""
    attention = np.zeros((2, 1, 4), np.float32)
    attention[0, 0], attention[1, 0] = [0.4, 0.6, 1.0, 0.9], [0.0, 0.0, 0.3, 1.0]
    masks = crf_masks(np.zeros((1, 4, 3), np.uint8), attention, settings=settings().crf)
    assert masks[:, 0].tolist() == [[False, True, True, False], [False, False, False, True]]


def test_the_crf_is_given_shares_that_sum_to_1(monkeypatch):
    """A_0 and the A^c of a pixel: 1 and 0, 0; .5 and .3, .2; 0 and 1, .6, which are 1.6 together."""
    attention, given = np.zeros((2, 1, 3), np.float32), []
    attention[0, 0], attention[1, 0] = [0.0, 0.3, 1.0], [0.0, 0.2, 0.6]

    def crf(rgb, probabilities, **_):
        given.append(probabilities)
        return probabilities

    monkeypatch.setattr("stages.label_penet.calibration.dense_crf", crf)
    crf_masks(np.zeros((1, 3, 3), np.uint8), attention, settings=settings().crf)
    np.testing.assert_allclose(given[0][:, 0], [[1, 0.5, 0], [0, 0.3, 1 / 1.6], [0, 0.2, 0.6 / 1.6]], rtol=1e-6)


def calibrated(maps, box=(2, 2, 10, 10), shapes=None, **changes):
    """One candidate with a box of 8x8 and the given attention."""
    boxes = np.array([box], np.float32)
    one = Candidates(np.array([0]), np.array([1]), np.array([0.6], np.float32), np.array([[True]]))
    rgb = np.zeros((16, 16, 3), np.uint8)
    maps = np.array([maps], np.float32)
    return calibrate(rgb, boxes, one, lambda *_: maps, settings=settings(**changes), shapes=shapes)


def test_a_mask_is_where_attention_is_high_and_its_box_is_tight():
    maps = np.zeros((4, 4))
    maps[1:, :2] = 5.0  # scaled to 1: its maximum counts
    found = calibrated(maps)
    assert found.replaced == 0
    assert found.attention.max() == 1
    ys, xs = found.masks[0].nonzero()
    assert found.boxes[0].tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    assert found.boxes[0, 2] < 8  # only the left half
    assert (found.classes.tolist(), found.weights.tolist()) == ([1], [pytest.approx(0.6)])


@pytest.mark.parametrize(
    ("maps", "changes", "replaced"),
    [
        pytest.param(np.zeros((4, 4)), {}, 1, id="no attention at all"),
        pytest.param(np.diag([1, 0, 0, 0]), {}, 1, id="smaller than a fifth"),
        pytest.param(np.ones((4, 4)), {}, 1, id="fills the box"),
        pytest.param(np.ones((4, 4)), {"most_share": 1.5}, 0, id="which may be wanted"),
    ],
)
def test_a_mask_that_says_nothing_is_replaced_by_its_box(maps, changes, replaced):
    found = calibrated(maps, **changes)
    assert found.replaced == replaced
    if replaced:
        assert found.boxes[0].tolist() == [2, 2, 10, 10]
        expected = np.zeros((16, 16), bool)
        expected[2:10, 2:10] = True
        assert (found.masks[0] == expected).all()


def test_of_a_mask_the_largest_component_stays():
    maps = np.zeros((8, 8))
    maps[:3, :3], maps[5:, 3:] = 1.0, 1.0
    found = calibrated(maps)
    assert not found.masks[0][2:5, 2:5].any()
    assert found.masks[0][7:10, 5:10].all()


def test_a_box_smaller_than_a_pixel_has_a_mask():
    found = calibrated(np.zeros((2, 2)), box=(5.2, 5.2, 5.3, 5.3))
    assert found.masks[0].sum() == 1


def test_a_box_of_one_pixel_between_pixels_has_that_whose_center_it_holds():
    found = calibrated(np.zeros((2, 2)), box=(5.5, 7.5, 6.5, 8.5))
    assert found.masks[0].nonzero() == (7, 5)


def test_it_is_deterministic():
    rng = np.random.default_rng(0)
    maps = rng.random((7, 7))
    one, other = calibrated(maps, crf=CRF | {"iterations": 3}), calibrated(maps, crf=CRF | {"iterations": 3})
    assert (one.masks == other.masks).all()


def proposals(*boxes, scores=None):
    masks = np.zeros((len(boxes), 16, 16), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
        mask[y0, x0] = False  # so that a proposal's mask is told from its box
    return Shapes(Regions.from_masks(masks), None if scores is None else np.array(scores, np.float32))


LEFT_HALF = np.repeat([[1.0, 0.0]], 2, axis=0)


def test_the_nearest_proposal_stands_in_place_of_attention():
    """Of a candidate's box (2, 2, 10, 10) the proposals have IoU 56/64, 1/2 and 0; the first two of equal ones tie."""
    shapes = proposals((12, 12, 16, 16), (2, 2, 10, 6), (2, 2, 10, 9), (2, 2, 10, 9))
    found = calibrated(LEFT_HALF, shapes=shapes, proposal_overlap=0.5)
    assert (found.masks[0] == shapes.regions.masks([2])[0]).all()
    assert found.boxes[0].tolist() == [2, 2, 10, 9]
    assert (found.proposed, found.replaced) == (1, 0)
    assert found.attention[0, 4, 3] == 1  # which is kept to look at


@pytest.mark.parametrize(
    ("shapes", "least"),
    [
        pytest.param(proposals((2, 2, 10, 9)), 0.88, id="too far"),
        pytest.param(proposals((2, 2, 10, 9)), None, id="not asked for"),
        pytest.param(proposals(), 0.5, id="no proposal"),
        pytest.param(Shapes(Regions.from_masks(np.zeros((1, 16, 16), bool)), None), 0.5, id="an empty proposal"),
    ],
)
def test_attention_stands_where_no_proposal_is_near(shapes, least):
    found, alone = (
        calibrated(LEFT_HALF, shapes=shapes, proposal_overlap=least),
        calibrated(LEFT_HALF),
    )
    assert (found.masks == alone.masks).all()
    assert (found.boxes == alone.boxes).all()
    assert (found.proposed, found.replaced) == (0, alone.replaced)


def test_of_near_proposals_their_own_scores_of_the_class_count_too():
    """IoU 7/8, 1 and 1/2; the object is of class 1, so that 7/8 * 0.8 is the best; the third fits, but is too far."""
    near = [(2, 2, 10, 9), (2, 2, 10, 10), (2, 2, 10, 6)]
    shapes = proposals(*near, scores=[[0.1, 0.8], [0.9, 0.6], [0.1, 2.0]])
    found = calibrated(LEFT_HALF, shapes=shapes, proposal_overlap=0.6)
    assert found.boxes[0].tolist() == [2, 2, 10, 9]
    assert (found.masks[0] == shapes.regions.masks([0])[0]).all()


def test_an_overlap_that_is_just_reached_is_near():
    assert calibrated(LEFT_HALF, shapes=proposals((2, 2, 10, 6)), proposal_overlap=0.5).proposed == 1


def test_one_object_has_a_proposal_and_another_its_attention():
    """Both compete in the CRF, though the first one's mask is a proposal's."""
    boxes = np.array([[0, 0, 8, 8], [8, 8, 16, 16]], np.float32)
    two = Candidates(np.arange(2), np.array([0, 1]), np.array([0.9, 0.8], np.float32), np.eye(2, dtype=bool))
    shapes = proposals((0, 0, 8, 8))

    def both(**changes):
        rgb, maps = np.zeros((16, 16, 3), np.uint8), np.array([LEFT_HALF], np.float32)
        return calibrate(rgb, boxes, two, lambda *_: maps, settings=settings(**changes), shapes=shapes)

    found, alone = both(proposal_overlap=0.9), both()
    assert (found.masks[0] == shapes.regions.masks([0])[0]).all()
    assert (found.masks[1] == alone.masks[1]).all()
    assert found.boxes[1].tolist() == alone.boxes[1].tolist()
    assert found.proposed == 1
