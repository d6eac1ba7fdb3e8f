"""Reads tags of images from the user's CSV or JSON."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.images.dataset import check_inside, check_unique, listed

SEPARATOR = ";"
FORMER_COLUMN = "picture"  # what the column `image` was called: files of that time stay valid


def read_tags(path: Path, classes: list[str]) -> dict[str, list[str]]:
    """Tags of each image, in the file's order; names of images with or without their suffix.

    CSV has a header with `image` and either `tags` (one row per image, tags separated by ';', may be empty) or `tag`
    (one row per tag). JSON is an object: {"image": ["tag", ...]}.

    Raises FileNotFoundError, or ValueError naming the file and its unknown tags, missing columns or repeated images.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; set the file of tags, or null for images without tags")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error
    tags = _from_json(path, text) if path.suffix.lower() == ".json" else _from_csv(path, text)
    if not tags:
        raise ValueError(f"{path} names no images; add them, or set tags to null for images without tags")
    unknown = [f"{tag!r} of {image}" for image, names in tags.items() for tag in names if tag not in classes]
    if unknown:
        raise ValueError(
            f"{path} has tags that are not among the classes {', '.join(classes)}: {listed(unknown)}; mend the tags, "
            "or add the class to images.classes"
        )
    return {check_inside(image, str(path)): names for image, names in tags.items()}


def read_rows(path: Path, text: str, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    """Rows of a CSV with a header. Raises ValueError where columns are missing or a row has fewer or more values."""
    reader = csv.DictReader(io.StringIO(text, newline=""))
    found = [name.strip() for name in reader.fieldnames or []]
    if "image" not in found:
        found = ["image" if name == FORMER_COLUMN else name for name in found]
    reader.fieldnames = found
    missing = [name for name in columns if name not in found]
    if missing:
        raise ValueError(
            f"{path} has the columns {', '.join(found) or 'none'}; {', '.join(missing)} missing. The first line must "
            f"name the columns {', '.join(columns)}, separated by commas"
        )
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(f"{path} line {reader.line_num} has not {len(found)} values; expected {', '.join(found)}")
        yield {name: value.strip() for name, value in row.items()}


def _from_csv(path: Path, text: str) -> dict[str, list[str]]:
    header = [name.strip() for name in text.split("\n", 1)[0].split(",")]
    if "tag" not in header:
        rows = list(read_rows(path, text, ("image", "tags")))
        check_unique((row["image"] for row in rows), f"{path} (for one row per tag, call the column 'tag')")
        return {row["image"]: _split(row["tags"]) for row in rows}
    tags: dict[str, list[str]] = {}
    for row in read_rows(path, text, ("image", "tag")):
        tags.setdefault(row["image"], []).extend([row["tag"]] if row["tag"] else [])
    return tags


def _split(tags: str) -> list[str]:
    return [tag.strip() for tag in tags.split(SEPARATOR) if tag.strip()]


def _from_json(path: Path, text: str) -> dict[str, list[str]]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check_unique((name for name, _ in pairs), str(path))
        return dict(pairs)

    try:
        data = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON ({error}); mend it") from error
    fits = isinstance(data, dict) and all(
        isinstance(tags, list) and all(isinstance(tag, str) for tag in tags) for tags in data.values()
    )
    if not fits:
        raise ValueError(f'{path} must be an object of lists, {{"image": ["tag", ...]}}; mend it')
    return data
