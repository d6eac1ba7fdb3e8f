"""JSON files that are too large for the memory: written entry by entry, whole or not at all."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

from stages.core.artifacts.files import whole_file


def write_object(path: Path, lists: Mapping[str, Iterable[Any]], **fields: Any) -> None:
    """Write {field: value, ..., list: [entry, ...], ...}; the lists are taken one after the other."""
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        file.write("{")
        for name, value in fields.items():
            file.write(f"{_text(name)}: {_text(value)},\n")
        for i, (name, entries) in enumerate(lists.items()):
            file.write(f"{',' if i else ''}\n{_text(name)}: ")
            _write_entries(file, entries)
        file.write("}\n")


def write_list(path: Path, entries: Iterable[Any]) -> None:
    """Write [entry, ...], one per line."""
    with whole_file(path) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        _write_entries(file, entries)
        file.write("\n")


def _write_entries(file: TextIO, entries: Iterable[Any]) -> None:
    file.write("[")
    for i, entry in enumerate(entries):
        file.write(f"{',' if i else ''}\n{_text(entry)}")
    file.write("]")


def _text(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
