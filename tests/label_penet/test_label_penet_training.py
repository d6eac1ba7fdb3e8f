"""The cascade from tags to masks on a toy: each module, its labels, fine-tuning in both directions, and prediction."""

import logging

import numpy as np
import pytest
import torch

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.storage import read
from stages.core.networks.weights import read_metadata, read_weights
from stages.label_penet.calibration import Objects
from stages.label_penet.cascade import Cascade
from stages.label_penet.curriculum import backward_validation, evaluating, forward_curriculum
from stages.label_penet.follow_labels import follow_labels
from stages.label_penet.predict_label_penet import cut_masks, predict_label_penet
from stages.label_penet.pretrain_module import pretrain_module
from stages.label_penet.propagate_labels import propagate_labels
from stages.label_penet.settings import MODULES
from stages.label_penet.task import MixedTask, ModuleTask
from stages.label_penet.train_label_penet import train_label_penet


@pytest.fixture(scope="module")
def pretrain(toy):
    def pretrain(settings, module, folder, *, proposals=None, labels=None):
        if module == "classification" and proposals is None:
            proposals = toy.proposals
        output = folder / module / "weights.safetensors"
        pretrain_module(
            images=toy.images, proposals=proposals, labels=labels, backbone_weights=None, output_weights=output,
            output_curves=output.with_name("curves.json"), output_plot=output.with_name("curves.png"),
            settings=settings.train.of(module), device="cpu",
        )  # fmt: skip
        return output

    return pretrain


def propagate(toy, settings, module, weights, output):
    propagate_labels(
        images=toy.images, proposals=toy.proposals, weights=weights, output=output, settings=settings.labels.of(module),
        run="toy", device="cpu",
    )  # fmt: skip
    return output


@pytest.fixture(scope="module")
def cascade(toy, tiny, pretrain):
    """Weights of the four modules and the labels between them."""
    settings, folder = tiny(), toy.folder / "cascade"
    weights, labels = {}, {}
    for i, module in enumerate(MODULES):
        before = labels.get(MODULES[i - 1]) if i else None
        weights[module] = pretrain(settings, module, folder, labels=before)
        if module != MODULES[-1]:
            labels[module] = propagate(toy, settings, module, weights[module], folder / f"{module}.h5")
    return weights, labels


@pytest.fixture(scope="module")
def finetune(toy, cascade):
    def finetune(settings, name="finetuned", modules=None):
        output = toy.folder / name / "weights.safetensors"
        train_label_penet(
            images=toy.images, proposals=toy.proposals, modules=list(cascade[0].values()) if modules is None else modules,
            output_weights=output, output_curves=output.with_name("curves.json"),
            output_plot=output.with_name("curves.png"), output_snapshots=output.with_name("snapshots.safetensors"),
            settings=settings.finetuning, device="cpu",
        )  # fmt: skip
        return output

    return finetune


@pytest.fixture(scope="module")
def finetuned(finetune, tiny):
    return finetune(tiny())


def test_labels_are_of_tagged_classes_and_lie_in_the_image(cascade, toy):
    for module, path in cascade[1].items():
        with read(path, ModuleLabels) as labels:
            assert labels.header["module"] == module
            assert labels.header["supervision"] == "image tags"
            for tags, record in zip(toy.tags, labels, strict=True):
                assert tags[record.classes].all()
                assert (record.regions.areas() > 0).all()
                assert ((record.weights > 0) & (record.weights <= 1)).all()
                assert record.attention.shape == (len(record.classes), 12, 16)
                assert ((record.boxes[:, :2] >= 0) & (record.boxes[:, 2:] <= [64, 48])).all()
            if module == "classification":
                with_proposals = [len(record.classes) > 0 for record in labels]
                assert with_proposals == [True, True, True, False, False]  # no tag, no proposal


def test_what_a_module_leaves_empty_is_counted(toy, tiny, cascade, caplog):
    with caplog.at_level(logging.INFO):
        propagate(toy, tiny(), "classification", cascade[0]["classification"], toy.folder / "again.h5")
    assert "1 tagged images without an object; 1 tags without one" in caplog.text


def test_labels_are_the_same_each_time(toy, tiny, cascade):
    again = propagate(toy, tiny(), "detection", cascade[0]["detection"], toy.folder / "again.h5")
    with read(again, ModuleLabels) as one, read(cascade[1]["detection"], ModuleLabels) as other:
        assert one.fingerprint == other.fingerprint


def test_pre_training_leaves_the_backbone_as_it_is(cascade):
    backbones = [read_weights(path, start="backbone.") for path in cascade[0].values()]
    for other in backbones[1:]:
        assert all(torch.equal(tensor, other[name]) for name, tensor in backbones[0].items())
    for module, path in cascade[0].items():
        assert read_metadata(path)["settings"]["module"] == module
        assert {name.split(".")[1] for name in read_weights(path, start="stages.")} != {}
        assert {name.split(".")[0] for name in read_weights(path, start="stages.")} == {module}


def test_in_pre_training_no_gradient_reaches_the_backbone(toy, tiny, cascade):
    settings = tiny(train={"data": {"cache_features": False}}).train.of("refinement")
    network = Cascade(settings.network, settings.losses, class_count=2, modules=["refinement"])
    with read(toy.images, ImageRecord) as images, read(cascade[1]["detection"], ModuleLabels) as labels:
        task = ModuleTask(network, images=images, proposals=None, labels=labels, settings=settings)
        losses = task.losses(task.batch(0, 0, np.random.default_rng(0)), np.random.default_rng(0))
    assert set(losses) == {"objectness", "rpn_box", "classifier", "box", "mask"}
    sum(losses.values()).backward()
    assert all(parameter.grad is None for parameter in network.backbone.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in network.stages.parameters())


def test_kept_features_change_nothing_but_the_last_bits(toy, tiny, cascade, pretrain):
    kept, made = (
        read_weights(
            pretrain(
                tiny(train={"data": {"cache_features": cache}}), "detection", toy.folder / str(cache),
                labels=cascade[1]["classification"],
            )
        )
        for cache in (True, False)
    )  # fmt: skip
    for name, tensor in kept.items():
        torch.testing.assert_close(tensor, made[name], rtol=0.05, atol=0.02)


def mixed(toy, settings):
    """The network, one batch of each direction, and the shared features."""
    finetuning = settings.finetuning
    torch.manual_seed(1)
    network = Cascade(finetuning.network, finetuning.losses, class_count=2, modules=list(MODULES))
    with read(toy.images, ImageRecord) as images, read(toy.proposals, Proposals) as proposals:
        task = MixedTask(network, images=images, proposals=proposals, settings=finetuning)
        batches = [task.batch(step, 0, np.random.default_rng(0)) for step in range(4)]
    return network, batches


def test_an_image_goes_forward_and_then_backward(toy, tiny):
    _, batches = mixed(toy, tiny())
    assert [batch.forward for batch in batches] == [True, False, True, False]
    assert torch.equal(batches[0].rgb, batches[1].rgb)
    assert not torch.equal(batches[0].rgb, batches[2].rgb)


def test_both_directions_train_their_modules_and_the_backbone(toy, tiny):
    network, batches = mixed(toy, tiny())
    labels = tiny().labels
    shared = network.shared(batches[0].image)
    forward = forward_curriculum(network, shared, batches[0], labels=labels, overlap=0.5)
    assert {name.split(".")[0] for name in forward} == set(MODULES)
    assert set(forward) >= {"classification.mil", "detection.objectness", "refinement.mask", "segmentation.mask"}
    sum(forward.values()).backward()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in network.backbone.parameters())
    network.zero_grad()
    backward = backward_validation(network, network.shared(batches[1].image), batches[1], labels=labels, overlap=0.5)
    assert {name.split(".")[0] for name in backward} == {"classification", "detection", "refinement"}
    assert {"classification.mil", "classification.single"} <= set(backward)
    sum(backward.values()).backward()
    last = network.stages["segmentation"]
    assert all(parameter.grad is None for parameter in last.parameters())  # it only says
    assert network.stages["classification"].single.weight.grad.any()


def nothing(*args, **kwargs):
    return Objects(
        np.zeros((0, *args[0].shape[:2]), bool), np.zeros((0, 4), np.float32), np.zeros(0, np.int64),
        np.zeros(0, np.float32), np.zeros((0, *args[0].shape[:2]), np.float32), 0,
    )  # fmt: skip


def test_a_module_whose_neighbour_finds_nothing_has_no_loss(toy, tiny, monkeypatch):
    monkeypatch.setattr("stages.label_penet.curriculum.label_objects", nothing)
    network, batches = mixed(toy, tiny())
    shared = network.shared(batches[0].image)
    assert set(forward_curriculum(network, shared, batches[0], labels=tiny().labels, overlap=0.5)) == {
        "classification.mil"
    }
    found = backward_validation(network, shared, batches[1], labels=tiny().labels, overlap=0.5)
    assert set(found) == {"classification.mil", "classification.single"}  # every proposal is background


def test_who_learns_from_whom_and_where_objects_have_weights(toy, tiny, monkeypatch):
    """Forward the last module is fully supervised, backward all are (section 3.3)."""
    said = {module: 0.1 * (1 + place) for place, module in enumerate(MODULES)}  # the weight of a module's object

    def says(network, module, shared, batch, labels):
        high, wide = batch.image.size
        masks = np.zeros((1, high, wide), bool)
        masks[0, 4:20, 4:20] = True
        weights = np.array([said[module]], np.float32)
        return Objects(
            masks, np.array([[4, 4, 20, 20]], np.float32), np.zeros(1, np.int64), weights, masks.astype(np.float32), 0
        )

    learned = []

    def losses(stage, shared, objects, **_):
        learned.append((stage, round(float(objects.weights), 3)))
        return {"box": objects.weights.sum()}

    monkeypatch.setattr("stages.label_penet.curriculum._objects", says)
    monkeypatch.setattr("stages.label_penet.curriculum.detection_losses", losses)
    network, batches = mixed(toy, tiny())
    names = {stage: name for name, stage in network.stages.items()}
    shared = network.shared(batches[0].image)
    forward_curriculum(network, shared, batches[0], labels=tiny().labels, overlap=0.5)
    assert [(names[stage], weight) for stage, weight in learned] == [
        ("detection", 0.1), ("refinement", 0.2), ("segmentation", 1.0)
    ]  # fmt: skip
    learned.clear()
    backward_validation(network, shared, batches[1], labels=tiny().labels, overlap=0.5)
    assert [(names[stage], weight) for stage, weight in learned] == [("refinement", 1.0), ("detection", 1.0)]


@pytest.mark.parametrize("direction", [forward_curriculum, backward_validation])
def test_labels_are_asked_of_the_neighbour(toy, tiny, monkeypatch, direction):
    asked = []

    def says(network, module, shared, batch, labels):
        asked.append(module)
        return nothing(np.zeros(batch.image.size))

    monkeypatch.setattr("stages.label_penet.curriculum._objects", says)
    network, batches = mixed(toy, tiny())
    direction(network, network.shared(batches[0].image), batches[0], labels=tiny().labels, overlap=0.5)
    forward = ["classification", "detection", "refinement"]
    assert asked == (forward if direction is forward_curriculum else ["segmentation", "refinement", "detection"])


def test_asking_a_module_leaves_its_mode_as_it_was(toy, tiny):
    network, _ = mixed(toy, tiny())
    module = network.stages["refinement"].train()
    module.mask.pooling.eval()
    with evaluating(module):
        assert not any(one.training for one in module.modules())
    assert module.training
    assert not module.mask.pooling.training
    assert module.heads.training


def test_fine_tuning_changes_the_backbone_and_holds_all_modules(finetuned, cascade):
    before, after = (read_weights(path, start="backbone.") for path in (cascade[0]["classification"], finetuned))
    assert before.keys() == after.keys()
    assert any(not torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert {name.split(".")[0] for name in read_weights(finetuned, start="stages.")} == set(MODULES)


def test_fine_tuning_begins_where_pre_training_ended(finetune, tiny, cascade):
    training = {"steps": 1, "learning_rate": 1e-12, "optimizer": "sgd", "momentum": 0.0}
    still = tiny(finetune={"training": training, "snapshots": []})
    after = read_weights(finetune(still, name="still"))
    for module, path in cascade[0].items():
        for name, tensor in read_weights(path).items():
            if name.startswith(f"stages.{module}.") and "running" not in name and "num_batches" not in name:
                torch.testing.assert_close(after[name], tensor, rtol=1e-6, atol=1e-8)


def predict(toy, settings, module, weights, name):
    output = toy.folder / f"{name}.h5"
    predict_label_penet(
        images=toy.images, proposals=toy.proposals if module == "classification" else None, weights=weights, output=output,
        settings=settings.predict, module=module, run="toy", device="cpu",
    )  # fmt: skip
    with read(output, Instances) as instances:
        return list(instances), instances.header


@pytest.mark.parametrize("module", MODULES)
def test_every_module_predicts_before_and_after_fine_tuning(toy, tiny, cascade, finetuned, module):
    for name, weights in (("before", cascade[0][module]), ("after", finetuned)):
        records, header = predict(toy, tiny(), module, weights, name)
        assert (header["method"], header["supervision"]) == ("label_penet", "image tags")
        assert [record.image for record in records] == toy.ids
        # Masks of heads that have learned next to nothing may have no pixel, and are left out.
        assert sum(len(record.scores) for record in records) or module in ("refinement", "segmentation")
        for record in records:
            assert (np.diff(record.scores) <= 0).all()
            assert len(record.scores) <= 5
            assert (record.regions.areas() > 0).all()
            assert record.boxes.shape == (len(record.scores), 4)
        if module == "classification":
            assert not len(records[4].scores)  # no proposal


def test_with_tags_only_tagged_classes_are_predicted(toy, tiny, finetuned):
    records, _ = predict(toy, tiny(predict={"use_tags": True}), "segmentation", finetuned, "tagged")
    for tags, record in zip(toy.tags, records, strict=True):
        assert tags[record.classes].all()


def test_weak_masks_and_masks_that_the_crf_empties_stand_as_they_are(tiny):
    soft = np.zeros((3, 20, 20), np.float32)
    soft[:, 5:15, 5:15] = 0.9
    soft[1, 5:15, 5:15] = 0
    soft[1, 10, 10] = 0.6  # noise, which a CRF takes for background
    settings = tiny(predict={"crf": {"iterations": 3}}).predict
    boxes = np.tile(np.array([5, 5, 15, 15], np.float32), (3, 1))
    masks = cut_masks(np.zeros((20, 20, 3), np.uint8), soft, boxes, np.array([0.9, 0.9, 0.05]), settings)
    assert masks[1].sum() == 1
    assert masks[2].sum() == 100
    none = tiny(predict={"crf": {"iterations": 0}}).predict
    assert (cut_masks(np.zeros((20, 20, 3), np.uint8), soft, boxes, np.ones(3), none) == (soft >= 0.5)).all()


@pytest.mark.parametrize("box", [(8, 8, 16, 16), (-6, -6, 2, 2), (36, 30, 60, 50), (50, 50, 60, 60)])
def test_the_crf_of_a_mask_sees_its_box_and_what_is_around_it_alone(tiny, box):
    rng = np.random.default_rng(4)
    rgb = rng.integers(0, 255, (40, 48, 3), np.uint8)
    x0, y0, x1, y1 = box
    soft = np.zeros((1, 40, 48), np.float32)
    soft[0, max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = 0.7
    inside = np.zeros((40, 48), bool)  # twice as wide and high as the box, and the pixels that it cuts
    rows, columns = (y0 + y1) / 2, (x0 + x1) / 2
    high, wide = y1 - y0, x1 - x0
    inside[max(int(rows - high), 0) : int(rows + high) + 1, max(int(columns - wide), 0) : int(columns + wide) + 1] = (
        True
    )
    other = np.where(inside[:, :, None], rgb, 255 - rgb)
    settings = tiny(predict={"crf": {"iterations": 3}}).predict
    places, scores = np.array([box], np.float32), np.ones(1)
    first, second = (cut_masks(image, soft, places, scores, settings) for image in (rgb, other))
    assert (first == second).all()
    assert not (first[0] & ~inside).any()


def test_files_in_another_order_are_refused(finetune, tiny, cascade):
    paths = list(cascade[0].values())
    with pytest.raises(ValueError, match="holds the module segmentation, expected classification"):
        finetune(tiny(), name="wrong", modules=paths[::-1])
    with pytest.raises(ValueError, match="3 files of modules are given"):
        finetune(tiny(), name="wrong", modules=paths[:3])


@pytest.fixture
def follow(toy, tiny, finetuned):
    def follow(module, weights=finetuned, **overrides):
        output = toy.folder / "followed" / f"{module}.h5"
        follow_labels(
            images=toy.images, proposals=toy.proposals, weights=weights,
            snapshots=finetuned.with_name("snapshots.safetensors"), output=output,
            settings=tiny(**overrides).labels.of(module), run="toy", device="cpu",
        )  # fmt: skip
        return output

    return follow


@pytest.mark.parametrize("module", MODULES)
def test_labels_are_followed_from_update_to_update(toy, tiny, finetuned, follow, module):
    with read(follow(module), RefinedLabels) as followed:
        assert (followed.header["updates"], followed.header["module"]) == ([2, 4], module)
        records = [followed.find(image) for image in toy.ids]
    for tags, record in zip(toy.tags, records, strict=True):
        for update in (2, 4):
            labels = record.after(update)
            assert tags[labels.classes].all()
            assert (np.diff(labels.scores) <= 0).all()
    assert any(len(record.classes) for record in records)
    assert not len(records[3].classes)  # no tag
    if module != "segmentation":  # of which pre-training makes none
        made = toy.folder / "followed" / f"{module}_trained.h5"
        propagate_labels(
            images=toy.images, proposals=toy.proposals, weights=finetuned, output=made,
            settings=tiny().labels.of(module), run="toy", device="cpu",
        )  # fmt: skip
        with read(made, ModuleLabels) as labels:
            for image, record in zip(toy.ids, records, strict=True):
                expected, last = labels.find(image).as_instances, record.after(4)
                assert (last.classes == expected.classes).all() and (last.scores == expected.scores).all()
                assert (last.regions.iou(expected.regions).diagonal() == 1).all()


def test_labels_of_weights_that_are_not_fine_tuned_are_not_followed(cascade, follow):
    with pytest.raises(ValueError, match=r"holds the modules \['detection'\]; give the weights of all, fine-tuned"):
        follow("detection", weights=cascade[0]["detection"])


@pytest.mark.parametrize(
    ("module", "given", "message"),
    [
        pytest.param("classification", "detection", "learns from proposals; give these", id="labels for the first"),
        pytest.param("detection", None, "learns from the labels of the one before", id="no labels"),
        pytest.param("refinement", "classification", "labels of module classification, expected those of detection", id="labels of another module"),
    ],
)  # fmt: skip
def test_a_module_learns_from_its_predecessor_alone(toy, tiny, cascade, pretrain, module, given, message):
    labels = None if given is None else cascade[1][given]
    with pytest.raises(ValueError, match=message):
        pretrain(tiny(), module, toy.folder / "refused", labels=labels)


def test_weights_of_another_module_are_refused(toy, tiny, cascade):
    with pytest.raises(ValueError, match="holds the modules \\['detection'\\], not refinement"):
        predict(toy, tiny(), "refinement", cascade[0]["detection"], "refused")
    with pytest.raises(ValueError, match="holds the modules \\['detection'\\], not refinement"):
        propagate(toy, tiny(), "refinement", cascade[0]["detection"], toy.folder / "refused.h5")


def test_a_predecessor_that_found_nothing_stops_the_training(toy, tiny, cascade, pretrain, monkeypatch):
    monkeypatch.setattr("stages.label_penet.propagate_labels.label_objects", nothing)
    empty = propagate(toy, tiny(), "classification", cascade[0]["classification"], toy.folder / "empty.h5")
    with pytest.raises(ValueError, match="none of 4 tagged images has objects in .*empty.h5; nothing to train on"):
        pretrain(tiny(), "detection", toy.folder / "refused", labels=empty)


def test_a_backbone_that_pre_training_would_train_is_refused(tiny):
    with pytest.raises(ValueError, match="frozen_stages is 1, but pre-training leaves the backbone as it is; set 3"):
        tiny(train={"network": {"backbone": {"frozen_stages": 1}}})


def test_each_module_may_have_the_backbones_next_stage(toy, tiny, pretrain):
    settings = tiny(train={"network": {"tail": "stage"}})
    weights = read_weights(
        pretrain(settings, "classification", toy.folder / "stage"), start="stages.classification.tail."
    )
    assert any("conv" in name for name in weights)


def test_a_next_stage_of_another_stride_is_refused(toy, tiny, pretrain):
    settings = tiny(train={"network": {"tail": "stage", "backbone": {"output_stride": 32}}})
    with pytest.raises(ValueError, match="stage 3 of resnet10t has stride 16, the one before 8; set"):
        pretrain(settings, "classification", toy.folder / "stage")
