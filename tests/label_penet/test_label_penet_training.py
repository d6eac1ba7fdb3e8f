"""The cascade from tags to masks on a toy: each module, its labels, and fine-tuning in both directions."""

import logging

import numpy as np
import pytest
import torch

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import read
from stages.core.networks.weights import read_metadata, read_weights
from stages.label_penet import curriculum
from stages.label_penet.calibration import Objects
from stages.label_penet.cascade import Cascade
from stages.label_penet.curriculum import backward_validation, evaluating, forward_curriculum, mixed_losses
from stages.label_penet.settings import MODULES
from stages.label_penet.task import MixedTask, ModuleTask
from stages.ops.regions import Regions
from tests.label_penet.conftest import nothing, propagate


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


def near(tiny):
    """Settings by which every object with a box that touches a proposal's has its mask."""
    snapped = {"proposal_overlap": 0.0}
    labels = {"classification": snapped, "detection": snapped, "refinement": snapped}
    return tiny(labels=labels, train={"data": {"shorter_sides": [36], "flip": 1.0}})


def test_proposals_stand_as_their_image_does(toy, tiny):
    """Masks of proposals are mirrored and scaled as boxes are; none are carried where no labels are made with them."""
    _, batches = mixed(toy, near(tiny))
    for batch in batches:
        np.testing.assert_allclose(batch.regions.boxes(), batch.boxes, atol=1.0)
        assert batch.regions.shape == batch.image.size == (36, 48)
    assert mixed(toy, tiny())[1][0].regions is None


def test_each_module_hands_on_masks_of_proposals(toy, tiny, cascade):
    """By all of the steps: labels of a module, and those of the fine-tuning."""
    weights, settings = cascade[0], near(tiny)
    for module in MODULES[:-1]:
        path = propagate(toy, settings, module, weights[module], toy.folder / f"near_{module}.h5")
        with read(path, ModuleLabels) as labels, read(toy.proposals, Proposals) as proposals:
            pairs = [(label.regions, proposals.find(label.image).regions) for label in labels]
            overlaps = [objects.iou(regions) for objects, regions in pairs if len(objects) and len(regions)]
            assert overlaps
            assert all((overlap.max(1) == 1).all() for overlap in overlaps)
    network, batches = mixed(toy, settings)
    shared = network.shared(batches[0].image)
    for module in MODULES:
        objects = curriculum._objects(network, module, shared, batches[0], settings.labels)
        assert len(objects.classes) == objects.proposed
        overlap = Regions.from_masks(objects.masks).iou(batches[0].regions)
        assert (overlap.max(1) == 1).all()


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


def test_a_module_whose_neighbour_finds_nothing_has_no_loss(toy, tiny, monkeypatch):
    """Which way a pass goes is said by its batch."""
    monkeypatch.setattr("stages.label_penet.curriculum.label_objects", nothing)
    network, batches = mixed(toy, tiny())
    shared = network.shared(batches[0].image)
    forward, backward = (
        set(mixed_losses(network, shared, batch, labels=tiny().labels, overlap=0.5)) for batch in batches[:2]
    )
    assert forward == {"classification.mil"}
    assert backward == {"classification.mil", "classification.single"}  # every proposal is background


def test_who_learns_from_whom_and_where_objects_have_weights(toy, tiny, monkeypatch):
    """Forward the last module is fully supervised, backward all are (section 3.3)."""
    said = {module: 0.1 * (1 + place) for place, module in enumerate(MODULES)}  # the weight of a module's object

    def says(network, module, shared, batch, labels):
        high, wide = batch.image.size
        masks = np.zeros((1, high, wide), bool)
        masks[0, 4:20, 4:20] = True
        weights = np.array([said[module]], np.float32)
        return Objects(
            masks, np.array([[4, 4, 20, 20]], np.float32), np.zeros(1, np.int64), weights, masks.astype(np.float32),
            replaced=0, proposed=0,
        )  # fmt: skip

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


def test_files_in_another_order_are_refused(finetune, tiny, cascade):
    paths = list(cascade[0].values())
    with pytest.raises(ValueError, match="holds the module segmentation, expected classification"):
        finetune(tiny(), name="wrong", modules=paths[::-1])
    with pytest.raises(ValueError, match="3 files of modules are given"):
        finetune(tiny(), name="wrong", modules=paths[:3])


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
