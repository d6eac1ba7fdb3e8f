"""Images that are known to show none of the classes, and data sets of a single class."""

import math

import numpy as np
import pytest
import torch

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import read
from stages.label_penet.boxes import Objects
from stages.label_penet.cascade import Cascade
from stages.label_penet.curriculum import backward_validation, forward_curriculum
from stages.label_penet.network import ClassificationScores
from stages.label_penet.passes import multi_label_loss
from stages.label_penet.pretrain_module import pretrain_module
from stages.label_penet.propagate_labels import as_record
from stages.label_penet.settings import MODULES
from stages.label_penet.task import MixedTask, ModuleTask, usable_images
from tests.label_penet.conftest import Toy, write
from tests.label_penet.test_label_penet_losses import losses, scores_of


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("negatives"), looked_at=True)


def test_binary_loss_is_a_cross_entropy_of_each_class_by_hand():
    """Scores are sums of x^c w: 2 and -1; the first class is there."""
    scores = scores_of([[1.0, -1.0], [3.0, -1.0]], [[0.0, 0.0], [0.0, 0.0]])
    found = multi_label_loss(scores, torch.tensor([True, False]), losses(mil="binary"))
    assert found.item() == pytest.approx((math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2)


@pytest.mark.parametrize(("mil", "learns"), [("paper", False), ("wsddn", False), ("binary", True)])
@pytest.mark.parametrize("tagged", [True, False])
def test_of_the_three_losses_binary_alone_teaches_a_single_class(mil, learns, tagged):
    logits = torch.tensor([[0.3], [-0.2]], requires_grad=True)
    scores = ClassificationScores(logits, torch.tensor([[0.6], [0.4]]), torch.zeros(0), torch.zeros(2, 2))
    multi_label_loss(scores, torch.tensor([tagged]), losses(mil=mil)).backward()
    assert bool(logits.grad.abs().sum() > 1e-6) == learns
    assert not learns or ((logits.grad < 0) == tagged).all()


@pytest.mark.parametrize(("mil", "learns"), [("paper", False), ("wsddn", True), ("binary", True)])
def test_equation_2_learns_nothing_from_a_negative_and_the_other_losses_do(mil, learns):
    logits = torch.tensor([[0.3, 0.1], [-0.2, 0.4]], requires_grad=True)
    scores = ClassificationScores(logits, torch.full((2, 2), 0.5), torch.zeros(0), torch.zeros(2, 3))
    loss = multi_label_loss(scores, torch.tensor([False, False]), losses(mil=mil))
    loss.backward()
    assert (loss.item() > 0) == learns
    assert bool(logits.grad.any()) == learns


def test_with_binary_a_proposal_may_belong_to_no_class(tiny):
    settings = tiny(train={"losses": {"mil": "binary"}}).train
    network = Cascade(settings.network, settings.losses, class_count=1, modules=["classification"], load=False)
    module = network.stages["classification"]
    scores = ClassificationScores(torch.tensor([[2.0], [-2.0]]), torch.zeros(2, 1), torch.zeros(0), torch.zeros(2, 2))
    probabilities = module.probabilities(scores)
    torch.testing.assert_close(probabilities, torch.tensor([[2.0], [-2.0]]).sigmoid())
    assert module.own_classes(probabilities).tolist() == [0, -1]


@pytest.fixture
def labels(toy, tmp_path):
    """An object in p0 and p1 each, none in the others."""

    def record(image, i):
        kept = slice(0, int(i < 2))
        boxes = np.array([[4, 4, 30, 30]], np.float32)[kept]
        masks = np.zeros((1, 48, 64), bool)
        masks[0, 4:30, 4:30] = True
        ones = np.ones(1, np.float32)[kept]
        attention = masks[kept].astype(np.float32)
        return as_record(image, _calibrated(masks[kept], boxes, ones, attention), kept_side=16)

    records = [record(image, i) for i, image in enumerate(toy.ids)]
    header = {"run": "toy", "module": "classification", "supervision": "image tags"}
    return write(tmp_path / "labels.h5", ModuleLabels, records, **header)


def _calibrated(masks, boxes, weights, attention):
    from stages.label_penet.calibration import Objects as Calibrated

    return Calibrated(masks, boxes, np.zeros(len(boxes), np.int64), weights, attention, 0, 0)


@pytest.fixture
def opened(toy, labels):
    with (
        read(toy.images, ImageRecord) as images,
        read(toy.proposals, Proposals) as proposals,
        read(labels, ModuleLabels) as found,
    ):
        yield images, proposals, found


@pytest.mark.parametrize(("mil", "usable"), [("paper", [0, 1, 2]), ("wsddn", [0, 1, 2, 3]), ("binary", [0, 1, 2, 3])])
def test_the_first_module_takes_negatives_where_its_loss_can(opened, tiny, caplog, mil, usable):
    """p3 is the negative, p4 has no proposal."""
    images, proposals, _ = opened
    settings = tiny(train={"losses": {"mil": mil}}).train.of("classification")
    network = Cascade(settings.network, settings.losses, class_count=2, modules=["classification"], load=False)
    task = ModuleTask(network, images=images, proposals=proposals, labels=None, settings=settings)
    assert task.usable == usable
    assert ("1 images show none of the classes and are left out: losses.mil is paper" in caplog.text) == (
        mil == "paper"
    )


@pytest.mark.parametrize("module", MODULES[1:])
def test_in_a_negative_all_anchors_and_regions_are_background(opened, tiny, module):
    images, _, labels = opened
    settings = tiny().train.of(module)
    network = Cascade(settings.network, settings.losses, class_count=2, modules=[module], load=False)
    task = ModuleTask(network, images=images, proposals=None, labels=labels, settings=settings)
    assert task.usable == [0, 1, 3]
    number = next(n for n in range(3) if task.usable[task.order(n)] == 3)
    batch = task.batch(*divmod(number, settings.training.accumulate), np.random.default_rng(0))
    assert not len(batch.objects.boxes)
    terms = task.losses(batch, np.random.default_rng(0))
    positive = {name for name, value in terms.items() if value.item() > 0}
    assert positive == {"objectness", "classifier"}
    sum(terms.values()).backward()
    stage = network.stages[module]
    assert stage.rpn.head.cls_logits.bias.grad.sum() > 0  # objectness falls
    gradient = stage.heads.classes.bias.grad
    assert gradient[0] < 0  # background rises
    assert (gradient[1:] > 0).all()


@pytest.mark.parametrize("turn", [forward_curriculum, backward_validation])
def test_fine_tuning_teaches_every_module_background_by_a_negative(opened, tiny, turn):
    images, proposals, _ = opened
    settings = tiny(train={"losses": {"mil": "wsddn"}}).finetuning
    network = Cascade(settings.network, settings.losses, class_count=2, modules=list(MODULES), load=False)
    task = MixedTask(network, images=images, proposals=proposals, settings=settings)
    assert task.usable == [0, 1, 2, 3]
    accumulate = settings.training.accumulate
    number = next(n for n in range(4) if task.usable[task.order(n)] == 3)
    batch = task.batch(2 * (number // accumulate), number % accumulate, np.random.default_rng(0))
    assert not batch.tags.any()
    shared = network.shared(batch.image)
    terms = turn(network, shared, batch, labels=settings.labels, overlap=0.5)
    taught = {name.partition(".")[0] for name, value in terms.items() if value.item() > 0}
    assert taught == set(MODULES if turn is forward_curriculum else MODULES[:-1])


def test_without_objects_a_tagged_image_is_not_background(opened, tiny):
    """p2 is tagged; its predecessor found nothing, which is no evidence."""
    images, proposals, labels = opened
    assert usable_images(images, None, labels, negatives=True) == [0, 1, 3]
    assert usable_images(images, proposals, None, negatives=False) == [0, 1, 2]


@pytest.mark.parametrize("mil", ["paper", "wsddn"])
def test_a_single_class_is_refused_where_the_loss_compares_classes(toy, tiny, tmp_path, mil):
    with read(toy.images, ImageRecord) as images:
        one = [ImageRecord(**{**vars(record), "tags": record.tags[:1], "looked_at": True}) for record in images]
        header = {**images.header, "classes": ["red"], "category_ids": [1]}
    path = write(tmp_path / "one.h5", ImageRecord, one, **header)
    files = {f"output_{name}": tmp_path / name for name in ("weights", "curves", "plot")}
    settings = tiny(train={"losses": {"mil": mil}}).train.of("classification")
    with pytest.raises(ValueError, match=f"losses.mil is '{mil}', which compares classes, but 'red' is the only one"):
        pretrain_module(
            images=path, proposals=toy.proposals, labels=None, backbone_weights=None, settings=settings, device="cpu",
            **files,
        )  # fmt: skip


def test_objects_of_a_negative_are_empty_arrays_of_the_right_shapes(opened, tiny):
    images, _, labels = opened
    settings = tiny().train.of("segmentation")
    network = Cascade(settings.network, settings.losses, class_count=2, modules=["segmentation"], load=False)
    task = ModuleTask(network, images=images, proposals=None, labels=labels, settings=settings)
    number = next(n for n in range(3) if task.usable[task.order(n)] == 3)
    found = task.batch(*divmod(number, settings.training.accumulate), np.random.default_rng(0))
    assert isinstance(found.objects, Objects)
    assert found.objects.masks.shape == (0, *found.image.size)
    assert found.objects.labels.dtype == torch.int64
