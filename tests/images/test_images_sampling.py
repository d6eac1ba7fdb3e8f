"""Samples of a data set: seeded, balanced by class, nested, and the same images in all artifacts."""

import logging
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.images.records import Tags
from stages.images.sampling import classes_left_out, sample_of
from stages.images.settings import SampleSettings


def rows(*tagged: tuple[int, ...] | None) -> dict[str, Tags]:
    """Images by the classes, of three, that they are tagged with; None: nobody looked."""
    return {f"{i}.png": Tags(np.isin(range(3), of or ()), looked_at=of is not None) for i, of in enumerate(tagged)}


def sample(tags: dict[str, Tags], count: int, seed: int = 0) -> list[str]:
    return sample_of(tags, SampleSettings(count=count, seed=seed))


def test_a_rare_class_and_images_without_a_tag_are_in_a_small_sample() -> None:
    tags = rows(*[(0,)] * 50, (1,), *[(2,)] * 30, *[()] * 20)
    chosen = np.stack([tags[image].classes for image in sample(tags, 12)])
    assert chosen.sum(0).tolist() == [4, 1, 4]
    assert (~chosen.any(1)).sum() == 3


def test_images_that_nobody_looked_at_come_last() -> None:
    tags = rows(None, *[None] * 20, (0,), (), (1,), (2,))
    assert sample(tags, 4) == ["21.png", "22.png", "23.png", "24.png"]
    assert len(sample(tags, 6)) == 6
    assert len(sample(rows(None, None, None), 2)) == 2


def test_images_with_points_are_in_a_small_sample_where_few_have_them() -> None:
    tags = rows(*[(i % 3,) for i in range(90)])
    pointed = ["50.png", "71.png", "88.png"]
    chosen = sample_of(tags, SampleSettings(count=8, seed=0), pointed=pointed)
    assert len(chosen) == 8 and len(set(chosen) & set(pointed)) >= 2


def test_a_class_that_comes_along_with_others_is_not_taken_again() -> None:
    tags = rows(*[(0, 1)] * 20, *[(2,)] * 20)
    assert np.sum([tags[image].classes for image in sample(tags, 10)], axis=0).tolist() == [5, 5, 5]


def test_the_seed_decides_and_the_order_stays() -> None:
    tags = rows(*[(i % 3,) for i in range(60)])
    assert sample(tags, 9) == sample(tags, 9)
    assert sample(tags, 9) != sample(tags, 9, seed=1)
    assert sorted(sample(tags, 9), key=list(tags).index) == sample(tags, 9)


def test_all_images_are_taken_where_there_are_no_more() -> None:
    tags = rows((0,), (), (1, 2))
    assert sample(tags, 3) == sample(tags, 50) == list(tags)


@given(st.lists(st.lists(st.integers(0, 2)), min_size=1, max_size=30), st.integers(1, 30), st.integers(0, 5))
def test_a_smaller_sample_lies_in_a_larger_one_and_has_its_count(tagged: Any, count: int, seed: int) -> None:
    tags = rows(*map(tuple, tagged))
    small = sample(tags, count, seed)
    assert len(set(small)) == len(small) == min(count, len(tags))
    assert set(small) <= set(sample(tags, count + 1, seed))


def test_classes_without_an_image_in_the_sample_are_named() -> None:
    tags = rows((0,), (1,))
    assert classes_left_out(tags, ["0.png"], ["a", "b", "c"]) == ["b"]


def test_a_listed_sample_is_the_same_images_in_all_artifacts(listing: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), listing("shapes", sample={"count": 3, "seed": 0}) as made:
        ids = list(made.images.ids)
        assert len(ids) == 3
        assert list(made.ground_truth.ids) == list(made.points.ids) == ids
    assert "images.sample: 3 of 6 images, seed 0" in caplog.text


def test_a_sample_that_lacks_a_class_says_so(listing: Any, caplog: pytest.LogCaptureFixture) -> None:
    with listing("shapes", sample={"count": 1, "seed": 0}) as made:
        assert len(made.images) == 1
    assert "the sample has no image of" in caplog.text


@pytest.mark.parametrize("wrong", [{"count": 0, "seed": 0}, {"count": "5", "seed": 0}, {"count": 5}, 5])
def test_what_is_no_sample_is_refused(settings_of: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match="sample"):
        settings_of("shapes", sample=wrong)
