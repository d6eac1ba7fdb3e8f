"""The built-in scenes: exact, reproducible, and not solved by colour alone."""

import colorsys
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.images.objects import FORMS, form_mask
from stages.images.settings import ImagesSettings
from stages.images.shapes import Shapes, draw_scene, generator_of

Settings = Callable[..., ImagesSettings]


@pytest.mark.parametrize("form", FORMS)
@given(turn=st.floats(0, 7), radius=st.floats(8, 20))
def test_a_form_has_the_area_of_a_disc_of_its_radius(form: str, turn: float, radius: float) -> None:
    mask = form_mask(form, (50.2, 49.7), radius, turn, height=100, width=100)
    assert mask.sum() == pytest.approx(np.pi * radius**2, rel=0.06)
    assert mask[50, 50]


def test_a_square_is_filled_by_pixel_centers() -> None:
    # Half side 1.7 turned by 45 degrees is upright: 3 x 3 pixel centers lie in it.
    mask = form_mask("square", (2, 2), 1.7 * 2 / np.sqrt(np.pi), np.pi / 4, height=5, width=5)
    expected = np.zeros((5, 5), bool)
    expected[1:4, 1:4] = True
    np.testing.assert_array_equal(mask, expected)


def test_masks_are_disjoint_visible_and_where_the_objects_are(settings_of: Settings) -> None:
    block = settings_of("shapes").shapes
    for number in range(30):
        scene = draw_scene(block, [0, 1, 2, 3], generator_of(0, "train", number))
        assert scene.rgb.shape == (64, 80, 3)
        assert len(scene.masks) == len(scene.forms) >= 1
        assert scene.masks.sum(0).max() == 1
        # The smallest object, its tips cut by the border, and covered as far as is allowed.
        assert scene.masks.sum((1, 2)).min() >= 0.8 * block.min_visible * np.pi * block.min_radius**2
        assert len(set(scene.forms)) <= block.max_classes


def test_scenes_have_several_instances_classes_and_occlusion(settings_of: Settings) -> None:
    block = settings_of("shapes").shapes
    scenes = [draw_scene(block, [0, 1, 2, 3], generator_of(0, "train", n)) for n in range(60)]
    counts = np.array([len(scene.forms) for scene in scenes])
    assert {2, 3, 4} <= set(counts.tolist())
    assert np.mean([len(set(scene.forms)) > 1 for scene in scenes]) > 0.25
    least = np.pi * block.min_radius**2
    covered = [mask.sum() < 0.85 * least for scene in scenes for mask in scene.masks]
    assert np.mean(covered) > 0.02


def test_a_scene_depends_on_seed_split_and_number_alone(settings_of: Settings) -> None:
    def images(split: str = "train", **block: Any) -> list[bytes]:
        data = Shapes(settings_of("shapes", **block).chosen(split), split)
        return [data.embedded(image) for image in data.images]

    first = images()
    assert images() == first
    assert images(splits={"train": 9, "val": 1})[:6] == first
    assert len(set(first)) == 6
    assert not set(first) & set(images("val"))
    assert not set(first) & set(images(seed=1))


def test_selected_classes_are_the_only_ones_drawn(settings_of: Settings) -> None:
    data = Shapes(settings_of("shapes", classes=["star", "disc"]).chosen("train"), "train")
    assert data.category_ids == [4, 1]
    tagged = {tag for image in data.images for tag in data.tags(image)}
    assert tagged == {0, 1}
    for image in data.images:
        ground_truth = data.ground_truth(image, 64, 80)
        assert set(ground_truth.classes.tolist()) == data.tags(image)


def test_forms_that_are_no_class_are_drawn_and_neither_tag_nor_count(settings_of: Settings) -> None:
    """The scenes are those of both classes: what differs is what is said of them."""
    block = {"splits": {"train": 24}, "forms": ["square", "disc"]}
    both = Shapes(settings_of("shapes", classes=["disc", "square"], **block).chosen("train"), "train")
    one = Shapes(settings_of("shapes", classes=["disc"], **block).chosen("train"), "train")
    assert one.category_ids == [1]
    for image in both.images:
        assert one.embedded(image) == both.embedded(image)
        assert one.tags(image) == both.tags(image) - {1}
        known, selected = both.ground_truth(image, 64, 80), one.ground_truth(image, 64, 80)
        np.testing.assert_array_equal(selected.masks, known.masks[known.classes == 0])
        np.testing.assert_array_equal(selected.annotation_ids, known.annotation_ids[known.classes == 0])
    negatives = sum(not one.tags(image) for image in one.images)
    assert 0 < negatives < 24


def test_scenes_may_be_empty(settings_of: Settings, listing: Any) -> None:
    with listing("shapes", splits={"train": 24}, min_objects=0, max_objects=1) as made:
        empty = [not len(ground_truth.classes) for ground_truth in made.ground_truth]
        assert [not image.tags.any() for image in made.images] == empty
        assert made.images.header["negatives"] == sum(empty) > 0
        assert all(ground_truth.annotated for ground_truth in made.ground_truth)


def test_a_class_that_is_not_drawn_is_named(settings_of: Settings) -> None:
    settings = settings_of("shapes", classes=["star", "disc"], forms=["disc", "square"])
    with pytest.raises(ValueError, match="images.shapes.forms draws no star, but the classes are star, disc; add"):
        Shapes(settings.chosen("train"), "train")


def test_an_unknown_class_is_named(settings_of: Settings) -> None:
    with pytest.raises(ValueError, match="names circle, not among the classes of shapes: disc, square, triangle, star"):
        Shapes(settings_of("shapes", classes=["circle"]).chosen("train"), "train")


def test_colour_hints_at_the_class_but_does_not_settle_it(settings_of: Settings) -> None:
    data = Shapes(settings_of("shapes", splits={"train": 150}).chosen("train"), "train")
    right: list[bool] = []
    for image in data.images:
        rgb = np.array(Image.open(io.BytesIO(data.embedded(image))))
        ground_truth = data.ground_truth(image, *rgb.shape[:2])
        for mask, label in zip(ground_truth.masks, ground_truth.classes, strict=True):
            hue = colorsys.rgb_to_hsv(*rgb[mask].mean(0) / 255)[0]
            right.append(round(hue * len(FORMS)) % len(FORMS) == label)
    # Chance is 0.25; 0.7 of the objects have their own hue, and a quarter of the others by chance.
    assert 0.6 < np.mean(right) < 0.9
