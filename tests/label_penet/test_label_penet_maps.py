"""Instances of Label-PEnet that lean on semantic maps: scores of every module, masks of the mask heads."""

import numpy as np
import pytest

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import read
from stages.label_penet.predict_label_penet import find_instances, predict_label_penet
from stages.label_penet.settings import MODULES
from stages.label_penet.weights import load_cascade
from stages.ops.rescoring import ious_with_map, rescored
from tests.label_penet.conftest import CLASSES, SIZE, write
from tests.leaning import assert_maps_are_said, assert_refused

LEFT = np.zeros(SIZE, np.uint8)
LEFT[:, :30] = 1  # in the left half; background in the right
CRF = {"iterations": 2}


@pytest.fixture
def found(toy, tiny, cascade):
    """A function from a module, settings and a map to the instances of the first image."""

    def found(module, labels=None, **predict):
        settings = tiny(predict={"mask_threshold": 0.3, **predict}).predict
        with read(toy.images, ImageRecord) as images, read(toy.proposals, Proposals) as proposals:
            network, _ = load_cascade(
                cascade[0][module], module=module, classes=CLASSES, listed=images.path, device="cpu"
            )
            own = proposals.find(images[0].image) if module == "classification" else None
            return find_instances(network, module, images[0], own, root="", settings=settings, labels=labels)

    return found


@pytest.mark.parametrize("module", MODULES)
def test_scores_of_every_module_know_the_map_and_the_best(found, module):
    plain = found(module)
    labels = (LEFT * (1 + plain.classes[-1])).astype(np.uint8)  # the class that was last
    leaning = found(module, labels, semantics="cam", map_power=2.0, best_power=0.25)
    assert len(leaning.scores) == len(plain.scores) > 2
    assert (np.diff(leaning.scores) <= 0).all()
    expected = rescored(
        plain.scores, ious_with_map(plain.regions, plain.classes, labels), map_power=2.0, best_power=0.25
    )
    order = np.argsort(-expected, kind="stable")
    np.testing.assert_allclose(leaning.scores, expected[order], rtol=1e-5)
    np.testing.assert_array_equal(leaning.classes, plain.classes[order])  # classes, boxes and masks move together
    np.testing.assert_array_equal(leaning.boxes, plain.boxes[order])
    np.testing.assert_array_equal(leaning.regions.masks(), plain.regions.masks(order))


@pytest.mark.parametrize("module", ["refinement", "segmentation"])
def test_masks_that_pass_the_crf_lean_on_the_map(found, module):
    scores = np.sort(found(module).scores)[::-1]
    least = float(scores[0] + scores[1]) / 2  # only the best passes
    plain = found(module, crf=CRF, crf_score=least)
    best = plain.scores.argmax()
    middle = int(plain.boxes[best][[0, 2]].mean())
    labels = np.zeros(SIZE, np.uint8)
    labels[:, :middle] = 1 + plain.classes[best]
    leaning = found(module, labels, crf=CRF, crf_score=least, semantics="cam", map_weight=9.0)
    inside, before = leaning.regions.masks()[best], plain.regions.masks()[best]
    assert inside[:, :middle].any()
    assert before[:, middle + 3 :].any()
    assert not inside[:, middle + 3 :].any()  # what the map does not have is gone
    others = np.arange(len(plain.scores)) != best
    np.testing.assert_array_equal(leaning.regions.masks()[others], plain.regions.masks()[others])
    np.testing.assert_array_equal(leaning.scores, plain.scores)  # map_power is 0


def test_a_weight_without_a_crf_reads_no_map(tiny):
    weighted = {"semantics": "cam", "map_weight": 1.0}
    assert tiny(predict=weighted | {"crf": {"iterations": 0}}).predict.maps is None
    assert tiny(predict=weighted | {"crf": CRF}).predict.maps == "cam"
    assert tiny(predict={"semantics": "cam", "map_power": 1.0}).predict.maps == "cam"
    with pytest.raises(ValueError, match="map_power 1.0, but semantics is null; name a source"):
        tiny(predict={"map_power": 1.0})


@pytest.fixture
def predict(toy, tiny, cascade, tmp_path):
    """A function from the fields of maps that differ to what prediction writes."""

    def predict(*, ids=None, shape=SIZE, maps=True, header=None, **settings):
        path = None
        if maps:
            records = [SemanticMaps(image=image, labels=np.ones(shape, np.uint8)) for image in ids or toy.ids]
            said = {"source": "cam", "supervision": "masks", **(header or {})}
            path = write(tmp_path / "maps.h5", SemanticMaps, records, **said)
        output = tmp_path / "found.h5"
        predict_label_penet(
            images=toy.images, proposals=None, weights=cascade[0]["segmentation"], semantics=path, output=output,
            settings=tiny(predict=settings).predict, module="segmentation", run="r", device="cpu",
        )  # fmt: skip
        with read(output, Instances) as instances:
            return instances.header, instances.provenance

    return predict


def test_what_the_maps_have_seen_is_said(predict):
    assert_maps_are_said(predict)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        pytest.param({"maps": False}, "map_weight is 0.0 and map_power 1.0, but no semantic maps are given", id="none"),
        pytest.param(
            {"shape": (3, 4)}, r"'p0' has a map of \(3, 4\) \(height, width\), expected \(48, 64\)", id="size"
        ),
    ],
)
def test_maps_that_do_not_fit_are_refused(predict, given, message):
    assert_refused(predict, given, message)
