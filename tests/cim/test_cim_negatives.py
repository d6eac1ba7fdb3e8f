"""Images that are known to show none of the classes: every proposal is background, for one class as for several."""

import math

import numpy as np
import pytest
import torch

from stages.cim.label_clusters import label_clusters
from stages.cim.losses import Labels
from stages.cim.mining import Overlaps
from stages.cim.network import CimNetwork, Scores
from stages.cim.objective import branch_targets, weighted_losses
from stages.cim.task import CimTask, usable_images
from stages.cim.train_cim import train_cim
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import read
from stages.core.networks.backbones import build_backbone


def scores_of(logits: torch.Tensor) -> Scores:
    refined = [(logits[2 + k].softmax(1), logits[5 + k].sigmoid()) for k in range(3)]
    return Scores(logits[0].softmax(1), logits[1].softmax(0), refined)


def terms_of(logits, settings, *, tagged=False):
    count, columns = logits.shape[1:]
    overlaps = Overlaps(torch.eye(count, dtype=torch.bool), torch.ones(count), half_precision=False)
    tags = torch.zeros(columns - 1, dtype=torch.bool)
    tags[0] = tagged
    labels = Labels(torch.ones(count, dtype=torch.int64), torch.full((count,), -1))  # what AGPL says of such images
    return weighted_losses(
        scores_of(logits), tags=tags, labels=labels, overlaps=overlaps, generator=np.random.default_rng(0),
        settings=settings,
    )  # fmt: skip


@pytest.mark.parametrize("classes", [1, 2])
def test_the_terms_of_an_image_without_a_class_are_those_of_background_alone(official, classes):
    torch.manual_seed(classes)
    losses = {"cluster": 2.0, "integrity": 1.0, "first_branch": 3.0, "cluster_form": "positive_log"}
    settings = official(train={"losses": losses}).train
    logits = torch.randn(8, 5, 1 + classes)
    found = terms_of(logits, settings)
    scores = scores_of(logits)
    assert found["cluster"].item() == pytest.approx(-2 * scores.classifier[:, 0].log().mean().item(), rel=1e-5)
    image = (scores.classifier * scores.detector).sum(0)
    mil = -(image[0].log() + (1 - image[1:]).log().sum()) / (1 + classes)
    assert found["mil"].item() == pytest.approx(mil.item(), rel=1e-5)
    for branch, (p, t) in enumerate(scores.refined):
        weight = 3.0 if branch == 0 else 1.0
        assert found[f"classification_{branch + 1}"].item() == pytest.approx(
            -weight * p[:, 0].log().mean().item(), rel=1e-5
        )
        assert found[f"integrity_{branch + 1}"].item() == 0
        products = (p * t).amax(0)
        each = [-weight * math.log(products[0]), *(-math.log(1 - value) for value in products[1:].tolist())]
        assert found[f"refinement_mil_{branch + 1}"].item() == pytest.approx(np.mean(each), rel=1e-4)


@pytest.mark.parametrize("classes", [1, 2])
def test_a_step_on_such_an_image_lowers_the_score_of_every_proposal(official, classes):
    torch.manual_seed(0)
    logits = torch.randn(8, 6, 1 + classes, requires_grad=True)
    sum(terms_of(logits, official().train).values()).backward()
    for k in range(3):
        assert (logits.grad[2 + k][:, 0] < 0).all()  # background rises
        assert (logits.grad[2 + k][:, 1:].sum(1) > 0).all()


def test_the_weight_is_certain_whatever_the_branch_before_says(official):
    settings = official(train={"losses": {"first_branch": 3.0}}).train
    overlaps = Overlaps(torch.eye(4, dtype=torch.bool), torch.ones(4), half_precision=False)
    teacher = torch.full((4, 3), 1e-3), torch.full((4, 3), 1e-3)
    weights = []
    for branch in range(3):
        targets = branch_targets(
            teacher, tags=torch.zeros(2, dtype=torch.bool), overlaps=overlaps, generator=np.random.default_rng(0),
            settings=settings, branch=branch,
        )  # fmt: skip
        assert targets.classes.tolist() == [[True, False, False]] * 4
        assert not targets.integrity_target.any()
        weights.append(targets.weights.tolist())
    assert weights == [[3.0] * 4, [1.0] * 4, [1.0] * 4]


def test_a_negative_is_trained_on_and_an_image_that_nobody_looked_at_is_not(toy, official, tmp_path, caplog):
    """p4 has no tag, p2 no proposal."""
    caplog.set_level("INFO")
    images, labels = toy.listed("negative.h5", looked_at=True), tmp_path / "labels.h5"
    settings = official(train={"training": {"steps": 1}})
    label_clusters(images=images, proposals=toy.proposals, cues=toy.cues, output=labels, settings=settings.agpl)
    files = {name: tmp_path / name for name in ("output_weights", "output_curves", "output_plot")}
    train_cim(
        images=images, proposals=toy.proposals, cluster_labels=labels, backbone_weights=None, settings=settings.train,
        device="cpu", **files,
    )  # fmt: skip
    said = "trained on 5 of 6 images, of them 1 without anything; 0 images that nobody looked at are left out"
    assert said in caplog.text
    with (
        read(toy.images, ImageRecord) as unknown,
        read(images, ImageRecord) as listed,
        read(toy.proposals, Proposals) as proposals,
    ):
        assert usable_images(unknown, proposals) == [0, 1, 3, 5]
        assert usable_images(listed, proposals) == [0, 1, 3, 4, 5]


def test_the_task_teaches_background_by_the_proposals_of_a_negative(toy, official, tmp_path):
    settings, labels = official().train, tmp_path / "labels.h5"
    images = toy.listed("negative.h5", looked_at=True)
    label_clusters(images=images, proposals=toy.proposals, cues=toy.cues, output=labels, settings=official().agpl)
    with (
        read(labels, ClusterLabels) as clusters,
        read(images, ImageRecord) as listed,
        read(toy.proposals, Proposals) as proposals,
    ):
        assert (clusters.find("p4").clusters == 1).all()
        assert (clusters.find("p4").cluster_classes == -1).all()
        network = CimNetwork(build_backbone(settings.backbone), class_count=3, settings=settings.network)
        task = CimTask(network, images=listed, proposals=proposals, labels=clusters, settings=settings)
        step, micro = divmod(next(n for n in range(10) if task.entry(n)[0] == 4), settings.training.accumulate)
        batch = task.batch(step, micro, np.random.default_rng(0))
        assert not batch.tags.any()
        sum(task.losses(batch, np.random.default_rng(0)).values()).backward()
    bias = network.heads.bias.grad.unflatten(0, (-1, 4))
    assert (bias[2:5, 0] < 0).all()  # of the refinement branches, background rises


def test_negatives_alone_are_refused(toy, monkeypatch):
    monkeypatch.setattr(toy, "tags", np.zeros_like(toy.tags))
    with (
        read(toy.listed("nothing.h5", looked_at=True), ImageRecord) as images,
        read(toy.proposals, Proposals) as proposals,
        pytest.raises(ValueError, match="none of 6 images has tags; nothing to train on"),
    ):
        usable_images(images, proposals)


def test_negatives_and_tagged_images_without_proposals_are_refused(toy, monkeypatch):
    """p2 alone is tagged and has no proposal."""
    monkeypatch.setattr(toy, "tags", toy.tags & (np.arange(6) == 2)[:, None])
    with (
        read(toy.listed("nothing.h5", looked_at=True), ImageRecord) as images,
        read(toy.proposals, Proposals) as proposals,
        pytest.raises(ValueError, match="none of 6 images has both tags and proposals"),
    ):
        usable_images(images, proposals)
