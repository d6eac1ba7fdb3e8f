"""Step: masks as brush masks of Label Studio, which people correct there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from stages.core.artifacts.files import write_text
from stages.core.artifacts.folders import whole_folder
from stages.core.workflow import step
from stages.exports.brush import brush_runs
from stages.exports.escaping import xml_text
from stages.exports.names import class_colours, decimal, file_names
from stages.exports.predictions import Prediction, Predictions, read_predictions
from stages.exports.settings import LabelStudioExportSettings
from stages.exports.streams import write_list

IMAGE, MASK = "image", "mask"  # tags of the labelling configuration, which tasks refer to


def export_label_studio(*, images: Path, instances: Path, output: Path, settings: LabelStudioExportSettings) -> None:
    """Write tasks.json, a task with one prediction for each image, and label_config.xml, the labelling interface.

    Masks are exact. The score of a prediction is the mean of its instances, of a mask its own.

    Raises ValueError for a class that XML cannot hold, for too large an image, and where the artifacts do not belong
    together.
    """
    with read_predictions(images, instances, settings.selection) as predictions, whole_folder(output) as folder:
        write_text(folder / "label_config.xml", _configuration(predictions.header["classes"]))
        write_list(folder / "tasks.json", _tasks(predictions, settings.form.image_prefix))


def _configuration(classes: list[str]) -> str:
    colours = class_colours(len(classes))
    labels = "".join(
        f'    <Label value="{xml_text(name)}" background="{colour}"/>\n'
        for name, colour in zip(classes, colours, strict=True)
    )
    return f"""\
<View>
  <Image name="{IMAGE}" value="${IMAGE}" zoom="true"/>
  <BrushLabels name="{MASK}" toName="{IMAGE}">
{labels}  </BrushLabels>
</View>
"""


def _tasks(predictions: Predictions, prefix: str) -> Iterator[dict[str, Any]]:
    name, header = file_names(predictions.images), predictions.header
    version = f"tagmask {header['run']}"
    for found in step.progress(predictions, total=len(predictions), label="images exported"):
        result = [_region(found, i, header["classes"]) for i in range(len(found.scores))]
        score = {"score": float(found.scores.mean())} if result else {}
        yield {
            "data": {IMAGE: prefix + quote(name(found.image))},
            "predictions": [{"model_version": version, **score, "result": result}],
        }


def _region(found: Prediction, i: int, classes: list[str]) -> dict[str, Any]:
    height, width = found.regions.shape
    return {
        "id": str(i + 1),
        "type": "brushlabels",
        "from_name": MASK,
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {
            "format": "rle",
            "rle": brush_runs(found.regions.masks([i])[0]),
            "brushlabels": [classes[found.classes[i]]],
        },
        "score": decimal(found.scores[i]),
    }


if __name__ == "__main__":
    step.run(export_label_studio)
