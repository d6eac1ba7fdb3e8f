"""Ranking of proposals by a semantic map: against masks pixel by pixel, by hand, and as a step."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from stages.core.artifacts.proposals import Proposals, ranked_by
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Provenance, create, read
from stages.ops.regions import Regions
from stages.proposals.fit import ranking, semantic_fit
from stages.proposals.rank_proposals import rank_proposals
from stages.proposals.settings import RankedSettings

HERE = Provenance(step="test", settings=None, seed=None, inputs={})
LEFT, RIGHT, BOTH, ODD = (np.zeros((6, 12), bool) for _ in range(4))
LEFT[1:5, 1:5] = RIGHT[1:5, 7:11] = BOTH[1:5, 1:5] = BOTH[1:5, 7:11] = ODD[0:2, 0:12] = True


def plain_fit(masks, labels, class_count, min_area):
    best = np.zeros((len(masks), class_count))
    for label in range(class_count):
        numbered, count = ndimage.label(labels == 1 + label, np.ones((3, 3)))
        for number in range(1, count + 1):
            component = numbered == number
            if component.sum() >= min_area:
                overlap = [(mask & component).sum() / (mask | component).sum() for mask in masks]
                best[:, label] = np.maximum(best[:, label], overlap)
    return best


@pytest.mark.parametrize("seed", range(20))
def test_fit_is_that_of_masks_pixel_by_pixel(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 0, 1, 2, 3, 255], (9, 13)).astype(np.uint8)
    masks = rng.random((rng.integers(1, 12), 9, 13)) < 0.4
    min_area = int(rng.integers(1, 5))
    fit = semantic_fit(Regions.from_masks(masks), labels, class_count=4, min_area=min_area)
    assert fit.dtype == np.float32
    np.testing.assert_allclose(fit, plain_fit(masks, labels, 4, min_area), rtol=1e-6)


def test_one_of_two_animals_fits_and_both_together_do_not():
    labels = np.where(BOTH, 3, 0).astype(np.uint8)
    regions = Regions.from_masks(np.stack([LEFT, RIGHT, BOTH, ODD]))
    fit = semantic_fit(regions, labels, class_count=3, min_area=1)
    np.testing.assert_allclose(fit[:, 2], [1, 1, 0.5, 4 / 36])
    assert not fit[:, :2].any()


def test_background_uncertain_and_small_components_are_no_things():
    labels = np.full((6, 12), 255, np.uint8)
    labels[LEFT] = 0
    regions = Regions.from_masks(np.stack([LEFT, ~LEFT]))
    assert not semantic_fit(regions, labels, class_count=1, min_area=1).any()
    labels[RIGHT] = 1
    assert semantic_fit(regions, labels, class_count=1, min_area=16)[1] > 0
    assert not semantic_fit(regions, labels, class_count=1, min_area=17).any()
    assert semantic_fit(Regions.empty(6, 12), labels, class_count=1, min_area=1).shape == (0, 1)


def test_a_label_of_no_class_is_refused():
    labels = np.full((6, 12), 3, np.uint8)
    with pytest.raises(ValueError, match=r"has the label 3, expected 0 to 2 \(background and 2 classes\) or 255"):
        semantic_fit(Regions.empty(6, 12), labels, class_count=2, min_area=1)


def test_the_score_is_the_formula():
    fit = np.array([[0.2, 0.0], [0.0, 0.0], [0.9, 0.1]], np.float32)
    decay = np.exp(-np.arange(3) / 50)[:, None]
    floored = np.array([[0.2, 1e-3], [1e-3, 1e-3], [0.9, 0.1]])
    np.testing.assert_allclose(ranking(fit, rank_scale=50.0, power=2.0), decay * floored**2, rtol=1e-6)
    np.testing.assert_allclose(ranking(fit, rank_scale=None, power=1.0), floored, rtol=1e-6)
    assert (np.diff(ranking(fit, rank_scale=50.0, power=0.0), axis=0) < 0).all()  # the source's order


@pytest.fixture
def rank(tmp_path: Path, image_list):
    """Ranks the regions of two images by maps of given sizes; gives the artifact's path."""

    def run(labels=None, supervision="image tags", count=3, classes=("thing",)):
        rgb = np.zeros((6, 12, 3), np.uint8)
        images = image_list({"a": rgb, "b": rgb})
        regions = Regions.from_masks(np.stack([ODD, BOTH, LEFT, RIGHT]))
        with create(
            tmp_path / "p.h5", Proposals, header={"source": "heg", "supervision": "label-free"}, provenance=HERE
        ) as to:
            for image in "ab":
                to.append(Proposals(image=image, scores=np.arange(4, 0, -1, np.float32), **packed_fields(regions)))
        header = {"classes": list(classes), "source": "cam", "supervision": supervision}
        with create(tmp_path / "m.h5", SemanticMaps, header=header, provenance=HERE) as to:
            shown = np.where(RIGHT, 1, 0).astype(np.uint8) if labels is None else labels
            to.append(SemanticMaps(image="b", labels=shown))
            to.append(SemanticMaps(image="a", labels=np.zeros((6, 12), np.uint8)))
        settings = RankedSettings(
            kind="ranked", proposals="heg", semantics="cam", count=count, rank_scale=100.0, power=1.0, min_area=1
        )
        rank_proposals(
            images=images, proposals=tmp_path / "p.h5", semantics=tmp_path / "m.h5", output=tmp_path / "r.h5",
            settings=settings, source="fits",
        )  # fmt: skip
        return tmp_path / "r.h5"

    return run


def test_the_step_orders_and_cuts(rank, caplog):
    caplog.set_level("INFO")
    with read(rank(), Proposals) as ranked:
        assert ranked.header == {
            "source": "fits", "supervision": "label-free", "ranked_by": "image tags", "classes": ["thing"],
        }  # fmt: skip
        moved, kept = ranked.find("b"), ranked.find("a")
    assert (moved.regions.masks() == np.stack([RIGHT, BOTH, ODD])).all()
    assert (kept.regions.masks() == np.stack([ODD, BOTH, LEFT])).all()  # its map shows nothing
    assert (np.diff(moved.scores) <= 0).all()
    assert (moved.scores == moved.class_scores.max(1)).all()
    np.testing.assert_allclose(moved.class_scores[:, 0], [np.exp(-0.03), np.exp(-0.01) / 2, 4 / 36], rtol=1e-6)
    assert "1 of 2 images have maps that fit no proposal" in caplog.text


def test_masks_behind_the_maps_are_named(rank):
    with read(rank(supervision="masks"), Proposals) as ranked:
        assert ranked_by(ranked) == "masks"


def test_a_map_of_another_size_is_refused(rank, tmp_path):
    with pytest.raises(ValueError, match=r"image 'b': the semantic map is \(5, 12\) .* remake both"):
        rank(labels=np.ones((5, 12), np.uint8))
    assert not (tmp_path / "r.h5").exists()


def test_maps_of_other_classes_are_refused(rank, tmp_path):
    with pytest.raises(ValueError, match="remake the maps"):
        rank(classes=["thong"])
    assert not (tmp_path / "r.h5").exists()
