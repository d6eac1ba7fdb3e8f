"""Choice of instances against a plain loop of the official code, and by hand."""

import numpy as np
import pytest

from stages.cim.decoding import by_rank, choose_instances
from stages.ops.regions import Regions


def plain_choice(masks, scores, settings):
    """Per class greedy suppression, box by box; then the best of all classes and all that tie with the last."""
    boxes = []
    for mask in masks:
        y, x = np.nonzero(mask)
        boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
    extra = 1 if settings.nms_inclusive else 0

    def overlap(i, j):
        if settings.nms == "masks":
            return (masks[i] & masks[j]).sum() / (masks[i] | masks[j]).sum()
        (a0, b0, a1, b1), (c0, d0, c1, d1) = boxes[i], boxes[j]
        w, h = max(0, min(a1, c1) - max(a0, c0) + extra), max(0, min(b1, d1) - max(b0, d0) + extra)
        sizes = (a1 - a0 + extra) * (b1 - b0 + extra) + (c1 - c0 + extra) * (d1 - d0 + extra)
        return w * h / (sizes - w * h)

    found = []
    for c in range(scores.shape[1]):
        kept = []
        for n in sorted(range(len(masks)), key=lambda n: -scores[n, c]):
            if scores[n, c] > settings.score_threshold and all(overlap(n, k) < settings.nms_threshold for k in kept):
                kept.append(n)
        found += [(scores[n, c], n, c) for n in kept]
    found.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
    last = found[settings.top_k - 1][0] if len(found) > settings.top_k else -1
    return [(n, c) for score, n, c in found if score >= last]


@pytest.mark.parametrize("nms", ["boxes", "masks"])
@pytest.mark.parametrize("seed", range(15))
def test_instances_are_those_of_a_plain_loop(masks_of, official, nms, seed):
    rng = np.random.default_rng(seed)
    masks = masks_of(rng, int(rng.integers(1, 30)))
    scores = rng.random((len(masks), 3)).astype(np.float32) ** 4
    settings = official(
        predict={"nms": nms, "nms_inclusive": seed % 2 == 0, "score_threshold": 0.01, "top_k": 12}
    ).predict
    regions = Regions.from_masks(masks)
    proposals, classes = choose_instances(regions, scores, boxes=regions.boxes(), tags=None, settings=settings)
    assert list(zip(proposals.tolist(), classes.tolist(), strict=True)) == plain_choice(masks, scores, settings)


def bars(*spans):
    masks = np.zeros((len(spans), 2, 30), bool)
    for mask, (start, end) in zip(masks, spans, strict=True):
        mask[:, start:end] = True
    return Regions.from_masks(masks)


def chosen(regions, scores, settings, tags=None):
    values = np.array(scores, np.float32)
    values = values[:, None] if values.ndim == 1 else values
    proposals, classes = choose_instances(regions, values, boxes=regions.boxes(), tags=tags, settings=settings)
    return list(zip(proposals.tolist(), classes.tolist(), strict=True))


def test_sides_count_one_more_pixel_in_the_official_code(official):
    # Widths 10, 4 apart by 6: half-open IoU 8/32 = .25; with +1 15/51 = .29 high 3: 3 * 5 / (2 * 33 - 15).
    regions = bars((0, 10), (6, 16))
    for inclusive, count in ((True, 1), (False, 2)):
        settings = official(predict={"nms_inclusive": inclusive, "nms_threshold": 0.28}).predict
        assert len(chosen(regions, [0.9, 0.8], settings)) == count


def test_an_overlap_equal_to_the_threshold_suppresses(official):
    settings = official(predict={"nms": "masks", "nms_threshold": 0.5}).predict
    assert chosen(bars((0, 10), (0, 5)), [0.9, 0.8], settings) == [(0, 0)]


def test_all_that_tie_with_the_last_of_the_best_stay(official):
    settings = official(predict={"top_k": 2}).predict
    regions = bars((0, 2), (6, 8), (12, 14), (20, 22))
    assert chosen(regions, [0.9, 0.5, 0.5, 0.4], settings) == [(0, 0), (1, 0), (2, 0)]


def test_a_score_at_the_threshold_is_dropped_and_a_proposal_may_have_several_classes(official):
    settings = official(predict={"score_threshold": 0.25}).predict
    assert chosen(bars((0, 2), (6, 8)), [[0.5, 0.75], [0.25, 0.26]], settings) == [(0, 1), (0, 0), (1, 1)]


def test_tags_leave_only_their_classes(official):
    settings = official().predict
    assert chosen(bars((0, 2)), [[0.5, 0.75]], settings, tags=np.array([True, False])) == [(0, 0)]


def test_no_proposals_give_no_instances(official):
    assert chosen(Regions.empty(3, 4), np.zeros((0, 2)), official().predict) == []


def test_rank_of_the_source_decides_between_alike_proposals(official):
    # IoU .8: alike, so that one of the two stays. exp(-1/2) = .607: .9 * .607 = .546 < .8.
    regions, scores = bars((0, 8), (0, 10)), np.array([[0.8], [0.9]], np.float32)
    settings = official(predict={"nms": "masks", "nms_threshold": 0.5}).predict
    assert chosen(regions, by_rank(scores, scale=None), settings) == [(1, 0)]
    assert chosen(regions, by_rank(scores, scale=2.0), settings) == [(0, 0)]
    assert by_rank(scores, scale=2.0)[:, 0] == pytest.approx([0.8, 0.9 * np.exp(-0.5)])
    assert by_rank(scores, scale=2.0).dtype == np.float32
    assert by_rank(np.zeros((0, 3), np.float32), scale=2.0).shape == (0, 3)
