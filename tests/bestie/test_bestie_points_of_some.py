"""Points of some images: each image follows the rules of its own supervision, in labels, targets and losses."""

import numpy as np
import pytest
import torch

from stages.bestie.network import BestieNetwork
from stages.bestie.targets import Targets, chosen_targets
from stages.bestie.task import BestieTask
from stages.bestie.train_bestie import train_bestie
from stages.bestie.transfer_semantics import transfer_semantics
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.storage import read
from stages.core.networks.weights import read_metadata
from tests.bestie.toy import Toy, tiny

PLAIN = {"brightness": 0.0, "contrast": 0.0, "hue": 0.0, "scales": [1.0], "flip": 0.0, "batch": 3}
SOME = "image tags + points on 1 of 4 images"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def pseudo_of(toy):
    """Pseudo instances of the toy with points in these images."""

    def pseudo_of(*by_points):
        name = "".join(map(str, by_points)) or "none"
        head = "points" if len(by_points) == 4 else "pam"
        cues = toy.cue_file(toy.folder / f"cues_{name}.h5", by_points=by_points, head=head, supervision=SOME)
        output = toy.folder / f"pseudo_{name}.h5"
        transfer_semantics(
            images=toy.images, semantics=toy.semantics, cues=cues, output=output, run="b", settings=tiny().transfer
        )
        return output

    return pseudo_of


def test_pseudo_instances_say_whose_cues_each_image_has(pseudo_of):
    with read(pseudo_of(1), PseudoInstances) as pseudo:
        assert [bool(record.by_points) for record in pseudo] == [False, True, False, False]
        assert pseudo.header["supervision"] == SOME


def targets_of(toy, pseudo, monkeypatch):
    """Pseudo and refined targets of one batch of the three tagged images, with their ids, and all losses."""
    seen = []

    def kept(*args):
        seen.append(chosen_targets(*args))
        return seen[-1]

    monkeypatch.setattr("stages.bestie.task.chosen_targets", kept)
    settings = tiny(train={"data": PLAIN}).train
    with read(toy.images, ImageRecord) as images, read(pseudo, PseudoInstances) as found:
        torch.manual_seed(0)
        network = BestieNetwork(settings, class_count=3, classifier=None).eval()
        task = BestieTask(network, images=images, pseudo=found, settings=settings)
        batch = task.batch(0, 0, np.random.default_rng(0))
        losses = task.losses(batch, np.random.default_rng(0))
        return [images.ids[task.entry(i)] for i in range(3)], seen, losses


def test_each_image_has_the_targets_of_its_own_supervision(toy, pseudo_of, monkeypatch):
    ids, mixed, _ = targets_of(toy, pseudo_of(1), monkeypatch)
    _, tags, _ = targets_of(toy, pseudo_of(), monkeypatch)
    _, points, _ = targets_of(toy, pseudo_of(0, 1, 2, 3), monkeypatch)
    assert len(mixed) == len(tags) == len(points) == 2  # pseudo labels, refined labels
    for one, by_tags, by_points in zip(mixed, tags, points, strict=True):
        for i, image in enumerate(ids):
            own = by_points if image == "p1" else by_tags
            assert all(torch.equal(found[i], expected[i]) for found, expected in zip(one, own, strict=True))
    p1 = ids.index("p1")
    assert not torch.equal(tags[0].heatmap[p1], points[0].heatmap[p1])


def test_centers_are_weighted_by_the_supervision_of_their_image(toy, pseudo_of, monkeypatch):
    losses = [targets_of(toy, pseudo_of(*some), monkeypatch)[2] for some in ((), (1,), (0, 1, 2, 3))]
    centers = [one["refined_center"].item() for one in losses]
    assert len(set(centers)) == 3
    assert all(term.isfinite() for one in losses for term in one.values())


def test_a_batch_of_one_kind_makes_the_targets_of_that_kind_alone():
    def never():
        raise AssertionError("asked for the other kind")

    made = Targets(*(torch.zeros(2, *shape) for shape in ((1, 3, 3), (2, 3, 3), (3, 3))))
    assert chosen_targets(torch.tensor([True, True]), lambda: made, never) is made
    assert chosen_targets(torch.tensor([False, False]), never, lambda: made) is made


def test_a_training_says_of_how_many_images_there_are_points(toy, pseudo_of, tmp_path):
    train_bestie(
        images=toy.images, pseudo_instances=pseudo_of(1), backbone_weights=None,
        output_weights=tmp_path / "w.safetensors", output_curves=tmp_path / "c.json", output_plot=tmp_path / "c.png",
        output_snapshots=tmp_path / "s.safetensors", settings=tiny().train, device="cpu",
    )  # fmt: skip
    assert read_metadata(tmp_path / "w.safetensors")["supervision"] == SOME
