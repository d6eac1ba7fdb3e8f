"""Step: masks as YOLO segmentation text, with the images and data.yaml that ultralytics trains on."""

import logging
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import yaml

from stages.core.artifacts.files import write_text
from stages.core.artifacts.folders import file_in, whole_folder
from stages.core.artifacts.images import ImageRecord
from stages.core.workflow import step
from stages.exports.image_files import place_image
from stages.exports.outlines import outline
from stages.exports.predictions import Prediction, Predictions, read_predictions
from stages.exports.settings import YoloExportSettings
from stages.exports.tables import instances_table
from stages.ops.components import label_components

log = logging.getLogger(__name__)
# Readers round a coordinate to whole pixels (supervision) or cut it off (ultralytics): here both give the pixel. Near
# the center, so that points which ultralytics puts between two corners stay on the line, too.
WITHIN = 0.49
DECIMALS = 7  # with single precision an error under 0.01 pixels up to sides of 65535
IMAGES, LABELS = "images", "labels"
HEAD = """\
# Images are in images/, masks in labels/ beside it. No split for validation is in here, but ultralytics wants one:
# put in its place the images of a split with annotated masks.
"""


class Line(NamedTuple):
    """A line of a label: index of its instance, its text, and how many pixels it shows more and fewer than the mask."""

    instance: int
    text: str
    added: int
    left_out: int


def export_yolo(*, images: Path, instances: Path, output: Path, settings: YoloExportSettings) -> None:
    """Write images/<split>/<image>, labels/<split>/<image>.txt, data.yaml and instances.csv.

    A line of a label is the class, counted from 0, and the corners of one closed outline in shares of the sides
    (ultralytics, instance segmentation datasets); `outline` says how parts and holes become one. The format has no
    scores: instances.csv has a row for each line, in their order, with its instance, class and score.

    Raises FileNotFoundError or ValueError where an image is gone or has changed, or the artifacts do not belong
    together.
    """
    with read_predictions(images, instances, settings.selection) as predictions, whole_folder(output) as folder:
        rewritten, differ = 0, np.zeros(3, np.int64)
        with instances_table(folder) as add:
            for found in step.progress(predictions, total=len(predictions), label="images exported"):
                path, anew = _place(folder, found.image, predictions, copy=settings.form.images == "copy")
                lines = _lines(found, split=settings.form.parts == "split")
                _write_label(folder / label_path(path), lines)
                _add_rows(add, found, lines, predictions.header["classes"])
                rewritten += anew
                differ += sum((_difference(line) for line in lines), np.zeros(3, np.int64))
        _write_names(folder, predictions)
    log.info("%d images are written as PNG, which other programs would read otherwise than tagmask does", rewritten)
    log.info("%d lines differ from masks in parts: bridges add %d pixels, parts of %d pixels are left out", *differ)


def _place(folder: Path, image: ImageRecord, predictions: Predictions, *, copy: bool) -> tuple[PurePosixPath, bool]:
    """Path of the placed image in the folder, and whether its pixels were written anew."""
    about = predictions.images.header
    path, anew = place_image(
        image, about["root"], file_in(folder / IMAGES / about["split"], image.image, ""), copy=copy
    )
    return PurePosixPath(path.relative_to(folder).as_posix()), anew


def label_path(image: PurePosixPath) -> PurePosixPath:
    """Where readers look for the label of an image: the last folder `images` becomes `labels`, the suffix `.txt`."""
    *folders, name = image.parts
    last = len(folders) - 1 - folders[::-1].index(IMAGES)
    return PurePosixPath(*folders[:last], LABELS, *folders[last + 1 :], name).with_suffix(".txt")


def _lines(found: Prediction, *, split: bool) -> list[Line]:
    height, width = found.regions.shape
    lines = []
    for i, kind in enumerate(found.classes.tolist()):
        mask = found.regions.masks([i])[0]
        for part in _parts(mask) if split else [mask]:
            corners, added, left_out = outline(part)
            shares = ((corners + WITHIN) / (width, height)).reshape(-1).tolist()
            text = " ".join([str(kind), *(f"{share:.{DECIMALS}f}" for share in shares)])
            lines.append(Line(i, text, added, left_out))
    return lines


def _difference(line: Line) -> np.ndarray:
    """Whether it differs from its mask, pixels more, pixels fewer."""
    return np.array([line.added + line.left_out > 0, line.added, line.left_out])


def _parts(mask: np.ndarray) -> list[np.ndarray]:
    labels, count = label_components(mask, connectivity=8)
    return [labels == number for number in range(1, int(count) + 1)]


def _write_label(path: Path, lines: list[Line]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line.text}\n" for line in lines), encoding="utf-8")


def _add_rows(add: Callable[..., None], found: Prediction, lines: list[Line], classes: list[str]) -> None:
    for line in lines:
        i = line.instance
        add(found.image.image, i + 1, classes[found.classes[i]], found.scores[i])


def _write_names(folder: Path, predictions: Predictions) -> None:
    place = f"{IMAGES}/{predictions.images.header['split']}"
    names = dict(enumerate(predictions.header["classes"]))
    text = yaml.safe_dump({"train": place, "val": place, "names": names}, sort_keys=False)
    write_text(folder / "data.yaml", HEAD + text)


if __name__ == "__main__":
    step.run(export_yolo)
