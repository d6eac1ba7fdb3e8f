"""Point labels: one point per instance, from its mask or from text files."""

import unicodedata
from pathlib import Path

import numpy as np

from stages.images.dataset import Annotations, PointFiles
from stages.images.files.text import lines_of, read_text

Labels = tuple[np.ndarray, np.ndarray]


def mask_centers(ground_truth: Annotations) -> Labels:
    """The innermost pixel of each instance: points (P, 2) int32 (y, x) and their classes (P,) int32.

    Innermost is the pixel farthest from the mask's border, so it lies inside a mask of any form; the first in row-major
    order where several are. Crowds and empty masks have no point.
    """
    masks = ground_truth.windows
    counted = [i for i, mask in enumerate(masks) if not ground_truth.crowd[i] and mask.area]
    points = [np.add((masks[i].y, masks[i].x), innermost(masks[i].pixels)) for i in counted]
    return np.array(points, np.int32).reshape(-1, 2), ground_truth.classes[counted].astype(np.int32)


def innermost(mask: np.ndarray) -> tuple[int, int]:
    """(y, x) of the pixel of a non-empty mask (H, W) bool that is farthest from its border (the image's included)."""
    from scipy.ndimage import distance_transform_edt

    ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    crop = mask[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
    # OpenCV's precise transform differs in the last bit from call to call, so that ties fell on other pixels.
    distance = distance_transform_edt(np.pad(crop, 1))[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return int(ys[0] + y), int(xs[0] + x)


def points_file(files: PointFiles, image: str) -> Path | None:
    """The file with the points of an image; None where there is none."""
    # The id has composed letters; a file that comes from a Mac may have them in parts.
    paths = (Path(files.folder) / f"{name}.txt" for name in (image, unicodedata.normalize("NFD", image)))
    return next((path for path in paths if path.is_file()), None)


def read_points(files: PointFiles, image: str, height: int, width: int) -> Labels | None:
    """Points of a text file in the file's order, pixel = (int(y), int(x)); None where there is no file.

    Source: BESTIE's Center_points, read as CIM's point-supervised variant does. Points of classes
    that are left out are dropped. Raises ValueError naming file and line.
    """
    path = points_file(files, image)
    if path is None:
        return None
    points: list[tuple[int, int]] = []
    classes: list[int] = []
    for number, line in enumerate(lines_of(read_text(path, "restore it")), start=1):
        if not line.strip():
            continue
        y, x, label = _parse(line, f"{path} line {number}")
        if label not in files.classes:
            known = f"{min(files.classes)} to {max(files.classes)}"
            raise ValueError(f"{path} line {number}: class {label} is not among the classes {known}")
        if not (0 <= y < height and 0 <= x < width):
            raise ValueError(f"{path} line {number}: x {x}, y {y} is outside the image of {height}x{width} pixels")
        index = files.classes[label]
        if index is not None:
            points.append((y, x))
            classes.append(index)
    return np.array(points, np.int32).reshape(-1, 2), np.array(classes, np.int32)


def _parse(line: str, where: str) -> tuple[int, int, int]:
    try:
        x, y, label, _ = line.split()
        return int(float(y)), int(float(x)), int(label)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{where} is {line!r}, expected 'x y class conf' with numbers") from error
