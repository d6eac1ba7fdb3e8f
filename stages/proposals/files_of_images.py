"""Which file holds the proposals of an image, where each image has one of its own."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from stages.core.coco.ids import OFFICIAL
from stages.core.coco.names import stem
from stages.core.coco.values import integer
from stages.proposals.listed import Listed

log = logging.getLogger(__name__)
OFFICIAL_DIGITS = 12  # COCO pads the numbers of its images to so many digits


def find_files(
    folder: Path, wanted: Sequence[str], listed: Listed, *, prefixes: Sequence[str], suffix: str
) -> dict[str, Path]:
    """The file of each wanted image: <folders of the image>/<prefix><name of the image><suffix>.

    Folders may be left out where no other image of the list then has the same name. Of a COCO data set the name may be
    the image's id, also with zeros in front.

    Raises:
        FileNotFoundError: an image has no file.
        ValueError: two files may be an image's, one by its name and one by its id.
    """
    endings = Counter(ending for path in listed.paths.values() for ending in _endings(path))
    found = {}
    for image in wanted:
        own = [ending for ending in _endings(listed.paths[image]) if endings[ending] == 1]
        by_name = [name for ending in own for name in _names(ending, prefixes, suffix)]
        official = listed.kind == OFFICIAL and integer(image) is not None
        by_id = [
            name
            for number in ([image, image.zfill(OFFICIAL_DIGITS)] if official else [])
            for name in _names((number,), prefixes, suffix)
        ]
        found[image] = _the_one(folder, image, by_name, by_id)
    return found


def _the_one(folder: Path, image: str, by_name: list[str], by_id: list[str]) -> Path:
    named = [name for name in by_name if (folder / name).is_file()]
    numbered = [name for name in by_id if (folder / name).is_file()]
    if named and numbered and named[0] not in numbered and "/" not in named[0]:
        raise ValueError(
            f"{folder}: the image {image} may have {named[0]} (by its file name) or {numbered[0]} (by its id); put the "
            "files that are named as images in folders as the images have them"
        )
    if not named and not numbered:
        names = ", ".join(dict.fromkeys([*by_name, *by_id]))
        raise FileNotFoundError(
            f"{folder} has no proposals of image {image!r}: looked for {names}; add the file, "
            "add its prefix to `prefixes`, or take the image off the list"
        )
    return folder / (named or numbered)[0]


def _endings(path: str) -> list[tuple[str, ...]]:
    """The parts of a path without suffix, then without its first folders, down to the name."""
    whole = stem(path)
    return [whole[start:] for start in range(len(whole))]


def _names(ending: tuple[str, ...], prefixes: Sequence[str], suffix: str) -> list[str]:
    return ["/".join((*ending[:-1], f"{prefix}{ending[-1]}{suffix}")) for prefix in prefixes]
