"""Settings of the data set: impossible ones stop before anything runs, and unused ones reach no step."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from stages.images.settings import ChosenImages, ImagesSettings

FOLDER = {"images": "pics", "tags": "tags.csv", "masks": None, "points": None}


@pytest.mark.parametrize(
    ("kind", "classes", "block", "message"),
    [
        pytest.param("voc", None, {}, "voc.root is null, but kind is voc: set it", id="voc without root"),
        pytest.param("coco", None, {}, "coco.root is null, but kind is coco: set it", id="coco without root"),
        pytest.param("folder", ["a"], {}, "folder.splits.train.images is null", id="folder without images"),
        pytest.param("folder", None, {"splits": {"t": FOLDER}}, "classes is null, but kind is folder", id="no classes"),
        pytest.param("shapes", ["disc", "disc"], {}, "names disc more than once", id="class twice"),
        pytest.param("shapes", [], {}, "at least 1 item", id="no class"),
        pytest.param("shapes", None, {"splits": {"train": 0}}, "greater than or equal to 1", id="empty split"),
        pytest.param("shapes", None, {"splits": {"a/b": 1}}, "should match pattern", id="split is no folder name"),
        pytest.param("shapes", None, {"min_objects": 5}, "min_objects 5 is above", id="objects reversed"),
        pytest.param("shapes", None, {"min_objects": -1}, "greater than or equal to 0", id="fewer than no object"),
        pytest.param("shapes", None, {"forms": ["disc", "disc"]}, "forms is .* name each form once", id="form twice"),
        pytest.param("shapes", None, {"forms": ["circle"]}, "'disc', 'square', 'triangle' or 'star'", id="no form"),
        pytest.param("shapes", None, {"forms": []}, "at least 1 item", id="no forms"),
        pytest.param("shapes", None, {"min_radius": 13.0}, "min_radius 13.0 is above", id="radii reversed"),
        pytest.param("shapes", None, {"max_radius": 17.0}, "does not fit a scene of 64x80", id="object too large"),
        pytest.param("shapes", None, {"height": "64"}, "valid integer", id="wrong type"),
        pytest.param("shapes", None, {"hieght": 64}, "Extra inputs", id="typo"),
        pytest.param("voc", None, {"root": "x", "image_sets": "Layout"}, "'Segmentation' or 'Main'", id="image sets"),
    ],
)
def test_impossible_settings_stop_at_config_time(
    settings_of: Callable[..., ImagesSettings], kind: str, classes: Any, block: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        settings_of(kind, classes=classes, **block)


def test_a_name_that_is_no_folder_name_is_refused(settings_of: Callable[..., ImagesSettings]) -> None:
    data = settings_of("shapes").model_dump()
    for name in ("", "../up", "a b", ".hidden"):
        with pytest.raises(ValidationError, match="name"):
            ImagesSettings.model_validate(data | {"name": name})


def test_a_step_gets_nothing_of_unused_blocks_and_other_splits(settings_of: Callable[..., ImagesSettings]) -> None:
    settings = settings_of("shapes")
    changed = copy.deepcopy(settings.model_dump())
    changed["voc"]["sbd"] = "elsewhere"
    changed["shapes"]["splits"]["val"] = 99
    other = ImagesSettings.model_validate(changed)
    assert settings.chosen("train") == other.chosen("train")
    assert settings.chosen("val") != other.chosen("val")
    assert settings.chosen() != other.chosen()


@pytest.mark.parametrize("kind", ["shapes", "voc", "coco", "folder"])
def test_chosen_settings_survive_a_command_line(settings_of: Callable[..., ImagesSettings], kind: str) -> None:
    block = {"root": "r"} if kind in ("voc", "coco") else {"splits": {"train": FOLDER}} if kind == "folder" else {}
    chosen = settings_of(kind, classes=["disc"], **block).chosen("train")
    assert ChosenImages.parse(chosen.canonical()) == chosen
    assert type(chosen.block).__name__.lower().startswith(kind)


def test_an_unknown_split_names_the_known_ones(settings_of: Callable[..., ImagesSettings]) -> None:
    settings = settings_of("shapes")
    assert settings.splits == ["train", "val"]
    with pytest.raises(ValueError, match=r"split 'tset' is not in images\.shapes\.splits, which names train, val"):
        settings.chosen("tset")
