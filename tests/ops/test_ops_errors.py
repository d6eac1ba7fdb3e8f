"""Kinds of errors, on regions drawn by hand: each rule alone, and the order in which they are asked."""

import numpy as np
import pytest

from stages.ops.errors import KINDS, MEANINGS, kinds_of_errors
from stages.ops.regions import Regions

SIZE = (20, 40)


def box(x0, y0, x1, y1):
    mask = np.zeros(SIZE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


CAT, COW = box(0, 0, 10, 10), box(20, 0, 30, 10)


def sorted_out(predictions, instances, *, classes=None, instance_classes=None, crowd=None):
    """What `kinds_of_errors` says of masks, with names for codes; all of class 0 unless said otherwise."""
    drawn, annotated = (
        Regions.from_masks(np.array(masks, bool).reshape(-1, *SIZE)) for masks in (predictions, instances)
    )
    found = kinds_of_errors(
        drawn.intersections(annotated),
        areas=drawn.areas(),
        instance_areas=annotated.areas(),
        classes=np.zeros(len(drawn), int) if classes is None else np.array(classes),
        instance_classes=np.zeros(len(annotated), int) if instance_classes is None else np.array(instance_classes),
        crowd=np.zeros(len(annotated), bool) if crowd is None else np.array(crowd),
    )
    return [KINDS[code] for code in found.of], found


@pytest.mark.parametrize(
    ("mask", "kind"),
    [
        (CAT, "right"),
        (box(0, 0, 10, 5), "right"),  # IoU .5 suffices
        (box(0, 0, 10, 4), "part"),
        (box(0, 0, 19, 19), "loose"),
        (box(0, 0, 30, 10), "grouped"),
        (box(30, 15, 40, 20), "background"),
        (box(8, 0, 18, 10), "poor"),  # IoU .11
        (box(4, 0, 19, 19), "poor"),  # holds six tenths
        (box(9, 0, 19, 10), "background"),  # IoU .05
    ],
)
def test_each_kind_of_one_prediction(mask, kind):
    assert sorted_out([mask], [CAT, COW])[0] == [kind]


def test_the_second_prediction_of_an_instance_is_a_duplicate():
    kinds, found = sorted_out([CAT, box(0, 0, 10, 9), COW], [CAT, COW])
    assert kinds == ["right", "duplicate", "right"]
    assert found.found.tolist() == [True, True]
    assert found.instance.tolist() == [0, 0, 1]


def test_a_mask_of_another_class_is_no_duplicate_and_finds_nothing():
    kinds, found = sorted_out([CAT], [CAT, COW], classes=[1], instance_classes=[0, 1])
    assert kinds == ["class"]
    assert not found.found.any()
    assert found.instance.tolist() == [0]
    assert found.iou.tolist() == [1.0]
    assert sorted_out([box(0, 0, 10, 5)], [CAT], classes=[1])[0] == ["class"]  # IoU .5 suffices, as for the right class


def test_its_own_class_comes_first_where_two_instances_lie_on_each_other():
    kinds, found = sorted_out([box(0, 0, 10, 9)], [CAT, box(0, 0, 10, 7)], classes=[1], instance_classes=[0, 1])
    assert kinds == ["right"]
    assert found.instance.tolist() == [1]


def test_a_crowd_is_neither_found_nor_missed_and_what_lies_in_it_counts_neither_way():
    kinds, found = sorted_out([CAT, box(20, 0, 30, 5)], [CAT, COW], crowd=[False, True])
    assert kinds == ["right", "crowd"]
    assert found.found.tolist() == [True, False]
    assert sorted_out([COW], [CAT, COW], classes=[1], crowd=[False, True])[0] == ["background"]


def test_without_instances_all_is_background_and_without_predictions_nothing_is_found():
    kinds, found = sorted_out([CAT], [])
    assert kinds == ["background"]
    assert found.instance.tolist() == [-1]
    assert found.found.shape == (0,)
    kinds, found = sorted_out([], [CAT])
    assert kinds == []
    assert found.found.tolist() == [False]


def test_an_empty_prediction_is_background():
    kinds, found = sorted_out([box(0, 0, 0, 0)], [CAT])
    assert kinds == ["background"]
    assert found.iou.tolist() == [0.0]


def test_every_kind_has_its_meaning():
    assert tuple(MEANINGS) == KINDS
