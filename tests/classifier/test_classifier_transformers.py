"""Vision transformers as backbones of classifiers."""

import pytest
import torch
from torch.nn import functional

from stages.classifier.find_cues import find_cues
from stages.classifier.network import Classifier
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import build_backbone
from stages.core.networks.weights import read_weights
from tests.classifier.test_classifier_steps import TRAIN, cue_settings, fit, settings, write_images

pytestmark = pytest.mark.usefixtures("small_transformers")
PATCHES = {"vit_small_patch14_dinov2": 14, "vit_small_patch16_dinov3": 16}


def of(name, **changes):
    backbone = {"name": name, "output_stride": 32, "stage": 2, "frozen_stages": 0, **changes}
    return settings(backbone=TRAIN["backbone"] | backbone)


@pytest.mark.parametrize(("name", "patch"), PATCHES.items())
@pytest.mark.parametrize("side", [48, 112])
def test_response_maps_cover_the_image(name, patch, side):
    """Sides of 48 are no three patches of 14: the maps are those of the image enlarged to four."""
    chosen = of(name)
    torch.manual_seed(0)
    network = Classifier(build_backbone(chosen.backbone), class_count=2, settings=chosen).eval()
    x = torch.randn(2, 3, side, side)
    count = -(-side // patch)
    enlarged = functional.interpolate(x, (count * patch, count * patch), mode="bilinear", align_corners=False)
    with torch.no_grad():
        maps, expected = network(x).maps, network.head(network.backbone(enlarged))
        changed = x.clone()
        changed[..., : side // 4, side - side // 4 :] += 3
        difference = (network(changed).maps - maps).abs().sum(1)[0]
    assert maps.shape == (2, 2, count, count)
    assert torch.allclose(maps, expected, atol=1e-5)
    row, column = divmod(int(difference.argmax()), count)
    assert row <= count // 4
    assert column >= count - 1 - count // 4


def test_training_and_cues(tmp_path):
    images, chosen = write_images(tmp_path / "images.h5"), of("vit_small_patch14_dinov2", frozen_stages=1)
    chosen = chosen.model_copy(update={"training": chosen.training.model_copy(update={"steps": 3})})
    weights = fit(tmp_path, images, chosen)
    find_cues(images=images, weights=weights, output=tmp_path / "cues.h5", settings=cue_settings(), device="cpu")
    with read(tmp_path / "cues.h5", Cues) as cues:
        assert {cue.responses.shape for cue in cues} == {(2, 4, 4)}
        for cue in cues:
            assert ((cue.peaks >= 0) & (cue.peaks < (60, 80))).all()


def test_a_killed_training_goes_on_to_the_same_network_bit_for_bit(tmp_path, killed_after):
    images = write_images(tmp_path / "images.h5")
    chosen = of("vit_tiny_patch16_224", frozen_stages=1)
    training = chosen.training.model_copy(update={"steps": 4, "ema_decay": 0.9, "checkpoint_minutes": 1e-9})
    chosen = chosen.model_copy(update={"training": training})
    undisturbed = fit(tmp_path / "straight", images, chosen)
    with killed_after(2):
        fit(tmp_path / "killed", images, chosen)
    assert fit(tmp_path / "killed", images, chosen).read_bytes() == undisturbed.read_bytes()
    assert read_weights(undisturbed)["backbone.inputs.mean"].tolist() == [0.5, 0.5, 0.5]
