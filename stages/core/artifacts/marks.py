"""Marks: what a person has said of images and instances on a gallery's page, which saves them as JSON.

A mark says good, bad or wrong class, and nothing about pixels: no mask is ever made from it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.core.artifacts.files import read_json
from stages.core.artifacts.instances import Instances
from stages.core.config.refusals import refusal

Mark = Literal["good", "bad", "wrong class"]
MARKS: tuple[str, ...] = get_args(Mark)
PREDICTIONS = "predictions"  # title of the layer whose marks are of the run's own instances
BY_MARKS = "marks of predictions"  # supervision of what is trained on the predictions that people have left
SCORE_TOLERANCE = 1e-3  # the page has scores to four decimals


class MarkedInstance(BaseModel):
    """A mark of one region of a layer of the page.

    Attributes:
        layer: title of the layer.
        index: position of the region in its artifact.
        class_name: its class, empty where it has none.
        score: its score, None where it has none.
        mark: what was said.
    """

    model_config = ConfigDict(extra="forbid")

    layer: str
    index: int = Field(ge=0)
    class_name: str = Field(alias="class")
    score: float | None
    mark: Mark


class MarkedImage(BaseModel):
    """The marks of an image: of the whole, None where there is none, and of its instances."""

    model_config = ConfigDict(extra="forbid")

    image: str
    mark: Mark | None
    instances: list[MarkedInstance]


class Marks(BaseModel):
    """The marks of a page: of a run (or `<run>/<part>`) on a split of a data set."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["tagmask marks"]
    version: Literal[1]
    dataset: str
    split: str
    run: str
    fingerprint: str
    images: list[MarkedImage]


def read_marks(path: Path, *, run: str, split: str) -> dict[str, MarkedImage]:
    """The marks of a file by image.

    Raises ValueError where it is no file of marks, names an image twice, or is of another run or split.
    """
    try:
        marks = Marks.model_validate(read_json(path))
    except ValidationError as error:
        raise ValueError(f"{path} is no file of marks as a gallery saves it: {refusal(error)}") from error
    if (marks.run, marks.split) != (run, split):
        raise ValueError(
            f"{path} has marks of run {marks.run!r} on split {marks.split!r}, expected {run!r} on {split!r}; give those"
            " that were saved from that run's gallery"
        )
    found = {one.image: one for one in marks.images}
    if len(found) < len(marks.images):
        raise ValueError(f"{path} names an image twice; save the marks again")
    return found


def marks_of_instances(marked: MarkedImage | None, record: Instances, classes: Sequence[str], path: Path) -> np.ndarray:
    """The mark of each of an image's predictions, (N,) of text; empty where there is none.

    Raises ValueError where the marked predictions have other classes or scores: the run was predicted anew since.
    """
    found = np.full(len(record.scores), "", dtype="U16")
    for one in [] if marked is None else marked.instances:
        if one.layer != PREDICTIONS:
            continue
        known = one.index < len(record.scores)
        if (
            not known
            or one.class_name != classes[record.classes[one.index]]
            or one.score is None
            or abs(one.score - float(record.scores[one.index])) > SCORE_TOLERANCE
        ):
            raise ValueError(
                f"{path}: image {record.image!r}, instance {one.index + 1} ({one.class_name} {one.score}) is not among"
                " the predictions; they were made anew since: mark them again"
            )
        found[one.index] = one.mark
    return found
