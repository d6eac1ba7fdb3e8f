"""Which settings differ between runs."""

from collections.abc import Iterator
from typing import Any


def differing_settings(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings by dotted key that at least two runs have with different values: {key: {run: value}}.

    A run that does not have the key (its method does not read it) has no entry there. Keys keep the config's order.
    """
    values: dict[str, dict[str, Any]] = {}
    for run, settings in runs.items():
        for key, value in _leaves(settings, ""):
            values.setdefault(key, {})[run] = value
    return {key: found for key, found in values.items() if len({repr(value) for value in found.values()}) > 1}


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
