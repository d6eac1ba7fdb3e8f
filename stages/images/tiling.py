"""The tiles of a data set's images, as a data set of their own."""

import io
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from stages.core.images.loading import decode_rgb, image_size, read_bytes
from stages.images.centers import Labels, mask_centers, read_points
from stages.images.dataset import Annotations, DataSet, stop_on
from stages.images.settings import TilingSettings
from stages.ops.windows import Window, tiles

T = TypeVar("T")
PNG_LEVEL = 1  # of zlib; more is slower and gains little on photographs


class Tiles:
    """Tiles of the images of a data set. Ids are those of the images, followed by @<y>_<x> of a tile's first pixel.

    A tile is embedded as PNG: training takes tiles in any order, and decoding a large image for each would take longer
    than the network. What is known of a tile is what is known of its image:

    * Its ground truth is that of the image, cut; an object with less than `min_share` in the tile is difficult.
    * It is tagged with those of the image's tags that an annotated object has, of which `min_share` lies in it.
    * It shows nothing where the image shows nothing, or where none of the annotated objects reaches into it.
    * Else nobody knows: tags of an image do not say where in it things are.
    """

    def __init__(self, data: DataSet, settings: TilingSettings) -> None:
        """Read the size of each image. Raises ValueError naming the first that cannot be read and counting all."""
        assert settings.size is not None
        self._data, self._min_share = data, settings.min_share
        self.root, self.classes, self.category_ids, self.points = "", data.classes, data.category_ids, data.points
        self._sizes: dict[str, tuple[int, int]] = {}
        self._places: dict[str, tuple[str, Window]] = {}
        problems = []
        for image in data.images:
            try:
                self._sizes[image] = image_size(*read_encoded(data, image))
            except (ValueError, OSError) as error:
                problems.append(str(error))
                continue
            for window in tiles(*self._sizes[image], size=settings.size, overlap=settings.overlap):
                self._places[f"{image}@{window.y}_{window.x}"] = image, window
        stop_on(problems, len(data.images))
        self.images = list(self._places)
        # Tiles of an image follow each other.
        self._pixels = Latest(lambda image: decode_rgb(*read_encoded(data, image)))
        self._annotations = Latest(lambda image: data.ground_truth(image, *self._sizes[image]))
        self._labels = Latest(self._labels_of)

    def path(self, tile: str) -> str:
        """No file: tiles are embedded."""
        return ""

    def embedded(self, tile: str) -> bytes:
        """The tile as PNG."""
        image, window = self._places[tile]
        buffer = io.BytesIO()
        Image.fromarray(self._pixels(image)[window.slices]).save(buffer, "PNG", compress_level=PNG_LEVEL)
        return buffer.getvalue()

    def offset(self, tile: str) -> np.ndarray:
        """First pixel (y, x) of the tile in its image, (2,) int32."""
        window = self._places[tile][1]
        return np.array([window.y, window.x], np.int32)

    def tags(self, tile: str) -> Collection[int] | None:
        """Classes of the image's tags that lie in the tile; none: it shows none of them; None: nobody knows."""
        image, window = self._places[tile]
        tagged = self._data.tags(image)
        if not tagged:
            return tagged
        annotations = self._annotations(image)
        if annotations is None:
            return None
        shares = _shares(annotations, window)
        here = {int(label) for label in annotations.classes[shares >= self._min_share]} & set(tagged)
        unclear = (shares > 0).any() or not set(tagged) <= set(annotations.classes.tolist())
        return here if here or not unclear else None

    def ground_truth(self, tile: str, height: int, width: int) -> Annotations | None:
        """The image's instances that reach into the tile."""
        image, window = self._places[tile]
        whole = self._annotations(image)
        if whole is None:
            return None
        shares = _shares(whole, window)
        kept = np.flatnonzero(shares > 0)
        void = None if whole.void is None else whole.void[window.slices]
        return Annotations(
            windows=[whole.windows[i].cut(window) for i in kept],
            shape=(height, width),
            classes=whole.classes[kept],
            crowd=whole.crowd[kept],
            difficult=whole.difficult[kept] | ((shares[kept] < self._min_share) & ~whole.crowd[kept]),
            annotation_ids=whole.annotation_ids[kept],
            void=void if void is not None and void.any() else None,
        )

    def labels(self, tile: str) -> Labels | None:
        """Those of the image's points that lie in the tile; None where there are point files, but none of the image."""
        image, window = self._places[tile]
        known = self._labels(image)
        if known is None:
            return None
        points = known[0] - self.offset(tile)
        inside = ((points >= 0) & (points < (window.height, window.width))).all(axis=1)
        return points[inside].astype(np.int32), known[1][inside]

    def conclude(self) -> None:
        """As the data set of the whole images."""
        self._data.conclude()

    def _labels_of(self, image: str) -> Labels | None:
        if self._data.points is not None:
            return read_points(self._data.points, image, *self._sizes[image])
        annotations = self._annotations(image)
        return (
            mask_centers(annotations)
            if annotations is not None
            else (np.zeros((0, 2), np.int32), np.zeros(0, np.int32))
        )


class Latest(Generic[T]):
    """A function of an image that keeps its last result, or its error; threads that want the same one wait for it."""

    def __init__(self, function: Callable[[str], T]) -> None:
        self._function, self._lock = function, threading.Lock()
        self._image: str | None = None
        self._result: T
        self._error: Exception | None = None

    def __call__(self, image: str) -> T:
        """The function's result, which is computed anew where another image was asked for last."""
        with self._lock:
            if image != self._image:
                self._image, self._error = image, None
                try:
                    self._result = self._function(image)
                except (ValueError, OSError) as error:
                    self._error = error
            if self._error is not None:
                raise self._error
            return self._result


def read_encoded(data: DataSet, image: str) -> tuple[bytes, str]:
    """What an image's file holds, and its name for messages. Raises FileNotFoundError or ValueError naming it."""
    path = data.path(image)
    if not path:
        return data.embedded(image), f"image {image!r}"
    file = Path(data.root) / path
    return read_bytes(file), str(file)


def _shares(annotations: Annotations, window: Window) -> np.ndarray:
    """Share of each instance's pixels that lies in a window, (instances,) float64; 0 for an empty mask."""
    inside = np.array([np.count_nonzero(mask.inside(window)) for mask in annotations.windows], np.float64)
    return inside / np.array([max(mask.area, 1) for mask in annotations.windows])
