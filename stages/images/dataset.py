"""What every kind of data set offers to the step, and what it may find wrong."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np

from stages.ops.windows import WindowedMask

DRIVE = re.compile(r"[A-Za-z]:[\\/]")  # C:/... is absolute on the machine that wrote the list
SHOWN = 10  # how many of a long list a message names; the rest is counted


@dataclass(frozen=True)
class Annotations:
    """Annotated instances of one image.

    Attributes:
        windows: mask of each instance within its tight window, so that large images take little memory; an annotation
            without area gives an empty mask.
        shape: height and width of the image.
        classes: (instances,) int32, index into the data set's classes.
        crowd: (instances,) bool, the mask covers a crowd.
        difficult: (instances,) bool, marked difficult or to be ignored by the annotators.
        annotation_ids: (instances,) int64, official ids.
        void: (height, width) bool, pixels that nobody labelled; None: there are none.
    """

    windows: list[WindowedMask]
    shape: tuple[int, int]
    classes: np.ndarray
    crowd: np.ndarray
    difficult: np.ndarray
    annotation_ids: np.ndarray
    void: np.ndarray | None

    @property
    def masks(self) -> np.ndarray:
        """The masks of the whole image, (instances, height, width) bool."""
        return np.array([mask.full(*self.shape) for mask in self.windows], bool).reshape(-1, *self.shape)


@dataclass(frozen=True)
class PointFiles:
    """Point labels in text files `<folder>/<image>.txt`, lines 'x y class conf' (the form of BESTIE's Center_points).

    Attributes:
        folder: where the files are.
        classes: class number in the files -> index into the data set's classes, None for a class that is left out.
    """

    folder: str
    classes: dict[int, int | None]


class DataSet(Protocol):
    """One split of a data set. `images` are ids in a fixed order; methods may be called from several threads."""

    root: str  # folder that `path` is relative to; empty where the images are embedded
    classes: list[str]
    category_ids: list[int]
    images: list[str]
    points: PointFiles | None

    def path(self, image: str) -> str:
        """File of an image relative to `root`, with '/'; empty where the image is embedded."""

    def embedded(self, image: str) -> bytes:
        """The encoded image where it is on no disk. Not called where `path` is not empty."""

    def tags(self, image: str) -> Collection[int] | None:
        """Indices of the classes that the image is tagged with. Raises ValueError or FileNotFoundError.

        Empty: somebody looked, and none of the classes is in the image. None: nobody looked, or what was found is left
        out of the tags.
        """

    def ground_truth(self, image: str, height: int, width: int) -> Annotations | None:
        """The image's instances, None where no masks are known. Raises ValueError where they do not fit."""

    def conclude(self) -> None:
        """Log what was odd about the ground truth of all images. Raises ValueError where most of it is."""


def make_annotations(
    masks: Iterable[np.ndarray | WindowedMask],
    classes: Sequence[int],
    annotation_ids: Sequence[int],
    *,
    shape: tuple[int, int],
    crowd: Sequence[bool] | None = None,
    difficult: Sequence[bool] | None = None,
    void: np.ndarray | None = None,
) -> Annotations:
    """Annotations from as many masks as classes; `crowd` and `difficult` default to all false.

    Masks (height, width) bool are taken one at a time, so that of a generator one is in memory.
    """
    windows = [mask if isinstance(mask, WindowedMask) else WindowedMask.of(mask) for mask in masks]
    none = [False] * len(windows)
    return Annotations(
        windows=windows,
        shape=shape,
        classes=np.asarray(classes, np.int32),
        crowd=np.asarray(none if crowd is None else crowd, bool),
        difficult=np.asarray(none if difficult is None else difficult, bool),
        annotation_ids=np.asarray(annotation_ids, np.int64),
        void=void if void is not None and void.any() else None,
    )


def selected_classes(wanted: list[str] | None, available: list[str], source: str) -> list[str]:
    """The classes to use: `wanted`, or all of `available`. Raises ValueError for a class that is not available."""
    if wanted is None:
        return list(available)
    unknown = [name for name in wanted if name not in available]
    if unknown:
        raise ValueError(
            f"images.classes names {listed(unknown)}, not among the classes of {source}: {', '.join(available)}"
        )
    return list(wanted)


def check_inside(name: str, source: str) -> str:
    """`name` if it is a relative path that stays inside its folder, else ValueError."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or DRIVE.match(name):
        raise ValueError(
            f"{source} names the image {name!r}, which is not a path inside the folder of the images; "
            "use paths relative to that folder, without '..'"
        )
    return str(path)


def check_unique(images: Iterable[str], source: str) -> None:
    """Raise ValueError where an id occurs twice."""
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for image in images:
        if image in seen:
            twice[image] = None
        seen.add(image)
    if twice:
        raise ValueError(f"{source} names {listed(list(twice))} more than once; each image needs one id of its own")


def stop_on(problems: list[str], total: int) -> None:
    """Raise ValueError where images cannot be used, naming the first problems and counting all."""
    if problems:
        shown = listed(list(dict.fromkeys(problems)), "\n  ")
        raise ValueError(f"{len(problems)} of {total} images cannot be used:\n  {shown}")


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """The first items and how many more there are."""
    shown = separator.join(str(item) for item in items[:SHOWN])
    rest = len(items) - SHOWN
    return f"{shown}{separator}and {rest} more" if rest > 0 else shown
