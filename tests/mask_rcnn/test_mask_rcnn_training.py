"""The task, a tiny training from artifacts to artifacts, and prediction."""

import contextlib

import numpy as np
import pytest
import torch

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.storage import read
from stages.core.networks.weights import read_metadata, read_weights, save_weights
from stages.mask_rcnn.make_pseudo_masks import make_pseudo_masks
from stages.mask_rcnn.network import MaskRcnn
from stages.mask_rcnn.predict_mask_rcnn import predict_mask_rcnn
from stages.mask_rcnn.samples import scaled_target
from stages.mask_rcnn.task import MaskRcnnTask
from stages.mask_rcnn.train_mask_rcnn import train_mask_rcnn
from stages.ops.regions import Regions
from tests.mask_rcnn.conftest import IMAGES, PREDICTED, SIZE, predictions, rectangles


@pytest.fixture(scope="module")
def pseudo_masks(toy, tiny):
    output = toy.folder / "pseudo_masks.h5"
    settings = tiny(pseudo_masks={"empty": "negative"}).pseudo_masks
    make_pseudo_masks(images=toy.images, instances=toy.instances, marks=None, output=output, settings=settings)
    return output


@pytest.fixture
def train(toy, pseudo_masks, tmp_path):
    def train(settings, *, name="run", masks=pseudo_masks, images=toy.images, backbone_weights=None):
        folder = tmp_path / name
        train_mask_rcnn(
            images=images, pseudo_masks=masks, backbone_weights=backbone_weights,
            output_weights=folder / "weights.safetensors", output_curves=folder / "curves.json",
            output_plot=folder / "curves.png", settings=settings.train, device="cpu",
        )  # fmt: skip
        return folder / "weights.safetensors"

    return train


@pytest.fixture
def predict(toy, tmp_path):
    def predict(weights, settings, *, images=toy.images):
        output = tmp_path / "found.h5"
        predict_mask_rcnn(
            images=images, weights=weights, output=output, settings=settings.predict, run="cim/mask_rcnn", device="cpu"
        )
        with read(output, Instances) as instances:
            return instances.header, {record.image: record for record in instances}

    return predict


@pytest.fixture
def task_of(toy, pseudo_masks):
    with contextlib.ExitStack() as stack:

        def task(settings):
            images = stack.enter_context(read(toy.images, ImageRecord))
            masks = stack.enter_context(read(pseudo_masks, Instances))
            network = MaskRcnn(settings.train, class_count=3)
            return MaskRcnnTask(network, images=images, pseudo_masks=masks, settings=settings.train)

        yield task


def test_every_image_comes_once_an_epoch_in_another_order_each_time(task_of, tiny):
    task = task_of(tiny())
    epochs = [[task.entry(4 * epoch + place) for place in range(4)] for epoch in range(6)]
    assert all(sorted(epoch) == [0, 1, 2, 3] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert epochs == [[task_of(tiny()).entry(4 * epoch + place) for place in range(4)] for epoch in range(6)]


def test_passes_of_an_update_see_other_images(task_of, tiny):
    task, seen = task_of(tiny()), []
    task._sample = lambda i, generator: (seen.append(i), {})
    for micro in range(2):
        task.batch(0, micro, np.random.default_rng(0))
    assert sorted(seen) == [0, 1, 2, 3]


def test_scales_and_mirror_images_are_drawn_for_each_image(task_of, tiny):
    task = task_of(tiny(train={"data": {"batch": 1}}))
    seen = set()
    for step in range(40):
        batch = task.batch(step, 0, np.random.default_rng(step))
        assert len(batch.images) == len(batch.targets) == 1
        height, width = batch.images[0].shape[-2:]
        assert batch.targets[0]["masks"].shape[1:] == (height, width)
        seen.add((height, width))
    assert seen == {(48, 67), (64, 90)}


@pytest.mark.parametrize(("share", "mirrored"), [pytest.param(0.0, {False}, id="never"), pytest.param(1.0, {True}, id="always")])  # fmt: skip
def test_flip_is_a_probability(task_of, tiny, share, mirrored):
    task = task_of(tiny(train={"data": {"batch": 1, "flip": share, "shorter_sides": [50]}}))
    place = [task.entry(i) for i in range(4)].index(0)
    boxes = task.batch(0, place, np.random.default_rng(0)).targets[0]["boxes"]
    assert {boxes[0, 0].item() != 8} == mirrored
    assert boxes[0].tolist() == ([40, 5, 62, 30] if True in mirrored else [8, 5, 30, 30])


def test_loss_terms_are_weighted_by_the_settings(task_of, tiny):
    weights = {"objectness": 2.0, "rpn_box": 3.0, "classifier": 0.5, "box": 0.25, "mask": 0.0}
    plain, weighted = task_of(tiny()), task_of(tiny(train={"losses": weights}))
    weighted.network.load_state_dict(plain.network.state_dict())
    batch, found = plain.batch(0, 0, np.random.default_rng(0)), []
    for task in (plain, weighted):
        torch.manual_seed(0)
        found.append({name: value.item() for name, value in task.losses(batch, np.random.default_rng(0)).items()})
    factors = dict(zip(("loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"), weights.values(), strict=True))  # fmt: skip
    assert found[1] == pytest.approx({name: value * factors[name] for name, value in found[0].items()})


@pytest.mark.parametrize(("choice", "expected"), [("ones", {1.0}), ("scores", {0.9, 0.6, 0.8, 0.5})])
def test_scores_become_weights_where_wanted(task_of, tiny, choice, expected):
    task = task_of(tiny(train={"loss_weights": choice, "data": {"batch": 4}}))
    targets = task.batch(0, 0, np.random.default_rng(0)).targets
    assert {round(w, 4) for target in targets for w in target["weights"].tolist()} == expected


def test_a_weight_lies_between_0_and_1():
    """BESTIE's center heatmap has no limits: its scores may be above 1 and, with keep_best, below 0."""
    record = predictions("p1", [(2, 20, 2, 25)] * 4, [0, 0, 0, 1], [1.25, 1.125, 0.5, -0.25])
    weights = scaled_target(record, SIZE, flip=False, weighted=True)["weights"]
    assert weights.tolist() == [1.0, 1.0, 0.5, 0.0]
    assert weights.dtype == torch.float32
    assert record.scores.tolist() == [1.25, 1.125, 0.5, -0.25]


def test_a_few_scores_above_1_are_limited_and_counted(train, tiny, toy, caplog):
    bestie = {**PREDICTED, "run": "bestie", "method": "bestie", "counts": {}}
    records = [
        predictions("p0", toy.sides[0], toy.classes[0], [1.25, 0.6]),
        predictions("p1", [(2, 20, 2, 25)], [0], [1.0]),
    ]
    masks = toy.write("above_1", Instances, records, **bestie)
    with caplog.at_level("INFO"):
        weights = train(tiny(train={"loss_weights": "scores"}), masks=masks)
    assert read_metadata(weights)["method"] == "bestie + mask_rcnn"
    assert "1 of 3 scores lie outside [0, 1]" in caplog.text


@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_training_writes_weights_that_prediction_rebuilds_the_network_from(train, predict, tiny, toy, precision):
    settings = tiny(predict={"score_threshold": 0.0}, train={"training": {"precision": precision}})
    weights = train(settings)
    metadata = read_metadata(weights)
    assert (metadata["step"], metadata["method"]) == ("train_mask_rcnn", "cim + mask_rcnn")
    header, records = predict(weights, settings)
    assert (header["run"], header["method"], header["supervision"]) == (
        "cim/mask_rcnn",
        "cim + mask_rcnn",
        "image tags",
    )
    assert list(records) == toy.ids
    for record in records.values():
        assert record.atoms.shape == (50, 70)
        assert len(record.scores) <= 9
        assert (np.diff(record.scores) <= 0).all()
        # The predicted boxes, half-open, in pixels of the image: each holds its mask.
        assert record.boxes.shape == (len(record.scores), 4)
        masks, height, width = record.regions.boxes(), *record.atoms.shape
        assert (np.floor(record.boxes[:, :2]) <= masks[:, :2]).all()
        assert (np.ceil(record.boxes[:, 2:]) >= masks[:, 2:]).all()
        assert (record.boxes >= 0).all()
        assert (record.boxes <= [width + 1e-3, height + 1e-3] * 2).all()
        assert (record.regions.areas() > 0).all()
        assert set(record.classes.tolist()) <= {0, 1, 2}
    assert (weights.parent / "checkpoint" / "finished.json").is_file()
    assert {path.name for path in weights.parent.iterdir()} == {
        "weights.safetensors",
        "curves.json",
        "curves.png",
        "checkpoint",
    }


def test_images_in_which_nothing_is_found_stay_with_no_instance(train, predict, tiny, toy):
    settings = tiny(predict={"score_threshold": 1.0})
    _, records = predict(train(settings), settings)
    assert [len(record.scores) for record in records.values()] == [0] * 5


def test_a_killed_training_goes_on_to_the_same_network_bit_for_bit(train, tiny, tmp_path, killed_after):
    settings = tiny(train={"training": {"checkpoint_minutes": 1e-9}})
    undisturbed = train(settings, name="undisturbed")
    with killed_after(2):
        train(settings, name="killed")
    assert (tmp_path / "killed" / "checkpoint" / "checkpoint.pt").is_file()
    resumed = train(settings, name="killed")
    assert resumed.read_bytes() == undisturbed.read_bytes()


def test_it_learns_what_it_is_shown(train, predict, tiny, toy):
    """A hundred updates on the toy's bright rectangles: each is found again, with its class and most of its mask."""
    fast = {"steps": 100, "accumulate": 1, "optimizer": "adamw", "learning_rate": 5e-3, "schedule": {"drops": []}}
    settings = tiny(
        pseudo_masks={"keep_best": True},
        train={
            "training": fast,
            "network": {"pyramid_channels": 16, "box_width": 32, "mask_channels": [16]},
            "backbone": {"frozen_stages": 0, "norm": "train"},
            "data": {"shorter_sides": [64], "batch": 2},
        },
        predict={"flip": False, "score_threshold": 0.2},
    )
    weights = train(settings)
    _, records = predict(weights, settings)
    right = 0
    for i, image in enumerate(toy.ids[:2]):
        known = predictions(image, toy.sides[i][:2], toy.classes[i][:2], toy.scores[i][:2])
        found = records[image]
        overlap = np.where(found.classes[:, None] == known.classes, found.regions.iou(known.regions), 0)
        right += int((overlap.max(0, initial=0) > 0.5).sum())
    assert right >= 3

    # With a CRF the best mask follows the colours, and no other changes.
    crf = {"iterations": 5, "colour_srgb": 10.0}
    followed = settings.predict.model_validate(
        settings.predict.model_dump() | {"crf": settings.predict.crf.model_dump() | crf, "crf_instances": 1}
    )
    _, refined = predict(weights, settings.model_copy(update={"predict": followed}))
    gains = []
    for image in toy.ids[:2]:
        before, after = records[image].regions, refined[image].regions
        assert (after.masks()[1:] == before.masks()[1:]).all()
        known = Regions.from_masks(rectangles(*toy.sides[toy.ids.index(image)]))
        best = [found.select(np.array([0])).iou(known).max() for found in (before, after)]
        gains.append(best[1] - best[0])
    assert np.mean(gains) > 0.02, gains


def test_backbone_can_start_from_a_classifier(train, tiny, tmp_path):
    backbone = MaskRcnn(tiny().train, class_count=3).backbone
    holder = torch.nn.ModuleDict({"backbone": backbone})
    save_weights(tmp_path / "classifier.safetensors", holder, {"step": "train_classifier"})
    settings = tiny(train={"backbone": {"weights": "classifier", "frozen_stages": 3}})
    weights = read_weights(train(settings, backbone_weights=tmp_path / "classifier.safetensors"))
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(weights[f"backbone.{name}"], tensor), name


@pytest.mark.parametrize(
    ("records", "header", "message"),
    [
        pytest.param([predictions("p9", [(0, 9, 0, 9)], [0], [0.9])], {}, "lacks 1 of the 1 images of .*p9", id="other images"),
        pytest.param([predictions("p0", [(0, 9, 0, 9)], [0], [0.9])], {"classes": ["cat"]}, "holds classes", id="other classes"),
        pytest.param([predictions("p0")], {}, "holds no pseudo mask; lower", id="no pseudo mask"),
        pytest.param([], {}, "holds no pseudo mask; lower", id="no image"),
        pytest.param([predictions("p0", [(0, 9, 0, 9)], [0], [3.5])], {}, "scores from 3.5 to 3.5, 1 of 1 outside.*set it to 'ones'", id="scores that are no weights"),
        pytest.param([predictions("p0", [(0, 9, 0, 9)] * 3, [0] * 3, [1.2, 1.1, 0.9])], {}, "2 of 3 outside", id="mostly no weights"),
        pytest.param([predictions("p0", [(0, 9, 0, 9)], [0], [0.5], (20, 20))], {}, "masks of \\(20, 20\\).*the image is \\(50, 70\\)", id="other size"),
    ],
)  # fmt: skip
def test_pseudo_masks_that_do_not_fit_are_refused(train, tiny, toy, records, header, message):
    masks = toy.write("misfit", Instances, records, **{**PREDICTED, "counts": {}, **header})
    with pytest.raises(ValueError, match=message):
        train(tiny(train={"loss_weights": "scores"}), masks=masks)


def test_plain_predictions_are_no_pseudo_masks(train, tiny, toy):
    with pytest.raises(ValueError, match="holds plain predictions; give pseudo masks"):
        train(tiny(), masks=toy.instances)


def test_bad_weights_are_refused(train, predict, tiny, toy, tmp_path):
    settings, weights = tiny(), train(tiny())
    other = tmp_path / "other.safetensors"
    save_weights(other, torch.nn.Linear(1, 1), {"step": "train_cim"})
    with pytest.raises(ValueError, match="not written by train_mask_rcnn, but by 'train_cim'"):
        predict(other, settings)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        predict(tmp_path / "none.safetensors", settings)
    other.write_bytes(weights.read_bytes()[:900])
    with pytest.raises(ValueError, match="cut off"):
        predict(other, settings)
    strangers = toy.write("strangers", ImageRecord, [], **{**IMAGES, "classes": ["cat", "dog"]})
    with pytest.raises(ValueError, match="knows classes .* predict on a data set of the same classes"):
        predict(weights, settings, images=strangers)
    header, records = predict(weights, settings, images=toy.write("nothing", ImageRecord, [], **IMAGES))
    assert (header["run"], records) == ("cim/mask_rcnn", {})


def test_a_negative_is_trained_on_as_background_and_an_unknown_image_is_not_read(tiny, toy, train, tmp_path, caplog):
    """A dog of score 0.9 is predicted in p4, which shows none of the classes."""
    caplog.set_level("INFO")
    images, masks = toy.listed("with_negative", looked_at=True), tmp_path / "masks.h5"
    settings = tiny(train={"data": {"batch": 1}, "training": {"steps": 1}})
    make_pseudo_masks(images=images, instances=toy.instances, marks=None, output=masks, settings=settings.pseudo_masks)
    with read(images, ImageRecord) as listed, read(masks, Instances) as found:
        task = MaskRcnnTask(
            MaskRcnn(settings.train, class_count=3), images=listed, pseudo_masks=found, settings=settings.train
        )
        assert [found.ids[task.entry(i)] for i in range(6)].count("p4") == 2  # of p0, p1 and p4
        step, micro = divmod(
            next(i for i in range(3) if found.ids[task.entry(i)] == "p4"), settings.train.training.accumulate
        )
        batch = task.batch(step, micro, np.random.default_rng(0))
        terms = task.losses(batch, np.random.default_rng(0))
        assert {name for name, value in terms.items() if value.item() > 0} == {"loss_objectness", "loss_classifier"}
        sum(terms.values()).backward()
        bias = task.network.heads.box_predictor.cls_score.bias.grad
        assert bias[0] < 0
        assert (bias[1:] > 0).all()
    train(settings, masks=masks, images=images)
    said = "trained on 3 of 5 images, of them 1 without anything; 0 images that nobody looked at are left out"
    assert said in caplog.text
