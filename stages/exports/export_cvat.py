"""Step: masks as "CVAT for images 1.1", which CVAT uploads and datumaro reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.core.artifacts.files import write_json
from stages.core.artifacts.folders import whole_folder
from stages.core.workflow import step
from stages.exports.escaping import xml_text
from stages.exports.names import class_colours, decimal, file_names
from stages.exports.predictions import Prediction, Predictions, read_predictions
from stages.exports.settings import SelectionSettings
from stages.ops.rle import encode_uncompressed

SCORE = "score"


def export_cvat(*, images: Path, instances: Path, output: Path, settings: SelectionSettings) -> None:
    """Write annotations.xml, and labels.json, from which CVAT makes the labels of a project.

    A mask is run lengths along the rows of its box, beginning with those outside (CVAT, XML annotation format 1.1); it
    is exact. The score is the attribute `score` of a mask; the best mask lies on top.

    Raises ValueError for names that XML cannot hold, and where the artifacts do not belong together.
    """
    with read_predictions(images, instances, settings) as predictions, whole_folder(output) as folder:
        write_json(folder / "labels.json", _labels(predictions.header["classes"]))
        with (folder / "annotations.xml").open("w", encoding="utf-8") as file:
            file.writelines(_document(predictions))


def _labels(classes: list[str]) -> list[dict[str, Any]]:
    """CVAT's raw form of labels."""
    score = {"name": SCORE, "input_type": "text", "mutable": False, "default_value": "", "values": [""]}
    pairs = zip(classes, class_colours(len(classes)), strict=True)
    return [{"name": name, "color": colour, "type": "mask", "attributes": [score]} for name, colour in pairs]


def _document(predictions: Predictions) -> Iterator[str]:
    header, name = predictions.header, file_names(predictions.images)
    split = predictions.images.header["split"]
    yield '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
    yield f"      <name>{xml_text(header['run'])} {xml_text(split)}</name>\n"
    yield f"      <size>{len(predictions)}</size>\n      <mode>annotation</mode>\n      <labels>\n"
    for label in _labels(header["classes"]):
        yield f"        <label><name>{xml_text(label['name'])}</name><color>{label['color']}</color><type>mask</type>"
        yield f"<attributes><attribute><name>{SCORE}</name><mutable>False</mutable><input_type>text</input_type>"
        yield "<default_value></default_value><values></values></attribute></attributes></label>\n"
    yield "      </labels>\n    </task>\n  </meta>\n"
    listed = step.progress(predictions, total=len(predictions), label="images exported")
    for number, found in enumerate(listed):
        yield f'  <image id="{number}" name="{xml_text(name(found.image))}"'
        yield f' width="{found.image.width}" height="{found.image.height}">\n'
        yield from _masks(found, header["classes"])
        yield "  </image>\n"
    yield "</annotations>\n"


def _masks(found: Prediction, classes: list[str]) -> Iterator[str]:
    boxes = found.regions.boxes().tolist()
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        mask = found.regions.masks([i])[0, y0:y1, x0:x1]
        runs = encode_uncompressed(mask.T[None])[0]["counts"]  # down the columns of the transposed: along rows
        yield f'    <mask label="{xml_text(classes[found.classes[i]])}" source="auto" occluded="0"'
        yield f' rle="{", ".join(map(str, runs))}" left="{x0}" top="{y0}" width="{x1 - x0}" height="{y1 - y0}"'
        yield f' z_order="{len(boxes) - 1 - i}">'
        yield f'<attribute name="{SCORE}">{decimal(found.scores[i])}</attribute></mask>\n'


if __name__ == "__main__":
    step.run(export_cvat)
