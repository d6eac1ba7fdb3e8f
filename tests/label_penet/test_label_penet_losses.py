"""Equations 1 to 4 by hand and against plain loops, and the rule of beta."""

import math

import numpy as np
import pytest
import torch

from stages.label_penet.boxes import (
    BoxHeads,
    Objects,
    ProposalNetwork,
    Proposed,
    Sampled,
    nearest_weights,
    sampled_mask_loss,
)
from stages.label_penet.network import ClassificationScores, FullyConnected, padded, padded_size
from stages.label_penet.passes import multi_label_loss, single_label_loss
from stages.label_penet.settings import PenetLossSettings, PenetNetworkSettings

LOSSES = {
    "mil": "paper", "objectness": "soft", "probability_floor": 1e-6, "rpn_foreground": 0.7, "rpn_background": 0.3,
    "rpn_anchors": 64, "rpn_before_nms": 100, "rpn_after_nms": 20, "box_foreground": 0.5, "boxes": 32,
    "box_foreground_share": 0.25,
}  # fmt: skip
NETWORK = {
    "backbone": {
        "name": "resnet10t", "output_stride": 16, "stage": 2, "weights": "none", "frozen_stages": 3, "norm": "frozen",
        "dilated_pool": "drop", "mean": None, "std": None,
    },
    "tail": "convolution", "tail_channels": 8, "box_features": "pool4", "bins": 3, "fc_widths": [12, 10], "dropout": 0.0,
    "anchor_sizes": [16, 32], "anchor_ratios": [0.5, 1.0, 2.0], "mask_bins": 4, "aspp_channels": 6, "aspp_rates": [1, 2],
}  # fmt: skip


def losses(**changes):
    return PenetLossSettings.model_validate(LOSSES | changes)


def scores_of(logits, weights):
    logits, weights = torch.tensor(logits), torch.tensor(weights)
    return ClassificationScores(logits, weights.softmax(0), torch.zeros(0), torch.zeros(len(logits), 3))


def test_equation_1_weights_of_a_class_sum_to_1_over_the_proposals():
    shares = scores_of([[0.0, 0.0]] * 3, [[1.0, 5.0], [2.0, 0.0], [0.5, -3.0]]).shares
    torch.testing.assert_close(shares.sum(0), torch.ones(2))
    assert scores_of([[2.0, 1.0]], [[-7.0, 3.0]]).shares.tolist() == [[1.0, 1.0]]


def test_equation_2_by_hand():
    """Scores are sums of x^c w: 1 * .5 + 3 * .5 = 2, and 0; one tag: -log of the softmax of the image's scores."""
    scores = scores_of([[1.0, 0.0], [3.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]])
    found = multi_label_loss(scores, torch.tensor([True, False]), losses())
    assert found.item() == pytest.approx(-math.log(math.exp(2) / (math.exp(2) + 1)))


def test_equation_2_is_not_divided_by_the_number_of_tags():
    scores = scores_of([[0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]])
    assert multi_label_loss(scores, torch.tensor([True, True, False]), losses()).item() == pytest.approx(
        2 * math.log(3)
    )
    assert multi_label_loss(scores, torch.tensor([False] * 3), losses()).item() == 0


def test_the_usual_form_has_a_softmax_over_classes_and_a_cross_entropy_of_each():
    scores = scores_of([[2.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
    totals = (scores.logits.softmax(1) * scores.shares).sum(0)
    expected = -(totals[0].log() + (1 - totals[1]).log()) / 2
    found = multi_label_loss(scores, torch.tensor([True, False]), losses(mil="wsddn"))
    torch.testing.assert_close(found, expected)


def objects_of(boxes, weights, labels=None):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    labels = torch.ones(len(boxes), dtype=torch.int64) if labels is None else torch.tensor(labels)
    return Objects(
        boxes, labels, torch.tensor(weights, dtype=torch.float32), torch.zeros(len(boxes), 40, 40, dtype=torch.uint8)
    )


def proposal_network(**changes):
    torch.manual_seed(0)
    return ProposalNetwork(8, PenetNetworkSettings.model_validate(NETWORK), losses(**changes))


def proposed_of(anchors, objectness, deltas=None):
    anchors = torch.tensor(anchors, dtype=torch.float32)
    deltas = torch.zeros_like(anchors) if deltas is None else torch.tensor(deltas)
    return Proposed(anchors, torch.tensor(objectness), deltas, anchors)


ANCHORS = [[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 9]]


def bce(logit, target):
    p = 1 / (1 + math.exp(-logit))
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def test_equation_3_an_objects_anchors_aim_at_its_weight():
    found = proposal_network().losses(proposed_of(ANCHORS, [0.5, -0.2, 0.1]), objects_of([[0, 0, 10, 10]], [0.3]))
    assert found["objectness"].item() == pytest.approx((bce(0.5, 0.3) + bce(0.1, 0.3) + bce(-0.2, 0)) / 3, rel=1e-5)


def test_equation_3_as_a_weighted_form():
    found = proposal_network(objectness="weighted").losses(
        proposed_of(ANCHORS, [0.5, -0.2, 0.1]), objects_of([[0, 0, 10, 10]], [0.3])
    )
    expected = 0.3 * (bce(0.5, 1) + bce(0.1, 1) + bce(-0.2, 0)) / 3  # background: the mean weight, as it meets nothing
    assert found["objectness"].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("anchor", [[0, 0, 10, 9], [0, 0, 9, 10]], ids=["less high", "less wide"])
def test_equation_3_boxes_count_by_the_weight(anchor):
    """The third anchor is a pixel less high or wide: dy = .5 / 9, dh = log(10 / 9); smooth L1 with beta 1/9."""
    anchors = [*ANCHORS[:2], anchor]
    one, tenth = (
        proposal_network().losses(proposed_of(anchors, [0.0] * 3), objects_of([[0, 0, 10, 10]], [w]))["rpn_box"].item()
        for w in (1.0, 0.1)
    )
    terms = [0.5 / 9, math.log(10 / 9)]
    assert one == pytest.approx(sum(4.5 * t**2 if t < 1 / 9 else t - 0.5 / 9 for t in terms) / 3, rel=1e-4)
    assert tenth == pytest.approx(one / 10, rel=1e-5)


def test_an_anchor_between_the_thresholds_teaches_nothing():
    between = [*ANCHORS[:2], [0, 0, 10, 5]]
    found = proposal_network().losses(proposed_of(between, [0.5, -0.2, 9.0]), objects_of([[0, 0, 10, 10]], [1.0]))
    assert found["objectness"].item() == pytest.approx((bce(0.5, 1) + bce(-0.2, 0)) / 2, rel=1e-5)


def test_without_objects_all_anchors_are_background():
    found = proposal_network().losses(proposed_of(ANCHORS, [0.5, -0.2, 0.1]), objects_of([], []))
    assert found["objectness"].item() == pytest.approx(sum(bce(v, 0) for v in (0.5, -0.2, 0.1)) / 3, rel=1e-5)
    assert found["rpn_box"].item() == 0


def heads(classes=3):
    torch.manual_seed(0)
    network = PenetNetworkSettings.model_validate(NETWORK)
    return BoxHeads(FullyConnected(8, network), network, losses(), class_count=classes)


def test_equation_4_scales_with_the_weights():
    box = heads()
    objects = objects_of([[0, 0, 10, 10], [20, 20, 40, 40]], [0.4, 0.8], [1, 3])
    boxes = torch.tensor([[0.0, 0, 10, 9], [20, 22, 40, 40], [60, 60, 70, 70]])
    sampled = Sampled(boxes, torch.tensor([1, 3, 0]), torch.tensor([0, 1, -1]), torch.tensor([0.4, 0.8, 0.6]))
    generator = torch.Generator().manual_seed(1)
    logits, deltas = torch.randn(3, 4, generator=generator), torch.randn(3, 16, generator=generator)
    whole = box.losses(logits, deltas, sampled, objects)
    half = box.losses(logits, deltas, sampled._replace(weights=sampled.weights / 2), objects)
    for name in ("classifier", "box"):
        assert half[name].item() == pytest.approx(whole[name].item() / 2, rel=1e-6)
    entropy = torch.nn.functional.cross_entropy(logits, sampled.labels, reduction="none")
    assert whole["classifier"].item() == pytest.approx((entropy * sampled.weights).mean().item(), rel=1e-6)


def test_equation_4_boxes_aim_at_the_targets_of_fast_rcnn_and_are_decoded_from_them():
    """10 dx, 10 dy, 5 log of the widths and of the heights; |t| - 1/18 of each, over both regions."""
    box, objects = heads(), objects_of([[2, 1, 10, 7]], [0.5], [2])
    boxes, size = torch.tensor([[0.0, 0, 10, 10], [30, 30, 40, 40]]), (40, 40)
    sampled = Sampled(boxes, torch.tensor([2, 0]), torch.tensor([0, -1]), torch.tensor([0.5, 0.5]))
    aims = [10 * 0.1, 10 * -0.1, 5 * math.log(0.8), 5 * math.log(0.6)]
    deltas = torch.zeros(2, 16)
    found = box.losses(torch.zeros(2, 4), deltas, sampled, objects)["box"].item()
    assert found == pytest.approx(0.5 * sum(abs(aim) - 1 / 18 for aim in aims) / 2, rel=1e-5)
    deltas[0, 8:12] = torch.tensor(aims)
    assert box.losses(torch.zeros(2, 4), deltas, sampled, objects)["box"].item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(
        box.decode(deltas, boxes, size)[0], torch.tensor([[0.0, 0, 10, 10], [2, 1, 10, 7], [0, 0, 10, 10]])
    )


def test_background_has_the_weight_of_the_nearest_object():
    objects = objects_of([[0, 0, 10, 10], [20, 0, 30, 10]], [0.2, 0.8])
    boxes = torch.tensor([[5.0, 0, 16, 10], [18, 0, 26, 10], [50, 50, 60, 60]])
    np.testing.assert_allclose(nearest_weights(boxes, objects), [0.2, 0.8, 0.5])
    assert nearest_weights(boxes, objects_of([], [])).tolist() == [1, 1, 1]


def test_regions_are_sampled_with_class_and_weight_of_their_object():
    objects = objects_of([[0, 0, 10, 10]], [0.3], [2])
    sampled = heads().sample(torch.tensor([[0.0, 0, 10, 8], [30, 30, 40, 40], [0, 0, 10, 5]]), objects)
    rows = {tuple(box): (label, round(weight, 4)) for box, label, weight in zip(
        sampled.boxes.tolist(), sampled.labels.tolist(), sampled.weights.tolist(), strict=True
    )}  # fmt: skip
    assert rows[(0, 0, 10, 10)] == (2, 0.3)  # the object itself is a region, too
    assert rows[(0, 0, 10, 8)] == (2, 0.3)
    assert rows[(0, 0, 10, 5)] == (2, 0.3)  # an IoU of exactly a half is foreground
    assert rows[(30, 30, 40, 40)] == (0, 0.3)


@pytest.mark.parametrize(("height", "label"), [(5.0, 0), (5.1, 2)], ids=["exactly beta", "above beta"])
def test_a_proposal_has_an_objects_class_above_beta(height, label):
    boxes = torch.tensor([[0.0, 0, 10, height]])
    scores = ClassificationScores(torch.zeros(1, 2), torch.ones(1, 2), torch.zeros(0), torch.tensor([[0.0, 1.0, 2.0]]))
    found = single_label_loss(scores, boxes, objects_of([[0, 0, 10, 10]], [1.0], [2]), overlap=0.5)
    expected = torch.nn.functional.cross_entropy(scores.single, torch.tensor([label]))
    torch.testing.assert_close(found, expected)


def test_without_objects_every_proposal_is_background():
    scores = ClassificationScores(torch.zeros(1, 2), torch.ones(1, 2), torch.zeros(0), torch.tensor([[5.0, 1.0, 2.0]]))
    found = single_label_loss(scores, torch.tensor([[0.0, 0, 4, 4]]), objects_of([], []), overlap=0.5)
    torch.testing.assert_close(found, torch.nn.functional.cross_entropy(scores.single, torch.tensor([0])))


@pytest.mark.parametrize(("size", "wanted"), [((64, 96), (64, 96)), ((65, 1), (96, 32)), ((333, 500), (352, 512))])
def test_images_are_padded_to_multiples_of_32(size, wanted):
    image = padded(torch.ones(3, *size))
    assert padded_size(*size) == wanted
    assert image.inputs.shape == (1, 3, *wanted)
    assert image.inputs.sum() == 3 * size[0] * size[1]
    assert image.size == size


def test_a_region_network_lists_objectness_and_boxes_of_anchors_in_one_order():
    """Of a cell all anchors, cell after cell; a delta of zero is the anchor itself."""
    network = proposal_network()
    with torch.no_grad():
        for layer in (network.head.bbox_pred, network.head.cls_logits):
            layer.weight.zero_()
        network.head.bbox_pred.bias.copy_(torch.arange(24) / 100)
        network.head.cls_logits.bias.copy_(torch.arange(6) / 10)
    found = network(torch.zeros(1, 8, 2, 3), (32, 48), (32, 48), before=36, after=36)
    assert found.objectness.tolist() == pytest.approx([i / 10 for _ in range(6) for i in range(6)])
    np.testing.assert_allclose(found.deltas[:6].detach().numpy(), np.arange(24).reshape(6, 4) / 100)
    assert (found.deltas.reshape(6, 6, 4) == found.deltas[:6]).all()
    assert found.anchors.shape == (36, 4)
    centers = (found.anchors[:, :2] + found.anchors[:, 2:]) / 2
    assert centers.reshape(6, 6, 2)[:, 0].tolist() == [[16 * x, 16 * y] for y in range(2) for x in range(3)]
    assert (found.boxes >= 0).all()
    assert (found.boxes[:, 2:] <= torch.tensor([48, 32])).all()


def test_heads_have_a_score_and_a_box_for_each_class_and_the_background():
    logits, deltas = heads(classes=3)(torch.zeros(5, 8, 3, 3))
    assert (logits.shape, deltas.shape) == ((5, 4), (5, 16))
    decoded = heads(classes=3).decode(deltas * 0, torch.tensor([[1.0, 2, 5, 9]] * 5), (8, 8))
    assert decoded.tolist() == [[[1, 2, 5, 8]] * 3] * 5


def test_without_objects_all_sampled_regions_are_background():
    sampled = heads().sample(torch.tensor([[0.0, 0, 10, 8], [30, 30, 40, 40]]), objects_of([], []))
    assert sampled.labels.tolist() == [0, 0]
    assert sampled.weights.tolist() == [1, 1]


def test_at_most_a_quarter_of_the_sampled_regions_is_of_objects():
    near = torch.tensor([[0.0, 0, 10, 10]]).repeat(40, 1)
    far = torch.tensor([[30.0, 30, 40, 40]]).repeat(40, 1)
    sampled = heads().sample(torch.cat([near, far]), objects_of([[0, 0, 10, 10]], [1.0], [2]))
    assert (len(sampled.labels), int((sampled.labels == 2).sum())) == (32, 8)


def test_masks_of_regions_are_learnt_on_their_own_grid():
    """Three regions of one object: its left half fills the left columns of the grid over its box."""
    shape = torch.zeros(1, 40, 40, dtype=torch.uint8)
    shape[0, :10, :5] = 1
    objects = objects_of([[0, 0, 10, 10]], [1.0])._replace(masks=shape)
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 10], [0, 0, 10, 10]])
    sampled = Sampled(boxes, torch.tensor([1, 0, 1, 1]), torch.tensor([0, -1, 0, 0]), torch.ones(4))
    aim = torch.zeros(4, 4)
    aim[:, :2] = 1
    logits = ((aim * 2 - 1) * 20).expand(3, 2, 4, 4)
    assert sampled_mask_loss(logits, sampled, objects).item() < 2  # cells at the border of the half are neither
    assert sampled_mask_loss(-logits, sampled, objects).item() > 15
