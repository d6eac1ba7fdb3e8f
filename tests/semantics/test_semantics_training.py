"""The samples and the loss, a tiny training from artifacts to artifacts, and prediction."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import build_backbone
from stages.core.networks.weights import read_metadata, read_weights, save_weights
from stages.ops.resize import nearest
from stages.semantics.network import SegmentationNetwork
from stages.semantics.predict_semantics import load_network, mean_probabilities, predict_semantics, predicted_map
from stages.semantics.task import SegmentationTask, jittered, label_loss, sample
from stages.semantics.train_semantics import train_semantics
from tests.semantics.conftest import CLASSES, image_record, maps_in, write

FAST = {"steps": 60, "accumulate": 1, "optimizer": "adamw", "learning_rate": 5e-3}


@pytest.fixture
def train(toy, tmp_path):
    def train(settings, *, name="run", labels=toy.labels, images=toy.images, backbone_weights=None, start=None):
        folder = tmp_path / name
        train_semantics(
            images=images, labels=labels, backbone_weights=backbone_weights, start=start,
            output_weights=folder / "weights.safetensors", output_curves=folder / "curves.json",
            output_plot=folder / "curves.png", settings=settings.train, device="cpu",
        )  # fmt: skip
        return folder / "weights.safetensors"

    return train


@pytest.fixture
def predict(toy, tmp_path):
    def predict(weights, settings, *, images=toy.images):
        output = tmp_path / "maps.h5"
        predict_semantics(
            images=images, weights=weights, output=output, settings=settings.predict, source="cam", device="cpu"
        )
        return maps_in(output)

    return predict


@pytest.fixture
def network_of():
    def network_of(settings, class_count=3):
        torch.manual_seed(0)
        train = settings.train
        backbone = build_backbone(train.backbone)
        return SegmentationNetwork(backbone, stage=train.backbone.stage, class_count=class_count, settings=train.head)

    return network_of


def test_uncertain_pixels_teach_nothing_and_a_crop_of_them_alone_costs_nothing():
    """Mean over decided pixels: log 2 of two equal logits; the third pixel is uncertain."""
    logits = torch.zeros(1, 2, 1, 3, requires_grad=True)
    loss = label_loss(logits, torch.tensor([[[0, 1, 255]]]))
    torch.testing.assert_close(loss, torch.tensor(0.6931472))
    loss.backward()
    assert not logits.grad[..., 2].any()
    nothing = label_loss(logits, torch.full((1, 1, 3), 255))
    assert nothing.item() == 0
    nothing.backward()


@pytest.mark.parametrize("size", [(50, 70), (61, 43), (20, 30), (48, 48), (1, 90)])
def test_samples_have_the_size_of_the_crop_and_are_padded_with_uncertain(tiny, size):
    data = tiny(train={"data": {"scales": [1.0], "brightness": 0.0, "contrast": 0.0}}).train.data
    rgb = np.full((*size, 3), 200, np.uint8)
    crop, labels = sample(rgb, np.ones(size, np.uint8), data, np.random.default_rng(0))
    assert (crop.shape, crop.dtype, labels.shape, labels.dtype) == ((3, 48, 48), np.float32, (48, 48), np.int64)
    height, width = (min(side, 48) for side in size)
    assert (labels == 1).sum() == height * width
    assert (labels == 255).sum() == 48 * 48 - height * width
    assert not crop[:, labels == 255].any()
    assert crop[:, labels == 1].all()


def test_labels_and_pixels_are_cropped_scaled_and_mirrored_together(tiny, toy):
    """Of every sample the bright pixels are those of the rectangle, but for pixels at its border."""
    data = tiny(train={"data": {"scales": [0.5, 1.0, 2.0], "brightness": 0.0, "contrast": 0.0}}).train.data
    for seed in range(12):
        crop, labels = sample(toy.rgb(0), toy.ground_truth(0), data, np.random.default_rng(seed))
        bright = crop[0] > crop[1] + 0.5
        assert (bright == (labels == 1))[labels != 255].mean() > 0.93


def test_mirroring_is_as_likely_as_the_settings_say(tiny):
    rgb, labels = np.zeros((48, 48, 3), np.uint8), np.zeros((48, 48), np.uint8)
    labels[:, :10] = 1
    for share, expected in [(0.0, 1), (1.0, 0)]:
        data = tiny(train={"data": {"scales": [1.0], "flip": share}}).train.data
        assert sample(rgb, labels, data, np.random.default_rng(0))[1][0, 0] == expected


def test_jitter_is_off_at_zero_and_changes_brightness_and_contrast(tiny):
    rgb = np.random.default_rng(0).integers(0, 200, (9, 9, 3)).astype(np.uint8)
    data = tiny().train.data
    off = data.model_copy(update={"brightness": 0.0, "contrast": 0.0})
    np.testing.assert_array_equal(jittered(rgb, off, np.random.default_rng(0)), rgb)
    bright = jittered(rgb, data.model_copy(update={"contrast": 0.0}), np.random.default_rng(0))
    factor = np.random.default_rng(0).uniform(-1, 1) * 0.2 + 1
    np.testing.assert_allclose(bright, rgb * factor, atol=1)
    grey = 90 + rgb // 8
    contrast = jittered(grey, data.model_copy(update={"brightness": 0.0, "contrast": 0.9}), np.random.default_rng(1))
    factor = np.random.default_rng(1).uniform(-1, 1, 2)[1] * 0.9 + 1
    assert contrast.mean() == pytest.approx(grey.mean(), abs=1)
    assert contrast.std() == pytest.approx(factor * grey.std(), rel=0.1)


def test_nearest_takes_the_pixel_that_holds_the_center():
    labels = np.array([[0, 1, 2, 3]], np.uint8)
    assert nearest(labels, 1, 2).tolist() == [[1, 3]]
    assert nearest(labels, 2, 8).tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]] * 2
    np.testing.assert_array_equal(nearest(labels, 1, 4), labels)


def test_each_epoch_has_every_labelled_image_once_in_another_order(toy, tiny):
    with read(toy.images, ImageRecord) as images, read(toy.labels, SemanticMaps) as labels:
        task = SegmentationTask(None, images=images, labels=labels, settings=tiny().train)
        epochs = [tuple(task.image(3 * epoch + i) for i in range(3)) for epoch in range(8)]
        assert {tuple(sorted(epoch)) for epoch in epochs} == {("p0", "p1", "p2")}
        assert len(set(epochs)) > 1


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (1, 5), (50, 71)])
@pytest.mark.parametrize("low_stage", [1, None])
def test_logits_have_the_size_of_the_image(tiny, network_of, size, low_stage):
    network = network_of(tiny(train={"head": {"low_stage": low_stage}})).eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 3, *size)).shape == (2, 4, *size)


def test_images_of_a_batch_do_not_change_each_other(tiny, network_of):
    network = network_of(tiny()).eval()
    images = torch.randn(3, 3, 40, 56, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network(images)[1:2], network(images[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        pytest.param({"head": {"low_stage": 2}}, "head.low_stage is 2, not below backbone.stage 2", id="low stage"),
        pytest.param({"data": {"batch": 1}}, "greater than or equal to 2", id="batch of one"),
        pytest.param({"head": {"rates": [0]}}, "greater than or equal to 1", id="rate"),
    ],
)
def test_settings_that_cannot_be_are_refused(tiny, overlay, message):
    with pytest.raises(ValidationError, match=message):
        tiny(train=overlay)


def test_hrnet_has_no_low_stage(tiny, network_of):
    backbone = {"name": "hrnet_w18_small", "output_stride": 32, "stage": 3, "frozen_stages": 0}
    with pytest.raises(ValueError, match="HRNet gives one level"):
        network_of(tiny(train={"backbone": backbone}))
    network = network_of(tiny(train={"backbone": backbone, "head": {"low_stage": None}})).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 40, 50)).shape == (1, 4, 40, 50)


def test_a_training_writes_weights_that_predict_maps_of_every_size(train, predict, tiny, toy):
    settings = tiny()
    weights = train(settings)
    metadata = read_metadata(weights)
    assert (metadata["step"], metadata["supervision"], metadata["classes"]) == (
        "train_semantics",
        "image tags",
        CLASSES,
    )
    assert {path.name for path in weights.parent.iterdir()} == {
        "weights.safetensors",
        "curves.json",
        "curves.png",
        "checkpoint",
    }
    header, maps = predict(weights, settings)
    assert (header["source"], header["supervision"], header["classes"]) == ("cam", "image tags", CLASSES)
    assert [labels.shape for labels in maps.values()] == list(toy.sizes)
    assert list(maps) == list(toy.ids)
    assert all(labels.max() <= 3 for labels in maps.values())


def test_it_learns_what_it_is_shown(train, predict, tiny, toy):
    """Sixty updates: most pixels of the three images with labels are right, on a split without tags as well."""
    settings = tiny(
        train={"training": FAST, "backbone": {"frozen_stages": 0, "norm": "train"}, "head": {"channels": 16}}
    )
    weights = train(settings)
    for images in (toy.images, toy.test_images):
        _, maps = predict(weights, settings, images=images)
        right = [(maps[toy.ids[i]] == toy.ground_truth(i)).mean() for i in range(3)]
        assert min(right) > 0.85, right


def test_a_killed_training_goes_on_to_the_same_network_bit_for_bit(train, tiny, tmp_path, killed_after):
    settings = tiny(train={"training": {"checkpoint_minutes": 1e-9}})
    undisturbed = train(settings, name="undisturbed")
    with killed_after(2):
        train(settings, name="killed")
    assert (tmp_path / "killed" / "checkpoint" / "checkpoint.pt").is_file()
    assert train(settings, name="killed").read_bytes() == undisturbed.read_bytes()


def test_labels_that_say_how_they_were_supervised_say_so_in_the_maps(train, predict, tiny, toy, tmp_path):
    labels = write(tmp_path / "masks.h5", SemanticMaps, toy.maps, supervision="masks")
    assert predict(train(tiny(), labels=labels), tiny())[0]["supervision"] == "masks"


def test_backbone_can_start_from_a_classifier(train, tiny, network_of, tmp_path):
    holder = torch.nn.ModuleDict({"backbone": network_of(tiny()).backbone})
    save_weights(tmp_path / "classifier.safetensors", holder, {"step": "train_classifier"})
    settings = tiny(train={"backbone": {"weights": "classifier", "frozen_stages": 3}})
    weights = read_weights(train(settings, backbone_weights=tmp_path / "classifier.safetensors"))
    for name, tensor in holder["backbone"].state_dict().items():
        assert torch.equal(weights[f"backbone.{name}"], tensor), name
    with pytest.raises(ValueError, match="backbone weights are set to classifier, but this step has none"):
        train(settings, name="without")


class Fixed(torch.nn.Module):
    """Says class 0 on the left of what it sees, class 2 on the right, and background a little less everywhere."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def forward(self, images):
        self.seen.append(tuple(images.shape[2:]))
        half = images.shape[3] // 2
        logits = torch.zeros(1, 4, *images.shape[2:])
        logits[:, 0], logits[:, 1, :, :half], logits[:, 3, :, half:] = 1.0, 2.0, 2.0
        return logits


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        pytest.param([0, 1, 2], [1, 1, 3, 3], id="any class"),
        pytest.param([0], [1, 1, 0, 0], id="one class"),
        pytest.param([1], [0, 0, 0, 0], id="a class that is nowhere"),
        pytest.param([], [0, 0, 0, 0], id="background alone"),
    ],
)
def test_only_the_classes_that_may_win_do(tiny, classes, expected):
    settings = tiny(predict={"flip": False}).predict
    found = predicted_map(Fixed(), np.zeros((2, 4, 3), np.uint8), np.array(classes, int), settings)
    assert found.tolist() == [expected] * 2
    assert found.dtype == np.uint8


def test_probabilities_are_the_mean_over_scales_and_mirror_images(tiny):
    """The mirror image says the classes the other way round, so that both are equal in the mean."""
    network, rgb = Fixed(), np.zeros((10, 20, 3), np.uint8)
    settings = tiny(predict={"flip": True, "scales": [0.5, 1.0, 1.6]}).predict
    found = mean_probabilities(network, rgb, settings)
    assert network.seen == [(5, 10)] * 2 + [(10, 20)] * 2 + [(16, 32)] * 2
    assert found.shape == (4, 10, 20)
    np.testing.assert_allclose(found.sum(0), 1, rtol=1e-5)
    np.testing.assert_allclose(found[1, :, :7], found[3, :, :7], atol=1e-6)
    single = mean_probabilities(network, rgb, tiny(predict={"flip": False}).predict)
    np.testing.assert_allclose(single[:, 0, 0], torch.tensor([1.0, 2.0, 0.0, 0.0]).softmax(0), rtol=1e-5)


def test_longer_side_sets_the_size_of_the_input_and_not_of_the_map(tiny):
    network = Fixed()
    settings = tiny(predict={"flip": False, "longer_side": 64, "scales": [1.0, 2.0]}).predict
    found = predicted_map(network, np.zeros((10, 20, 3), np.uint8), np.array([0]), settings)
    assert network.seen == [(32, 64), (64, 128)]
    assert found.shape == (10, 20)


def test_the_crf_follows_prediction_where_it_has_iterations(tiny, toy):
    """A network that says the left half is class 0: the field moves it to the rectangle's border."""
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[:, :26] = 180
    crf = {"iterations": 5, "colour_sxy": 30.0}
    with_crf = predicted_map(Fixed(), rgb, np.array([0]), tiny(predict={"flip": False, "crf": crf}).predict)
    without = predicted_map(Fixed(), rgb, np.array([0]), tiny(predict={"flip": False}).predict)
    assert (without[:, :30] == 1).all()
    assert (with_crf == np.repeat([[1] * 26 + [0] * 34], 40, axis=0)).mean() > 0.99


def test_tags_are_used_on_the_named_splits_alone(train, predict, tiny, toy, caplog):
    settings = tiny()
    weights = train(settings)
    _, maps = predict(weights, settings)
    for i in range(3):
        assert set(np.unique(maps[toy.ids[i]])) <= {0, *(1 + np.flatnonzero(toy.tags[i]))}
    assert "nobody looked at 1 images, which may hold any class: p3" in caplog.text
    _, untold = predict(weights, settings, images=toy.test_images)
    _, never = predict(weights, tiny(predict={"tagged_on": []}))
    assert all((untold[i] == never[i]).all() for i in toy.ids)
    assert any((untold[i] != maps[i]).any() for i in toy.ids)


@pytest.mark.parametrize(
    ("records", "header", "message"),
    [
        pytest.param(slice(0, 2), {}, "lacks 2 of the 4 images of .*, such as 'p2', 'p3'; remake", id="missing images"),
        pytest.param(slice(0, 4), {"classes": ["cat", "dog", "cow"]}, "holds classes .*remake the maps", id="other classes"),
        pytest.param("uncertain", {}, "all pixels of the 4 images of .* are uncertain", id="all uncertain"),
        pytest.param("small", {}, r"the map of 'p.' is \(9, 9\) \(height, width\), the image is", id="other size"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit_are_refused(train, tiny, toy, tmp_path, records, header, message):
    shapes = {"uncertain": (255, toy.sizes), "small": (0, [(9, 9)] * 4)}
    if isinstance(records, str):
        value, sizes = shapes[records]
        maps = [SemanticMaps(image=i, labels=np.full(s, value, np.uint8)) for i, s in zip(toy.ids, sizes, strict=True)]
    else:
        maps = toy.maps[records]
    with pytest.raises(ValueError, match=message):
        train(tiny(), labels=write(tmp_path / "labels.h5", SemanticMaps, maps, **header))


def test_bad_weights_are_refused(train, predict, tiny, toy, tmp_path):
    settings = tiny()
    other = tmp_path / "other.safetensors"
    save_weights(other, torch.nn.Linear(1, 1), {"step": "train_cim"})
    with pytest.raises(ValueError, match="not written by train_semantics, but by 'train_cim'"):
        predict(other, settings)
    with pytest.raises(FileNotFoundError, match="no weights at"):
        predict(tmp_path / "none.safetensors", settings)
    weights = train(settings)
    other.write_bytes(weights.read_bytes()[:900])
    with pytest.raises(ValueError, match="cut off"):
        predict(other, settings)
    strangers = write(tmp_path / "strangers.h5", ImageRecord, [], classes=["cat", "dog"])
    with pytest.raises(ValueError, match="knows classes .* predict on a data set of the same classes"):
        predict(weights, settings, images=strangers)
    assert predict(weights, settings, images=write(tmp_path / "nothing.h5", ImageRecord, []))[1] == {}


def test_one_pixel_is_an_image_too(train, predict, tiny, tmp_path):
    tiny_image = image_record("dot", np.full((1, 1, 3), 9, np.uint8), [1, 0, 0])
    images = write(tmp_path / "dot.h5", ImageRecord, [tiny_image])
    settings = tiny(predict={"scales": [0.5, 1.0]})
    assert predict(train(settings), settings, images=images)[1]["dot"].shape == (1, 1)


def test_a_network_loads_as_it_was_saved(train, tiny, toy):
    weights = train(tiny())
    with read(toy.images, ImageRecord) as images:
        network, metadata = load_network(weights, images, device="cpu")
    assert not network.training
    assert metadata["settings"] == tiny().train.model_dump(mode="json")


STANDING = {"training": {"steps": 1, "accumulate": 1, "learning_rate": 1e-12, "weight_decay": 0.0}}


def test_a_training_goes_on_from_the_head_and_backbone_of_another(train, tiny):
    before = train(tiny(train={"training": FAST}), name="before")
    after = read_weights(train(tiny(train=STANDING), name="after", start=before))
    learnt = {name: kept for name, kept in read_weights(before).items() if name.endswith((".weight", ".bias"))}
    for name, tensor in learnt.items():
        torch.testing.assert_close(after[name], tensor, atol=1e-6, rtol=0)
    fresh = read_weights(train(tiny(train=STANDING), name="fresh"))
    assert any(not torch.allclose(fresh[name], after[name], atol=1e-3) for name in learnt)


def test_what_the_start_has_seen_is_part_of_the_supervision(train, tiny, network_of):
    settings = tiny(train=STANDING)
    start = train(settings, name="before")
    said = read_metadata(start) | {"supervision": "image tags and masks"}
    save_weights(start, network_of(settings), said)
    assert read_metadata(train(settings, name="after", start=start))["supervision"] == "masks"


def test_a_start_of_other_layers_or_another_step_is_refused(train, tiny, network_of, tmp_path):
    start = train(tiny(train=STANDING), name="before")
    with pytest.raises(ValueError, match="does not fit the network"):
        train(tiny(train={**STANDING, "head": {"channels": 16}}), name="wide", start=start)
    other = tmp_path / "other.safetensors"
    save_weights(other, network_of(tiny()), {"step": "train_cim"})
    with pytest.raises(ValueError, match="not written by train_semantics"):
        train(tiny(train=STANDING), name="other", start=other)
