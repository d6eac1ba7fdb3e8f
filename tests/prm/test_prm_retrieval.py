"""The peak-to-best-proposal baseline, by hand and against the plain definition."""

import dataclasses

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create, read
from stages.ops.regions import Regions
from stages.prm.retrieval import predicted_peaks, proposal_fit, retrieve_instances
from stages.prm.retrieve_prm import retrieve_prm
from stages.prm.settings import PrmSettings

SIZE = (40, 60)
OFFICIAL = {
    "class_threshold": 0.0, "peak_share": 0.0, "grid": 60, "contour_width": 5, "response_weight": 0.8,
    "contour_weight": 1.0, "background_weight": 2.0, "background_factor": 0.95, "min_area": 2e-5,
    "max_area": 0.85, "nms_threshold": 0.3,
}  # fmt: skip


def settings(**overrides):
    return PrmSettings.model_validate(OFFICIAL | overrides)


def blob(y, x, spread=5.0):
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return 12 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * spread**2))


def box_masks(*boxes):
    masks = np.zeros((len(boxes), *SIZE), bool)
    for mask, (y0, y1, x0, x1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def cues(peaks=((20, 12), (20, 45)), classes=(0, 0), scores=(12.0, 12.0), class_scores=(3.0, -3.0)):
    left, right = blob(20, 12), blob(20, 45)
    return Cues(
        image="p", responses=np.stack([left + right - 1, left - 5]).astype(np.float32),
        class_scores=np.array(class_scores, np.float32), peaks=np.array(peaks, np.int32).reshape(-1, 2),
        peak_classes=np.array(classes, np.int32), peak_scores=np.array(scores, np.float32),
    )  # fmt: skip


# Left and right blob, a part of the left one, both together, nearly everything.
BOXES = ((10, 30, 2, 22), (10, 30, 35, 55), (15, 25, 7, 17), (10, 30, 2, 55), (0, 40, 0, 58))


def test_each_peak_takes_the_proposal_that_covers_its_own_blob():
    # A smooth response is strongest within, so the contour term would prefer parts.
    chosen = settings(contour_weight=0.0)
    found = retrieve_instances(Regions.from_masks(box_masks(*BOXES)), cues(), settings=chosen)
    assert sorted(found.proposals.tolist()) == [0, 1]
    assert found.classes.tolist() == [0, 0]
    np.testing.assert_allclose(found.scores, 1 / (1 + np.exp(-3)), rtol=1e-6)


def test_the_fit_is_equation_5_mask_by_mask():
    seen, masks, chosen = cues(), box_masks(*BOXES), settings()
    response = seen.responses[0]
    # Two equal blobs: the watershed runs half way between them.
    basin = np.arange(SIZE[1]) <= 28
    background = response < 0.95 * response.mean()
    for peak, within in ((0, basin), (1, ~basin)):
        own = np.maximum(response, 0) * within
        own = own / own.sum()
        for n, mask in enumerate(masks):
            contour = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)).astype(
                bool
            )
            expected = 0.8 * own[mask].sum() + own[contour].sum() - 2 * background[mask].sum() / mask.size
            fit = proposal_fit(Regions.from_masks(masks), seen, np.array([0, 1]), settings=chosen)[peak, n]
            if mask.mean() >= 0.85:
                assert fit == -np.inf
            else:
                assert fit == pytest.approx(expected, abs=2e-3), (peak, n)


def test_proposals_too_small_or_too_large_fit_nothing():
    regions = Regions.from_masks(box_masks((0, 40, 0, 51), (0, 40, 0, 50), (20, 21, 12, 13)))
    fit = proposal_fit(regions, cues(), np.array([0]), settings=settings(min_area=1e-3))
    assert np.isfinite(fit).tolist() == [[False, True, False]]
    assert len(retrieve_instances(regions.select([0, 2]), cues(), settings=settings(min_area=1e-3)).scores) == 0


@pytest.mark.parametrize(
    ("overrides", "given", "kept"),
    [
        pytest.param({}, {}, [0, 1], id="all of a predicted class"),
        pytest.param({}, {"class_scores": (-0.5, -3.0)}, [], id="class not predicted"),
        pytest.param({"class_threshold": 3.0}, {}, [], id="class score at the threshold"),
        pytest.param({"peak_share": 0.5}, {"scores": (12.0, 5.9)}, [0], id="weak peak"),
        pytest.param({"peak_share": 0.5}, {"scores": (12.0, 6.0)}, [0, 1], id="peak at the share"),
        pytest.param({}, {"scores": (12.0, -1.0)}, [0], id="peak below zero"),
        pytest.param({}, {"peaks": (), "classes": (), "scores": ()}, [], id="no peaks"),
    ],
)
def test_peaks_that_count(overrides, given, kept):
    peaks, scores = predicted_peaks(cues(**given), settings=settings(**overrides))
    assert peaks.tolist() == kept
    assert ((scores > 0) & (scores <= 1)).all()


def test_a_score_is_the_share_of_the_best_peak_times_the_probability_of_the_class():
    _, scores = predicted_peaks(cues(scores=(12.0, 6.0)), settings=settings())
    np.testing.assert_allclose(scores, np.array([1, 0.5]) / (1 + np.exp(-3)), rtol=1e-6)


def test_of_two_peaks_on_one_proposal_the_weaker_is_dropped():
    regions = Regions.from_masks(box_masks((10, 30, 2, 55)))
    found = retrieve_instances(regions, cues(scores=(9.0, 12.0)), settings=settings())
    assert found.proposals.tolist() == [0]
    assert found.scores[0] == pytest.approx(1 / (1 + np.exp(-3)))


def test_peaks_of_two_classes_may_share_a_proposal():
    seen = cues(classes=(0, 1), peaks=((20, 12), (20, 12)), class_scores=(3.0, 1.0))
    found = retrieve_instances(Regions.from_masks(box_masks((10, 30, 2, 22))), seen, settings=settings())
    assert found.classes.tolist() == [0, 1]


def test_no_proposals_give_no_instances():
    assert len(retrieve_instances(Regions.empty(*SIZE), cues(), settings=settings()).scores) == 0


def test_order_of_proposals_does_not_matter():
    masks = box_masks(*BOXES)
    order = np.array([3, 0, 4, 2, 1])
    straight = retrieve_instances(Regions.from_masks(masks), cues(), settings=settings())
    mixed = retrieve_instances(Regions.from_masks(masks[order]), cues(), settings=settings())
    assert sorted(straight.proposals) == sorted(order[mixed.proposals])


def written(tmp_path, supervision="image tags", classes=("cat", "dog")):
    provenance = Provenance("test", None, None, {})
    regions = Regions.from_masks(box_masks(*BOXES))
    image = ImageRecord(
        image="p", path="p.jpg", encoded=np.zeros(0, np.uint8), height=SIZE[0], width=SIZE[1], file_size=1, digest="",
        tags=np.zeros(2, bool), looked_at=False,
    )  # fmt: skip
    proposals = Proposals(image="p", **packed_fields(regions), scores=np.linspace(1, 0, len(BOXES), dtype=np.float32))
    records = {"images": image, "proposals": proposals, "cues": cues()}
    headers = {
        "images": {"classes": ["cat", "dog"], "category_ids": [1, 2]}, "proposals": {},
        "cues": {"classes": list(classes), "supervision": supervision},
    }  # fmt: skip
    paths = {}
    for name, record in records.items():
        paths[name] = tmp_path / f"{name}.h5"
        with create(paths[name], type(record), header=headers[name], provenance=provenance) as out:
            out.append(record)
    return paths


def test_the_step_writes_instances_without_looking_at_tags(tmp_path):
    output = tmp_path / "instances.h5"
    retrieve_prm(**written(tmp_path), output=output, settings=settings(contour_weight=0.0), run="prm")
    with read(output, Instances) as found:
        assert found.header == {
            "classes": ["cat", "dog"], "category_ids": [1, 2], "run": "prm", "method": "prm",
            "supervision": "image tags",
        }  # fmt: skip
        assert len(found[0].scores) == 2
        masks = found[0].regions.masks()
    assert {mask.tobytes() for mask in masks} == {mask.tobytes() for mask in box_masks(*BOXES[:2])}


@pytest.mark.parametrize(
    ("given", "message"),
    [({"supervision": "points"}, "holds points"), ({"classes": ("cow", "dog")}, "remake the cues")],
)
def test_cues_that_do_not_fit_are_an_error(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        retrieve_prm(**written(tmp_path, **given), output=tmp_path / "x.h5", settings=settings(), run="prm")
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param({"contour_width": 4}, "must be odd", id="contour without a middle"),
        pytest.param({"min_area": 0.9}, "not below max_area", id="no area is allowed"),
        pytest.param({"class_threshold": -1.0}, "greater than or equal to 0", id="tags would leak through the cues"),
    ],
)
def test_impossible_settings_are_an_error(overrides, message):
    with pytest.raises(ValidationError, match=message):
        settings(**overrides)


def test_a_peak_without_a_response_of_its_own_fits_nothing():
    """Class 1 responds on the left alone: a peak of it that lies on the right has nothing positive in its basin."""
    seen = cues(classes=(1, 1), scores=(7.0, 1.0), class_scores=(-3.0, 3.0), peaks=((20, 12), (20, 45)))
    regions = Regions.from_masks(box_masks(*BOXES[:2]))
    fit = proposal_fit(regions, seen, np.array([0, 1]), settings=settings())
    assert np.isfinite(fit[0]).all()
    assert fit[1].tolist() == [-np.inf, -np.inf]
    found = retrieve_instances(regions, seen, settings=settings(contour_weight=0.0))
    assert found.proposals.tolist() == [0]


def test_where_a_response_is_its_factor_times_the_mean_there_is_no_background():
    """A response of 3 everywhere: all of it is a peak's own, and a proposal has a share of it as of the image."""
    flat = dataclasses.replace(
        cues(peaks=((20, 12),), classes=(0,), scores=(3.0,)), responses=np.full((2, 4, 6), 3, "f4")
    )
    regions, own = Regions.from_masks(box_masks((0, 20, 0, 30))), np.array([0])
    for factor, expected in ((1.0, 0.8 / 4), (1.01, 0.8 / 4 - 2 / 4)):
        fit = proposal_fit(regions, flat, own, settings=settings(contour_weight=0.0, background_factor=factor))
        assert fit.tolist() == [[pytest.approx(expected)]]


def test_instances_come_best_first():
    seen = cues(scores=(6.0, 12.0))
    found = retrieve_instances(Regions.from_masks(box_masks(*BOXES)), seen, settings=settings(contour_weight=0.0))
    assert found.proposals.tolist() == [1, 0]
    assert (np.diff(found.scores) < 0).all()


def test_there_may_be_more_proposals_than_atoms_and_atoms_that_the_grid_misses():
    many = Regions.from_masks(box_masks(*([BOXES[0]] * 9)))
    assert proposal_fit(many, cues(), np.array([0, 1]), settings=settings()).shape == (2, 9)
    masks = box_masks(BOXES[0], (39, 40, 59, 60))
    fit = proposal_fit(Regions.from_masks(masks), cues(), np.array([0]), settings=settings(grid=16, min_area=0.0))
    assert fit.shape == (1, 2)
