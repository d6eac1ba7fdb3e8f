"""Step: proposals that another program has made, for one shard of the images."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.workflow import step
from stages.proposals.coco_json import JsonOfManyImages, JsonPerImage
from stages.proposals.files_of_images import find_files
from stages.proposals.imported import MaskList, SuperpixelList, ranked
from stages.proposals.listed import Listed, listed_images
from stages.proposals.settings import ImportSettings
from stages.proposals.shards import in_shard

log = logging.getLogger(__name__)


class Reader(NamedTuple):
    """How to get an image's regions, and what to say after all images were read."""

    regions: Callable[[ImageRecord], MaskList | SuperpixelList]
    conclude: Callable[[], None]


def import_proposals(*, images: Path, output: Path, settings: ImportSettings, source: str, shard: str) -> None:
    """Write the proposals of every image of a shard.

    Empty masks and repeats are dropped and counted. An image with one proposal or none is kept, counted and logged.

    Args:
        images: images.h5.
        output: proposals artifact of this shard.
        settings: where the files are, and what supervision they have seen.
        source: name of the source in the config, for the header.
        shard: which part of the images, such as "2-of-4".

    Raises:
        FileNotFoundError: an image has no file; found before any is read.
        ValueError: a file is damaged, of an unknown layout, or of another image, or most masks are not what their
            entries say.
    """
    with read(images, ImageRecord) as listing:
        mine = in_shard(len(listing), shard)
        reader = _reader(settings, [listing.ids[i] for i in mine], listed_images(listing))
        provenance = Provenance(step="import_proposals", settings=settings, seed=None, inputs={"images": listing})
        header = {"source": source, "supervision": settings.supervision}
        dropped, sparse = 0, []
        with create(output, Proposals, header=header, provenance=provenance) as writer:
            for i in step.progress(mine, total=len(mine), label="images"):
                image = listing[i]
                shape = int(image.height), int(image.width)
                name = f"{settings.path}, image {image.image!r}"
                found = ranked(reader.regions(image), shape=shape, count=settings.count, name=name)
                dropped += found.dropped
                if len(found.regions) < 2:
                    sparse.append(f"{image.image} ({len(found.regions)})")
                writer.append(Proposals(image=image.image, scores=found.scores, **packed_fields(found.regions)))
            reader.conclude()
    log.info("dropped %d empty or repeated masks", dropped)
    if sparse:
        log.warning("%d of %d images have fewer than two proposals: %s", len(sparse), len(mine), ", ".join(sparse))


def _reader(settings: ImportSettings, mine: Sequence[str], listed: Listed) -> Reader:
    """How to get an image's regions; every file that will be needed is looked for now."""
    path = Path(settings.path)
    if settings.kind == "coco_json" and path.is_file():
        file = JsonOfManyImages(path, listed)
        return Reader(file.regions, file.conclude)
    if not path.is_dir():
        expected = "a folder" if settings.kind == "mat" else "a folder or a JSON file"
        raise FileNotFoundError(f"{path} does not exist; `path` must be {expected} of proposals")
    suffix = ".mat" if settings.kind == "mat" else ".json"
    files = find_files(path, mine, listed, prefixes=settings.prefixes, suffix=suffix)
    if settings.kind == "mat":
        from stages.proposals.mat_files import read_mat  # loads SciPy

        return Reader(lambda image: read_mat(files[image.image]), lambda: None)
    per_image = JsonPerImage(files, path)
    return Reader(per_image.regions, per_image.conclude)


if __name__ == "__main__":
    step.run(import_proposals)
