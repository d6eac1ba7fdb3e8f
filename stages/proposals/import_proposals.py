"""Step: proposals that another program has made, for one shard of the pictures."""

import logging
from collections.abc import Callable
from pathlib import Path

from stages.core.artifacts.images import Picture
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.workflow import step
from stages.proposals.coco_json import JsonOfManyPictures, read_picture_json
from stages.proposals.imported import MaskList, SuperpixelList, find_file, ranked
from stages.proposals.mat_files import read_mat
from stages.proposals.settings import ImportSettings
from stages.proposals.shards import in_shard

log = logging.getLogger(__name__)
Reader = Callable[[Picture], MaskList | SuperpixelList]


def import_proposals(*, images: Path, output: Path, settings: ImportSettings, source: str, shard: str) -> None:
    """Write the proposals of every picture of a shard.

    Empty masks and repeats are dropped and counted. A picture with one proposal or none is kept, counted and logged.

    Args:
        images: images.h5.
        output: proposals artifact of this shard.
        settings: where the files are, and what supervision they have seen.
        source: name of the source in the config, for the header.
        shard: which part of the pictures, such as "2-of-4".

    Raises:
        FileNotFoundError: a picture has no file; found before any is read.
        ValueError: a file is damaged, of an unknown layout, or of another picture.
    """
    with read(images, Picture) as pictures:
        mine = in_shard(len(pictures), shard)
        reader = _reader(settings, [pictures.ids[i] for i in mine], pictures.ids)
        provenance = Provenance(step="import_proposals", settings=settings, seed=None, inputs={"images": pictures})
        header = {"source": source, "supervision": settings.supervision}
        dropped, sparse = 0, []
        with create(output, Proposals, header=header, provenance=provenance) as writer:
            for i in step.progress(mine, total=len(mine), label="pictures"):
                picture = pictures[i]
                shape = int(picture.height), int(picture.width)
                name = f"{settings.path}, picture {picture.picture!r}"
                found = ranked(reader(picture), shape=shape, count=settings.count, name=name)
                dropped += found.dropped
                if len(found.regions) < 2:
                    sparse.append(f"{picture.picture} ({len(found.regions)})")
                writer.append(Proposals(picture=picture.picture, scores=found.scores, **packed_fields(found.regions)))
    log.info("dropped %d empty or repeated masks", dropped)
    if sparse:
        log.warning("%d of %d pictures have fewer than two proposals: %s", len(sparse), len(mine), ", ".join(sparse))


def _reader(settings: ImportSettings, mine: list[str], ids: list[str]) -> Reader:
    """How to get a picture's regions; every file that will be needed is looked for now."""
    path = Path(settings.path)
    if settings.kind == "coco_json" and path.is_file():
        file = JsonOfManyPictures(path)
        file.check_any(ids)
        return file.regions
    if not path.is_dir():
        expected = "a folder" if settings.kind == "mat" else "a folder or a JSON file"
        raise FileNotFoundError(f"{path} does not exist; `path` must be {expected} of proposals")
    suffix = ".mat" if settings.kind == "mat" else ".json"
    files = {i: find_file(path, i, prefixes=settings.prefixes, suffix=suffix) for i in mine}
    if settings.kind == "mat":
        return lambda picture: read_mat(files[picture.picture])
    return lambda picture: read_picture_json(files[picture.picture], picture)


if __name__ == "__main__":
    step.run(import_proposals)
