"""Step: semantic maps that another method has made, from PNG files."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.semantic_maps import UNCERTAIN, SemanticMaps
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.images.loading import DAMAGED
from stages.core.workflow import step
from stages.semantics.maps import check_class_count, listed
from stages.semantics.settings import PngImportSettings

log = logging.getLogger(__name__)
BYTES = ("P", "L")  # Pillow's modes of one byte per pixel: palette index and grey value


def import_semantics(*, images: Path, output: Path, settings: PngImportSettings, source: str) -> None:
    """Write the map of every image from `<folder>/<image id>.png`; nothing is resized.

    Args:
        images: images.h5 of a split.
        output: semantic maps.
        settings: folder, values of the classes, supervision.
        source: name of the source in the config, for the header.

    Raises:
        FileNotFoundError: no folder, or images without a file; found before any is read.
        ValueError: a file is damaged, in colour, not 8 bits per pixel, of another size than its image, or holds a value
            that is no class; `class_values` that do not name each class of the data set.
    """
    with read(images, ImageRecord) as listing:
        classes = listing.header["classes"]
        check_class_count(classes, listing.path)
        table = value_table(classes, settings.class_values)
        folder = Path(settings.folder)
        check_files(folder, listing.ids)
        header = {"classes": classes, "source": source, "supervision": settings.supervision}
        made_by = Provenance("import_semantics", settings, None, {"images": listing})
        found: Counter[int] = Counter()
        with create(output, SemanticMaps, header=header, provenance=made_by) as writer:
            for i, image in enumerate(step.progress(listing.ids, total=len(listing), label="maps")):
                size = int(listing.field(i, "height")), int(listing.field(i, "width"))
                values = read_values(folder / f"{image}.png", size)
                labels = table[values]
                if (labels < 0).any():
                    raise ValueError(_stranger(folder / f"{image}.png", values[labels < 0], len(classes)))
                writer.append(SemanticMaps(image=image, labels=labels.astype(np.uint8)))
                found.update(np.unique(labels).tolist())
        _report(classes, found, len(listing))


def value_table(classes: list[str], class_values: dict[str, int] | None) -> np.ndarray:
    """Label of each value of a file, (256,) int16; -1 where a value is none.

    Raises ValueError where `class_values` does not name exactly the classes.
    """
    if class_values is None:
        table = np.full(256, -1, np.int16)
        table[: len(classes) + 1] = np.arange(len(classes) + 1)
    else:
        missing, strange = sorted(set(classes) - set(class_values)), sorted(set(class_values) - set(classes))
        if missing or strange:
            raise ValueError(
                f"class_values lacks classes {missing} and names unknown ones {strange}; name each of {classes} once"
            )
        table = np.zeros(256, np.int16)  # classes of the maps that the data set leaves out are background
        table[[class_values[name] for name in classes]] = 1 + np.arange(len(classes))
    table[UNCERTAIN] = UNCERTAIN
    return table


def check_files(folder: Path, ids: list[str]) -> None:
    """Raise FileNotFoundError unless the folder has a map of every image."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; `folders` must name a folder of <image id>.png")
    missing = [image for image in ids if not (folder / f"{image}.png").is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no map of {len(missing)} of {len(ids)} images: {listed([f'{i}.png' for i in missing])}; "
            "add them, or take the images off the list"
        )


def read_values(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Values (height, width) uint8 of a palette or grey PNG; a palette image gives its indices.

    Raises ValueError where it is damaged, no 8-bit map, or not `size` (height, width).
    """
    try:
        with Image.open(path) as image:
            kind, mode = image.format, image.mode
            values = np.array(image)
    except DAMAGED as error:
        raise ValueError(f"{path} cannot be decoded ({error}): it is cut off or damaged; make it again") from error
    if mode not in BYTES or kind != "PNG":
        raise ValueError(
            f"{path} is {kind} of mode {mode}, expected a PNG of one byte per pixel (palette or grey) that holds class "
            "numbers; convert it without changing them"
        )
    if values.shape != size:
        raise ValueError(
            f"{path} is {values.shape[0]}x{values.shape[1]} pixels (height x width), expected {size[0]}x{size[1]} as "
            "its image after EXIF orientation; make it again at this size"
        )
    return values


def _stranger(path: Path, values: np.ndarray, count: int) -> str:
    return (
        f"{path} holds values {listed([str(value) for value in np.unique(values)])}, expected 0 for background, 1 to "
        f"{count} for the classes in the data set's order, 255 for uncertain; set class_values if the maps count "
        "otherwise"
    )


def _report(classes: list[str], found: Counter[int], total: int) -> None:
    names = ", ".join(f"{name} {found[1 + k]}" for k, name in enumerate(classes))
    log.info("of %d maps these hold: %s; uncertain pixels %d", total, names, found[UNCERTAIN])
    if total and not any(found[1 + k] for k in range(len(classes))):
        log.warning("no map holds any class: check the values of the maps, and class_values")


if __name__ == "__main__":
    step.run(import_semantics)
