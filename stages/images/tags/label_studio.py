"""Tags from exports of Label Studio: JSON, JSON-MIN and CSV of choices, and labels of regions.

Source: Label Studio's guide, "Label Studio JSON format of annotated tasks" and "Export formats".
"""

import json
import logging
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from stages.core.images.suffixes import suffixes
from stages.images.dataset import listed
from stages.images.files.names import path_ends
from stages.images.files.tables import Table
from stages.images.tags.entries import Entry, Tags, merged

log = logging.getLogger(__name__)
UPLOAD = re.compile(r"[0-9a-f]{8}-")  # put in front of the name of an uploaded file
# Keys of JSON-MIN and CSV beside those of the task's data and of the controls.
ABOUT = {"id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement"}
MARKS = {"annotation_id", "lead_time"}  # by which an export is known


def from_tasks(path: Path, data: Any, classes: list[str]) -> Tags:
    """Tags of an export as JSON or JSON-MIN. Tasks that nobody annotated are left out and counted in the log.

    Several annotations of a task are put together. Raises ValueError naming the task that cannot be read.
    """
    if not isinstance(data, list) or not all(isinstance(task, dict) for task in data):
        raise ValueError(f"{path} is no export of Label Studio: expected a list of tasks")
    if not data:
        return Tags(path, [], strict=False)
    if any("annotations" in task or "completions" in task for task in data):
        found = [_of_task(path, number, task) for number, task in enumerate(data, start=1)]
        open_tasks = sum(entry is None for entry in found)
        if open_tasks:
            log.warning("%d tasks of %s have no annotation; they are not used", open_tasks, path)
        return Tags(path, merged([entry for entry in found if entry is not None]), strict=False)
    return _of_records(path, [(f"task {number}", task) for number, task in enumerate(data, start=1)], classes)


def from_label_studio_table(table: Table, classes: list[str]) -> Tags:
    """Tags of an export as CSV. Raises ValueError as `from_tasks`."""
    records = [(f"line {row.line}", {key: _unpacked(value) for key, value in row.values.items()}) for row in table.rows]
    return _of_records(table.path, records, classes)


def _unpacked(value: str) -> Any:
    """The JSON of a cell that holds several values, else its text."""
    if not value.startswith(("{", "[")):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _of_task(path: Path, number: int, task: dict[str, Any]) -> Entry | None:
    where = f"task {task.get('id', number)}"
    annotations = task.get("annotations", task.get("completions"))
    data = task.get("data")
    if not isinstance(data, dict) or not isinstance(annotations, list):
        raise ValueError(f"{path} {where} has no data or no list of annotations; export as JSON once more")
    done = [a for a in annotations if isinstance(a, dict) and not a.get("was_cancelled")]
    if not done:
        return None
    labels = [label for annotation in done for label in _labels_in(annotation.get("result"))]
    return Entry(_names(_image_of(path, where, data)), tuple(dict.fromkeys(labels)), where)


def _labels_in(value: Any) -> Iterable[str]:
    """Labels of a result, wherever they stand in it: of choices, and of regions."""
    if isinstance(value, list):
        for part in value:
            yield from _labels_in(part)
    elif isinstance(value, dict):
        for key, part in value.items():
            if (key == "choices" or key.endswith("labels")) and isinstance(part, list):
                yield from (label for label in part if isinstance(label, str))
            elif key in ("value", "result"):
                yield from _labels_in(part)


def _of_records(path: Path, records: list[tuple[str, dict[str, Any]]], classes: list[str]) -> Tags:
    """Tags of flat records, in which a control stands under its own name beside the data."""
    keys = dict.fromkeys(key for _, record in records for key in record if key not in ABOUT)
    controls = [key for key in keys if any(_holds_labels(record.get(key), classes) for _, record in records)]
    if not controls:
        raise ValueError(
            f"{path} has no field with one of the classes {', '.join(classes)}; its fields are "
            f"{listed(list(keys)) or 'none'}"
        )
    entries = []
    for where, record in records:
        image = _image_of(path, where, {key: value for key, value in record.items() if key not in controls})
        labels = [label for key in controls for label in _answers(record.get(key))]
        entries.append(Entry(_names(image), tuple(dict.fromkeys(labels)), where))
    return Tags(path, merged(entries), strict=False)


def _holds_labels(value: Any, classes: list[str]) -> bool:
    return value in classes if isinstance(value, str) else any(True for _ in _labels_in(value))


def _answers(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return [value] if value else []
    return _labels_in(value)


def _image_of(path: Path, where: str, data: dict[str, Any]) -> str:
    """The reference to the task's image: the only value whose path has the suffix of an image."""
    found = [value for value in data.values() if isinstance(value, str) and _is_image(value)]
    if len(found) != 1:
        raise ValueError(
            f"{path} {where} refers to {len(found)} images in its data ({listed(list(data)) or 'no keys'}); expected "
            "one name that ends as images do"
        )
    return found[0]


def _is_image(reference: str) -> bool:
    return PurePosixPath(_path_of(reference)).suffix.lower() in suffixes()


def _path_of(reference: str) -> str:
    """The path in a reference: of local storage (?d=...), a bucket, an address, an upload, or a plain path."""
    reference = reference.replace("\\", "/")
    if "://" not in reference and not reference.startswith("/data/"):
        return reference
    parts = urlsplit(reference)
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path)


def _names(reference: str) -> tuple[str, ...]:
    """Names that the image may have in its folder: ends of the path, longest first, then the name before its upload."""
    ends = path_ends(_path_of(reference))
    return (*ends, *([ends[-1][9:]] if UPLOAD.match(ends[-1]) and len(ends[-1]) > 9 else []))
