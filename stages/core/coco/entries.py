"""Images, categories and annotations of COCO's JSON, each value checked and of one type."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from stages.core.coco.json_files import shown
from stages.core.coco.values import Entry, box, flag, identity, integer, number, side, text

T = TypeVar("T")
SHOWN = 10  # how many of a long list a message names


class CocoImage(NamedTuple):
    """An image: `file_name` as the file has it, None where it has none; sides in pixels, None where not known."""

    id: str
    given_id: str  # "007", where `id` is the number 7
    file_name: str | None
    height: int | None
    width: int | None


class Category(NamedTuple):
    """A category; `above` is its supercategory, or empty."""

    id: int | str
    name: str
    above: str


class Annotation(NamedTuple):
    """An annotation.

    Attributes:
        label: how messages name it.
        id: None where the file gives none.
        image: id of the image, "None" where the file gives none (files of one image).
        given_image: the same as the file writes it: "007", where `image` is the number 7.
        category: id of the category; None where the file gives none.
        segmentation: as the file has it, for `masks.decode`; None where it has none.
        bbox: (x, y, width, height), None where it is not known.
        area: in pixels, None where it is not known.
        crowd: covers a crowd.
        ignore: is not to be counted.
        score: `score`, or SAM's predicted_iou * stability_score; None where there is neither.
    """

    label: str
    id: int | str | None
    image: str
    given_image: str
    category: int | str | None
    segmentation: Any
    bbox: tuple[float, float, float, float] | None
    area: float | None
    crowd: bool
    ignore: bool
    score: float | None

    @property
    def box_only(self) -> bool:
        """Whether the entry has a box or area, but nothing that tells its mask."""
        return self.segmentation is None or (not has_parts(self.segmentation) and self.extent > 0)

    @property
    def extent(self) -> float:
        """Pixels that the entry says to cover, by its box or its area; 0 where it says nothing."""
        return max(self.area or 0.0, self.bbox[2] * self.bbox[3] if self.bbox is not None else 0.0)


def has_parts(segmentation: Any) -> bool:
    """Whether a segmentation holds anything: [] and [[]] do not."""
    return any(part != [] for part in segmentation) if isinstance(segmentation, list) else bool(segmentation)


def read_images(content: Any, path: Path) -> list[CocoImage]:
    """The entries of `images`. Raises ValueError naming the file and the entry."""
    return list(_read(content, "images", path, _image))


def read_categories(content: Any, path: Path) -> list[Category]:
    """The entries of `categories`. Raises ValueError naming the file and the entry."""
    return list(_read(content, "categories", path, _category))


def read_annotations(content: Any, path: Path, required: Sequence[str]) -> list[Annotation]:
    """The entries of a list of annotations, which all have the keys `required`.

    Raises ValueError naming the file and the entry.
    """

    def one(entry: Entry, label: str) -> Annotation:
        return _annotation(entry, label, required)

    return list(_read(content, "annotations", path, one))


def image_keys(images: Sequence[CocoImage], path: Path) -> tuple[list[str], bool]:
    """What tells the images apart, and whether that is ids as they are written.

    An id written as text is its number, so that "000000000139" and 139 are one image; unless a file has images that
    differ in how the number is written alone, as "1" and "001". Raises ValueError where two images have one id.
    """
    keys = [image.id for image in images]
    given = [image.given_id for image in images]
    as_written = len(set(keys)) < len(keys) == len(set(given))
    check_once(given if as_written else keys, f"{path}: images")
    return (given if as_written else keys), as_written


def check_once(names: Sequence[Any], where: str) -> None:
    """Raise ValueError where a name occurs twice."""
    if len(set(names)) == len(names):
        return
    seen: set[Any] = set()
    twice: dict[Any, None] = {}
    for name in names:
        if name in seen:
            twice[name] = None
        seen.add(name)
    raise ValueError(f"{where} names {', '.join(map(str, list(twice)[:SHOWN]))} more than once; give each its own")


def _read(content: Any, key: str, path: Path, one: Callable[[Entry, str], T]) -> Iterator[T]:
    if not isinstance(content, list):
        raise ValueError(f"{path}: {key} is {shown(content)}, expected a list; restore it")
    for position, entry in enumerate(content):
        if not isinstance(entry, dict):
            raise ValueError(f"{path}: entry {position} of {key} is {shown(entry)}, expected an object; mend it")
        given = entry.get("id")
        known = isinstance(given, int | str) and not isinstance(given, bool) and given != ""
        label = f"{key.removesuffix('s')} {given}" if known and key == "annotations" else f"entry {position} of {key}"
        try:
            yield one(entry, label)
        except ValueError as error:
            raise ValueError(f"{path}: {label}: {error}; mend it") from error


def _image(entry: Entry, _: str) -> CocoImage:
    _require(entry, ("id",))
    return CocoImage(
        id=str(identity(entry, "id")),
        given_id=_written(entry["id"]),
        file_name=text(entry, "file_name") if "file_name" in entry else None,
        height=side(entry, "height"),
        width=side(entry, "width"),
    )


def _category(entry: Entry, _: str) -> Category:
    _require(entry, ("id", "name"))
    above = entry.get("supercategory")
    return Category(identity(entry, "id"), text(entry, "name").strip(), above if isinstance(above, str) else "")


def _annotation(entry: Entry, label: str, required: Sequence[str]) -> Annotation:
    _require(entry, required)
    return Annotation(
        label=label,
        id=identity(entry, "id") if "id" in entry else None,
        image=str(identity(entry, "image_id") if "image_id" in entry else None),
        given_image=_written(entry.get("image_id")),
        category=identity(entry, "category_id") if "category_id" in required else None,
        segmentation=entry.get("segmentation"),
        bbox=box(entry, "bbox"),
        area=_area(entry),
        crowd=flag(entry, "iscrowd"),
        ignore=flag(entry, "ignore"),
        score=_score(entry),
    )


def _require(entry: Entry, keys: Sequence[str]) -> None:
    missing = [key for key in keys if key not in entry]
    if missing:
        raise ValueError(f"it lacks {' and '.join(missing)}, and has {shown(dict(entry))}")


def _written(value: Any) -> str:
    return value.strip() if isinstance(value, str) else str(integer(value))


def _area(entry: Entry) -> float | None:
    area = number(entry, "area")
    if area is not None and area < 0:
        raise ValueError(f"area is {shown(entry['area'])}, which is below 0")
    return area


def _score(entry: Entry) -> float | None:
    score = number(entry, "score")
    if score is not None:
        return score
    iou, stability = number(entry, "predicted_iou"), number(entry, "stability_score")
    return None if iou is None else iou * (1.0 if stability is None else stability)
