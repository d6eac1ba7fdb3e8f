"""Which image an id in a file means, where the file has no names."""

from collections import defaultdict
from collections.abc import Mapping

from stages.core.coco.entries import Annotation
from stages.core.coco.names import match_names
from stages.core.coco.values import integer

OFFICIAL = "coco"  # kind of data set whose image ids are those of a JSON in COCO's format


def match_ids(images: Mapping[str, str], annotations: list[Annotation], kind: str, source: str) -> dict[str, list[str]]:
    """Which of the ids, as the annotations write them, mean each image.

    Ids of a COCO data set are its own: numbers, however they are written. Of other data sets an id is the name of an
    image; else, where no id is, the number that the name is.

    Args:
        images: path of each image, by its id.
        annotations: of all images, with their ids of images.
        kind: of the data set.
        source: of the annotations, for messages.

    Returns:
        Id of an image -> ids in the file. Images without one are left out.

    Raises:
        ValueError: an image may be two ids, or an id two images.
    """
    written = {annotation.given_image: annotation.image for annotation in annotations}
    by_number = _match_numbers(images, written)
    if kind == OFFICIAL and by_number:
        return by_number
    by_name = match_names(images, {key: key for key in written}, source)
    if by_name:
        return {image: [key] for image, key in by_name.items()}
    _check_apart(by_number, source)
    return by_number


def _match_numbers(images: Mapping[str, str], written: Mapping[str, str]) -> dict[str, list[str]]:
    """Ids that are the image's id, or the same number where no two images have it."""
    spellings: dict[str, list[str]] = defaultdict(list)
    for given, canonical in written.items():
        spellings[canonical].append(given)
    numbers = {image: _canonical(image) for image in images}
    if len(set(numbers.values())) < len(numbers):
        return {image: [image] for image in images if image in written}
    return {image: spellings[number] for image, number in numbers.items() if number in spellings}


def _canonical(image: str) -> str:
    number = integer(image)
    return image if number is None else str(number)


def _check_apart(found: Mapping[str, list[str]], source: str) -> None:
    for image, keys in found.items():
        if len(keys) > 1:
            raise ValueError(
                f"{source}: the image {image} may be {keys[0]!r} or {keys[1]!r}; write one id for each image"
            )
