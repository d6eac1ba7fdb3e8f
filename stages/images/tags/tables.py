"""Tags in the project's own forms: CSV, JSON, and a list of names with one class."""

import json
from pathlib import Path
from typing import Any

from stages.images.dataset import check_unique
from stages.images.files.tables import Row, Table, read_table
from stages.images.files.text import lines_of
from stages.images.tags.entries import Entry, Tags

SEPARATOR = ";"
COLUMNS = (("image", "tags"), ("image", "tag"))
FORMER = {"picture": "image"}  # what the column `image` was called: files of that time stay valid


def from_table(path: Path, text: str) -> Tags:
    """Tags of a table with the columns `image` and either `tags` (a row an image) or `tag` (a row a tag).

    Several tags of a row are separated by ';'; none are welcome. Raises ValueError naming file and line.
    """
    table = read_table(path, text, COLUMNS, FORMER)
    for row in table.rows:
        if not row["image"]:
            raise ValueError(f"{path} line {row.line} has no image; name it, or remove the row")
    entries = _of_images(table) if "tags" in table.columns else _of_tags(table)
    return Tags(path, entries, strict=True)


def _of_images(table: Table) -> list[Entry]:
    seen: dict[str, int] = {}
    for row in table.rows:
        if row["image"] in seen:
            raise ValueError(
                f"{table.path} line {row.line} names {row['image']} again, after line {seen[row['image']]}; give each "
                "image one row, or, for one row per tag, call the column 'tag'"
            )
        seen[row["image"]] = row.line
    return [Entry((row["image"],), _split(row["tags"]), f"line {row.line}") for row in table.rows]


def _of_tags(table: Table) -> list[Entry]:
    rows: dict[str, list[Row]] = {}
    for row in table.rows:
        rows.setdefault(row["image"], []).append(row)
    return [
        Entry((image,), tuple(row["tag"] for row in own if row["tag"]), f"line {own[0].line}")
        for image, own in rows.items()
    ]


def _split(tags: str) -> tuple[str, ...]:
    return tuple(tag.strip() for tag in tags.split(SEPARATOR) if tag.strip())


def read_json(path: Path, text: str) -> Any:
    """The content of a JSON file. Raises ValueError naming the file and the line, or a key that occurs twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        check_unique((name for name, _ in pairs), str(path))
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} line {error.lineno} is not JSON ({error.msg}); mend it") from error
    except RecursionError as error:
        raise ValueError(f"{path} is not JSON of tags: its lists are nested too deeply") from error


def from_json(path: Path, data: Any) -> Tags:
    """Tags of an object of lists, {"image": ["tag", ...]}. Raises ValueError naming the entry that is none."""
    if not isinstance(data, dict):
        raise ValueError(f'{path} must be an object of lists, {{"image": ["tag", ...]}}; it is a {type(data).__name__}')
    for image, tags in data.items():
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise ValueError(
                f'{path}: {image!r} has {str(tags)[:80]}, but must be an object of lists, {{"image": ["tag", ...]}}'
            )
    entries = [Entry((image,), tuple(tags), "its entry") for image, tags in data.items()]
    return Tags(path, entries, strict=True)


def from_list(path: Path, text: str, classes: list[str]) -> Tags:
    """Tags of a list of names, one a line, which all have the only class. Raises ValueError for several classes."""
    if len(classes) != 1:
        raise ValueError(
            f"{path} is a list of names, which all have the one class; images.classes has {len(classes)}: "
            f"{', '.join(classes)}. Write a table with the columns image and tags"
        )
    lines = [(number, line.strip()) for number, line in enumerate(lines_of(text), start=1)]
    entries = [Entry((name,), (classes[0],), f"line {number}") for number, name in lines if name]
    return Tags(path, entries, strict=True)
