"""Folds: every image is held out once, each fold has its share of each class, and its scores come from unseen images."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.classifier.folds import folds_of, held_out
from stages.classifier.score_fold import score_fold
from stages.classifier.settings import ClassifierSettings, FoldsSettings
from stages.classifier.task import ClassifierTask
from stages.classifier.train_classifier import train_classifier
from stages.classifier.train_fold import train_fold
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import read
from stages.core.artifacts.tag_scores import TagScores
from stages.core.networks.weights import read_metadata
from tests.classifier.test_classifier_steps import CUES, TRAIN, cue_settings, settings, write_images

FOLDS = FoldsSettings(count=3, seed=0, steps=2)


def tags_of(*tagged: tuple[int, ...]) -> np.ndarray:
    return np.array([np.isin(range(3), of) for of in tagged])


def test_each_fold_has_its_share_of_every_class_and_of_images_without_any() -> None:
    tags = tags_of(*[(0,)] * 20, *[(1,)] * 8, *[(0, 2)] * 4, *[()] * 12)
    folds = folds_of(tags, np.ones(len(tags), bool), count=4, seed=0)
    for fold in range(4):
        here = tags[folds == fold]
        assert here.sum(0).tolist() == [6, 2, 1]
        assert (~here.any(1)).sum() == 3


def test_the_seed_decides() -> None:
    tags, known = tags_of(*[(i % 3,) for i in range(30)]), np.ones(30, bool)
    assert (folds_of(tags, known, count=5, seed=0) == folds_of(tags, known, count=5, seed=0)).all()
    assert (folds_of(tags, known, count=5, seed=0) != folds_of(tags, known, count=5, seed=1)).any()


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 2)), st.booleans()), min_size=1, max_size=40), st.integers(2, 6)
)  # fmt: skip
def test_every_known_image_is_in_one_fold_and_no_fold_is_empty(images: list, count: int) -> None:
    tags = tags_of(*(tuple(tagged) for tagged, _ in images))
    known = np.array([bool(tagged) or looked for tagged, looked in images])
    if known.sum() < count:
        with pytest.raises(ValueError, match=f"fewer than the {count} folds"):
            folds_of(tags, known, count=count, seed=0)
        return
    folds = folds_of(tags, known, count=count, seed=0)
    assert ((folds == -1) == ~known).all()
    assert set(folds[known]) == set(range(count))
    assert np.ptp(np.bincount(folds[known])) <= 1


def classifier(**changes) -> ClassifierSettings:
    return ClassifierSettings.model_validate({"trained": None, "train": {**TRAIN, **changes}, "cues": CUES})


def run_fold(folder: Path, images: Path, fold: int) -> Path:
    weights = folder / f"{fold}" / "w.safetensors"
    train_fold(
        images=images, output_weights=weights, output_curves=folder / "c.json", output_plot=folder / "c.png",
        settings=classifier().without_fold(fold, FOLDS), device="cpu",
    )  # fmt: skip
    return weights


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    folder = tmp_path_factory.mktemp("folds")
    images = write_images(folder / "images.h5", untagged=2)
    return images, [run_fold(folder, images, fold) for fold in range(3)]


def test_a_fold_is_trained_without_its_images_for_its_own_number_of_updates(trained, caplog) -> None:
    images, weights = trained
    with read(images, ImageRecord) as listing:
        known = {image.image for image in listing if image.looked_at}
        named = [read_metadata(path)["held_out"] for path in weights]
        assert sorted(image for images in named for image in images) == sorted(known)
        position = held_out(listing, fold=1, count=3, seed=0)
        assert [listing.ids[i] for i in position] == named[1]
    assert read_metadata(weights[1])["settings"]["training"]["steps"] == 2
    assert read_metadata(weights[1])["settings"]["fold"] == 1


def test_training_never_sees_an_image_that_is_held_out(trained, tmp_path, monkeypatch) -> None:
    seen = []

    def watched(task, step, micro, generator):
        seen.extend(task.images.ids[task.position(number)] for number in range(step * 4, step * 4 + 4))
        return original(task, step, micro, generator)

    original = ClassifierTask.batch
    monkeypatch.setattr(ClassifierTask, "batch", watched)
    left_out = read_metadata(run_fold(tmp_path, trained[0], 0))["held_out"]
    assert len(seen) >= 8 and left_out
    assert not set(seen) & set(left_out)


def test_scores_are_of_the_images_that_were_held_out_alone(trained, tmp_path) -> None:
    images, weights = trained
    output = tmp_path / "scores.h5"
    score_fold(images=images, weights=weights[2], output=output, settings=cue_settings(batch=2), device="cpu")
    with read(output, TagScores) as scores:
        assert list(scores.ids) == read_metadata(weights[2])["held_out"]
        assert scores.header["fold"] == 2
        assert scores[0].scores.shape == (2,)
        assert json.loads(json.dumps(scores.header))["classes"] == ["red", "green"]


def test_weights_that_have_seen_all_images_are_refused(trained, tmp_path) -> None:
    train_classifier(
        images=trained[0], output_weights=tmp_path / "w.safetensors", output_curves=tmp_path / "c.json",
        output_plot=tmp_path / "c.png", settings=settings(training={**TRAIN["training"], "steps": 1}), device="cpu",
    )  # fmt: skip
    with pytest.raises(ValueError, match="give what train_fold wrote"):
        score_fold(
            images=trained[0], weights=tmp_path / "w.safetensors", output=tmp_path / "s.h5", settings=cue_settings(),
            device="cpu",
        )  # fmt: skip


def test_a_fold_takes_the_updates_of_the_classifier_where_it_says_none() -> None:
    own = classifier().without_fold(0, FOLDS.model_copy(update={"steps": None}))
    assert own.training.steps == TRAIN["training"]["steps"]
