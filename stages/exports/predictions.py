"""Predicted (or pseudo) masks image by image beside their images, as exports and overlays want them."""

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.storage import Artifact, read
from stages.exports.settings import SelectionSettings
from stages.ops.regions import Regions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """An image and its selected instances, best first.

    Attributes:
        image: the image and its tags.
        regions: N masks, none empty.
        classes: (N,) int32, index into the classes.
        scores: (N,) float32, descending.
    """

    image: ImageRecord
    regions: Regions
    classes: np.ndarray
    scores: np.ndarray


class Predictions:
    """The images of an instances artifact with their selected instances."""

    def __init__(
        self, images: Artifact[ImageRecord], instances: Artifact[Instances], settings: SelectionSettings
    ) -> None:
        """Raises ValueError where the two do not belong together, or no image has the tags that are asked for."""
        self.images, self.instances, self.settings = images, instances, settings
        for key in ("classes", "category_ids"):
            if images.header[key] != instances.header[key]:
                raise ValueError(
                    f"{instances.path} has the {key} {instances.header[key]}, {images.path} has {images.header[key]}; "
                    "make both from the same images.h5"
                )
        strangers = sorted(set(instances.ids) - set(images.ids))
        if strangers:
            raise ValueError(
                f"{instances.path} holds {len(strangers)} images that {images.path} does not list, such as "
                f"{strangers[0]!r}; give the images.h5 of the same split"
            )
        if settings.tagged_only and images.header["negatives"] + images.header["unknown"] == len(images):
            raise ValueError(
                f"tagged_only is set, but none of the {len(images)} images of {images.path} has a tag, so nothing "
                "would be exported; set it to false"
            )

    @property
    def header(self) -> dict[str, Any]:
        """Header of the instances."""
        return self.instances.header

    @property
    def ids(self) -> list[str]:
        """Ids of the images, in the order of the instances."""
        return self.instances.ids

    def __len__(self) -> int:
        return len(self.instances)

    def __iter__(self) -> Iterator[Prediction]:
        kept = total = 0
        for i in range(len(self)):
            found = self.instances[i]
            prediction = self._selected(found)
            kept, total = kept + len(prediction.scores), total + len(found.scores)
            yield prediction
        log.info("%d of %d instances in %d images selected", kept, total, len(self))

    def _selected(self, found: Instances) -> Prediction:
        image = self.images.find(found.image)
        regions = found.regions
        if regions.shape != (image.height, image.width):
            raise ValueError(
                f"image {image.image!r} has {image.height}x{image.width} pixels, its instances have "
                f"{regions.shape[0]}x{regions.shape[1]}; remake them from the same images"
            )
        wanted = (found.scores >= self.settings.score_threshold) & (regions.areas() > 0)
        if self.settings.tagged_only:
            wanted &= image.tags[found.classes]
        order = np.argsort(-found.scores, kind="stable")
        chosen = order[wanted[order]][: self.settings.top_k]
        return Prediction(image, regions.select(chosen), found.classes[chosen], found.scores[chosen])


@contextlib.contextmanager
def read_predictions(images: Path, instances: Path, settings: SelectionSettings) -> Iterator[Predictions]:
    """Open both artifacts. Raises FileNotFoundError or ValueError as `read` and `Predictions` do."""
    with read(images, ImageRecord) as listing, read(instances, Instances) as found:
        yield Predictions(listing, found, settings)
