"""Mining, sampling and targets against plain loops over masks (CIM sections 3.5, 3.6; official code), and by hand."""

import math

import numpy as np
import pytest
import torch

from stages.cim.mining import Overlaps, PseudoGroundTruth, anti_noise_sample, mine
from stages.cim.targets import assign
from stages.ops.regions import Regions

CLASS_COUNT = 3


def plain_maps(masks, half):
    """IoU and containment [i, j] = |i and j| / |j|, pair by pair."""
    iou, containment = np.zeros((2, len(masks), len(masks)))
    for i, a in enumerate(masks):
        for j, b in enumerate(masks):
            iou[i, j] = (a & b).sum() / (a | b).sum()
            containment[i, j] = (a & b).sum() / b.sum()
    if half:
        return iou.astype(np.float32).astype(np.float16), containment.astype(np.float32).astype(np.float16)
    return iou.astype(np.float32), containment.astype(np.float32)


def plain_mining(masks, cls, integrity, tags, settings, branch):
    """Steps of the official mining, in their order: {proposal: (class, weight)}."""
    iou, contains = plain_maps(masks, settings.half_precision_maps)
    kind = iou.dtype.type
    count = len(masks)
    product = cls * integrity
    within = [sum(contains[i, j] > kind(settings.containment_threshold) for j in range(count)) for i in range(count)]
    big = [settings.big_share is not None and within[i] >= settings.big_share * count for i in range(count)]
    pseudo_gt = {}
    for c in np.flatnonzero(tags):
        ranking = product[:, c] if settings.strategy == "mist" else cls[:, c]
        best = sorted(range(count), key=lambda n: -ranking[n])[: math.ceil(settings.seed_share * count)]
        seeds = []
        for n in best:
            if all(iou[n, s] < kind(settings.nms_threshold + settings.cascade_step * branch) for s in seeds):
                seeds.append(n)
        found = set()
        for s in seeds:
            if settings.strategy == "mist":
                found.add(s)
                continue
            rows = [i for i in range(count) if contains[i, s] > kind(settings.containment_threshold) and not big[i]]
            if rows:
                found.add(max(rows, key=lambda i: (integrity[i, c], -i)))
        for n in sorted(found):
            if n not in pseudo_gt or product[n, c] > pseudo_gt[n][1]:
                pseudo_gt[n] = (c, product[n, c])
    return pseudo_gt


def plain_targets(masks, pseudo_gt, settings, branch):
    """Assignment: class (-1 ignored, 0 background, else class + 1), weight and integrity of each proposal."""
    iou, _ = plain_maps(masks, settings.half_precision_maps)
    kind = iou.dtype.type
    labels, weights, integrity = [], [], []
    chosen = sorted(pseudo_gt)
    for n in range(len(masks)):
        nearest = max(chosen, key=lambda g: (iou[n, g], -g))
        overlap = iou[n, nearest]
        labels.append(-1 if overlap == 0 else 0)
        if overlap >= kind(settings.class_threshold + settings.cascade_step * branch):
            labels[-1] = pseudo_gt[nearest][0] + 1
        weights.append(pseudo_gt[nearest][1] if overlap > 0 else 0)
        integrity.append(overlap > kind(settings.integrity_threshold + settings.cascade_step * branch))
    return np.array(labels), np.array(weights, np.float32), np.array(integrity)


def overlaps_of(masks, *, half=True):
    regions = Regions.from_masks(masks).to("cpu")
    return Overlaps(regions.membership, regions.sizes, half_precision=half)


def random_case(masks_of, seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 45))
    masks = masks_of(rng, count)
    scores = torch.from_numpy(rng.random((2, count, CLASS_COUNT)).astype(np.float32))
    tags = rng.random(CLASS_COUNT) < 0.7
    return masks, scores[0], scores[1], tags


@pytest.mark.parametrize("half", [True, False], ids=["half", "single"])
def test_overlaps_are_those_of_the_plain_definition(masks_of, half):
    masks = masks_of(np.random.default_rng(0), 40)
    found = overlaps_of(masks, half=half)
    rows, columns = torch.arange(40), torch.tensor([3, 39, 0, 7])
    iou, containment = plain_maps(masks, half)
    np.testing.assert_array_equal(found.iou(rows, columns), iou[:, columns].astype(np.float32))
    np.testing.assert_array_equal(found.containment(rows, columns), containment[:, columns].astype(np.float32))


@pytest.mark.parametrize(("value", "rounded"), [(0.35, 0.350098), (0.45, 0.449951), (0.85, 0.850098), (0.25, 0.25)])
def test_thresholds_are_rounded_to_half_with_the_maps(value, rounded):
    alone = torch.ones(1, 1, dtype=torch.bool), torch.ones(1)
    assert Overlaps(*alone, half_precision=True).threshold(value) == pytest.approx(rounded, abs=5e-7)
    assert Overlaps(*alone, half_precision=False).threshold(value) == value


@pytest.mark.parametrize("strategy", ["cim", "mist"])
@pytest.mark.parametrize("seed", range(30))
def test_mining_and_targets_are_those_of_plain_loops(masks_of, official, strategy, seed):
    branch = seed % 3
    settings = official(train={"mining": {
        "strategy": strategy, "seed_share": 0.3, "half_precision_maps": seed % 2 == 0,
        "big_share": None if seed % 5 == 0 else 0.5,
    }}).train.mining  # fmt: skip
    masks, cls, integrity, tags = random_case(masks_of, seed)
    overlaps = overlaps_of(masks, half=settings.half_precision_maps)
    pseudo_gt = mine(cls, integrity, tags=torch.from_numpy(tags), overlaps=overlaps, settings=settings, branch=branch)
    plain = plain_mining(masks, cls.numpy(), integrity.numpy(), tags, settings, branch)
    assert pseudo_gt.indices.tolist() == sorted(plain)
    assert [(int(c), float(w)) for c, w in zip(pseudo_gt.classes, pseudo_gt.weights, strict=True)] == [
        (c, float(w)) for c, w in (plain[n] for n in sorted(plain))
    ]
    if not plain:
        return
    targets = assign(pseudo_gt, overlaps, class_count=CLASS_COUNT, settings=settings, branch=branch)
    labels, weights, integrity = plain_targets(masks, plain, settings, branch)
    np.testing.assert_array_equal(targets.classes.any(1), labels >= 0)
    np.testing.assert_array_equal(targets.classes.byte().argmax(1)[labels >= 0], labels[labels >= 0])
    assert targets.classes.sum(1).max() <= 1
    np.testing.assert_array_equal(targets.weights, weights)
    foreground = labels > 0
    np.testing.assert_array_equal(targets.integrity_target[foreground, labels[foreground] - 1], integrity[foreground])


def bars(*spans):
    masks = np.zeros((len(spans), 1, 20), bool)
    for mask, (start, end) in zip(masks, spans, strict=True):
        mask[0, start:end] = True
    return masks


# Proposal 0 is a part of 1; 2 is elsewhere; 3 is nearly everything.
SPANS = ((0, 4), (0, 8), (12, 16), (0, 20))


def mined(official, cls, integrity, **mining):
    settings = official(train={"mining": {"seed_share": 0.5, **mining}}).train.mining
    cls, integrity = (torch.tensor(values)[:, None].expand(-1, 2) for values in (cls, integrity))
    tags, overlaps = torch.tensor([False, True]), overlaps_of(bars(*SPANS))
    return mine(cls, integrity, tags=tags, overlaps=overlaps, settings=settings, branch=0)


def test_a_seed_grows_to_the_proposal_of_highest_integrity_that_contains_it_algorithm_1(official):
    pseudo_gt = mined(official, [0.9, 0.1, 0.8, 0.3], [0.2, 0.6, 0.5, 0.4])
    assert pseudo_gt.indices.tolist() == [1, 2]  # seeds 0 and 2; 0 is contained in 1 and 3
    assert pseudo_gt.classes.tolist() == [1, 1]
    torch.testing.assert_close(pseudo_gt.weights, torch.tensor([0.1 * 0.6, 0.8 * 0.5]))


def test_a_proposal_that_contains_nearly_all_others_is_no_instance_in_the_official_code_alone(official):
    integrity = [0.2, 0.6, 0.5, 0.9]
    assert mined(official, [0.9, 0.1, 0.8, 0.3], integrity).indices.tolist() == [1, 2]
    assert mined(official, [0.9, 0.1, 0.8, 0.3], integrity, big_share=None).indices.tolist() == [3]


def test_seeds_are_ranked_by_class_score_in_cim_and_by_the_product_in_mist(official):
    cls, integrity = [0.9, 0.1, 0.8, 0.3], [0.1, 0.95, 0.05, 0.5]
    assert mined(official, cls, integrity, strategy="mist").indices.tolist() == [3]  # products .09 .095 .04 .15
    assert mined(official, cls, integrity, strategy="cim", seed_share=0.25).indices.tolist() == [1]


def test_the_number_of_seeds_is_rounded_up(official):
    pseudo_gt = mined(official, [0.9, 0.1, 0.8, 0.3], [0.5] * 4, strategy="mist", seed_share=0.26)
    assert pseudo_gt.indices.tolist() == [0, 2]  # ceil(1.04) = 2; products .45 .05 .4 .15


def test_an_overlap_equal_to_the_nms_threshold_drops_a_seed(official):
    # IoU of 0 and 1 is exactly one half.
    pseudo_gt = mined(official, [0.9, 0.8, 0.1, 0.1], [0.5] * 4, strategy="mist", nms_threshold=0.5)
    assert pseudo_gt.indices.tolist() == [0]
    pseudo_gt = mined(official, [0.9, 0.8, 0.1, 0.1], [0.5] * 4, strategy="mist", nms_threshold=0.51)
    assert pseudo_gt.indices.tolist() == [0, 1]


def test_a_proposal_mined_by_two_classes_goes_to_the_strictly_larger_product(official):
    settings = official().train.mining
    masks, ones = bars((0, 4), (6, 9), (12, 15)), torch.ones(3, 3)
    for second, label in ((0.9, 1), (0.7, 0), (0.5, 0)):
        cls = torch.tensor([[0.7, second, 1.0], [0.1, 0.1, 0.1], [0.2, 0.2, 0.2]])
        tags = torch.tensor([True, True, False])
        pseudo_gt = mine(cls, ones, tags=tags, overlaps=overlaps_of(masks), settings=settings, branch=0)
        assert (pseudo_gt.indices.tolist(), pseudo_gt.classes.tolist()) == ([0], [label])
        assert pseudo_gt.weights.item() == pytest.approx(max(second, 0.7))


@pytest.mark.parametrize("strategy", ["cim", "mist"])
def test_order_of_proposals_does_not_matter(masks_of, official, strategy):
    settings = official(train={"mining": {"strategy": strategy}}).train.mining
    rng = np.random.default_rng(2)
    masks, scores = masks_of(rng, 30), torch.from_numpy(rng.random((2, 30, 3)))
    order = rng.permutation(30)
    results = []
    for index in (np.arange(30), order):
        cls, integrity = scores[:, index]
        pseudo_gt = mine(cls, integrity, tags=torch.ones(3, dtype=torch.bool), overlaps=overlaps_of(masks[index]),
                     settings=settings, branch=0)  # fmt: skip
        results.append({(int(index[i]), int(c)) for i, c in zip(pseudo_gt.indices, pseudo_gt.classes, strict=True)})
    assert results[0] == results[1]


@pytest.mark.parametrize(("count", "tags"), [(0, [True, True]), (5, [False, False]), (0, [False, False])])
def test_no_proposals_or_no_tags_give_no_pseudo_ground_truth(official, count, tags):
    scores = torch.rand(count, 2)
    overlaps = Overlaps(torch.eye(count).bool(), torch.ones(count), half_precision=False)
    pseudo_gt = mine(
        scores, scores, tags=torch.tensor(tags), overlaps=overlaps, settings=official().train.mining, branch=0
    )
    assert (len(pseudo_gt.indices), len(pseudo_gt.classes), len(pseudo_gt.weights)) == (0, 0, 0)
    assert anti_noise_sample(pseudo_gt, torch.rand(0, dtype=torch.float64)) is pseudo_gt


def test_one_proposal_is_big_and_thus_no_pseudo_ground_truth_unless_the_rule_is_off(official):
    scores, overlaps = torch.rand(1, 1), overlaps_of(bars((0, 4)))
    for big_share, count in ((0.9, 0), (None, 1)):
        settings = official(train={"mining": {"big_share": big_share}}).train.mining
        pseudo_gt = mine(scores, scores, tags=torch.tensor([True]), overlaps=overlaps, settings=settings, branch=0)
        assert len(pseudo_gt) == count


@pytest.mark.parametrize("seed", range(20))
def test_sampling_draws_as_numpy_choice_class_by_class_section_3_6(seed):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 30))
    classes, weights = rng.integers(0, 4, count), rng.random(count).astype(np.float32)
    legacy, kept = np.random.RandomState(seed), []
    for c in np.unique(classes):
        members = np.flatnonzero(classes == c)
        share = weights[members].astype(np.float64)
        kept += np.unique(legacy.choice(members, size=len(members), p=share / share.sum())).tolist()
    uniforms = np.random.RandomState(seed).random_sample(count)
    pseudo_gt = PseudoGroundTruth(torch.arange(count), torch.from_numpy(classes), torch.from_numpy(weights))
    found = anti_noise_sample(pseudo_gt, torch.from_numpy(uniforms))
    assert found.indices.tolist() == sorted(kept)
    assert found.classes.tolist() == classes[sorted(kept)].tolist()
    assert found.weights.tolist() == weights[sorted(kept)].tolist()


def test_sampling_keeps_every_class_even_when_all_weights_vanish():
    pseudo_gt = PseudoGroundTruth(torch.arange(4), torch.tensor([0, 2, 0, 2]), torch.zeros(4))
    found = anti_noise_sample(pseudo_gt, torch.tensor([0.0, 0.3, 0.999999, 0.5], dtype=torch.float64))
    assert set(found.classes.tolist()) == {0, 2}


def target_case(official, spans, pseudo_gt, *, branch=0, **mining):
    settings = official(train={"mining": mining}).train.mining
    indices, classes, weights = zip(*pseudo_gt, strict=True)
    pseudo = PseudoGroundTruth(torch.tensor(indices), torch.tensor(classes), torch.tensor(weights))
    return assign(pseudo, overlaps_of(bars(*spans)), class_count=2, settings=settings, branch=branch)


def test_background_overlaps_below_tau_cls_and_ignored_proposals_not_at_all(official):
    # IoU with the pseudo ground truth (0, 8): 1, 1/8, 0, 1/2.
    targets = target_case(official, [(0, 8), (7, 8), (12, 16), (0, 4)], [(0, 1, 0.6)])
    assert targets.classes.tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert targets.weights.tolist() == pytest.approx([0.6, 0.6, 0, 0.6])
    assert targets.integrity_target[:, 1].tolist() == [
        True,
        False,
        False,
        False,
    ]  # 1/2 is not above tau_iou, equation 5


@pytest.mark.parametrize(("at_threshold", "foreground"), [(True, True), (False, False)])
def test_an_overlap_of_exactly_tau_cls_is_foreground_in_the_official_code_alone_equation_4(
    official, at_threshold, foreground
):
    targets = target_case(official, [(0, 8), (0, 2)], [(0, 0, 0.5)], foreground_at_threshold=at_threshold)
    assert bool(targets.classes[1, 1]) is foreground
    assert bool(targets.classes[1, 0]) is not foreground


@pytest.mark.parametrize(("branch", "foreground", "integrity"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
def test_thresholds_rise_with_the_branch_section_3_5(official, branch, foreground, integrity):
    # IoU of (0, 8) and (0, 3) is .375: above .25 and .35, below .45; of (0, 8) and (3, 8) .625: above .53, below .63.
    targets = target_case(official, [(0, 8), (0, 3)], [(0, 0, 0.5)], branch=branch)
    assert int(targets.classes[1, 1]) == foreground
    targets = target_case(
        official, [(0, 8), (3, 8)], [(0, 0, 0.5)], branch=branch, integrity_threshold=0.53, class_threshold=0.1
    )
    assert int(targets.integrity_target[1, 0]) == integrity


def test_a_proposal_has_the_class_of_its_best_pseudo_ground_truth_or_each_class_decides_equations_4_to_6(official):
    # Proposal 1 overlaps pseudo ground truth 0 (class 0) with 4/8 and pseudo ground truth 2 (class 1) with 6/10.
    spans, pseudo_gt = [(0, 4), (0, 8), (2, 10)], [(0, 0, 0.9), (2, 1, 0.4)]
    one = target_case(official, spans, pseudo_gt, one_class=True)
    assert one.classes[1].tolist() == [False, False, True]
    each = target_case(official, spans, pseudo_gt, one_class=False)
    assert each.classes[1].tolist() == [False, True, True]
    assert each.integrity_target[1].tolist() == [False, True]
    assert one.weights[1] == each.weights[1] == pytest.approx(0.4)


@pytest.mark.parametrize("half", [True, False], ids=["half", "single"])
@pytest.mark.parametrize("share", [0.3, 0.9, 1.0])
def test_proposals_that_contain_most_are_those_of_the_plain_definition(masks_of, half, share):
    for seed in range(8):
        masks = masks_of(np.random.default_rng(seed), 20)
        masks[3] = True
        _, contains = plain_maps(masks, half)
        within = (contains > contains.dtype.type(0.85)).sum(1)
        found = overlaps_of(masks, half=half).contain_most(share, threshold=0.85)
        np.testing.assert_array_equal(found, within >= share * 20)


def test_with_a_threshold_of_zero_what_meets_no_pseudo_ground_truth_has_no_class_either(official):
    """An IoU of exactly the threshold counts by the official code, an IoU of 0 never does."""
    mining = {"class_threshold": 0.0, "foreground_at_threshold": True}
    targets = target_case(official, [(0, 8), (7, 8), (12, 16)], [(0, 1, 0.6)], **mining)
    assert targets.classes.tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]
