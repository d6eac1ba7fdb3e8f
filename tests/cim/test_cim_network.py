"""MaskFuse and the branches; what images and boxes look like to them."""

import numpy as np
import pytest
import torch
from torchvision.ops import roi_align

from stages.cim.inputs import RegionInputs, scaled_image
from stages.cim.network import CimNetwork, MaskFuse
from stages.core.images.loading import normalise
from stages.core.networks import roi_align as roi_align_module
from stages.core.networks.backbones import build_backbone
from stages.ops.regions import Regions
from stages.ops.resize import resize_as


@pytest.fixture(scope="module")
def build(official):
    def build(**network):
        without = {"losses": {"integrity": 0.0}} if network.get("integrity_heads") is False else {}
        settings = official(train={"network": network, **without}).train
        torch.manual_seed(0)
        return CimNetwork(
            build_backbone(settings.backbone, load=False), class_count=3, settings=settings.network
        ).eval()

    return build


@pytest.fixture(scope="module")
def inputs():
    torch.manual_seed(1)
    boxes = torch.tensor([[0.0, 0, 64, 48], [10, 5, 31, 40], [40, 20, 60, 47]])
    return torch.randn(1, 3, 48, 64), boxes, torch.rand(3, 7, 7) < 0.6


def test_mask_fuse_is_box_features_and_masked_box_features_joined_section_3_3(official, inputs):
    settings = official().train.network
    torch.manual_seed(0)
    fuse, features = MaskFuse(5, stride=16, settings=settings), torch.randn(1, 5, 3, 4)
    _, boxes, crops = inputs
    box = roi_align(features, [boxes], 7, spatial_scale=1 / 16, sampling_ratio=0, aligned=True)
    expected = fuse.fuse(torch.cat([box, box * crops[:, None].float()], dim=1)).relu().flatten(1)
    for layer in fuse.layers:
        expected = layer(expected).relu()
    torch.testing.assert_close(fuse(features, boxes, crops), expected)
    assert fuse.fuse.weight.shape == (5, 10, 3, 3)
    assert [layer.weight.shape for layer in fuse.layers] == [(12, 5 * 49), (8, 12)]


def test_scores_are_probabilities_over_the_right_axis(build, inputs):
    scores = build()(*inputs)
    assert len(scores.refined) == 3
    for values in (scores.classifier, *(classes for classes, _ in scores.refined)):
        torch.testing.assert_close(values.sum(1), torch.ones(3))
    torch.testing.assert_close(scores.detector.sum(0), torch.ones(4))
    assert all(((integrity > 0) & (integrity < 1)).all() for _, integrity in scores.refined)


def test_without_integrity_heads_every_integrity_is_one_table_4(build, inputs):
    network = build(integrity_heads=False)
    assert all((integrity == 1).all() for _, integrity in network(*inputs).refined)
    assert network.heads.weight.shape[0] == 5 * 4


def test_heads_are_one_layer_each_of_the_branches(build, inputs):
    network = build()
    network.heads.weight.data.zero_()
    network.heads.bias.data = torch.arange(8.0).repeat_interleave(4) * torch.tensor([0.0, 1, 0, 0]).repeat(8)
    scores = network(*inputs)
    # Head order: classifier 0, detector 1, classes 2 to 4, integrities 5 to 7.
    assert scores.classifier[0].tolist() == pytest.approx([0.25] * 4)
    for k, (classes, integrity) in enumerate(scores.refined):
        torch.testing.assert_close(classes[0], torch.tensor([0.0, 2.0 + k, 0, 0]).softmax(0))
        torch.testing.assert_close(integrity[0], torch.tensor([0.0, 5.0 + k, 0, 0]).sigmoid())


def test_reduction_narrows_what_regions_are_cut_from(build, inputs):
    network = build(reduced_channels=4)
    assert network.features(inputs[0]).shape[1] == 4
    assert network.mask_fuse.fuse.weight.shape == (4, 8, 3, 3)
    assert build().features(inputs[0]).shape[1] == network.backbone.channels


def test_chunks_of_proposals_score_as_all_together(build, inputs):
    network = build()
    with torch.no_grad():
        features = network.features(inputs[0])
        whole = network.score(features, *inputs[1:]).refined
        for chunk in (slice(0, 1), slice(1, 3)):
            parts = network.score(features, inputs[1][chunk], inputs[2][chunk]).refined
            for (classes, integrity), (all_classes, all_integrity) in zip(parts, whole, strict=True):
                torch.testing.assert_close(classes, all_classes[chunk])
                torch.testing.assert_close(integrity, all_integrity[chunk])


def test_going_on_from_the_frozen_prefix_gives_the_same(build, inputs):
    network = build()
    with torch.no_grad():
        prefix = network.backbone.frozen_prefix(inputs[0])
        torch.testing.assert_close(network.features(prefix, from_prefix=True), network.features(inputs[0]))


def regions():
    masks = np.zeros((2, 10, 20), bool)
    masks[0, 2:10, 12:20] = True
    masks[1, 0:5, 3:9] = masks[1, 0:2, 3:5] = True
    masks[1, 3:5, 7:9] = False
    return Regions.from_masks(masks)


def test_exact_boxes_are_those_of_the_masks_and_of_the_mirrored_masks(official):
    settings = official(train={"inputs": {"inclusive_clip": False, "inclusive_flip": False}}).train.inputs
    found = RegionInputs.of(regions(), crop_size=7, settings=settings)
    np.testing.assert_array_equal(found.boxes, [[12, 2, 20, 10], [3, 0, 9, 5]])
    mirrored = RegionInputs.of(regions().flip(), crop_size=7, settings=settings)
    np.testing.assert_array_equal(found.flip(settings).boxes, mirrored.boxes)
    np.testing.assert_array_equal(found.flip(settings).crops, found.crops[:, :, ::-1])


def test_official_boxes_lose_a_pixel_at_the_right_and_bottom_border_and_mirror_one_too_far_left(official):
    settings = official().train.inputs
    found = RegionInputs.of(regions(), crop_size=7, settings=settings)
    np.testing.assert_array_equal(found.boxes, [[12, 2, 19, 9], [3, 0, 9, 5]])
    np.testing.assert_array_equal(found.flip(settings).boxes, [[0, 2, 7, 9], [10, 0, 16, 5]])


@pytest.mark.parametrize(("size", "side", "expected"), [((375, 500), 480, (360, 480)), ((500, 333), 64, (64, 43))])
def test_the_longer_side_is_scaled(official, size, side, expected):
    rgb = np.zeros((*size, 3), np.uint8)
    assert scaled_image(rgb, side, flip=False, settings=official().train.inputs).shape == (1, 3, *expected)


def test_official_resize_cuts_to_whole_grey_values(official):
    rgb = np.tile(np.array([[0, 99]], np.uint8)[:, :, None], (1, 1, 3))
    row = scaled_image(rgb, 4, flip=False, settings=official().train.inputs)[0, 0, 0]
    grey = (row * 0.229 + 0.485) * 255
    np.testing.assert_allclose(grey, [0, 24, 74, 99], atol=1e-3)  # 24.75 and 74.25 before the cut


def test_an_image_is_resized_as_the_settings_name(official):
    rgb = np.random.default_rng(0).integers(0, 256, (9, 15, 3), np.uint8)
    settings = {name: official(train={"inputs": {"interpolation": name}}).train.inputs for name in ("area", "bicubic")}
    seen = {name: scaled_image(rgb, 10, flip=False, settings=one)[0] for name, one in settings.items()}
    for name, image in seen.items():
        np.testing.assert_array_equal(image, normalise(resize_as(rgb, 6, 10, interpolation=name)))
    assert not np.array_equal(*seen.values())


def test_a_mirrored_image_is_the_image_mirrored(official):
    rgb = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    settings = official().train.inputs
    straight, mirrored = (scaled_image(rgb, 24, flip=flip, settings=settings) for flip in (False, True))
    np.testing.assert_allclose(mirrored[..., ::-1], straight, atol=1e-6)


@pytest.mark.parametrize("ratio", [0, 1, 2])
@pytest.mark.parametrize("scale", [1 / 16, 1 / 8])
def test_boxes_are_cut_as_torchvision_cuts_them(monkeypatch, ratio, scale):
    monkeypatch.setattr(roi_align_module, "BLOCK_NUMBERS", 7 * 7 * 3 * 11)  # seven boxes a block
    generator = torch.Generator().manual_seed(ratio)
    features = torch.randn(1, 3, 9, 11, generator=generator, requires_grad=True)
    # Within the image, across and beyond its borders, empty, a line, and of exactly one feature a bin.
    corners = torch.rand(30, 2, 2, generator=generator) * torch.tensor([11, 9]) / scale * 1.4 - 20
    boxes = torch.cat([corners.min(1).values, corners.max(1).values], dim=1)
    boxes[0], boxes[1], boxes[2] = torch.tensor([[5.0, 5, 5, 5], [0, 3, 40, 3], [0, 0, 7 / scale, 7 / scale]])
    found = roi_align_module.roi_align(features, boxes, size=7, scale=scale, sampling_ratio=ratio)
    expected = roi_align(features, [boxes], 7, scale, ratio, aligned=True)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)
    gradient = torch.randn(found.shape, generator=generator)
    ours, theirs = (torch.autograd.grad(values, features, gradient)[0] for values in (found, expected))
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=1e-4)


def test_features_of_one_pixel_and_no_boxes_are_cut_too():
    chosen = {"size": 7, "scale": 1 / 16, "sampling_ratio": 0}
    one = roi_align_module.roi_align(torch.ones(1, 2, 1, 1), torch.tensor([[0.0, 0, 16, 16]]), **chosen)
    torch.testing.assert_close(one, torch.ones(1, 2, 7, 7))
    none = roi_align_module.roi_align(torch.ones(1, 2, 3, 4), torch.zeros(0, 4), **chosen)
    assert none.shape == (0, 2, 7, 7)


def test_the_official_network_has_250_4_million_parameters(official):
    resnet = {"name": "resnet50.tv_in1k", "stage": 3, "weights": "timm", "frozen_stages": 2}
    settings = official(train={"backbone": resnet, "network": {"fc_widths": [4096, 4096]}}).train
    with torch.device("meta"):
        backbone = build_backbone(settings.backbone, load=False)
        network = CimNetwork(backbone, class_count=20, settings=settings.network)
    assert (backbone.channels, backbone.stride) == (1024, 16)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6, 1) == 250.4
    assert round(network.mask_fuse.layers[0].weight.numel() / 1e6, 1) == 205.5
    trained = [parameter.requires_grad for parameter in backbone.parameters()]
    assert (sum(trained), len(trained) - sum(trained)) == (96, 33)
