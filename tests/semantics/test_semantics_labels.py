"""Labels of pixels from response maps: the rule on hand-made maps, and the step."""

import numpy as np
import pytest
from pydantic import ValidationError

from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.records import MissingImage
from stages.semantics import labels as rule
from stages.semantics.label_pixels import label_pixels
from stages.semantics.labels import combined, normalised_responses, pixel_labels
from stages.semantics.settings import LabelPixelsSettings
from tests.semantics.conftest import CLASSES, cues_record, image_record, maps_in, write

NO_CRF = {"crf": {"iterations": 0}}


@pytest.fixture
def settings_of(tiny):
    return lambda **labels: tiny(labels=labels).labels


def test_each_pixel_gets_what_the_two_contests_say(settings_of):
    """Hand-made map of class 1 (of 3), largest response 10, thresholds 0.3 and 0.05, no CRF:

    10 and 4 (shares 1 and 0.4) win against the high threshold: foreground, 2. 3 is the threshold itself: background
    wins the first
    contest, and the class the second: uncertain. 1 likewise. 0.5 is the low threshold: background wins both: 0.
    Negative: 0.
    """
    responses = np.zeros((3, 1, 6))
    responses[1] = [[10, 4, 3, 1, 0.5, -2]]
    responses[0] = 99  # a class that the image is not tagged with takes no part
    rgb = np.zeros((1, 6, 3), np.uint8)
    found = pixel_labels(rgb, responses, np.array([1]), settings_of(**NO_CRF))
    assert found.tolist() == [[2, 2, 255, 255, 0, 0]]
    assert found.dtype == np.uint8


def test_classes_compete_by_share_of_their_own_maximum(settings_of):
    """Class 0 responds weakly everywhere, yet wins where its share is larger."""
    responses = np.zeros((3, 1, 3))
    responses[0], responses[2] = [[1, 0.6, 0.1]], [[10, 5, 100]]
    found = pixel_labels(np.zeros((1, 3, 3), np.uint8), responses, np.array([0, 2]), settings_of(**NO_CRF))
    assert found.tolist() == [[1, 1, 3]]


@pytest.mark.parametrize(
    ("foreground", "background", "known", "expected"),
    [
        pytest.param(2, 2, True, 2, id="both a class"),
        pytest.param(2, 0, True, 2, id="the high threshold alone decides a class"),
        pytest.param(2, 1, True, 2, id="two classes: that of the high threshold"),
        pytest.param(0, 0, True, 0, id="both background"),
        pytest.param(0, 2, True, 255, id="background against the high threshold, a class against the low one"),
        pytest.param(0, 0, False, 255, id="a class that nowhere responds may be there"),
        pytest.param(2, 0, False, 2, id="foreground is known nevertheless"),
    ],
)
def test_contests_are_combined_as_in_irnet(foreground, background, known, expected):
    arrays = (np.array([[value]], np.uint8) for value in (foreground, background))
    assert combined(*arrays, background_known=known).tolist() == [[expected]]


def test_a_class_that_nowhere_responds_leaves_no_confident_background(settings_of):
    responses = np.zeros((3, 1, 3))
    responses[0], responses[1] = [[10, 0, 0]], -1
    rgb = np.zeros((1, 3, 3), np.uint8)
    assert pixel_labels(rgb, responses, np.array([0, 1]), settings_of(**NO_CRF)).tolist() == [[1, 255, 255]]
    assert pixel_labels(rgb, responses, np.array([0]), settings_of(**NO_CRF)).tolist() == [[1, 0, 0]]


def test_responses_are_enlarged_before_they_are_divided_by_their_maximum():
    """Bilinear as cv2 and IRNet's upsampling do it (pixel centers, corners not aligned), negative parts cut off first."""
    found = normalised_responses(np.array([[[-8.0, 8.0]], [[-1.0, -2.0]]]), (1, 4))
    np.testing.assert_allclose(found[0], [[0, 0.25, 0.75, 1]])
    np.testing.assert_array_equal(found[1], 0)


def test_the_crf_runs_once_for_each_threshold_with_the_settings(settings_of, monkeypatch):
    calls = []

    def spy(rgb, probabilities, **settings):
        calls.append((probabilities[:, 0, 0].round(6).tolist(), settings))
        return probabilities

    monkeypatch.setattr(rule, "dense_crf", spy)
    responses = np.zeros((3, 1, 2))
    responses[0] = [[1, 10]]  # the first pixel lies between the thresholds
    settings = settings_of(gt_prob=0.8)
    pixel_labels(np.zeros((1, 2, 3), np.uint8), responses, np.array([0]), settings)
    expected = settings.crf.model_dump()
    assert calls == [(pytest.approx([0.8, 0.2]), expected), (pytest.approx([0.2, 0.8]), expected)]


def test_the_crf_moves_the_border_to_the_colours(toy, settings_of):
    """Responses of 6 x 6 become labels whose foreground is the rectangle, nearly."""
    found = pixel_labels(toy.rgb(0), toy.cues[0].responses, np.array([0]), settings_of())
    ground_truth = toy.ground_truth(0)
    assert (found[ground_truth == 1] == 1).mean() > 0.95
    assert not (found[ground_truth == 0] == 1).any()


@pytest.mark.parametrize("longer_side", [32, 48, 4096])
def test_a_smaller_working_size_gives_labels_of_the_image(toy, settings_of, longer_side):
    settings = settings_of(longer_side=longer_side)
    found = pixel_labels(toy.rgb(1), toy.cues[1].responses, np.array([1]), settings)
    assert found.shape == toy.sizes[1]
    decided = found != 255
    assert (found == toy.ground_truth(1))[decided].mean() > 0.9
    if longer_side == 4096:  # nothing is enlarged
        plain = pixel_labels(toy.rgb(1), toy.cues[1].responses, np.array([1]), settings_of())
        np.testing.assert_array_equal(found, plain)


def test_without_a_class_all_is_uncertain(settings_of):
    found = pixel_labels(np.zeros((4, 5, 3), np.uint8), np.ones((3, 2, 2)), np.zeros(0, int), settings_of())
    assert (found == 255).all()


def test_thresholds_in_the_wrong_order_are_refused(settings_of):
    with pytest.raises(ValidationError, match=r"bg_threshold 0.4 is above fg_threshold 0.3"):
        settings_of(bg_threshold=0.4)


@pytest.fixture
def label(toy, tiny, tmp_path):
    def label(*, images=toy.images, cues=toy.cues_file, tagged_on=("train",), **labels):
        output = tmp_path / "labels.h5"
        settings = LabelPixelsSettings(labels=tiny(labels=labels).labels, tagged_on=list(tagged_on))
        label_pixels(images=images, cues=cues, output=output, settings=settings, source="cam")
        return maps_in(output)

    return label


def test_the_step_writes_labels_of_tagged_classes_and_counts_untagged_images(label, toy, caplog):
    header, maps = label()
    assert header == {"classes": CLASSES, "source": "cam", "supervision": "image tags"}
    assert list(maps) == list(toy.ids)
    assert [set(np.unique(maps[i]).tolist()) - {255} for i in toy.ids] == [{0, 1}, {0, 2}, {1}, set()]
    assert "1 of 4 images are uncertain everywhere: p3" in caplog.text


def test_on_other_splits_the_classes_are_those_that_the_classifier_predicts(label, toy):
    """p2 has tags 0 and 2, of which it predicts 0; p3 has no tag, and 2 is predicted."""
    _, maps = label(images=toy.test_images)
    assert [set(np.unique(maps[i]).tolist()) - {255} for i in toy.ids] == [{0, 1}, {0, 2}, {0, 1}, {0, 3}]


def test_on_other_splits_an_image_without_a_predicted_class_is_background(label, toy, tmp_path):
    nothing = [cues_record(i, np.ones((3, 2, 2)), [-1, -1, -1]) for i in toy.ids]
    _, maps = label(images=toy.test_images, cues=write(tmp_path / "none.h5", Cues, nothing))
    assert not any(labels.any() for labels in maps.values())


def test_supervision_of_the_cues_goes_on(label, toy, tmp_path):
    header, _ = label(cues=write(tmp_path / "cues.h5", Cues, toy.cues, supervision="scribbles"))
    assert header["supervision"] == "scribbles"


@pytest.mark.parametrize(
    ("records", "header", "error", "message"),
    [
        pytest.param(slice(0, 2), {}, MissingImage, "no image 'p2'", id="missing image"),
        pytest.param(slice(0, 4), {"classes": ["a", "b", "c"]}, ValueError, "holds classes .*remake the cues", id="other classes"),
    ],
)  # fmt: skip
def test_cues_that_do_not_fit_are_refused(label, toy, tmp_path, records, header, error, message):
    cues = write(tmp_path / "cues.h5", Cues, toy.cues[records], **header)
    with pytest.raises(error, match=message):
        label(cues=cues)
    assert not (tmp_path / "labels.h5").exists()


def test_cues_of_points_have_no_maps_and_are_refused(label, toy, tmp_path):
    points = [cues_record(i, np.zeros((3, 0, 0)), [0, 0, 0]) for i in toy.ids]
    with pytest.raises(ValueError, match="has no response maps .head 'points'.; give a classifier's cues"):
        label(cues=write(tmp_path / "cues.h5", Cues, points, head="points"))


def test_more_classes_than_a_byte_holds_are_refused(label, tmp_path):
    names = [f"c{i}" for i in range(255)]
    images = write(
        tmp_path / "many.h5", ImageRecord, [image_record("p0", np.zeros((4, 4, 3), np.uint8), [0] * 255)], classes=names
    )
    with pytest.raises(ValueError, match="has 255 classes; semantic maps hold at most 254"):
        label(images=images)


def test_a_list_without_images_gives_no_maps(label, tmp_path):
    empty = write(tmp_path / "empty.h5", ImageRecord, [])
    assert label(images=empty, cues=write(tmp_path / "none.h5", Cues, []))[1] == {}
