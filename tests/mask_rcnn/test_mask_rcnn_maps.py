"""Masks and scores of a Mask R-CNN that lean on semantic maps."""

import numpy as np
import pytest
import torch

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import read
from stages.core.images.loading import load_rgb
from stages.core.networks.weights import save_weights
from stages.mask_rcnn.detection import detect, maskness
from stages.mask_rcnn.network import MaskRcnn
from stages.mask_rcnn.predict_mask_rcnn import find_instances, predict_mask_rcnn
from stages.mask_rcnn.samples import scaled_image, scaled_size
from stages.ops.rescoring import ious_with_map, rescored
from tests.leaning import assert_maps_are_said, assert_refused
from tests.mask_rcnn.conftest import CLASSES, PREDICTED, SIZE

METADATA = {**PREDICTED, "step": "train_mask_rcnn", "classes": CLASSES, "inputs": {}}
CRF = {"iterations": 2}
LEFT = np.zeros(SIZE, np.uint8)
LEFT[:, :35] = 2  # class 1 in the left half, background in the right


@pytest.fixture
def network(tiny):
    """An untrained network that finds something of every class everywhere, as its settings say."""

    def network(**predict):
        torch.manual_seed(3)
        settings = tiny(predict={"score_threshold": 0.0, "mask_threshold": 0.3, **predict})
        return MaskRcnn(settings.train, class_count=3, prediction=settings.predict).eval(), settings.predict

    return network


@pytest.fixture
def image(toy):
    with read(toy.images, ImageRecord) as images:
        return images[1]


def found(network, image, labels=None):
    return find_instances(network[0], image, root="", settings=network[1], labels=labels)


def by_mask(record):
    """Places of the instances by mask and class, in their order."""
    masks = zip(record.regions.masks(), record.classes, strict=True)
    return {(hash(mask.tobytes()), int(label)): i for i, (mask, label) in enumerate(masks)}


def test_scores_are_those_of_the_network_times_powers_of_iou_and_best_and_are_in_order(network, image):
    plain = found(network(), image)
    labels = np.where(LEFT > 0, 1 + plain.classes[-1], 0).astype(np.uint8)  # the class that was last
    leaning = found(network(semantics="cam", map_power=2.0, best_power=0.25), image, labels)
    assert (np.diff(leaning.scores) <= 0).all()
    assert len(leaning.scores) == len(plain.scores) > 2
    places = by_mask(plain)
    order = [places[key] for key in by_mask(leaning)]  # masks, boxes and classes have moved together
    assert order != sorted(order)
    ious = ious_with_map(plain.regions, plain.classes, labels)
    expected = rescored(plain.scores, ious, map_power=2.0, best_power=0.25)
    np.testing.assert_allclose(leaning.scores, expected[order], rtol=1e-5)
    np.testing.assert_array_equal(leaning.boxes, plain.boxes[order])


def test_scores_know_how_sure_the_masks_are_of_themselves(network, image):
    plain, sure = found(network(), image), found(network(maskness_power=3.0), image)
    built, settings = network()
    size = scaled_size(*SIZE, shorter_side=settings.shorter_side, longest_side=settings.longest_side)
    masks = detect(built, scaled_image(load_rgb(image, ""), size, flip=False), flip=settings.flip).masks
    places = by_mask(plain)
    order = [places[key] for key in by_mask(sure)]
    assert order != sorted(order)
    expected = plain.scores * maskness(masks, threshold=settings.mask_threshold) ** 3
    np.testing.assert_allclose(sure.scores, expected[order], rtol=1e-4)


def test_maskness_is_the_mean_probability_of_the_cells_inside():
    masks = torch.tensor([[[0.5, 0.9], [0.49, 0.0]], [[0.1, 0.2], [0.3, 0.4]], [[1.0, 1.0], [1.0, 1.0]]])
    np.testing.assert_allclose(maskness(masks, threshold=0.5), [0.7, 0.0, 1.0], atol=1e-7)
    assert maskness(masks[:0], threshold=0.5).shape == (0,)


def test_masks_of_the_best_lean_on_the_map_where_the_crf_refines_them(network, image):
    plain = found(network(crf=CRF, crf_instances=1), image)
    weighted = network(crf=CRF, crf_instances=1, semantics="cam", map_weight=9.0)
    label = 1 + plain.classes[0]
    leaning = found(weighted, image, np.where(LEFT > 0, label, 0).astype(np.uint8))
    assert not leaning.regions.masks()[0][:, 37:].any()  # what the map does not have is gone
    assert plain.regions.masks()[0][:, 37:].any()
    np.testing.assert_array_equal(leaning.regions.masks()[1:], plain.regions.masks()[1:])
    away = found(weighted, image, np.zeros(SIZE, np.uint8))
    assert away.regions.masks()[0].any()  # a mask that the map takes away stays


@pytest.fixture
def predict(toy, tiny, network, tmp_path):
    """A function from the fields of maps that differ, and of settings, to what prediction writes."""

    def predict(*, ids=None, shape=SIZE, maps=True, header=None, **settings):
        chosen = network(**settings)
        weights = tmp_path / "weights.safetensors"
        save_weights(weights, chosen[0], {**METADATA, "settings": tiny().train.model_dump(mode="json")})
        path = None
        if maps:
            records = [SemanticMaps(image=image, labels=np.ones(shape, np.uint8)) for image in ids or toy.ids]
            path = toy.write("maps", SemanticMaps, records, source="cam", supervision="masks", **(header or {}))
        output = tmp_path / "found.h5"
        predict_mask_rcnn(
            images=toy.images, weights=weights, semantics=path, output=output, settings=chosen[1], run="r", device="cpu"
        )
        with read(output, Instances) as instances:
            return instances.header, instances.provenance

    return predict


def test_what_the_maps_have_seen_is_said(predict):
    assert_maps_are_said(predict)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"maps": False}, "map_weight is 0.0 and map_power 1.0, but no semantic maps are given", id="none"),
        pytest.param({"header": {"classes": ["cow", "dog", "hen"]}}, "maps.h5 holds classes .*; remake the maps", id="classes"),
        pytest.param({"ids": ["p0", "p1"]}, r"maps.h5 lacks 3 of the 5 images of .*, such as 'p2'.*remake the maps", id="images"),
        pytest.param({"shape": (3, 4)}, r"'p0' has a map of \(3, 4\) \(height, width\), expected \(50, 70\)", id="size"),
    ],
)  # fmt: skip
def test_maps_that_do_not_fit_are_refused(predict, given, message):
    assert_refused(predict, given, message)
