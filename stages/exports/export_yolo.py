"""Step: masks as YOLO segmentation text, with the images and data.yaml that ultralytics trains on."""

import logging
from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from stages.core.artifacts.files import write_text
from stages.core.artifacts.folders import file_in, whole_folder
from stages.core.workflow import step
from stages.exports.image_files import place_image
from stages.exports.outlines import outline
from stages.exports.predictions import Prediction, Predictions, read_predictions
from stages.exports.settings import YoloExportSettings
from stages.exports.tables import instances_table

log = logging.getLogger(__name__)
# Readers round a coordinate to whole pixels (supervision) or cut it off (ultralytics): here both give the pixel.
WITHIN = 0.45
DECIMALS = 6  # an error of 0.03 pixels in an image of 65535
IMAGES, LABELS = "images", "labels"
HEAD = """\
# Images are in images/, masks in labels/ beside it. No split for validation is in here, but ultralytics wants one:
# put in its place the images of a split with annotated masks.
"""


def export_yolo(*, images: Path, instances: Path, output: Path, settings: YoloExportSettings) -> None:
    """Write images/<split>/<image>, labels/<split>/<image>.txt, data.yaml and instances.csv.

    A line of a label is the class, counted from 0, and the corners of one closed outline in shares of the sides
    (ultralytics, instance segmentation datasets); `outline` says how parts and holes become one. The format has no
    scores: instances.csv names class and score of each line.

    Raises FileNotFoundError or ValueError where an image is gone or has changed, or the artifacts do not belong
    together.
    """
    with read_predictions(images, instances, settings.selection) as predictions, whole_folder(output) as folder:
        rewritten, joined = _write_images(folder, predictions, copy=settings.form.images == "copy")
        _write_names(folder, predictions)
    log.info("%d images are written as PNG, which other programs would read otherwise than tagmask does", rewritten)
    log.info("%d instances have parts apart, joined by lines of %d pixels more", *joined)


def _write_images(folder: Path, predictions: Predictions, *, copy: bool) -> tuple[int, np.ndarray]:
    """Write images and labels; how many images are written anew, how many instances are joined by how many pixels."""
    classes, about = predictions.header["classes"], predictions.images.header
    rewritten, joined = 0, np.zeros(2, np.int64)
    with instances_table(folder) as add:
        for found in step.progress(predictions, total=len(predictions), label="images exported"):
            image = found.image.image
            path, anew = place_image(
                found.image, about["root"], file_in(folder / IMAGES / about["split"], image, ""), copy=copy
            )
            rewritten += anew
            lines, painted = _lines(found)
            label = folder / label_path(PurePosixPath(path.relative_to(folder).as_posix()))
            label.parent.mkdir(parents=True, exist_ok=True)
            label.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            joined += (np.count_nonzero(painted), sum(painted))
            for number, (kind, score) in enumerate(zip(found.classes, found.scores, strict=True), start=1):
                add(image, number, classes[kind], score)
    return rewritten, joined


def label_path(image: PurePosixPath) -> PurePosixPath:
    """Where readers look for the label of an image: the last folder `images` becomes `labels`, the suffix `.txt`."""
    *folders, name = image.parts
    last = len(folders) - 1 - folders[::-1].index(IMAGES)
    return PurePosixPath(*folders[:last], LABELS, *folders[last + 1 :], name).with_suffix(".txt")


def _lines(found: Prediction) -> tuple[list[str], list[int]]:
    """The lines of an image's label, and how many pixels more each shows than its mask."""
    height, width = found.regions.shape
    lines, painted = [], []
    for i, kind in enumerate(found.classes.tolist()):
        corners, more = outline(found.regions.masks([i])[0])
        shares = ((corners + WITHIN) / (width, height)).reshape(-1).tolist()
        lines.append(" ".join([str(kind), *(f"{share:.{DECIMALS}f}" for share in shares)]))
        painted.append(more)
    return lines, painted


def _write_names(folder: Path, predictions: Predictions) -> None:
    place = f"{IMAGES}/{predictions.images.header['split']}"
    names = dict(enumerate(predictions.header["classes"]))
    text = yaml.safe_dump({"train": place, "val": place, "names": names}, sort_keys=False)
    write_text(folder / "data.yaml", HEAD + text)


if __name__ == "__main__":
    step.run(export_yolo)
