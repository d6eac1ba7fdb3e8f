"""Vision transformers and networks of patches as backbones."""

import functools

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from stages.core.networks.backbones import build_backbone
from stages.core.networks.levels import level_channels, levels
from stages.core.networks.weights import save_weights
from tests.core.test_core_backbones import settings

pytestmark = pytest.mark.usefixtures("small_transformers")
DINOV2, DINOV3 = "vit_small_patch14_dinov2", "vit_small_patch16_dinov3"
PATCH = {DINOV2: 14, DINOV3: 16}
BOTH = pytest.mark.parametrize("name", [pytest.param(DINOV2, id="patch 14"), pytest.param(DINOV3, id="patch 16")])


def backbone_of(name, **changes):
    values = {"name": name, "output_stride": 32, "stage": 2, "frozen_stages": 0} | changes
    torch.manual_seed(0)
    return build_backbone(settings(**values))


def images(*size, count=1):
    return torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(0))


@BOTH
@pytest.mark.parametrize("stage", [0, 2, 3])
def test_features_equal_timms_own(name, stage):
    backbone = backbone_of(name, stage=stage).eval()
    theirs = timm.create_model(name, dynamic_img_size=True, num_classes=0).eval()
    theirs.load_state_dict(backbone.network.state_dict(), strict=False)
    side = PATCH[name]
    x = images(3 * side, 5 * side, count=2)
    expected = theirs.forward_intermediates(x, indices=[stage], norm=True, intermediates_only=True)[0]
    found = backbone(x)
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.shape == (2, backbone.channels, 3, 5) == (2, 32, 3, 5)
    assert backbone.stride == backbone.divisor == side
    assert len(backbone.network.blocks) == stage + 1


@BOTH
def test_the_last_stage_gives_the_networks_own_patch_tokens(name):
    backbone = backbone_of(name, stage=3).eval()
    side = PATCH[name]
    x = images(8 * side, 7 * side)
    tokens = backbone.network.forward_features(x)[:, backbone.network.num_prefix_tokens :]
    assert torch.allclose(backbone(x).flatten(2).transpose(1, 2), tokens, atol=1e-5)


@BOTH
@pytest.mark.parametrize("size", [(45, 61), (14, 16), (1, 1), (97, 30)])
@pytest.mark.parametrize("corner", ["first", "last"])
def test_a_feature_lies_where_its_patch_does(name, size, corner):
    """Sides that are no multiples of the patch are padded: feature (i, j) still begins at pixel (i p, j p)."""
    backbone, side = backbone_of(name).eval(), PATCH[name]
    rows, columns = -(-size[0] // side), -(-size[1] // side)
    place = (0, 0) if corner == "first" else (rows - 1, columns - 1)
    x = images(*size)
    changed = x.clone()
    changed[..., place[0] * side : (place[0] + 1) * side, place[1] * side : (place[1] + 1) * side] += 3
    with torch.no_grad():
        features, others = backbone(x), backbone(changed)
    assert features.shape == (1, 32, rows, columns)
    difference = (others - features).abs().sum(1)[0]
    assert divmod(int(difference.argmax()), columns) == place


@BOTH
def test_padding_is_of_zeros_on_the_right_and_below(name):
    backbone, side = backbone_of(name).eval(), PATCH[name]
    x = images(side + 3, 2 * side)
    padded = torch.nn.functional.pad(x, (0, 0, 0, side - 3))
    assert torch.equal(backbone(x), backbone(padded))


@BOTH
def test_whole_enlarges_until_features_cover_the_image(name):
    """A pixel at a share of the height is in the feature at that share of the rows."""
    backbone, side = backbone_of(name).eval(), PATCH[name]
    x = images(5 * side - 9, 4 * side)
    whole = backbone.whole(x)
    assert whole.shape[2:] == (5 * side, 4 * side)
    assert backbone.whole(whole) is whole
    changed = x.clone()
    low = round(x.shape[2] * 3 / 5)
    changed[:, :, low : low + side // 2, :side] += 3
    difference = (backbone(backbone.whole(changed)) - backbone(whole)).abs().sum(1)[0]
    assert divmod(int(difference.argmax()), 4) == (3, 0)


def test_images_of_convolutional_networks_stay_as_they_are_but_for_networks_of_patches():
    x = images(70, 64)
    assert build_backbone(settings()).whole(x) is x
    convnext = backbone_of("convnext_atto", stage=3)
    assert convnext.whole(x).shape[2:] == (96, 64)
    assert convnext(convnext.whole(x)).shape[2:] == (3, 2)


@BOTH
@pytest.mark.parametrize("frozen_stages", [0, 1, 2, 3])
def test_frozen_stages_are_blocks_and_the_first_brings_the_embeddings(name, frozen_stages):
    backbone = backbone_of(name, frozen_stages=frozen_stages).train()
    wants = {name: p.requires_grad for name, p in backbone.network.named_parameters()}
    for block in range(3):
        assert {want for name, want in wants.items() if name.startswith(f"blocks.{block}.")} == {block >= frozen_stages}
    stem = [want for name, want in wants.items() if name.startswith(("patch_embed", "pos_embed", "cls_", "reg_"))]
    assert len(stem) >= 3
    assert set(stem) == {frozen_stages == 0}
    assert {want for name, want in wants.items() if name.startswith("norm.")} == {frozen_stages < 3}
    in_training = [block.training for block in backbone.network.blocks]
    assert in_training == [block >= frozen_stages for block in range(3)]
    features = backbone(images(32, 32))
    assert features.requires_grad == (frozen_stages < 3)
    if frozen_stages < 3:
        features.square().sum().backward()
        assert {name for name, p in backbone.network.named_parameters() if p.grad is not None} == {
            name for name, want in wants.items() if want
        }


@BOTH
@pytest.mark.parametrize("frozen_stages", [0, 2, 3])
def test_features_are_the_rest_of_the_frozen_prefix(name, frozen_stages):
    """All frozen: the prefix is the features, which may be stored. Else it is the image."""
    backbone, x = backbone_of(name, frozen_stages=frozen_stages).eval(), images(40, 48)
    prefix = backbone.frozen_prefix(x)
    assert not prefix.requires_grad
    assert torch.equal(backbone.rest(prefix), backbone(x))
    assert backbone.can_split == (frozen_stages == 3)
    assert torch.equal(prefix, backbone(x) if frozen_stages == 3 else x)


@BOTH
@pytest.mark.parametrize("frozen_stages", [0, 4])
def test_levels_are_blocks_all_of_one_size(name, frozen_stages):
    backbone = backbone_of(name, stage=3, frozen_stages=frozen_stages).eval()
    x = images(40, 48)
    found = levels(backbone, x, [1, 3])
    assert list(found) == ["1", "3"]
    assert torch.equal(found["3"], backbone(x))
    assert found["1"].shape == found["3"].shape
    assert not torch.allclose(found["1"], found["3"])
    assert level_channels(backbone, [1, 3]) == [32, 32]
    assert found["1"].requires_grad == (frozen_stages == 0)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        pytest.param(
            DINOV2, {"output_stride": 8}, "14x14 pixels, which no output_stride changes, .* is 8; set 32", id="8"
        ),
        pytest.param(DINOV2, {"output_stride": 16}, "output_stride is 16; set 32", id="16, patch 14"),
        pytest.param(DINOV3, {"output_stride": 8}, "16x16 pixels", id="8, patch 16"),
        pytest.param(DINOV3, {"stage": 4}, "has stages 0 to 3, asked for stage 4", id="stage"),
        pytest.param("vit_tiny_r_s16_p8_224", {}, "VisionTransformer of a fixed image size", id="hybrid"),
    ],
)
def test_impossible_transformers_are_refused(name, changes, message, monkeypatch):
    if name.startswith("vit_tiny_r"):
        monkeypatch.undo()
    with pytest.raises(ValueError, match=message):
        backbone_of(name, **changes)


def test_the_stride_that_a_patch_has_may_be_named():
    assert backbone_of(DINOV3, output_stride=16).stride == 16


@BOTH
def test_weights_of_a_file_and_of_a_classifier_are_loaded(name, tmp_path):
    network = timm.create_model(name)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    backbone = backbone_of(name, weights=str(tmp_path / "w.safetensors"))
    assert torch.equal(backbone.network.blocks[2].attn.proj.weight, network.blocks[2].attn.proj.weight)
    save_weights(tmp_path / "c.safetensors", nn.ModuleDict({"backbone": backbone}), {})
    shorter = build_backbone(
        settings(name=name, output_stride=32, stage=1, weights="classifier"), classifier=tmp_path / "c.safetensors"
    )
    ours = shorter.network.state_dict()
    assert all(torch.equal(tensor, backbone.network.state_dict()[key]) for key, tensor in ours.items())


def test_position_embeddings_of_another_size_are_refused(tmp_path):
    other = timm.create_model(DINOV2)
    state = other.state_dict()
    save_file(state | {"pos_embed": torch.zeros(1, 10, 32)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"other shapes than vit_.*: \['pos_embed \(1, 10, 32\), not \(1, 65, 32\)"):
        backbone_of(DINOV2, weights=str(tmp_path / "w.safetensors"))


def test_convnext_of_dinov3_gives_timms_features():
    name, x = "convnext_tiny.dinov3_lvd1689m", images(64, 96)
    small = functools.partial(timm.create_model, depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm, "create_model", small)
        backbone = backbone_of(name, stage=3, frozen_stages=1).eval()
        theirs = timm.create_model(name, features_only=True, out_indices=(3,)).eval()
    theirs.load_state_dict({key.replace(".", "_", 1): value for key, value in backbone.network.state_dict().items()})
    assert torch.allclose(backbone(x), theirs(x)[0], atol=1e-5)
    assert (backbone.stride, backbone.divisor) == (32, 32)
    trained = {name.split(".")[0] for name, p in backbone.network.named_parameters() if not p.requires_grad}
    assert trained == {"stem", "stages"}
