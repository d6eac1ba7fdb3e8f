import pytest
import torch
from torch import nn

from stages.classifier.network import Classifier, enlarge, peak_attention, peak_scores, tag_loss
from stages.classifier.settings import ClassifierTrainingSettings, PeakHeadSettings
from stages.core.networks.backbones import build_backbone

BACKBONE = {
    "name": "resnet10t", "output_stride": 16, "stage": 3, "weights": "none", "frozen_stages": 0, "norm": "frozen",
    "dilated_pool": "drop", "mean": None, "std": None,
}  # fmt: skip
TRAINING = {
    "steps": 2, "accumulate": 1, "reduction": "mean", "optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9,
    "nesterov": False, "betas": [0.9, 0.999], "weight_decay": 0.0, "bias_lr_mult": 1.0, "bias_decay": True,
    "norm_decay": True, "lr_mult": {}, "schedule": {"kind": "step", "drops": [], "factor": 0.1, "power": 0.9},
    "warmup_steps": 0, "warmup_factor": 1.0, "scale_momentum_at_drops": False, "clip_gradient_norm": None,
    "ema_decay": 0.0, "precision": "32", "prefetch": 0, "checkpoint_minutes": 60.0, "curve_steps": 1,
}  # fmt: skip
AUGMENTATION = {
    "input_size": 64, "interpolation": "area", "flip": 0.5, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "crop_size": None
}  # fmt: skip
PRM = {"kind": "prm", "upsampling": 8, "window": 3, "divide_gradient": True}
PAM = {"kind": "pam", "layers": 3, "channels": 8, "attention": "last", "alpha": 0.7}


def settings(head, **backbone) -> ClassifierTrainingSettings:
    return ClassifierTrainingSettings(
        seed=0, head=head, backbone={**BACKBONE, **backbone}, augmentation=AUGMENTATION, batch=2, training=TRAINING
    )


def network(head, *, classes=3) -> Classifier:
    torch.manual_seed(0)
    chosen = settings(head)
    return Classifier(build_backbone(chosen.backbone), class_count=classes, settings=chosen)


@pytest.mark.parametrize("head", [{"kind": "cam"}, PRM, PAM], ids=lambda head: head["kind"])
def test_every_head_gives_maps_at_the_backbones_stride_and_scores_that_learn(head):
    classifier = network(head)
    response = classifier(torch.randn(2, 3, 64, 96))
    assert response.maps.shape == (2, 3, 4, 6)
    assert response.scores.shape == (2, 3)
    tag_loss(response.scores, torch.tensor([[True, False, False], [False, True, True]])).backward()
    assert all(parameter.grad is not None for parameter in classifier.parameters())


def test_cam_scores_are_means_of_the_maps():
    response = network({"kind": "cam"}).eval()(torch.randn(2, 3, 64, 64))
    assert torch.allclose(response.scores, response.maps.mean((2, 3)))


def test_peak_attention_zeroes_what_is_below_alpha_times_the_channels_maximum():
    """BESTIE, section 3.3: relu, then 0 below alpha of the maximum of each channel and image."""
    features = torch.tensor(
        [
            [[[10.0, 7.0], [6.9, -3.0]], [[-1.0, -2.0], [-3.0, -4.0]]],
            [[[1.0, 0.5], [0.8, 0.71]], [[2.0, 2.0], [1.4, 0.0]]],
        ]
    )
    expected = torch.tensor(
        [
            [[[10.0, 7.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]],
            [[[1.0, 0.0], [0.8, 0.71]], [[2.0, 2.0], [1.4, 0.0]]],
        ]
    )
    assert torch.equal(peak_attention(features, 0.7), expected)


def test_peak_attention_passes_gradient_to_what_it_keeps_alone():
    features = torch.tensor([[[[10.0, 7.0], [6.9, -3.0]]]], requires_grad=True)
    peak_attention(features, 0.7).sum().backward()
    assert features.grad.tolist() == [[[[1.0, 1.0], [0.0, 0.0]]]]


@pytest.mark.parametrize(("attention", "attending"), [("last", [False, False, True]), ("all", [True, True, True])])
def test_attention_follows_the_last_or_all_extra_layers(attention, attending, monkeypatch):
    """Official code: after all three; best in the paper (table 6): after the last."""
    seen = []

    def recorded(features, alpha):
        seen.append(features)
        return peak_attention(features, alpha)

    head = network({**PAM, "attention": attention}).head
    outputs = []
    for layer in head.layers:
        layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    monkeypatch.setattr("stages.classifier.network.peak_attention", recorded)
    head(torch.randn(1, 256, 4, 4))
    assert [any(output is one for one in seen) for output in outputs] == attending


def test_extra_layers_start_from_the_official_initialisation():
    """Normal of variance 2 / (k * k * out), bias 0."""
    head = network({**PAM, "channels": 256}).head
    assert head.layers[1].weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.02)
    assert all(not layer.bias.any() for layer in [*head.layers, head.classifier])


MAP = torch.tensor([[[[5.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 3.0], [0.0, 0.0, 0.0, 0.0], [1.0, -1.0, -1.0, -1.0]]]])


@pytest.mark.parametrize(
    ("divide_gradient", "gradient"), [pytest.param(True, 1 / 3, id="paper"), pytest.param(False, 1.0, id="official")]
)
def test_score_is_the_mean_of_the_peaks_and_its_gradient_is_divided_or_not(divide_gradient, gradient):
    """PRM, equation 2; the official backward is not divided by the number of peaks."""
    maps = MAP.clone().requires_grad_()
    head = PeakHeadSettings(**{**PRM, "divide_gradient": divide_gradient})
    score = peak_scores(maps, head)
    assert score.item() == pytest.approx((5 + 3 + 1) / 3)
    score.sum().backward()
    expected = torch.zeros_like(MAP)
    expected[0, 0, [0, 1, 3], [0, 3, 0]] = gradient
    assert torch.allclose(maps.grad, expected)


def test_flat_map_has_one_peak():
    assert peak_scores(torch.full((1, 2, 4, 4), -2.0), PeakHeadSettings(**PRM)).tolist() == [[-2.0, -2.0]]


def test_maps_are_enlarged_with_aligned_corners():
    large = enlarge(torch.tensor([[[[0.0, 7.0], [14.0, 21.0]]]]), 4)
    assert large.shape == (1, 1, 8, 8)
    assert large[0, 0, 0].tolist() == pytest.approx(list(range(8)))
    assert large[0, 0, [0, 0, 7, 7], [0, 7, 0, 7]].tolist() == pytest.approx([0, 7, 14, 21])


def test_tag_loss_is_the_mean_binary_cross_entropy():
    scores, tags = torch.tensor([[0.3, -1.2], [2.0, 0.0]]), torch.tensor([[True, False], [False, True]])
    expected = nn.functional.binary_cross_entropy_with_logits(scores, tags.float())
    assert tag_loss(scores, tags).item() == pytest.approx(expected.item())
