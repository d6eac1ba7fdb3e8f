"""What one image and its objects look like to the networks: sizes, mirror images, boxes and masks by hand."""

import numpy as np
import pytest
import torch

from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.regions import packed_fields
from stages.label_penet.samples import scaled_boxes, scaled_image, scaled_objects, scaled_regions, scaled_size
from stages.ops.regions import Regions


@pytest.mark.parametrize(
    ("size", "shorter", "expected"),
    [
        pytest.param((100, 200), 50, (50, 100), id="shorter side"),
        pytest.param((200, 100), 50, (100, 50), id="either way"),
        pytest.param((100, 400), 50, (30, 120), id="the longer one's limit"),
        pytest.param((30, 60), None, (30, 60), id="its own size"),
        pytest.param((60, 240), None, (30, 120), id="its own, within the limit"),
        pytest.param((1, 999), 50, (1, 120), id="a pixel at least"),
        pytest.param((999, 1), 50, (120, 1), id="on either side"),
    ],
)
def test_sizes_keep_the_shape_within_the_limits(size, shorter, expected):
    assert scaled_size(*size, shorter_side=shorter, longest_side=120) == expected


def test_boxes_are_scaled_and_mirrored():
    boxes = np.array([[6, 4, 44, 40]])
    plain, mirrored = (scaled_boxes(boxes, (60, 90), (30, 180), flip=flip) for flip in (False, True))
    assert plain.tolist() == [[12, 2, 88, 20]]
    assert mirrored.tolist() == [[92, 2, 168, 20]]
    assert scaled_boxes(boxes[:0], (60, 90), (30, 180), flip=True).shape == (0, 4)


def test_a_mirrored_image_is_padded_on_the_right_as_any():
    rgb = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    plain, mirrored = (scaled_image(rgb, (30, 40), flip=flip) for flip in (False, True))
    assert plain.inputs.shape == (1, 3, 32, 64)
    assert torch.equal(plain.inputs[..., :30, :40].flip(-1), mirrored.inputs[..., :30, :40])
    assert not torch.equal(plain.inputs, mirrored.inputs)


def record():
    masks = np.zeros((2, 20, 40), bool)
    masks[0, 2:10, 4:12], masks[1, 10:18, 20:38] = True, True
    return ModuleLabels(
        image="p", **packed_fields(Regions.from_masks(masks)), boxes=np.array([[4, 2, 12, 10], [20, 10, 38, 18]], "f4"),
        classes=np.array([0, 2], np.int32), weights=np.array([0.25, 0.5], np.float32),
        attention=np.zeros((2, 4, 4), np.float16),
    )  # fmt: skip


@pytest.mark.parametrize("flip", [False, True])
def test_objects_are_scaled_with_their_image(flip):
    found = scaled_objects(record(), (10, 20), flip=flip, weighted=True, masks=True)
    assert found.labels.tolist() == [1, 3]
    assert found.weights.tolist() == [0.25, 0.5]
    assert found.masks.shape == (2, 10, 20)
    assert found.boxes.tolist() == ([[14, 1, 18, 5], [1, 5, 10, 9]] if flip else [[2, 1, 6, 5], [10, 5, 19, 9]])
    for mask, box in zip(found.masks, found.boxes.int().tolist(), strict=True):
        inside = torch.zeros(10, 20, dtype=torch.uint8)
        inside[box[1] : box[3], box[0] : box[2]] = 1
        assert torch.equal(mask, inside)
    scaled = scaled_regions(record().regions, (10, 20), flip=flip)
    np.testing.assert_array_equal(scaled.masks(), found.masks.bool().numpy())


def test_masks_and_weights_are_given_where_they_are_wanted():
    found = scaled_objects(record(), (10, 20), flip=False, weighted=False, masks=False)
    assert found.weights.tolist() == [1, 1]
    assert found.masks.shape == (2, 1, 1)
    assert not found.masks.any()
