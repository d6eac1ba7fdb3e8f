"""Step: masks as COCO instances JSON, which annotation tools import and pycocotools loads."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.workflow import step
from stages.exports.names import categories, decimal, file_names, image_numbers
from stages.exports.polygons import polygons
from stages.exports.predictions import Prediction, Predictions, read_predictions
from stages.exports.settings import CocoExportSettings, CocoFormSettings
from stages.exports.streams import write_object
from stages.ops.rle import encode_regions
from stages.ops.windows import windowed


def export_coco(*, images: Path, instances: Path, output: Path, settings: CocoExportSettings) -> None:
    """Write images, categories and annotations (Lin et al., ECCV 2014); `area` and `bbox` are those of the mask.

    Beside COCO's fields an annotation has `score`. Image and category ids are official where the data set has them.
    Raises ValueError where the artifacts do not belong together or hold nothing that may be exported.
    """
    with read_predictions(images, instances, settings.selection) as predictions:
        numbers = image_numbers(predictions.images, predictions.ids)
        write_object(
            output,
            {
                "images": _images(predictions, numbers),
                "annotations": _annotations(predictions, numbers, settings.form),
            },
            info=_info(predictions),
            licenses=[],
            categories=categories(predictions.header),
        )


def _info(predictions: Predictions) -> dict[str, Any]:
    header, images = predictions.header, predictions.images.header
    about = f"masks of run {header['run']} ({header['method']}) on {images['name']}, split {images['split']}"
    return {"description": f"tagmask: {about}", "supervision": header["supervision"]}


def _images(predictions: Predictions, numbers: dict[str, int]) -> Iterator[dict[str, Any]]:
    name = file_names(predictions.images)
    for image in predictions.ids:
        record = predictions.images.find(image)
        size = {"height": int(record.height), "width": int(record.width)}
        yield {"id": numbers[image], "file_name": name(record), **size}


def _annotations(predictions: Predictions, numbers: dict[str, int], form: CocoFormSettings) -> Iterator[dict[str, Any]]:
    ids, category = itertools.count(1), predictions.header["category_ids"]
    for prediction in step.progress(predictions, total=len(predictions), label="images exported"):
        areas, boxes = prediction.regions.areas().tolist(), prediction.regions.boxes().tolist()
        for i, shape in enumerate(_segmentations(prediction, form)):
            x0, y0, x1, y1 = boxes[i]
            yield {
                "id": next(ids),
                "image_id": numbers[prediction.image.image],
                "category_id": category[prediction.classes[i]],
                "segmentation": shape,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": areas[i],
                "iscrowd": 0,
                "score": decimal(prediction.scores[i]),
            }


def _segmentations(prediction: Prediction, form: CocoFormSettings) -> Iterator[Any]:
    if form.segmentation == "rle":
        yield from encode_regions(prediction.regions)
        return
    for mask in windowed(prediction.regions, *prediction.regions.shape):
        parts = polygons(mask.pixels, tolerance=form.polygon_tolerance)
        yield [np.add(np.reshape(part, (-1, 2)), (mask.x, mask.y)).reshape(-1).tolist() for part in parts]


if __name__ == "__main__":
    step.run(export_coco)
