"""Which predictions become pseudo masks, and the step that writes them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.storage import read
from stages.mask_rcnn.make_pseudo_masks import make_pseudo_masks
from stages.mask_rcnn.pseudo_masks import choose_pseudo_masks
from stages.ops.regions import Regions
from tests.mask_rcnn.conftest import IMAGES, PREDICTED, predictions, rectangles

# A cat, the same cat a little larger, a dog on the cat, a weak hen, a dog elsewhere, and an empty mask.
SIDES = [(0, 10, 0, 10), (0, 10, 0, 12), (0, 10, 0, 10), (20, 30, 20, 30), (20, 30, 40, 50), (0, 0, 0, 0)]
LABELS, SCORES = np.array([0, 0, 1, 2, 1, 0]), np.array([0.9, 0.8, 0.7, 0.2, 0.3, 0.95], np.float32)
TAGS = np.array([True, False, True])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, [0, 1], id="official: tags and 0.3 alone"),
        pytest.param({"tagged_only": False}, [0, 1, 2, 4], id="all classes; a score of the threshold counts"),
        pytest.param({"score_threshold": 0.85}, [0], id="score"),
        pytest.param({"overlap_threshold": 0.8}, [0], id="overlap within a class"),
        pytest.param({"overlap_threshold": 0.9}, [0, 1], id="overlap below its threshold"),
        pytest.param({"overlap_threshold": 0.8, "tagged_only": False}, [0, 2, 4], id="classes do not drop each other"),
        pytest.param({"overlap_threshold": 0.8, "overlap_between": "any", "tagged_only": False}, [0, 4], id="any class"),
        pytest.param({"keep_best": True}, [0, 1, 3], id="best of a tagged class under the threshold"),
        pytest.param({"keep_best": True, "score_threshold": 2.0}, [0, 3], id="best of each class; never an empty mask"),
        pytest.param({"keep_best": True, "score_threshold": 2.0, "tagged_only": False}, [0, 2, 3], id="best of any class"),
    ],
)  # fmt: skip
def test_rules(tiny, changes, expected):
    settings = tiny(pseudo_masks=changes).pseudo_masks
    regions = Regions.from_masks(rectangles(*SIDES))
    chosen = choose_pseudo_masks(regions, LABELS, SCORES, tags=TAGS, settings=settings)
    assert chosen.tolist() == expected


def test_a_mask_of_a_single_pixel_is_a_mask(tiny):
    regions = Regions.from_masks(rectangles((3, 4, 5, 6), (0, 0, 0, 0)))
    classes, scores = np.array([0, 0]), np.array([0.9, 0.9], np.float32)
    chosen = choose_pseudo_masks(regions, classes, scores, tags=TAGS, settings=tiny().pseudo_masks)
    assert chosen.tolist() == [0]


def test_masks_that_overlap_by_just_the_threshold_are_rivals(tiny):
    regions = Regions.from_masks(rectangles((0, 10, 0, 10), (0, 10, 0, 5)))
    classes, scores = np.array([0, 0]), np.array([0.9, 0.8], np.float32)
    for threshold, expected in ((0.5, [0]), (0.51, [0, 1])):
        settings = tiny(pseudo_masks={"overlap_threshold": threshold}).pseudo_masks
        assert choose_pseudo_masks(regions, classes, scores, tags=TAGS, settings=settings).tolist() == expected


def test_official_rule_keeps_every_survivor_of_a_tagged_class_from_0_3_on(tiny):
    """Official CIM: classes of the image label, as suppressed in prediction, scores below 0.3 dropped, no keep-best."""
    settings = tiny().pseudo_masks
    regions = Regions.from_masks(rectangles(*[(0, 5, 0, 5)] * 4))
    scores = np.array([0.31, 0.3, 0.2999, 0.9], np.float32)
    chosen = choose_pseudo_masks(regions, np.array([0, 0, 0, 1]), scores, tags=TAGS, settings=settings)
    assert chosen.tolist() == [0, 1]


@given(
    scores=st.lists(st.floats(0, 1, width=32), min_size=0, max_size=8),
    changes=st.fixed_dictionaries(
        {"tagged_only": st.booleans(), "keep_best": st.booleans(), "overlap_threshold": st.sampled_from([None, 0.4])}
    ),
    seed=st.integers(0, 99),
)
def test_whatever_is_chosen_is_best_first_and_tagged(tiny, scores, changes, seed):
    rng = np.random.default_rng(seed)
    masks, labels = rng.random((len(scores), 4, 5)) < 0.4, rng.integers(0, 3, len(scores))
    settings = tiny(pseudo_masks=changes).pseudo_masks
    values = np.array(scores, np.float32)
    chosen = choose_pseudo_masks(Regions.from_masks(masks), labels, values, tags=TAGS, settings=settings)
    assert (np.diff(values[chosen]) <= 0).all()
    assert len(set(chosen.tolist())) == len(chosen)
    assert masks[chosen].any((1, 2)).all()
    assert not settings.tagged_only or TAGS[labels[chosen]].all()
    possible = masks.any((1, 2)) & (TAGS[labels] | (not settings.tagged_only))
    assert not settings.keep_best or set(labels[chosen]) == set(labels[possible])


@pytest.fixture
def make(toy, tmp_path):
    def make(settings, *, images=toy.images, instances=toy.instances, marks=None):
        output = tmp_path / "pseudo_masks.h5"
        make_pseudo_masks(
            images=images, instances=instances, marks=marks, output=output, settings=settings.pseudo_masks
        )
        with read(output, Instances) as masks:
            return masks.header, {record.image: record for record in masks}

    return make


@pytest.mark.parametrize(
    ("changes", "images", "counts"),
    [
        pytest.param({}, ["p0", "p1"], {"negatives": 0, "unknown": 1, "empty": 2, "masks": 4}, id="empty images dropped"),
        pytest.param({"empty": "negative"}, ["p0", "p1", "p2", "p3"], {"negatives": 0, "unknown": 1, "empty": 2, "masks": 4}, id="kept as negatives"),
        pytest.param({"keep_best": True}, ["p0", "p1", "p2"], {"negatives": 0, "unknown": 1, "empty": 1, "masks": 5}, id="best kept"),
        pytest.param({"tagged_only": False}, ["p0", "p1", "p4"], {"negatives": 0, "unknown": 0, "empty": 2, "masks": 6}, id="untagged images too"),
    ],
)  # fmt: skip
def test_empty_and_untagged_images_are_counted(make, tiny, changes, images, counts, caplog):
    with caplog.at_level("INFO"):
        header, records = make(tiny(pseudo_masks=changes))
    assert list(records) == images
    assert header["counts"] == {"images": 5, **counts}
    assert f"{counts['empty']} images that should have a pseudo mask have none" in caplog.text
    assert f"{counts['unknown']} images that nobody looked at are left out" in caplog.text


def test_images_that_show_none_of_the_classes_are_kept_without_masks(make, tiny, toy):
    images = toy.listed("negative", looked_at=True)
    header, records = make(tiny(), images=images)
    assert list(records) == ["p0", "p1", "p4"]
    assert header["counts"] == {"images": 5, "negatives": 1, "unknown": 0, "empty": 2, "masks": 4}
    assert not len(records["p4"].classes)  # a dog of score 0.9 was predicted
    assert list(make(tiny(pseudo_masks={"tagged_only": False}), images=images)[1]) == ["p0", "p1", "p4"]


def test_masks_are_the_predictions_own_with_their_scores(make, tiny, toy):
    header, records = make(tiny())
    assert (header["run"], header["method"], header["supervision"]) == ("cim", "cim", "image tags")
    assert records["p1"].classes.tolist() == [0, 1]
    assert np.allclose(records["p1"].scores, [0.8, 0.5])
    assert np.array_equal(records["p1"].regions.masks(), rectangles(*toy.sides[1][:2]))


def test_scores_above_1_keep_their_values_and_their_order(make, tiny, toy):
    """BESTIE's center heatmap has no limits; ties at 1 would change which mask is the better one."""
    scores = ([1.125, 1.25], *toy.scores[1:])
    records = [predictions(*row) for row in zip(toy.ids, toy.sides, toy.classes, scores, strict=True)]
    chosen = make(tiny(), instances=toy.write("above_1", Instances, records, **PREDICTED))[1]["p0"]
    assert chosen.scores.tolist() == [1.25, 1.125]
    assert np.array_equal(chosen.regions.masks(), rectangles(*toy.sides[0])[::-1])


def test_points_stay_points(make, tiny, toy):
    predicted = toy.write("points_run", Instances, toy.records(), **{**PREDICTED, "supervision": "points"})
    assert make(tiny(), instances=predicted)[0]["supervision"] == "points"


def test_no_pseudo_mask_at_all_is_an_error(make, tiny):
    with pytest.raises(ValueError, match="none of 5 images has a pseudo mask.*lower score_threshold"):
        make(tiny(pseudo_masks={"score_threshold": 0.95, "empty": "negative"}))


@pytest.mark.parametrize(
    ("records", "header", "message"),
    [
        pytest.param([predictions("p0")], {}, "lacks 4 of the 5 images.*'p1'", id="other images"),
        pytest.param(None, {"classes": ["cat"]}, "holds classes", id="other classes"),
        pytest.param([*[predictions(f"p{i}") for i in range(4)], predictions("p4"), predictions("p5")], {}, "no image has|none of 5", id="nothing predicted"),
        pytest.param([predictions("p0", [(0, 9, 0, 9)], [0], [np.nan]), *[predictions(f"p{i}") for i in range(1, 5)]], {}, "'p0' hold scores that are not finite", id="nan"),
    ],
)  # fmt: skip
def test_bad_predictions_are_refused(make, tiny, toy, records, header, message):
    path = toy.write("bad", Instances, records or toy.records(), **{**PREDICTED, **header})
    with pytest.raises(ValueError, match=message):
        make(tiny(), instances=path)


def test_wrong_kind_missing_and_cut_off_files_are_refused(make, tiny, toy, tmp_path):
    with pytest.raises(ValueError, match="artifact of kind 'images', expected 'instances'"):
        make(tiny(), instances=toy.images)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        make(tiny(), instances=tmp_path / "none.h5")
    cut = tmp_path / "cut.h5"
    cut.write_bytes(toy.instances.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cut off"):
        make(tiny(), instances=cut)


def test_an_empty_split_is_an_error(make, tiny, toy):
    images = toy.write("no_images", ImageRecord, [], **IMAGES)
    with pytest.raises(ValueError, match="none of 0 images"):
        make(tiny(), images=images)


@pytest.fixture
def marked(toy, tmp_path):
    """A file of marks of the toy's predictions: the first of p0 is bad, all of p1 is of the wrong class."""

    def marked(**changes):
        with read(toy.instances, Instances) as found:
            first, header = found.find("p0"), found.header
        instance = {
            "layer": "predictions", "index": 0, "class": header["classes"][first.classes[0]],
            "score": round(float(first.scores[0]), 4), "mark": "bad", **changes,
        }  # fmt: skip
        with read(toy.images, ImageRecord) as listing:
            split = listing.header["split"]
        data = {
            "format": "tagmask marks", "version": 1, "dataset": "toy", "split": split, "run": header["run"],
            "fingerprint": "", "images": [
                {"image": "p0", "mark": None, "instances": [instance]},
                {"image": "p1", "mark": "wrong class", "instances": []},
            ],
        }  # fmt: skip
        path = tmp_path / "marks.json"
        path.write_text(json.dumps(data))
        return path

    return marked


def test_what_people_have_marked_is_left_out_and_said(make, tiny, marked, caplog):
    caplog.set_level("INFO")
    _, before = make(tiny())
    header, masks = make(tiny(pseudo_masks={"drop_marked": ["bad"]}), marks=marked())
    assert sorted(masks) == ["p0", "p1"]
    assert masks["p0"].scores.tolist() == before["p0"].scores.tolist()[1:]
    assert masks["p1"].scores.tolist() == before["p1"].scores.tolist()
    assert (header["counts"]["marked"], header["supervision"]) == (1, "marks of predictions")
    header, masks = make(tiny(pseudo_masks={"drop_marked": ["wrong class"]}), marks=marked())
    assert sorted(masks) == ["p0"]
    assert masks["p0"].scores.tolist() == before["p0"].scores.tolist()
    assert header["counts"]["marked"] == 1
    assert "1 images and predictions are left out as people have marked them" in caplog.text


def test_a_mark_of_another_layer_leaves_nothing_out(make, tiny, marked):
    header, _ = make(tiny(pseudo_masks={"drop_marked": ["bad"]}), marks=marked(layer="predictions, mask_rcnn"))
    assert header["counts"]["marked"] == 0


@pytest.mark.parametrize(
    "changes",
    [{"score": 0.123}, {"index": 99}, {"class": "hen"}, {"score": None}],
    ids=["score", "index", "class", "none"],
)
def test_marks_of_other_predictions_are_refused(make, tiny, marked, changes):
    with pytest.raises(ValueError, match="image 'p0', instance .* they were made anew since: mark them again"):
        make(tiny(pseudo_masks={"drop_marked": ["bad"]}), marks=marked(**changes))
