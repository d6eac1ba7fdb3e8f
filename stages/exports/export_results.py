"""Step: predictions as COCO results JSON, which COCO's test server and its evaluation code take."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.core.workflow import step
from stages.exports.names import decimal, has_official_ids
from stages.exports.predictions import Predictions, read_predictions
from stages.exports.settings import SelectionSettings
from stages.exports.streams import write_list
from stages.ops.rle import encode_regions


def export_results(*, images: Path, instances: Path, output: Path, settings: SelectionSettings) -> None:
    """Write a list of {image_id, category_id, segmentation, score} with compressed RLE and official ids.

    Raises ValueError where the data set has no official image ids.
    """
    with read_predictions(images, instances, settings) as predictions:
        _check_official(predictions)
        write_list(output, _entries(predictions))


def _check_official(predictions: Predictions) -> None:
    images = predictions.images
    if not has_official_ids(images):
        raise ValueError(
            f"{images.path} is of kind {images.header['kind']!r}, whose images (such as {images.ids[0]!r}) have no "
            "official number that a COCO server would know; results.json is for kind 'coco' with such ids; "
            "export coco.json instead"
        )


def _entries(predictions: Predictions) -> Iterator[dict[str, Any]]:
    category = predictions.header["category_ids"]
    for prediction in step.progress(predictions, total=len(predictions), label="images exported"):
        for i, encoding in enumerate(encode_regions(prediction.regions)):
            yield {
                "image_id": int(prediction.image.image),
                "category_id": category[prediction.classes[i]],
                "segmentation": encoding,
                "score": decimal(prediction.scores[i]),
            }


if __name__ == "__main__":
    step.run(export_results)
