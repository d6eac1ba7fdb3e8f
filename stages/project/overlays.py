"""Configurations as plain mappings: overlays, variables, entries that start from another, before they are checked."""

import os
import re
from collections.abc import Iterator
from typing import Any

from stages.core.config.spelling import did_you_mean

VARIABLE = re.compile(r"\$\{(\w+)\}")
NAMED = ("proposals", "classifier", "semantics", "runs")  # sections that hold named entries
LIKE = "like"  # key of an entry that starts from another one
ONE_OF_KINDS = ("head", "peaks")  # blocks whose keys depend on their kind


def merged(base: Any, override: Any) -> Any:
    """Deep merge: mappings are merged key by key, anything else is replaced."""
    if not isinstance(base, dict) or not isinstance(override, dict):
        return override
    return {**base, **{key: merged(base[key], value) if key in base else value for key, value in override.items()}}


def with_likes(config: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """The configuration with `like` resolved: `{like: other, ...}` is the entry `other` with the rest merged in.

    A head or a rule for peaks of another kind than the other's replaces it whole, since its keys are others. For the
    sections that hold named entries; what cannot be is added to the problems.
    """
    resolved = dict(config)
    for section in NAMED:
        entries = config.get(section)
        if isinstance(entries, dict):
            resolved[section] = {name: _likened(entries, [name], section, problems) for name in entries}
    return resolved


def _likened(entries: dict[str, Any], chain: list[str], section: str, problems: list[str]) -> Any:
    entry = entries[chain[-1]]
    if not isinstance(entry, dict) or LIKE not in entry:
        return entry
    other = entry[LIKE]
    rest = {key: value for key, value in entry.items() if key != LIKE}
    if not isinstance(other, str | int) or entries.get(other) is None:  # no other names are found in a mapping
        possible = sorted(str(name) for name, entry in entries.items() if entry is not None and name != chain[-1])
        problems.append(f"{section}.{chain[-1]}.like is {other!r}; there are {possible}{did_you_mean(other, possible)}")
        return rest
    if other in chain:
        problems.append(f"{section}.{chain[0]}.like leads back to itself: {' -> '.join(map(str, [*chain, other]))}")
        return rest
    start = _likened(entries, [*chain, other], section, problems)
    if section == "classifier" and isinstance(start, dict) and "train" in rest:
        start = {**start, "trained": None}  # finished weights belong to the training that the other entry describes
    return merged(_without_other_kinds(start, rest), rest)


def _without_other_kinds(base: Any, override: Any) -> Any:
    """The base without its blocks that the override gives another kind."""
    if not isinstance(base, dict) or not isinstance(override, dict):
        return base
    return {
        key: _without_other_kinds(value, override.get(key))
        for key, value in base.items()
        if key not in ONE_OF_KINDS or _kind(override.get(key)) in (None, _kind(value))
    }


def _kind(block: Any) -> Any:
    return block.get("kind") if isinstance(block, dict) else None


def empty_mappings(values: Any, path: str = "") -> Iterator[str]:
    """Paths of the keys in an overlay whose value is a mapping without a key: merged, it changes nothing."""
    for key, value in values.items() if isinstance(values, dict) else ():
        inner = f"{path}.{key}" if path else str(key)
        if value == {}:
            yield inner
        yield from empty_mappings(value, inner)


def expanded(value: Any, path: str, problems: list[str]) -> Any:
    """The configuration with ${VARIABLE} in texts replaced by the environment's value; an unset one is a problem."""
    if isinstance(value, dict):
        return {key: expanded(inner, f"{path}.{key}" if path else str(key), problems) for key, inner in value.items()}
    if isinstance(value, list):
        return [expanded(inner, f"{path}[{i}]", problems) for i, inner in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name in VARIABLE.findall(value):
        if name not in os.environ:
            problems.append(f"{path}: the environment variable {name} is not set; set it, or write the path itself")
    return VARIABLE.sub(lambda found: os.environ.get(found[1], found[0]), value)
