"""The task, a tiny training from artifacts to artifacts, and prediction."""

import contextlib

import numpy as np
import pytest
import torch

from stages.bestie import task as training_task
from stages.bestie.maps import input_size
from stages.bestie.network import BestieNetwork
from stages.bestie.predict_bestie import predict_bestie
from stages.bestie.task import BestieTask
from stages.bestie.train_bestie import train_bestie
from stages.bestie.transfer_semantics import transfer_semantics
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.storage import read
from stages.core.networks.weights import read_metadata, read_weights, save_weights
from stages.ops.regions import Regions
from tests.bestie.toy import CLASSES, SIZE, Toy, rectangles, tiny, write

IMAGES = {
    "name": "toy", "kind": "folder", "split": "train", "root": "", "negatives": 0, "unknown": 1, "category_ids": [1, 2, 3]
}  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def pseudo_of(toy):
    """Pseudo instances of the toy, from its cues or, as points, from the same ones."""

    def pseudo_of(head="pam"):
        output = toy.folder / f"pseudo_{head}.h5"
        if not output.exists():
            supervision = "points" if head == "points" else "image tags"
            cues = toy.cue_file(toy.folder / f"cues_{head}.h5", head=head, supervision=supervision)
            transfer_semantics(
                images=toy.images, semantics=toy.semantics, cues=cues, output=output, run="bestie",
                settings=tiny().transfer,
            )  # fmt: skip
        return output

    return pseudo_of


@pytest.fixture
def train(toy, pseudo_of, tmp_path):
    def train(settings, *, name="run", pseudo=None, images=toy.images, backbone_weights=None):
        folder = tmp_path / name
        train_bestie(
            images=images, pseudo_instances=pseudo or pseudo_of(), backbone_weights=backbone_weights,
            output_weights=folder / "weights.safetensors", output_curves=folder / "curves.json",
            output_plot=folder / "curves.png", output_snapshots=folder / "snapshots.safetensors", settings=settings.train,
            device="cpu",
        )  # fmt: skip
        return folder / "weights.safetensors"

    return train


@pytest.fixture
def predict(toy, tmp_path):
    def predict(weights, settings, *, images=toy.images):
        output = tmp_path / "found.h5"
        predict_bestie(
            images=images, weights=weights, cues=None, output=output, output_maps=tmp_path / "maps.h5",
            settings=settings.predict, run="bestie", device="cpu",
        )  # fmt: skip
        with read(output, Instances) as instances:
            return instances.header, {record.image: record for record in instances}

    return predict


@pytest.fixture
def task_of(toy, pseudo_of):
    with contextlib.ExitStack() as stack:

        def task(settings, head="pam"):
            images = stack.enter_context(read(toy.images, ImageRecord))
            pseudo = stack.enter_context(read(pseudo_of(head), PseudoInstances))
            network = BestieNetwork(settings.train, class_count=3)
            return BestieTask(network, images=images, pseudo=pseudo, settings=settings.train)

        yield task


def test_every_tagged_image_comes_once_an_epoch_in_another_order_each_time(task_of):
    task = task_of(tiny())
    epochs = [[task.entry(3 * epoch + place) for place in range(3)] for epoch in range(6)]
    assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert epochs == [[task_of(tiny()).entry(3 * epoch + place) for place in range(3)] for epoch in range(6)]


def test_passes_of_an_update_see_other_images(task_of, monkeypatch):
    task, seen = task_of(tiny(train={"data": {"batch": 1}, "training": {"accumulate": 3}})), []
    sample = task._sample
    monkeypatch.setattr(task, "_sample", lambda i, generator: (seen.append(i), sample(i, generator))[1])
    for micro in range(3):
        task.batch(0, micro, np.random.default_rng(0))
    assert sorted(seen) == [0, 1, 2]


PLAIN = {"brightness": 0.0, "contrast": 0.0, "hue": 0.0, "scales": [1.0], "crop": 96, "flip": 0.0, "batch": 3}


def parts(task):
    """Accepted components and candidates of each image in one batch."""
    batch = task.batch(0, 0, np.random.default_rng(0))
    order = [task.images.ids[task.entry(place)] for place in range(3)]
    accepted, candidates = ({name: [] for name in order} for _ in range(2))
    for found, named in ((batch.accepted, accepted), (batch.candidates, candidates)):
        for n, (image, label) in enumerate(zip(found.images.tolist(), found.classes.tolist(), strict=True)):
            named[order[image]].append((label, int((found.ids == n + 1).sum())))
    return batch, accepted, candidates


@pytest.mark.parametrize("where", ["image", "crop"])
def test_a_batch_holds_accepted_components_and_candidates(task_of, where):
    batch, accepted, candidates = parts(task_of(tiny(train={"data": PLAIN | {"accepted_on": where}})))
    assert accepted == {"p0": [(0, 550)], "p1": [(1, 784)], "p2": []}
    assert candidates == {"p0": [(0, 550), (0, 625)], "p1": [(1, 784)], "p2": [(2, 1200)]}
    assert batch.images.shape == (3, 3, 96, 96)
    assert batch.labels.shape == (3, 96, 96)
    assert len(batch.points.yx) == 3 + 2 + 0


def test_a_crop_that_leaves_one_cue_inside_makes_an_instance_where_crops_decide(task_of):
    """The second cat of p0 has cues at (25, 45) and (40, 60); a crop of 32 pixels may hold one of them alone."""
    narrow = PLAIN | {"crop": 32, "batch": 1}
    seen = {}
    for where in ("image", "crop"):
        task = task_of(tiny(train={"data": narrow | {"accepted_on": where}}))
        place = [task.entry(i) for i in range(3)].index(0)
        counts = [len(task.batch(place, 0, np.random.default_rng(n)).accepted.classes) for n in range(30)]
        areas = [
            {int((b.accepted.ids == n + 1).sum()) > 0 for n in range(len(b.accepted.classes))}
            for b in (task.batch(place, 0, np.random.default_rng(n)) for n in range(30))
        ]
        seen[where] = (counts, areas)
    assert set(seen["image"][0]) == {1}  # the first cat, whether the crop shows it or not
    assert {False} in seen["image"][1]
    assert max(seen["crop"][0]) == 1
    assert min(seen["crop"][0]) == 0


def test_refinement_starts_when_it_should(task_of):
    for first, wanted in ((0, True), (3, False)):
        task = task_of(tiny(train={"refinement": {"first_step": first}}))
        names = task.losses(task.batch(2, 0, np.random.default_rng(0)), np.random.default_rng(0)).keys()
        assert ("refined_center" in names) == wanted
    off = task_of(tiny(train={"refinement": {"enabled": False}}))
    assert set(off.losses(off.batch(2, 0, np.random.default_rng(0)), np.random.default_rng(0))) == {
        "semantic",
        "center",
        "offset",
    }


def test_points_teach_their_own_centers_and_all_of_a_class(task_of, monkeypatch):
    task = task_of(tiny(train={"data": PLAIN}), head="points")
    _, _, candidates = parts(task)
    assert candidates == {"p0": [(0, 550 + 625)], "p1": [(0, 9), (1, 784)], "p2": [(2, 1200)]}
    drawn = []
    original = training_task.pseudo_targets
    monkeypatch.setattr(
        training_task,
        "pseudo_targets",
        lambda *args, **kwargs: (drawn.append(kwargs["points"]), original(*args, **kwargs))[1],
    )
    losses = task.losses(task.batch(0, 0, np.random.default_rng(0)), np.random.default_rng(0))
    assert {"refined_center", "refined_offset"} <= set(losses)
    assert len(drawn[0].yx) == 5


@pytest.mark.parametrize("kind", ["panoptic_deeplab", "high_resolution"])
def test_training_writes_weights_that_prediction_rebuilds_the_network_from(train, predict, toy, kind):
    stages = {"backbone": {"stages": [1]}} if kind == "high_resolution" else {}
    settings = tiny(
        train={"network": {"kind": kind}, **stages}, predict={"keep_without_center": True, "min_area": 1, "top_k": 9}
    )
    weights = train(settings)
    assert read_metadata(weights)["step"] == "train_bestie"
    header, records = predict(weights, settings)
    assert (header["run"], header["method"], header["supervision"]) == ("bestie", "bestie", "image tags")
    assert list(records) == toy.ids
    for record in records.values():
        assert record.atoms.shape == SIZE
        assert len(record.scores) <= 9
        assert (np.diff(record.scores) <= 0).all()
        assert (record.regions.areas() > 0).all()
        assert (record.regions.masks().sum(0) <= 1).all()  # they never overlap
    assert (weights.parent / "checkpoint" / "finished.json").is_file()


def test_supervision_goes_with_the_weights(train, pseudo_of):
    assert read_metadata(train(tiny(), pseudo=pseudo_of("points")))["supervision"] == "points"


def test_a_killed_training_goes_on_to_the_same_network_bit_for_bit(train, tmp_path, killed_after):
    settings = tiny(train={"training": {"checkpoint_minutes": 1e-9}, "snapshots": [1, 3]})
    undisturbed = train(settings, name="undisturbed")
    with killed_after(2):
        train(settings, name="killed")
    assert (tmp_path / "killed" / "checkpoint" / "checkpoint.pt").is_file()
    assert train(settings, name="killed").read_bytes() == undisturbed.read_bytes()
    kept = [(tmp_path / name / "snapshots.safetensors").read_bytes() for name in ("undisturbed", "killed")]
    assert kept[0] == kept[1]


def test_it_learns_what_it_is_shown(train, predict, toy):
    """The toy's bright rectangles are found again with their class, those that no cue named too."""
    settings = tiny(
        train={
            "training": {"steps": 60, "accumulate": 1, "learning_rate": 5e-3},
            "backbone": {"frozen_stages": 0, "norm": "train"},
            "network": {"head_channels": [16, 16, 16], "decoder_channels": [16, 16], "aspp_dropout": 0.0},
            "data": {"longer_side": 64, "scales": [1.0], "batch": 3, "hue": 0.0},
        },
        predict={"longer_side": 64, "min_area": 100},
    )
    _, records = predict(train(settings), settings)
    right = 0
    for i, image in enumerate(toy.ids[:3]):
        known = Regions.from_masks(rectangles(*toy.sides[i]))
        overlap = records[image].regions.iou(known)
        same = records[image].classes[:, None] == np.array(toy.classes[i])
        right += int((np.where(same, overlap, 0).max(0, initial=0) > 0.5).sum())
    assert right >= 3


@pytest.mark.parametrize(
    ("size", "changes", "wanted"),
    [
        pytest.param((375, 500), {"longer_side": None}, (384, 512), id="the-next-multiples"),
        pytest.param((384, 512), {"longer_side": None}, (384, 512), id="multiples-stay"),
        pytest.param((375, 500), {"longer_side": 160}, (128, 160), id="scaled-first"),
        pytest.param((1, 2000), {"longer_side": 64}, (32, 64), id="a-line"),
    ],
)
def test_size_of_the_input(size, changes, wanted):
    assert input_size(*size, tiny(predict=changes).predict) == wanted


@pytest.mark.parametrize(
    ("longer_side", "scale", "wanted"),
    [
        pytest.param(160, 1.5, (192, 256), id="of-the-longer-side"),  # 240 by 180
        pytest.param(None, 0.5, (192, 256), id="of-the-image"),  # 250 by 187.5
        pytest.param(64, 0.001, (32, 32), id="never-nothing"),
    ],
)
def test_a_scale_is_a_factor_on_the_size_before_it_is_enlarged(longer_side, scale, wanted):
    assert input_size(375, 500, tiny(predict={"longer_side": longer_side}).predict, scale=scale) == wanted


def test_tags_are_read_where_they_are_wanted_alone(train, predict, toy):
    weights = train(tiny(train={"network": {"initial_std": 1.0}, "training": {"learning_rate": 1e-9}}))
    for use_tags in (True, False):
        settings = tiny(predict={"use_tags": use_tags, "min_area": 1})
        _, records = predict(weights, settings)
        strangers = [
            label for i, record in enumerate(records.values()) for label in record.classes if not toy.tags[i, label]
        ]
        assert not (use_tags and strangers)
    assert strangers  # an untrained network sees other classes than those of the tags


def test_a_crf_is_applied_to_each_image_where_it_has_iterations(train, predict, toy, monkeypatch):
    weights = train(tiny(train={"network": {"initial_std": 1.0}, "training": {"learning_rate": 1e-9}}))
    seen = []

    def only_background(rgb, probabilities, **settings):
        seen.append((rgb.shape, probabilities.shape[1:], settings["iterations"]))
        return np.eye(len(probabilities), dtype=np.float32)[0][:, None, None] + 0 * probabilities

    monkeypatch.setattr("stages.bestie.maps.dense_crf", only_background)
    _, records = predict(weights, tiny(predict={"min_area": 1}))
    assert not seen
    assert any(len(record.scores) for record in records.values())
    _, records = predict(weights, tiny(predict={"min_area": 1, "crf": {"iterations": 2}}))
    assert seen == [((*SIZE, 3), SIZE, 2)] * len(toy.ids)
    assert not any(len(record.scores) for record in records.values())


def test_backbone_can_start_from_a_classifier(train, tmp_path):
    backbone = BestieNetwork(tiny().train, class_count=3).backbone
    holder = torch.nn.ModuleDict({"backbone": backbone})
    save_weights(tmp_path / "classifier.safetensors", holder, {"step": "train_classifier"})
    settings = tiny(train={"backbone": {"weights": "classifier", "frozen_stages": 3}})
    weights = read_weights(train(settings, backbone_weights=tmp_path / "classifier.safetensors"))
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(weights[f"backbone.{name}"], tensor), name


def pseudo_record(image="p0", size=SIZE, labels=1, accepted=1):
    return PseudoInstances(
        image=image, labels=np.full(size, labels, np.uint8), instances=np.full(size, accepted, np.int32),
        candidates=accepted, classes=np.zeros(accepted, np.int32), centroids=np.zeros((accepted, 2), np.float32),
        points=np.zeros((0, 2), np.float32),
        point_classes=np.zeros(0, np.int32), point_scores=np.zeros(0, np.float32), by_points=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "header", "message"),
    [
        pytest.param({"size": (20, 20)}, {}, r"map of \(20, 20\).*the image is \(50, 70\)", id="other size"),
        pytest.param({}, {"classes": ["cat"]}, r"holds classes \['cat'\]", id="other classes"),
        pytest.param({"labels": 9}, {}, "has the label 9, expected 0 to 3", id="label of no class"),
        pytest.param(
            {"accepted": 0}, {}, "none of 0 candidates is accepted .* nothing to learn from", id="none accepted"
        ),
    ],
)
def test_pseudo_instances_that_do_not_fit_are_refused(train, toy, changes, header, message):
    header = {"run": "bestie", "supervision": "image tags", "cues": "pam", "classes": CLASSES} | header
    records = [pseudo_record(image, **changes) for image in toy.ids]
    with pytest.raises(ValueError, match=message):
        train(tiny(), pseudo=write(toy.folder / "misfit.h5", PseudoInstances, records, **header))


def test_images_that_are_missing_are_named(train, toy):
    header = {"run": "bestie", "supervision": "image tags", "cues": "pam"}
    with pytest.raises(KeyError, match="p[12]"):
        train(tiny(), pseudo=write(toy.folder / "short.h5", PseudoInstances, [pseudo_record()], **header))


def test_without_a_tag_there_is_nothing_to_train_on(train, toy, tmp_path):
    records = [toy.image(3)]
    images = write(tmp_path / "images.h5", ImageRecord, records, **IMAGES)
    with pytest.raises(ValueError, match="none of 1 images has tags; nothing to train on"):
        train(tiny(), images=images)


def test_bad_weights_are_refused(train, predict, toy, tmp_path):
    settings, weights = tiny(), train(tiny())
    other = tmp_path / "other.safetensors"
    save_weights(other, torch.nn.Linear(1, 1), {"step": "train_cim"})
    with pytest.raises(ValueError, match="not written by train_bestie, but by 'train_cim'"):
        predict(other, settings)
    other.write_bytes(weights.read_bytes()[:900])
    with pytest.raises(ValueError, match="cut off"):
        predict(other, settings)
    strangers = write(tmp_path / "strangers.h5", ImageRecord, [], **IMAGES | {"classes": ["cat", "dog"]})
    with pytest.raises(ValueError, match="knows classes .* predict on a data set of the same classes"):
        predict(weights, settings, images=strangers)
    header, records = predict(weights, settings, images=write(tmp_path / "none.h5", ImageRecord, [], **IMAGES))
    assert (header["run"], records) == ("bestie", {})
