import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from stages.classifier.find_cues import find_cues, mean_responses, respond
from stages.classifier.network import Classifier, Response
from stages.classifier.settings import AugmentationSettings, ClassifierTrainingSettings, CuesSettings
from stages.classifier.take_points import take_points
from stages.classifier.task import ClassifierTask, augment
from stages.classifier.train_classifier import train_classifier
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord, training_images
from stages.core.artifacts.points import Points
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.networks.backbones import build_backbone
from stages.core.networks.weights import read_metadata

CLASSES = ["red", "green"]
COLOURS = ((220, 30, 30), (30, 200, 30))
TRAIN = {
    "seed": 1,
    "head": {"kind": "cam"},
    "backbone": {
        "name": "resnet10t", "output_stride": 8, "stage": 2, "weights": "none", "frozen_stages": 0, "norm": "train",
        "dilated_pool": "drop", "mean": None, "std": None,
    },
    "augmentation": {
        "input_size": 48, "interpolation": "area", "flip": 0.5, "brightness": 0.1, "contrast": 0.1, "saturation": 0.1, "hue": 0.0,
        "crop_size": 40,
    },
    "batch": 4,
    "training": {
        "steps": 30, "accumulate": 1, "reduction": "mean", "optimizer": "adamw", "learning_rate": 0.003,
        "momentum": 0.9, "nesterov": False, "betas": [0.9, 0.999], "weight_decay": 1e-4, "bias_lr_mult": 1.0,
        "bias_decay": True,
        "norm_decay": True, "lr_mult": {"backbone": 1.0},
        "schedule": {"kind": "polynomial", "drops": [], "factor": 0.1, "power": 0.9},
        "warmup_steps": 2, "warmup_factor": 0.1, "scale_momentum_at_drops": False, "clip_gradient_norm": 5.0,
        "ema_decay": 0.0, "precision": "32", "prefetch": 0, "checkpoint_minutes": 60.0, "curve_steps": 10,
    },
}  # fmt: skip
WINDOW = {"kind": "window", "upsampling": 4, "window": 3, "threshold": 0.7, "relative": True}
CUES = {"input_sizes": [48], "interpolation": "area", "flip": False, "batch": 5, "peaks": WINDOW}


def settings(**changes) -> ClassifierTrainingSettings:
    return ClassifierTrainingSettings(**{**TRAIN, **changes})


def cue_settings(**changes) -> CuesSettings:
    return CuesSettings(**{**CUES, **changes})


def write_images(path: Path, *, count: int = 12, untagged: int = 0, empty: int = 0) -> Path:
    """Images of a red square, a green one, or both, on grey; the last `untagged` have no tag, those before no square."""
    generator = np.random.default_rng(0)
    header = {"classes": CLASSES, "category_ids": [1, 2], "name": "squares", "split": "train", "root": ""}
    with create(path, ImageRecord, header=header, provenance=Provenance("test", None, 0, {})) as writer:
        for i in range(count):
            negative = count - untagged - empty <= i < count - untagged
            there = np.array([i % 3 != 1, i % 3 != 0]) & (not negative)
            rgb = generator.integers(90, 130, (60, 80, 3)).astype(np.uint8)
            for colour in np.flatnonzero(there):
                y, x = generator.integers(0, 40), generator.integers(0, 20) + 40 * colour
                rgb[y : y + 20, x : x + 20] = COLOURS[colour]
            encoded = cv2.imencode(".png", rgb[..., ::-1])[1].reshape(-1)
            tags = there & (i < count - untagged)
            sizes = {"height": 60, "width": 80, "file_size": encoded.size}
            writer.append(
                ImageRecord(
                    image=f"p{i}",
                    path="",
                    encoded=encoded,
                    digest="",
                    tags=tags,
                    looked_at=i < count - untagged,
                    **sizes,
                )
            )
    return path


def fit(folder: Path, images: Path, chosen=None) -> Path:
    outputs = {"output_weights": "w.safetensors", "output_curves": "c.json", "output_plot": "c.png"}
    paths = {name: folder / file for name, file in outputs.items()}
    train_classifier(images=images, settings=chosen or settings(), device="cpu", **paths)
    return paths["output_weights"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("classifier")
    images = write_images(folder / "images.h5")
    return images, fit(folder, images)


def test_classifier_learns_colours_and_its_peaks_lie_on_the_squares(trained, tmp_path):
    images, weights = trained
    find_cues(images=images, weights=weights, output=tmp_path / "cues.h5", settings=cue_settings(), device="cpu")
    with read(images, ImageRecord) as listing, read(tmp_path / "cues.h5", Cues) as cues:
        assert cues.header["head"] == "cam"
        assert cues.header["supervision"] == "image tags"
        assert cues.ids == listing.ids
        hits = []
        for image, cue in zip(listing, cues, strict=True):
            assert cue.responses.shape == (2, 6, 6)
            assert set(np.flatnonzero(image.tags)) <= set(cue.peak_classes) <= set(range(2))
            rgb = cv2.imdecode(image.encoded, cv2.IMREAD_COLOR)[..., ::-1]
            for label in np.flatnonzero(image.tags):
                own = np.flatnonzero(cue.peak_classes == label)
                y, x = cue.peaks[own[cue.peak_scores[own].argmax()]]
                near = rgb[max(0, y - 5) : y + 6, max(0, x - 5) : x + 6]
                hits.append((near == COLOURS[label]).all(2).any())
    assert np.mean(hits) > 0.8
    curve = json.loads((weights.parent / "c.json").read_text())["intervals"]
    assert curve[-1]["losses"]["tags"] < curve[0]["losses"]["tags"]


def test_weights_say_what_made_them(trained):
    metadata = read_metadata(trained[1])
    assert metadata["classes"] == CLASSES
    assert ClassifierTrainingSettings.model_validate(metadata["settings"]) == settings()


def test_cues_do_not_depend_on_the_batch(trained, tmp_path):
    images, weights = trained
    chosen = {"flip": True, "input_sizes": [40, 48]}
    for batch in (1, 7):
        one = cue_settings(batch=batch, **chosen)
        find_cues(images=images, weights=weights, output=tmp_path / f"{batch}.h5", settings=one, device="cpu")
    with read(tmp_path / "1.h5", Cues) as one, read(tmp_path / "7.h5", Cues) as seven:
        for a, b in zip(one, seven, strict=True):
            assert np.allclose(a.responses, b.responses, atol=1e-4)
            assert np.array_equal(a.peaks, b.peaks)


def test_untagged_image_has_peaks_of_its_predicted_classes_alone(trained, tmp_path):
    images = write_images(tmp_path / "images.h5", count=4, untagged=2)
    find_cues(images=images, weights=trained[1], output=tmp_path / "cues.h5", settings=cue_settings(), device="cpu")
    with read(tmp_path / "cues.h5", Cues) as cues:
        for cue in list(cues)[2:]:
            assert set(cue.peak_classes) == set(np.flatnonzero(cue.class_scores > 0))


def test_bestie_rule_serves_any_head(trained, tmp_path):
    images, weights = trained
    pooled = {"kind": "pooled", "smoothing": 3, "window": 15, "limit": 25, "threshold": 0.1}
    chosen = cue_settings(peaks=pooled, flip=True)
    find_cues(images=images, weights=weights, output=tmp_path / "cues.h5", settings=chosen, device="cpu")
    with read(tmp_path / "cues.h5", Cues) as cues:
        assert all(0.1 <= score <= 1 for cue in cues for score in cue.peak_scores)


def test_flip_averages_the_mirrored_answer_and_sizes_are_brought_together():
    class Columns(torch.nn.Module):
        def forward(self, x):
            maps = x[:, :1, ::8, ::8]
            return Response(maps, maps.mean((2, 3)))

    rgb = np.zeros((32, 32, 3), np.uint8)
    rgb[:, :9] = 255
    passes, scores = respond(Columns(), [rgb], cue_settings(input_sizes=[32, 64], flip=True), torch.device("cpu"))
    assert [tuple(maps.shape) for maps in passes] == [(1, 1, 4, 4)] * 2 + [(1, 1, 8, 8)] * 2
    assert mean_responses(passes).shape == (1, 1, 8, 8)
    assert scores.shape == (1, 1)
    assert mean_responses(passes)[0, 0, 0, 0] > mean_responses(passes)[0, 0, 0, -1]


def test_classifier_of_other_classes_is_refused(trained, tmp_path):
    images = tmp_path / "images.h5"
    header = {"classes": ["red", "blue"], "root": ""}
    with create(images, ImageRecord, header=header, provenance=Provenance("test", None, 0, {})):
        pass
    with pytest.raises(
        ValueError, match=r"knows classes \['red', 'green'\].*has \['red', 'blue'\]; train the classifier"
    ):
        find_cues(images=images, weights=trained[1], output=tmp_path / "c.h5", settings=cue_settings(), device="cpu")
    assert not (tmp_path / "c.h5").exists()


def test_negatives_are_trained_on_and_images_that_nobody_looked_at_are_not(tmp_path, caplog):
    caplog.set_level("INFO")
    images = write_images(tmp_path / "images.h5", count=7, untagged=2, empty=2)
    with read(images, ImageRecord) as listing:
        task = ClassifierTask(torch.nn.Identity(), images=listing, settings=settings())
        seen = {task.position(number) for number in range(40)}
        tags = np.concatenate([task.batch(step, 0, np.random.default_rng(0)).tags for step in range(10)])
    assert seen == {0, 1, 2, 3, 4}
    assert (~tags.any(1)).sum() == 16  # 40 samples are eight epochs
    fit(tmp_path, images, settings(training={**TRAIN["training"], "steps": 1}))
    said = "trained on 5 of 7 images, of them 2 without anything; 2 images that nobody looked at are left out"
    assert said in caplog.text


def test_a_negative_lowers_the_scores_of_all_classes(tmp_path):
    """The gradient of the bias is the mean probability: all classes are absent."""
    with read(write_images(tmp_path / "images.h5", count=6, empty=3), ImageRecord) as images:
        backbone = build_backbone(settings().backbone)
        network = Classifier(backbone, class_count=2, settings=settings())
        task = ClassifierTask(network, images=images, settings=settings())
        batch = next(b for s in range(9) if (~(b := task.batch(s, 0, np.random.default_rng(s))).tags.any(1)).any())
        negative = ~batch.tags.any(1)
        batch = batch._replace(images=batch.images[negative], tags=batch.tags[negative])
        task.losses(batch, np.random.default_rng(0))["tags"].backward()
        expected = network(batch.images).scores.sigmoid().mean(0) / 2
    torch.testing.assert_close(network.head.classifier.bias.grad, expected)


@pytest.mark.parametrize(
    ("counts", "warned"),
    [
        pytest.param({"count": 1}, True, id="one image"),
        pytest.param({"count": 3, "untagged": 2}, True, id="the others are unknown"),
        pytest.param({"count": 2, "empty": 1}, False, id="with a negative"),
        pytest.param({"count": 2}, False, id="with another class"),
    ],
)
def test_a_class_that_all_images_show_is_warned_of(tmp_path, caplog, counts, warned):
    with read(write_images(tmp_path / "images.h5", **counts), ImageRecord) as images:
        training_images(images)
    assert ("all 1 images that are trained on show red: tags alone cannot teach" in caplog.text) == warned


def test_no_tags_at_all_is_an_error(tmp_path):
    images = write_images(tmp_path / "images.h5", count=3, untagged=3)
    with pytest.raises(ValueError, match=r"none of 3 images has tags"):
        fit(tmp_path, images)


def test_every_epoch_shows_each_image_once_in_another_order(trained):
    with read(trained[0], ImageRecord) as images:
        task = ClassifierTask(torch.nn.Identity(), images=images, settings=settings())
        epochs = [[task.position(e * 12 + i) for i in range(12)] for e in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_batch_depends_on_the_generator_alone(trained):
    with read(trained[0], ImageRecord) as images:
        task = ClassifierTask(torch.nn.Identity(), images=images, settings=settings())
        a, b, c = (task.batch(3, 0, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert a.images.shape == (4, 3, 40, 40)
    assert torch.equal(a.images, b.images)
    assert not torch.equal(a.images, c.images)
    assert torch.equal(a.tags, c.tags)


@pytest.mark.parametrize("strengths", [{}, {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.1}])
def test_colours_change_only_when_set(strengths):
    plain = {
        **TRAIN["augmentation"],
        "flip": 0.0,
        "crop_size": None,
        "brightness": 0.0,
        "contrast": 0.0,
        "saturation": 0.0,
    }
    rgb = np.random.default_rng(0).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    changed = augment(rgb, AugmentationSettings(**{**plain, **strengths}), np.random.default_rng(1))
    assert changed.dtype == np.uint8
    assert np.array_equal(changed, rgb) == (not strengths)


def test_point_labels_become_cues_in_the_order_of_their_file(trained, tmp_path):
    """Official CIM-p: points in file order, no response maps."""
    header = {"classes": CLASSES}
    found = np.array([[50, 3], [2, 70], [7, 7]], np.int32), np.array([1, 0, 1], np.int32)
    with create(tmp_path / "points.h5", Points, header=header, provenance=Provenance("test", None, 0, {})) as writer:
        writer.append(Points("p0", *found))
        for i in range(1, 12):
            writer.append(Points(f"p{i}", np.zeros((0, 2), np.int32), np.zeros(0, np.int32)))
    take_points(images=trained[0], points=tmp_path / "points.h5", output=tmp_path / "cues.h5")
    with read(tmp_path / "cues.h5", Cues) as cues:
        first, second = cues[0], cues[1]
        assert cues.header["supervision"] == "points"
    assert np.array_equal(first.peaks, found[0]) and np.array_equal(first.peak_classes, found[1])
    assert first.peak_scores.tolist() == [1, 1, 1] and first.class_scores.tolist() == [1, 1]
    assert first.responses.shape == (2, 0, 0)
    assert len(second.peaks) == 0 and second.class_scores.tolist() == [-1, -1]


def test_points_of_other_classes_are_refused(trained, tmp_path):
    header = {"classes": ["blue"]}
    with create(tmp_path / "points.h5", Points, header=header, provenance=Provenance("test", None, 0, {})):
        pass
    with pytest.raises(ValueError, match=r"holds classes \['blue'\].*list both again"):
        take_points(images=trained[0], points=tmp_path / "points.h5", output=tmp_path / "cues.h5")
