"""Step `merge_tiles`: instances of whole images from those of their tiles."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.workflow import step
from stages.ops.windows import Window, regions_of
from stages.tiles.merging import Merged, merge
from stages.tiles.pieces import TileInstances, place
from stages.tiles.settings import TilesSettings

log = logging.getLogger(__name__)
SHOWN = 3  # images that a message names
Tiles = list[tuple[Window, str]]  # window and id of each tile of an image


def merge_tiles(*, images: Path, tiles: Path, instances: Path, output: Path, settings: TilesSettings) -> None:
    """Join the instances of tiles into instances of whole images, one image at a time.

    Args:
        images: images.h5 of the whole images.
        tiles: images.h5 of their tiles.
        instances: instances.h5 of a run on the tiles.
        output: instances.h5 of the whole images.
        settings: when masks of neighbouring tiles are one object.

    Raises:
        ValueError: the artifacts do not belong together.
        MissingImage: a tile has no instances, not even none.
    """
    with read(images, ImageRecord) as whole, read(tiles, ImageRecord) as parts, read(instances, Instances) as found:
        _check_classes(whole, parts, found)
        of_image = tiles_of_images(whole, parts)
        made_by = Provenance("merge_tiles", settings, None, {"images": whole, "tiles": parts, "instances": found})
        counts = np.zeros(4, np.int64)
        with create(output, Instances, header=found.header, provenance=made_by) as writer:
            for i, image in enumerate(step.progress(whole.ids, total=len(whole), label="images merged")):
                height, width = int(whole.field(i, "height")), int(whole.field(i, "width"))
                merged = merge(_placed(of_image[image], found, height, width), settings)
                writer.append(record_of(image, merged, height, width))
                counts += len(of_image[image]), merged.pieces, len(merged.scores), merged.absorbed
    log.info("%d tiles had %d instances, whole images have %d; %d cut ones lay in larger ones", *counts.tolist())


def record_of(image: str, merged: Merged, height: int, width: int) -> Instances:
    """The record of a whole image (height, width)."""
    boxes = {} if merged.boxes is None else {"boxes": merged.boxes}
    regions = regions_of(merged.masks, height, width)
    return Instances(image=image, classes=merged.classes, scores=merged.scores, **packed_fields(regions), **boxes)


def tiles_of_images(images: Artifact[ImageRecord], tiles: Artifact[ImageRecord]) -> dict[str, Tiles]:
    """The tiles of each image, by rows, then by columns. Raises ValueError where they are not tiles of these images."""
    if not tiles.has("offset"):
        raise ValueError(f"{tiles.path} lists whole images; give the images.h5 of their tiles")
    of_image: dict[str, Tiles] = {image: [] for image in images.ids}
    strangers = []
    sizes = zip(tiles.column("height").tolist(), tiles.column("width").tolist(), strict=True)
    for i, (tile, size) in enumerate(zip(tiles.ids, sizes, strict=True)):
        y, x = tiles.field(i, "offset").tolist()
        image = tile.removesuffix(f"@{y}_{x}")
        if image in of_image:
            of_image[image].append((Window(y, x, *size), tile))
        else:
            strangers.append(tile)
    missing = [image for image, found in of_image.items() if not found]
    if strangers or missing:
        names = ", ".join([*strangers, *missing][:SHOWN])
        raise ValueError(
            f"{tiles.path} has {len(strangers)} tiles of other images than {images.path}, and none of {len(missing)} of"
            f" its images, such as {names}; make both from the same split"
        )
    return {image: sorted(found) for image, found in of_image.items()}


def _placed(tiles: Tiles, found: Artifact[Instances], height: int, width: int) -> Iterator[TileInstances]:
    return (place(found.find(tile), window, height, width) for window, tile in tiles)


def _check_classes(*artifacts: Artifact) -> None:
    first = artifacts[0]
    for other in artifacts[1:]:
        if other.header["classes"] != first.header["classes"]:
            raise ValueError(
                f"{first.path} has the classes {first.header['classes']}, {other.path} has {other.header['classes']}; "
                "make both from the same data set"
            )


if __name__ == "__main__":
    step.run(merge_tiles)
