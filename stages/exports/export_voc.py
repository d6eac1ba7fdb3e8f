"""Step: masks as PASCAL VOC keeps them, in SegmentationObject and SegmentationClass."""

import logging
from pathlib import Path

import numpy as np

from stages.core.artifacts.folders import file_in, whole_folder
from stages.core.workflow import step
from stages.exports.escaping import labelmap_names
from stages.exports.maps import instance_map, voc_palette, write_palette_png
from stages.exports.predictions import Prediction, Predictions, read_predictions
from stages.exports.settings import SelectionSettings

log = logging.getLogger(__name__)
LARGEST = 254  # 255 means void


def export_voc(*, images: Path, instances: Path, output: Path, settings: SelectionSettings) -> None:
    """Write a folder of palette PNGs as in the VOC 2012 development kit; where instances overlap the best score wins.

    SegmentationObject has 0 for background and 1, 2, ... for the visible instances, best first; SegmentationClass their
    classes: VOC's own numbers on VOC, else 1 to classes. labelmap.txt names the classes and colours (the form of
    CVAT's "Segmentation mask"), ImageSets/Segmentation/<split>.txt the images.

    Raises ValueError for more than 254 classes, or that many instances in an image, and for names of classes that
    labelmap.txt cannot tell apart.
    """
    palette = voc_palette()
    with read_predictions(images, instances, settings) as predictions, whole_folder(output) as folder:
        values = _class_values(predictions)
        hidden = 0
        for prediction in step.progress(predictions, total=len(predictions), label="images exported"):
            hidden += _write_maps(folder, prediction, values, palette)
        _write_lists(folder, predictions, values, palette)
    log.info("%d instances are hidden by better ones", hidden)


def _class_values(predictions: Predictions) -> np.ndarray:
    """Value of each class in SegmentationClass, (classes,) int64."""
    header = predictions.header
    official = predictions.images.header["kind"] == "voc"
    values = np.array(header["category_ids"] if official else range(1, len(header["classes"]) + 1))
    if values.max() > LARGEST:
        raise ValueError(f"{len(values)} classes do not fit VOC's maps of 1 to {LARGEST}; export coco.json instead")
    return values


def _write_maps(folder: Path, prediction: Prediction, values: np.ndarray, palette: np.ndarray) -> int:
    """Write both maps of an image; returns how many instances cannot be seen in them."""
    image = prediction.image.image
    numbers, visible = instance_map(prediction.regions)
    if len(visible) > LARGEST:
        raise ValueError(
            f"image {image!r} has {len(visible)} instances, VOC's maps hold {LARGEST}; lower exports.*.top_k"
        )
    of_number = np.concatenate([[0], values[prediction.classes[visible]]])
    write_palette_png(file_in(folder / "SegmentationObject", image, ".png"), numbers, palette)
    write_palette_png(file_in(folder / "SegmentationClass", image, ".png"), of_number[numbers], palette)
    return len(prediction.scores) - len(visible)


def _write_lists(folder: Path, predictions: Predictions, values: np.ndarray, palette: np.ndarray) -> None:
    names = dict(zip(values.tolist(), labelmap_names(predictions.header["classes"]), strict=True))
    lines = ["# label:color_rgb:parts:actions", f"background:{_colour(palette[0])}::"]
    lines += [f"{names[value]}:{_colour(palette[value])}::" for value in sorted(names)]
    (folder / "labelmap.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    listed = file_in(folder / "ImageSets" / "Segmentation", predictions.images.header["split"], ".txt")
    listed.write_text("".join(f"{image}\n" for image in predictions.ids), encoding="utf-8")


def _colour(rgb: np.ndarray) -> str:
    return ",".join(str(part) for part in rgb.tolist())


if __name__ == "__main__":
    step.run(export_voc)
