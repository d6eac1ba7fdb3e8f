"""Losses with and without weights, detections, and masks at full size."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection.generalized_rcnn import GeneralizedRCNN
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from stages.core.networks.levels import levels
from stages.core.networks.weighted_rcnn import box_losses, mask_loss, region_weights
from stages.mask_rcnn.detection import detect, full_masks
from stages.mask_rcnn.network import MaskRcnn, batched
from stages.mask_rcnn.samples import scaled_image, scaled_size, scaled_target
from tests.mask_rcnn.conftest import predictions

TERMS = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"}


@pytest.fixture
def network(tiny):
    torch.manual_seed(0)
    return MaskRcnn(tiny().train, class_count=3)


def sample(*weights: float, size=(64, 96), seed: int = 0) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    sides = [(4, 40, 6, 44), (20, 60, 50, 90)][: len(weights)]
    record = predictions("p", sides, [0, 2][: len(weights)], weights, size)
    image = torch.randn(3, *size, generator=torch.Generator().manual_seed(seed))
    return image, scaled_target(record, size, flip=False, weighted=True)


def losses_of(network, *samples, forward=None, seed: int = 1):
    images, targets = map(list, zip(*samples, strict=True))
    torch.manual_seed(seed)
    image_list, features = network.features(images)
    proposals, _ = network.rpn(image_list, features, targets)
    run = forward or type(network.heads).forward
    losses = run(network.heads, features, proposals, image_list.image_sizes, targets)[1]
    return {name: value.detach() for name, value in losses.items()}


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param([sample(1.0, 1.0)], id="one image"),
        pytest.param([sample(1.0, 1.0), sample(1.0, size=(50, 64), seed=5)], id="images of two sizes"),
        pytest.param([sample(1.0), sample()], id="an image without objects"),
        pytest.param([sample()], id="no object at all"),
    ],
)
def test_with_weights_of_one_the_losses_are_torchvisions_own(network, samples):
    own, theirs = losses_of(network, *samples), losses_of(network, *samples, forward=RoIHeads.forward)
    assert own.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(own[name], value, rtol=1e-6, atol=0)


def test_doubtful_pseudo_masks_weigh_less(network):
    """A region's loss is multiplied by the score of the pseudo mask that it belongs to; background counts fully."""
    sure, doubtful, without = (losses_of(network, sample(w, w)) for w in (1.0, 0.5, 0.0))
    for name in ("loss_box_reg", "loss_mask"):
        assert float(doubtful[name]) == pytest.approx(0.5 * float(sure[name]), rel=1e-5)
        assert float(without[name]) == 0
    background = float(without["loss_classifier"])
    assert background > 0
    middle = (float(sure["loss_classifier"]) + background) / 2
    assert float(doubtful["loss_classifier"]) == pytest.approx(middle, rel=1e-5)


def test_a_region_has_the_weight_of_its_pseudo_mask_and_background_one():
    weights = region_weights(torch.tensor([0.2, 0.7]), torch.tensor([1, 0, 1, 0]), torch.tensor([3, 1, 0, 0]))
    assert torch.allclose(weights, torch.tensor([0.7, 0.2, 1.0, 1.0]))
    assert region_weights(torch.zeros(0), torch.tensor([0]), torch.tensor([0])).tolist() == [1.0]


def test_box_losses_by_hand():
    """Fast R-CNN: cross-entropy and smooth L1 of the class's own box, both divided by the number of regions."""
    logits, labels = torch.tensor([[0.0, 0.0], [0.0, np.log(3.0)]]), torch.tensor([0, 1])
    deltas = torch.zeros(2, 8)
    deltas[1, 4] = 2.0
    classifier, box = box_losses(logits, deltas, labels, torch.zeros(2, 4), torch.tensor([1.0, 0.5]))
    assert float(classifier) == pytest.approx((np.log(2) + 0.5 * np.log(4 / 3)) / 2)
    assert float(box) == pytest.approx(0.5 * (2 - 0.5 / 9) / 2)


def test_mask_loss_by_hand():
    """The mean over pixels of the cross-entropy on the class's own channel, times the weight, mean over regions."""
    logits = torch.zeros(2, 3, 2, 2)
    logits[0, 2] = 100.0
    targets = torch.ones(2, 2, 2)
    loss = mask_loss(logits, torch.tensor([2, 1]), targets, torch.tensor([1.0, 0.25]))
    assert float(loss) == pytest.approx(0.25 * np.log(2) / 2)


def test_forward_gives_all_terms_and_every_trained_part_a_gradient(network):
    losses = network([sample(0.5, 0.9)[0]], [sample(0.5, 0.9)[1]])
    assert losses.keys() == TERMS
    sum(losses.values()).backward()
    missing = {name for name, p in network.named_parameters() if p.requires_grad and p.grad is None}
    assert not missing
    assert not any(p.requires_grad for p in network.backbone.network.conv1.parameters())


def test_losses_in_16_bits_are_near_those_in_32(network):
    image, target = sample(0.5, 0.9)
    torch.manual_seed(0)
    full = network([image], [target])
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network([image], [target])
    for name, value in full.items():
        assert half[name].item() == pytest.approx(value.item(), rel=0.2, abs=0.05), name


def test_batch_is_padded_on_the_right_and_below_to_multiples_of_32():
    images = batched([torch.ones(3, 33, 20), torch.ones(3, 10, 64)])
    assert images.tensors.shape == (2, 3, 64, 64)
    assert images.image_sizes == [(33, 20), (10, 64)]
    assert images.tensors.sum((1, 2, 3)).tolist() == [3 * 33 * 20, 3 * 10 * 64]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"network": {"anchor_sizes": [[16], [32]]}}, "has 2 lists; backbone.stages .* need 3", id="levels"),
        pytest.param({"backbone": {"stages": [2, 1]}}, "in ascending order", id="order"),
        pytest.param({"backbone": {"frozen_stages": 5}}, "frozen_stages is 5", id="frozen"),
        pytest.param({"sampling": {"rpn_background": 0.8}}, "rpn_background 0.8 is above", id="thresholds"),
        pytest.param({"backbone": {"stages": [1, 9]}}, "has stages 0 to 4", id="no such stage"),
        pytest.param({"network": {"anchor_sizes": [[16], [32, 40], [48]]}}, "lists of different length", id="anchors"),
        pytest.param({"backbone": {"name": "resnet9999"}}, "timm has no model", id="name"),
        pytest.param({"backbone": {"weights": "classifier"}}, "this step has none", id="no classifier"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(tiny, changes, message):
    with pytest.raises(ValueError, match=message):
        MaskRcnn(tiny(train=changes).train, class_count=3)


class Levels(nn.Module):
    """The features of a network as torchvision's Mask R-CNN calls them."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network.pyramid(levels(self.network.backbone, x, self.network.stages))


@pytest.fixture
def seeing(tiny):
    torch.manual_seed(4)
    settings = tiny(predict={"score_threshold": 0.0, "top_k": 20})
    network = MaskRcnn(settings.train, class_count=3, prediction=settings.predict)
    nn.init.normal_(network.heads.box_predictor.cls_score.weight, std=0.5)
    nn.init.normal_(network.heads.box_predictor.bbox_pred.weight, std=0.5)
    return network.eval()


def test_detections_without_flip_are_torchvisions_own(seeing):
    image = sample(1.0)[0]
    found = detect(seeing, image, flip=False)
    resize = GeneralizedRCNNTransform(min_size=64, max_size=96, image_mean=[0.0] * 3, image_std=[1.0] * 3)
    theirs = GeneralizedRCNN(Levels(seeing), seeing.rpn, seeing.heads, resize).eval()
    with torch.no_grad():
        expected = theirs([image])[0]
    assert len(found.scores) == len(expected["scores"]) > 3
    torch.testing.assert_close(found.boxes, expected["boxes"], rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(found.scores, expected["scores"], rtol=1e-4, atol=1e-5)
    assert torch.equal(found.classes, expected["labels"] - 1)
    pasted = full_masks(found.masks, found.boxes, (64, 96), threshold=0.5)
    other = (expected["masks"][:, 0] >= 0.5).numpy()
    assert (pasted != other).mean() < 0.03  # torchvision cuts boxes to whole pixels


def test_with_flip_the_mirrored_image_has_the_mirrored_detections(seeing):
    image = sample(1.0)[0]
    one, other = (detect(seeing, view, flip=True) for view in (image, image.flip(-1)))
    assert len(one.scores) == len(other.scores) > 3
    torch.testing.assert_close(one.scores, other.scores, rtol=1e-3, atol=1e-5)
    mirrored = torch.stack([96 - other.boxes[:, 2], other.boxes[:, 1], 96 - other.boxes[:, 0], other.boxes[:, 3]], 1)
    torch.testing.assert_close(one.boxes, mirrored, rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(one.masks, other.masks.flip(-1), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_end_where_the_image_does(seeing, flip):
    """On either side, not where it was padded."""
    with torch.no_grad():
        seeing.heads.box_predictor.bbox_pred.bias.copy_(torch.tensor([0.0, 0, 10, 10] * 4))  # e^2 times their sides
    boxes = detect(seeing, sample(1.0, size=(50, 90))[0], flip=flip).boxes
    assert boxes[:, 2:].amax(0).tolist() == [90, 50]
    assert boxes[:, :2].amin(0).tolist() == [0, 0]


def test_detections_of_nothing_are_empty(tiny):
    settings = tiny(predict={"score_threshold": 1.0})
    network = MaskRcnn(settings.train, class_count=3, prediction=settings.predict).eval()
    found = detect(network, sample()[0], flip=True)
    assert found.boxes.shape == (0, 4)
    assert full_masks(found.masks, found.boxes, (5, 6), threshold=0.5).shape == (0, 5, 6)


@pytest.mark.parametrize(
    ("box", "rows", "columns"),
    [
        pytest.param((2, 1, 6, 4), (1, 4), (2, 6), id="whole pixels"),
        pytest.param((-3, -2, 3, 2), (0, 2), (0, 3), id="over the corner"),
        pytest.param((5, 3, 20, 30), (3, 8), (5, 10), id="over the other corner"),
        pytest.param((2.4, 1.4, 5.6, 3.6), (1, 4), (2, 6), id="pixels whose center is inside"),
        pytest.param((2.6, 1.6, 5.4, 3.4), (2, 3), (3, 5), id="pixels whose center is outside"),
        pytest.param((12, 2, 15, 4), (0, 0), (0, 0), id="outside the image"),
        pytest.param((3.6, 3.6, 3.7, 3.7), (0, 0), (0, 0), id="between pixel centers"),
    ],
)
def test_a_full_mask_covers_its_half_open_box(box, rows, columns):
    expected = np.zeros((1, 8, 10), bool)
    expected[0, slice(*rows), slice(*columns)] = True
    found = full_masks(torch.ones(1, 7, 7), torch.tensor([box], dtype=torch.float32), (8, 10), threshold=0.5)
    assert np.array_equal(found, expected)


def test_a_mask_is_read_between_the_cells_of_its_grid():
    grid = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    box = torch.tensor([[0.0, 0.0, 8.0, 4.0]])
    for threshold, width in ((0.5, 4), (0.9, 2), (0.1, 6)):
        found = full_masks(grid, box, (4, 8), threshold=threshold)
        assert found.sum() == 4 * width, threshold
        assert found[0, :, :width].all()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((100, 200), (50, 100)), ((200, 100), (100, 50)), ((100, 400), (30, 120)), ((20, 20), (50, 50)), ((1, 999), (1, 120))],
)  # fmt: skip
def test_the_shorter_side_is_scaled_and_the_longer_kept_below_its_limit(size, expected):
    assert scaled_size(*size, shorter_side=50, longest_side=120) == expected


def test_a_mirrored_sample_is_the_mirror_image():
    record = predictions("p", [(4, 40, 6, 44)], [1], [0.4], (60, 90))
    rgb = np.random.default_rng(0).integers(0, 256, (60, 90, 3)).astype(np.uint8)
    plain, mirrored = (scaled_target(record, (30, 40), flip=flip, weighted=True) for flip in (False, True))
    x0, y0, x1, y1 = plain["boxes"][0].tolist()
    assert (x0, y0, x1, y1) == pytest.approx((6 * 40 / 90, 2, 44 * 40 / 90, 20))
    assert mirrored["boxes"][0].tolist() == pytest.approx([40 - x1, y0, 40 - x0, y1])
    assert torch.equal(plain["masks"].flip(-1), mirrored["masks"])
    assert plain["masks"].shape == (1, 30, 40)
    assert plain["masks"][0, 2:20, 3:19].all()
    assert plain["weights"].tolist() == pytest.approx([0.4])
    assert scaled_target(record, (30, 40), flip=False, weighted=False)["weights"].tolist() == [1]
    views = [scaled_image(rgb, (30, 40), flip=flip) for flip in (False, True)]
    assert torch.equal(views[0].flip(-1), views[1])


def test_scores_beyond_0_and_1_weigh_0_and_1():
    """BESTIE's have no limits."""
    record = predictions("p", [(4, 40, 6, 44)] * 3, [1, 0, 2], [1.25, 0.5, -0.25], (60, 90))
    target = scaled_target(record, (30, 40), flip=False, weighted=True)
    assert (target["weights"].tolist(), target["labels"].tolist()) == ([1, 0.5, 0], [2, 1, 3])


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch16_dinov3"])
def test_a_transformer_gives_no_pyramid(tiny, small_transformers, name):
    with pytest.raises(ValueError, match=rf"{name}, whose stages all have stride 1\d; .* such as convnext_tiny"):
        MaskRcnn(tiny(train={"backbone": {"name": name}}).train, class_count=3)
