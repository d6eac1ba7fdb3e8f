"""Images that are known to show none of the classes: background everywhere, in labels, training and maps."""

import numpy as np
import pytest

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import build_backbone
from stages.semantics.label_pixels import label_pixels
from stages.semantics.network import SegmentationNetwork
from stages.semantics.predict_semantics import predict_semantics, predicted_map
from stages.semantics.settings import LabelPixelsSettings
from stages.semantics.task import SegmentationTask
from stages.semantics.train_semantics import train_semantics
from tests.semantics.conftest import maps_in


@pytest.fixture
def label(toy, tiny, tmp_path):
    def label(images):
        settings = LabelPixelsSettings(labels=tiny().labels, tagged_on=["train"])
        label_pixels(images=images, cues=toy.cues_file, output=tmp_path / "l.h5", settings=settings, source="cam")
        return tmp_path / "l.h5"

    return label


def test_pixels_of_a_negative_are_background_and_of_an_unknown_image_uncertain(toy, label, tmp_path, caplog):
    caplog.set_level("INFO")
    for images, value in ((toy.images, 255), (toy.negative(tmp_path), 0)):
        caplog.clear()
        _, maps = maps_in(label(images))
        assert (maps["p3"] == value).all()
        assert ("1 images show none of the classes and are background" in caplog.text) == (value == 0)
        assert set(np.unique(maps["p0"])) >= {1}


def test_a_negative_is_trained_on_as_background(toy, tiny, label, tmp_path, caplog):
    caplog.set_level("INFO")
    images, settings = toy.negative(tmp_path), tiny(train={"training": {"steps": 1}}).train
    labels = label(images)
    with read(images, ImageRecord) as listed, read(labels, SemanticMaps) as maps:
        network = SegmentationNetwork(
            build_backbone(settings.backbone), stage=settings.backbone.stage, class_count=3, settings=settings.head
        )
        task = SegmentationTask(network, images=listed, labels=maps, settings=settings)
        assert sorted(task.usable) == list(toy.ids)
    files = {name: tmp_path / name for name in ("output_weights", "output_curves", "output_plot")}
    train_semantics(
        images=images, labels=labels, backbone_weights=None, start=None, settings=settings, device="cpu", **files
    )
    said = "trained on 4 of 4 images, of them 1 without anything; 0 images that nobody looked at are left out"
    assert said in caplog.text
    predict_semantics(
        images=images, weights=tmp_path / "output_weights", output=tmp_path / "maps.h5", settings=tiny().predict,
        source="cam", device="cpu",
    )  # fmt: skip
    assert not maps_in(tmp_path / "maps.h5")[1]["p3"].any()
    assert "may hold any class" not in caplog.text


def test_without_a_class_that_may_win_all_is_background(tiny):
    found = predicted_map(None, np.zeros((5, 7, 3), np.uint8), np.zeros(0, np.int64), tiny().predict)
    assert found.shape == (5, 7)
    assert not found.any()
