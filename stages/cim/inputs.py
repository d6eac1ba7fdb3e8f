"""What one image and its proposals look like to the network; the same in training and prediction."""

from dataclasses import dataclass

import numpy as np

from stages.cim.settings import CimInputSettings
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import Artifact
from stages.core.images.loading import normalise
from stages.ops import boxes
from stages.ops import resize as resizing
from stages.ops.regions import Regions


@dataclass(frozen=True)
class RegionInputs:
    """Proposals of an image as the network takes them.

    Attributes:
        boxes: (N, 4) float32, (x0, y0, x1, y1) in pixels of the image.
        crops: (N, s, s) bool, masks cut to their tight boxes.
        width: of the image, pixels.
    """

    boxes: np.ndarray
    crops: np.ndarray
    width: int

    @classmethod
    def of(cls, regions: Regions, *, crop_size: int, settings: CimInputSettings) -> "RegionInputs":
        """Boxes and crops of regions."""
        height, width = regions.shape
        clipped = boxes.clip(regions.boxes(), height, width, inclusive=settings.inclusive_clip)
        return cls(clipped.astype(np.float32), regions.crops(crop_size), width)

    def flip(self, settings: CimInputSettings) -> "RegionInputs":
        """The same of the mirrored image."""
        mirrored = boxes.flip(self.boxes, self.width, inclusive=settings.inclusive_flip)
        return RegionInputs(mirrored, self.crops[:, :, ::-1], self.width)

    def __getitem__(self, index: np.ndarray | slice) -> "RegionInputs":
        """Some of the proposals."""
        return RegionInputs(self.boxes[index], self.crops[index], self.width)


def scaled_image(rgb: np.ndarray, longer_side: int, *, flip: bool, settings: CimInputSettings) -> np.ndarray:
    """The image uint8 (H, W, 3) with its longer side scaled to `longer_side`, normalised, (1, 3, h, w) float32.

    Boxes are scaled by `longer_side / max(H, W)`, which is the image's scale up to the rounding of its sides. With
    `interpolation: opencv` the image is scaled by that factor, too, and not by the ratio of its sides.
    """
    size = resizing.scaled_size(*rgb.shape[:2], longer_side)
    seen = resizing.flip(rgb) if flip else rgb
    if settings.interpolation == "opencv":
        return normalise(resizing.opencv_bilinear(seen, *size, factor=longer_side / max(rgb.shape[:2])))[None]
    return normalise(resizing.resize_as(seen, *size, interpolation=settings.interpolation))[None]


def check_size(
    images: Artifact[ImageRecord], proposals: Artifact[Proposals], image: str, shape: tuple[int, int]
) -> None:
    """Raise ValueError unless proposals of `shape` (height, width) have the size of their image."""
    i = images.index(image)
    expected = int(images.field(i, "height")), int(images.field(i, "width"))
    if shape != expected:
        raise ValueError(
            f"{proposals.path}: {image!r} has proposals of {shape} (height, width), {images.path} says {expected};"
            " remake the proposals from this list of images"
        )
