"""The first module ranks proposals by their own scores of classes, where the source gives any and the settings ask for it."""

import dataclasses
import types

import numpy as np
import pytest

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import read
from stages.label_penet import curriculum
from stages.label_penet.cascade import Cascade
from stages.label_penet.curriculum import mixed_losses
from stages.label_penet.task import MixedTask
from stages.label_penet.weights import load_cascade
from tests.label_penet.conftest import CLASSES, predict, propagate, write

PRIOR = {"view": {"prior_share": 1.0}}


@pytest.fixture(scope="module")
def ranked(toy):
    """The toy's proposals with scores of classes that like the last one best, as maps of annotations might."""
    with read(toy.proposals, Proposals) as proposals:
        records = [
            dataclasses.replace(
                one, class_scores=np.repeat(np.linspace(0.1, 1, len(one.scores), dtype=np.float32)[:, None], 2, axis=1)
            )
            for one in proposals
        ]
    path = write(
        toy.folder / "ranked.h5", Proposals, records, source="fits", supervision="label-free", ranked_by="masks"
    )
    return types.SimpleNamespace(**{**vars(toy), "proposals": path}), records


def test_instances_of_the_first_module_follow_the_prior(ranked, tiny, cascade):
    toy, proposals = ranked
    weights = cascade[0]["classification"]
    found, header = predict(toy, tiny(predict=PRIOR), "classification", weights, "prior")
    assert header["supervision"] == "masks"
    for record, own in zip(found[:4], proposals, strict=False):
        assert (record.regions.masks()[0] == own.regions.masks()[-1]).all()
        assert record.scores[0] == pytest.approx(1)
    plain, _ = predict(toy, tiny(), "classification", weights, "plain")
    assert any((one.scores[0] != other.scores[0]) for one, other in zip(plain[:4], found, strict=False))


def test_labels_of_the_first_module_follow_the_prior(ranked, tiny, cascade):
    toy, proposals = ranked
    labels = {}
    for name, share in (("plain", 0.0), ("prior", 1.0)):
        settings = tiny(labels={"view": {"prior_share": share}, "classification": {"crf": {"iterations": 0}}})
        path = propagate(toy, settings, "classification", cascade[0]["classification"], toy.folder / f"{name}.h5")
        with read(path, ModuleLabels) as made:
            assert made.header["supervision"] == "masks"
            labels[name] = [made.find(image) for image in toy.ids]
    last = proposals[2].regions.boxes()[-1]
    mine = labels["prior"][2].boxes[0]
    assert mine[0] >= last[0] - 10 and mine[2] <= last[2] + 10  # within the proposal and its margin
    assert any((one.boxes != other.boxes).any() for one, other in zip(*labels.values(), strict=True))


def test_a_source_without_scores_of_classes_is_refused(toy, tiny, cascade):
    with pytest.raises(ValueError, match="the proposals' source scores no classes; set prior_share: 0"):
        predict(toy, tiny(predict=PRIOR), "classification", cascade[0]["classification"], "refused")
    with pytest.raises(ValueError, match="the proposals' source scores no classes"):
        propagate(toy, tiny(labels=PRIOR), "classification", cascade[0]["classification"], toy.folder / "no.h5")
    predict(toy, tiny(predict=PRIOR), "detection", cascade[0]["detection"], "others")  # which reads no proposals


def test_fine_tuning_ranks_by_the_prior_too(ranked, tiny, finetuned, monkeypatch):
    toy, proposals = ranked
    settings = tiny(labels=PRIOR).finetuning
    network, _ = load_cascade(finetuned, module="segmentation", classes=CLASSES, listed=toy.images, device="cpu")
    assert isinstance(network, Cascade)
    asked = []
    usual = curriculum.score
    monkeypatch.setattr(
        curriculum, "score", lambda *args, **named: asked.append((args[1], named["prior"])) or usual(*args, **named)
    )
    with read(toy.images, ImageRecord) as images, read(toy.proposals, Proposals) as candidates:
        task = MixedTask(network, images=images, proposals=candidates, settings=settings)
        batch = task.batch(0, 0, np.random.default_rng(0))
    image = next(one for one in proposals if len(one.scores) == len(batch.boxes) and one.class_scores is not None)
    shared = network.shared(batch.image)
    mixed_losses(network, shared, batch, labels=settings.labels, overlap=settings.overlap)
    assert [module for module, _ in asked] == ["classification", "detection", "refinement"]
    assert asked[0][1].shape == (len(batch.boxes), 2)
    np.testing.assert_allclose(asked[0][1], image.class_scores[: len(batch.boxes)], rtol=1e-6)
