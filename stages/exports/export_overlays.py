"""Step: each image with its masks, classes and scores drawn on it."""

from pathlib import Path

import numpy as np

from stages.core.artifacts.folders import file_in, whole_folder
from stages.core.images.loading import load_rgb
from stages.core.workflow import step
from stages.exports.predictions import Prediction, read_predictions
from stages.exports.settings import OverlayFormSettings, OverlaySettings
from stages.ops.drawing import jpeg, label_windowed, paint_windowed, palette
from stages.ops.resize import resize, scaled_size
from stages.ops.windows import windowed

TEXT_SIZE = 0.5  # of a class and its score; a number alone may be larger


def export_overlays(*, images: Path, instances: Path, output: Path, settings: OverlaySettings) -> None:
    """Write a folder with <image>.jpg for every image, also for those without an instance.

    Raises ValueError where an image has changed since it was listed, or the artifacts do not belong together.
    """
    with read_predictions(images, instances, settings.selection) as predictions, whole_folder(output) as folder:
        root, classes = predictions.images.header["root"], predictions.header["classes"]
        for prediction in step.progress(predictions, total=len(predictions), label="images drawn"):
            drawn = overlay(load_rgb(prediction.image, root), prediction, classes, settings.form)
            path = file_in(folder, prediction.image.image, ".jpg")
            path.write_bytes(jpeg(drawn, quality=settings.form.jpeg_quality))


def overlay(rgb: np.ndarray, prediction: Prediction, classes: list[str], settings: OverlayFormSettings) -> np.ndarray:
    """An image (H, W, 3) uint8 at the drawn size with its instances, the best on top."""
    if settings.longer_side is not None:
        rgb = resize(rgb, *scaled_size(*rgb.shape[:2], settings.longer_side))
    masks = windowed(prediction.regions, *rgb.shape[:2])
    texts = [f"{classes[c]} {s:.2f}" for c, s in zip(prediction.classes, prediction.scores, strict=True)]
    painted = paint_windowed(rgb, masks, palette(len(masks)), opacity=settings.opacity)
    return label_windowed(painted, masks, texts, size=TEXT_SIZE)


if __name__ == "__main__":
    step.run(export_overlays)
