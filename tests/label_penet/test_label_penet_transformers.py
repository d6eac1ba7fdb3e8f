"""Vision transformers as backbones of Label-PEnet."""

import pytest
import torch

from stages.label_penet.cascade import Cascade
from stages.label_penet.network import padded
from stages.label_penet.settings import PenetNetworkSettings
from tests.label_penet.test_label_penet_losses import NETWORK, losses

pytestmark = pytest.mark.usefixtures("small_transformers")


def cascade(name, **network):
    backbone = NETWORK["backbone"] | {"name": name, "output_stride": 32}
    settings = PenetNetworkSettings.model_validate(NETWORK | {"backbone": backbone} | network)
    return Cascade(settings, losses(), class_count=2, modules=["classification", "segmentation"])


def test_shared_features_are_the_transformers():
    network = cascade("vit_small_patch16_dinov3")
    image = padded(torch.randn(3, 40, 60))
    shared = network.shared(image)
    assert shared.shape == (1, 32, 4, 4)
    assert not shared.requires_grad
    scores = network.stages["classification"](shared, torch.tensor([[0.0, 0, 30, 20], [10, 10, 60, 40]]))
    assert scores.logits.shape == (2, 2)


@pytest.mark.parametrize(
    ("name", "network", "message"),
    [
        pytest.param("vit_small_patch14_dinov2", {}, "has stride 14, but Label-PEnet pads .* of 32", id="patch 14"),
        pytest.param("vit_small_patch16_dinov3", {"tail": "stage"}, "is no stage; set convolution", id="tail"),
    ],
)
def test_what_cannot_be_is_refused(name, network, message):
    with pytest.raises(ValueError, match=message):
        cascade(name, **network)
