"""Instances of BESTIE that lean on the semantic maps of another source: its own map, and the scores."""

import numpy as np
import pytest
import torch

from stages.bestie.maps import Maps, leaning_maps
from stages.bestie.network import BestieNetwork
from stages.bestie.predict_bestie import predict_bestie
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import read
from stages.core.networks.weights import save_weights
from stages.ops.rescoring import ious_with_map, rescored
from tests.bestie.toy import CLASSES, SIZE, Toy, tiny, write
from tests.leaning import assert_maps_are_said, assert_refused

CENTERS = -0.4  # what all center heatmaps are moved by, so that components without a center score below 0
METADATA = {"step": "train_bestie", "classes": CLASSES, "supervision": "image tags", "inputs": {}}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def weights(toy):
    """Of an untrained network that finds something everywhere."""
    torch.manual_seed(25)
    settings = tiny(train={"network": {"initial_std": 0.3}}).train
    network = BestieNetwork(settings, class_count=3)
    torch.nn.init.constant_(network.heads.center.output.bias, CENTERS)
    path = toy.folder / "weights.safetensors"
    save_weights(path, network, {**METADATA, "settings": settings.model_dump(mode="json")})
    return path


@pytest.fixture
def predict(toy, weights, tmp_path):
    """A function from the fields of maps that differ, and of settings, to the instances' file.

    `labels`: of the first image; True: maps of the first class everywhere; False: none.
    """

    def predict(*, ids=None, shape=SIZE, maps=True, labels=None, header=None, **settings):
        path = None
        if maps:
            records = [SemanticMaps(image=image, labels=np.ones(shape, np.uint8)) for image in ids or toy.ids]
            if labels is not None:
                records[0] = SemanticMaps(image=toy.ids[0], labels=labels)
            path = write(
                tmp_path / "maps.h5", SemanticMaps, records, source="cam", supervision="masks", **(header or {})
            )
        output = tmp_path / "found.h5"
        predict_bestie(
            images=toy.images, weights=weights, cues=None, semantics=path, output=output,
            output_maps=tmp_path / "centers.h5", settings=tiny(predict=settings).predict, run="r", device="cpu",
        )  # fmt: skip
        return output

    return predict


@pytest.fixture
def first(toy, predict):
    """As `predict`, to the instances of the first image."""

    def first(**settings):
        with read(predict(**settings), Instances) as instances:
            return instances.find(toy.ids[0])

    return first


def test_scores_are_those_of_the_network_times_powers_of_iou_and_best_and_are_in_order(first):
    plain = first(maps=False)
    assert plain.scores.min() < 0 < plain.scores[2], "the toy needs both"
    labels = np.zeros(SIZE, np.uint8)
    labels[plain.regions.masks()[2]] = 1 + plain.classes[2]
    found = first(labels=labels, semantics="cam", map_power=2.0, best_power=0.25)
    own = np.maximum(plain.scores, 0)
    expected = rescored(own, ious_with_map(plain.regions, plain.classes, labels), map_power=2.0, best_power=0.25)
    order = np.argsort(-expected, kind="stable")
    assert order[0] == 2
    np.testing.assert_allclose(found.scores, expected[order], rtol=1e-5)
    np.testing.assert_array_equal(found.classes, plain.classes[order])
    np.testing.assert_array_equal(found.regions.masks(), plain.regions.masks(order))
    assert found.boxes is None


def test_its_own_map_leans_on_the_other_where_a_crf_follows(first):
    labels = np.zeros(SIZE, np.uint8)
    labels[5:30, 8:30] = 3
    settings = {"semantics": "cam", "map_weight": 1e3, "keep_without_center": True, "min_area": 1}
    found = first(labels=labels, crf={"iterations": 1, "smooth_compat": 0.0, "colour_compat": 0.0}, **settings)
    assert set(found.classes) == {2}
    assert (found.regions.masks().any(0) == (labels == 3)).all()
    plain = first(maps=False, keep_without_center=True, min_area=1)
    unread = first(labels=labels, **settings)  # without a CRF masks lean on nothing
    np.testing.assert_array_equal(unread.regions.masks(), plain.regions.masks())
    np.testing.assert_array_equal(unread.scores, plain.scores)


def test_a_logit_grows_by_the_weight_where_the_map_has_its_class():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(3, 2, 2, generator=generator)
    maps = Maps(probabilities / probabilities.sum(0), torch.rand(2, 2, 2), torch.rand(2, 2, 2))
    labels = np.array([[0, 1], [2, 255]], np.uint8)
    found = leaning_maps(maps, labels, weight=1.5)
    logits = maps.probabilities.log()
    for label, (y, x) in zip((0, 1, 2), ((0, 0), (0, 1), (1, 0)), strict=True):
        logits[label, y, x] += 1.5
    torch.testing.assert_close(found.probabilities, logits.softmax(0))
    assert (found.heatmap is maps.heatmap, found.offsets is maps.offsets) == (True, True)


def test_what_the_maps_have_seen_is_said(predict):
    def said(**given):
        with read(predict(**given), Instances) as instances:
            return instances.header, instances.provenance

    assert_maps_are_said(said)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"maps": False}, "map_weight is 0.0 and map_power 1.0, but no semantic maps are given", id="none"),
        pytest.param({"ids": ["p0", "p1"]}, r"maps.h5 lacks 2 of the 4 images of .*, such as 'p2'.*remake the maps", id="images"),
        pytest.param({"shape": (3, 4)}, r"'p0' has a map of \(3, 4\) \(height, width\), expected \(50, 70\)", id="size"),
    ],
)  # fmt: skip
def test_maps_that_do_not_fit_are_refused(predict, given, message):
    assert_refused(predict, given, message)


def test_a_weight_without_a_crf_reads_no_map():
    weighted = {"semantics": "cam", "map_weight": 1.0}
    assert tiny(predict=weighted).predict.maps is None
    assert tiny(predict=weighted | {"crf": {"iterations": 2}}).predict.maps == "cam"
    with pytest.raises(ValueError, match="map_power 1.0, but semantics is null; name a source"):
        tiny(predict={"map_power": 1.0})
