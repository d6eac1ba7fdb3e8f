"""Describes JSON files: metrics, reports, curves, settings of exports."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.core.artifacts.files import read_json

ITEMS = 6  # of a list that is shown whole
FIRST = ("run", "split", "supervision", "method", "source", "n_images")  # what metrics say of themselves comes first


def describe_json(path: Path) -> dict[str, Any]:
    """One line per number, text or innermost mapping of a JSON file; lists in short. Raises as `read_json`."""
    data = read_json(path)
    lines = list(_lines(data, ""))
    first = [line for name in FIRST for line in lines if line["name"] == name]
    return {
        "what": "JSON",
        "path": str(path),
        "bytes": path.stat().st_size,
        "values": first + [line for line in lines if line["name"] not in FIRST],
    }


def _lines(data: Any, name: str) -> Iterator[dict[str, Any]]:
    if name and isinstance(data, dict) and not any(isinstance(value, dict | list) for value in data.values()):
        yield {"name": name, "value": data}  # the innermost mappings are one line each
    elif isinstance(data, dict) and data:
        for key, value in data.items():
            yield from _lines(value, f"{name}.{key}" if name else str(key))
    elif isinstance(data, list) and len(data) > ITEMS:
        numbers = [item for item in data if isinstance(item, int | float) and not isinstance(item, bool)]
        if len(numbers) == len(data):
            yield {"name": name, "items": len(data), "least": min(numbers), "largest": max(numbers)}
        else:
            yield {"name": name, "items": len(data), "first": data[0]}
    else:
        yield {"name": name, "value": data}
