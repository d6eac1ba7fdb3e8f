"""Step: a data set's split as images with tags, and its annotations in artifacts of their own."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import TILES_KIND, ImageRecord
from stages.core.artifacts.points import Points
from stages.core.artifacts.storage import Provenance, Writer, create
from stages.core.images.loading import pixel_limit
from stages.core.workflow import step
from stages.core.workflow.ahead import in_order
from stages.images.centers import points_file
from stages.images.coco import Coco
from stages.images.dataset import DataSet, check_unique, listed, stop_on
from stages.images.folder import Folder
from stages.images.records import Records, Tags, examine, no_points
from stages.images.sampling import classes_left_out, sample_of
from stages.images.settings import ChosenImages, SampleSettings, ShapesSettings, Untagged
from stages.images.shapes import Shapes
from stages.images.tiling import Tiles
from stages.images.voc import Voc

log = logging.getLogger(__name__)
DATA_SETS: dict[str, Callable[[ChosenImages, str], DataSet]] = {
    "shapes": Shapes,
    "voc": Voc,
    "coco": Coco,
    "folder": Folder,
}
R = TypeVar("R")


def list_images(
    *,
    output_images: Path,
    output_ground_truth: Path,
    output_points: Path,
    settings: ChosenImages,
    split: str,
    threads: int,
) -> None:
    """List the images of a split with their tags; keep instances and points apart from them.

    Each image is checked (decoded where `verify` is full). Raises ValueError that names the first unusable images
    and counts all; nothing is written then. Images without a tag are listed; the header and the log count those that
    show none of the classes and those that nobody looked at.
    """
    with pixel_limit(settings.max_pixels):
        _list(output_images, output_ground_truth, output_points, settings, split, threads)


def _list(images: Path, ground_truth: Path, points: Path, settings: ChosenImages, split: str, threads: int) -> None:
    data = open_data_set(settings, split, threads)
    tags = read_all_tags(data, settings.untagged, threads)
    header = {"classes": data.classes, "category_ids": data.category_ids}
    kind = settings.kind if settings.tiling is None else TILES_KIND
    untagged = {
        "negatives": sum(found.negative for found in tags.values()),
        "unknown": sum(not found.looked_at for found in tags.values()),
    }
    about = {"name": settings.name, "kind": kind, "split": split, "root": data.root} | untagged
    seed = settings.block.seed if isinstance(settings.block, ShapesSettings) else None
    made_by = Provenance(step="list_images", settings=settings, seed=seed, inputs={})
    with (
        create(images, ImageRecord, header=header | about, provenance=made_by) as listing,
        create(ground_truth, GroundTruth, header=header, provenance=made_by) as annotations,
        create(points, Points, header=header, provenance=made_by) as labels,
    ):
        counts = _write_all(data, tags, (listing, annotations, labels), verify=settings.verify, threads=threads)
    _report(data, tags, counts)


def open_data_set(settings: ChosenImages, split: str, threads: int) -> DataSet:
    """A split of the data set, or a sample of it, or the tiles of its images. Raises as the data sets do."""
    data = DATA_SETS[settings.kind](settings, settings.whole(split))
    check_unique(data.images, f"{settings.name}/{split}")
    if settings.sample is not None:
        _take_sample(data, read_all_tags(data, settings.untagged, threads), settings.sample)
    return data if settings.tiling is None else Tiles(data, settings.tiling)


def read_all_tags(data: DataSet, untagged: Untagged, threads: int) -> dict[str, Tags]:
    """Tags of each image. Raises ValueError naming the first bad images and counting all.

    `untagged` says whether an image that somebody looked at and gave no tag shows none of the classes.
    """

    def read_one(image: str) -> Tags:
        found = data.tags(image)
        tagged = np.isin(np.arange(len(data.classes)), list(found or []))
        return Tags(tagged, looked_at=bool(found) or (found is not None and untagged == "negative"))

    found: dict[str, Tags] = {}
    problems: list[str] = []
    for image, result in zip(data.images, in_order(_caught(read_one), data.images, threads), strict=True):
        if isinstance(result, str):
            problems.append(result)
        else:
            found[image] = result
    stop_on(problems, len(data.images))
    return found


def _take_sample(data: DataSet, tags: dict[str, Tags], settings: SampleSettings) -> None:
    """Leave a sample of its images in the data set."""
    files = data.points
    pointed = [] if files is None else [image for image in data.images if points_file(files, image) is not None]
    data.images = sample_of(tags, settings, pointed=pointed)
    log.info("images.sample: %d of %d images, seed %d", len(data.images), len(tags), settings.seed)
    left_out = classes_left_out(tags, data.images, data.classes)
    if left_out:
        log.warning("the sample has no image of %s; raise images.sample.count or trial", listed(left_out))


def _write_all(
    data: DataSet, tags: dict[str, Tags], writers: tuple[Writer, Writer, Writer], *, verify: str, threads: int
) -> dict[str, int]:
    """Check and append all images; count what was found. After the first bad one the others are only checked."""

    def records(image: str) -> Records:
        return examine(data, image, tags[image], verify)

    counts = {"annotated": 0, "instances": 0, "points": 0, "without points": 0}
    problems: list[str] = []
    results = in_order(_caught(records), data.images, threads)
    for result in step.progress(results, total=len(tags), label="images checked"):
        if isinstance(result, str):
            problems.append(result)
        if problems:
            continue
        image, ground_truth, points = result
        annotated = ground_truth()
        counts["annotated"] += bool(annotated.annotated)
        counts["instances"] += len(annotated.classes)
        counts["points"] += len(points.classes) if points is not None else 0
        counts["without points"] += points is None
        for writer, record in zip(writers, (image, annotated, points or no_points(image.image)), strict=True):
            writer.append(record)
    stop_on(problems, len(tags))
    if data.points is not None and counts["without points"] == len(tags):
        raise FileNotFoundError(f"{data.points.folder} has no file <image>.txt of any image; set the right folder")
    data.conclude()
    return counts


def _caught(function: Callable[[str], R]) -> Callable[[str], R | str]:
    """The function, with the message of an expected error in place of a result."""

    def call(image: str) -> R | str:
        try:
            return function(image)
        except (ValueError, OSError) as error:
            return str(error)

    return call


def _report(data: DataSet, tags: dict[str, Tags], counts: dict[str, int]) -> None:
    of_class = np.sum([found.classes for found in tags.values()], axis=0).tolist()
    frequent = sorted(zip(of_class, data.classes, strict=True), key=lambda pair: -pair[0])
    log.info("%d images, tagged %s", len(tags), listed([f"{name} {count}" for count, name in frequent]))
    log.info("%(annotated)d with masks, %(instances)d instances, %(points)d points", counts)
    absent = [name for name, count in zip(data.classes, of_class, strict=True) if not count]
    if absent and any(found.looked_at for found in tags.values()):
        log.warning(
            "no image of this split is tagged with %s: nothing is learned of what no image shows", listed(absent)
        )
    negatives = [image for image, found in tags.items() if found.negative]
    if negatives:
        log.info("%d images show none of the classes: %s", len(negatives), listed(negatives))
    unknown = [image for image, found in tags.items() if not found.looked_at]
    if unknown:
        log.warning("%d images without a tag say nothing and are not trained on: %s", len(unknown), listed(unknown))
    if counts["without points"]:
        log.warning("%d images have no file of points", counts["without points"])


if __name__ == "__main__":
    step.run(list_images)
