"""Vision transformers as backbones of CIM."""

import pytest
import torch
from torchvision.ops import roi_align

from stages.cim.network import CimNetwork
from stages.cim.predict_cim import predict_cim
from stages.cim.train_cim import train_cim
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import build_backbone

pytestmark = pytest.mark.usefixtures("small_transformers")
PATCHES = {"vit_small_patch14_dinov2": 14, "vit_small_patch16_dinov3": 16}


def overlay(name, *, frozen_stages):
    return {"name": name, "output_stride": 32, "stage": 2, "frozen_stages": frozen_stages}


@pytest.mark.parametrize(("name", "patch"), PATCHES.items())
def test_regions_are_cut_from_features_of_their_own_pixels(official, name, patch):
    """The image is no whole number of patches: boxes are scaled by the patch, not by the ratio of the sizes."""
    settings = official(train={"backbone": overlay(name, frozen_stages=0)}).train
    torch.manual_seed(0)
    network = CimNetwork(build_backbone(settings.backbone), class_count=3, settings=settings.network).eval()
    size = 5 * patch - 6, 6 * patch - 5
    boxes = torch.tensor(
        [[patch * x, patch * y, patch * (x + 1), patch * (y + 1)] for x, y in ((0, 0), (3, 2), (5, 4))]
    )
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        features = network.features(x)
        pooled = roi_align(
            features, [boxes.float()], settings.network.crop_size, network.mask_fuse.scale, 0, aligned=True
        )
        for place, (left, top, right, bottom) in enumerate(boxes.tolist()):
            changed = x.clone()
            changed[..., top:bottom, left:right] += 3
            others = roi_align(
                network.features(changed), [boxes.float()], settings.network.crop_size, network.mask_fuse.scale, 0, aligned=True
            )  # fmt: skip
            assert int((others - pooled).abs().sum((1, 2, 3)).argmax()) == place
    assert features.shape[2:] == (5, 6)


def test_training_and_prediction_on_features_that_are_kept(official, toy, tmp_path):
    """With all stages frozen features are kept; the network learns what stands on them."""
    settings = official(
        train={
            "backbone": overlay("vit_small_patch14_dinov2", frozen_stages=3), "pseudo_labels": "none",
            "mining": {"strategy": "mist"}, "data": {"cache_features": True}, "losses": {"cluster": 0.0},
        }
    )  # fmt: skip
    outputs = {"output_weights": "w.safetensors", "output_curves": "c.json", "output_plot": "c.png"}
    train_cim(
        images=toy.images, proposals=toy.proposals, cluster_labels=None, backbone_weights=None, settings=settings.train,
        device="cpu", **{key: tmp_path / name for key, name in outputs.items()},
    )  # fmt: skip
    predict_cim(
        images=toy.images, proposals=toy.proposals, weights=tmp_path / "w.safetensors", output=tmp_path / "i.h5",
        settings=settings.predict, run="toy", device="cpu",
    )  # fmt: skip
    with read(tmp_path / "i.h5", Instances) as instances:
        assert instances.ids == toy.ids
        assert sum(len(record.scores) for record in instances) > 0
