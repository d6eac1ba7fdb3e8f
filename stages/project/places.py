"""Where a key stands in the sections: its field by its path.

A place is a path with the kind of each block of several kinds, as pydantic says it in an error:
`("semantics", "cam", "network", "labels", "crf")` is the place of the keys `semantics.cam.labels.crf`.
"""

import types
import typing
from collections.abc import Iterable
from typing import Any

from pydantic.fields import FieldInfo

from stages.core.config.section import Section


def place_of(root: type[Section], keys: Iterable[str], values: Any) -> tuple[str, ...]:
    """The place of a path of keys; `values` are those of the root, complete, and say which kinds there are."""
    kind: Any = root
    place = []
    for key in keys:
        if several_kinds(kind):
            chosen = values.get("kind") if isinstance(values, dict) else None
            place.append(chosen)
            kind = plain(_inside(kind, chosen))
        place.append(key)
        kind = plain(_inside(kind, key))
        values = values.get(key) if isinstance(values, dict) else None
    return tuple(place)


def keys_of(root: type[Section], place: Iterable[object]) -> list[str]:
    """The keys on the way to a place, which as pydantic says it also holds the kinds of blocks of several kinds."""
    kind: Any = root
    keys = []
    for part in place:
        if not several_kinds(kind):
            keys.append(str(part))
        kind = plain(_inside(kind, part))
    return keys


def fields_of(root: type[Section], place: Iterable[object]) -> dict[str, FieldInfo]:
    """Fields of the section at a place; none where no section is there."""
    section = section_of(root, place)
    return {} if section is None else dict(section.model_fields)


def section_of(root: type[Section], place: Iterable[object]) -> type[Section] | None:
    """The section at a place; None where no section is there."""
    kind: Any = root
    for part in place:
        kind = plain(_inside(kind, part))
    return kind if is_section(kind) else None


def _inside(kind: Any, key: object) -> Any:
    arguments = typing.get_args(kind)
    if several_kinds(kind):
        return next((one for one in arguments if key in typing.get_args(one.model_fields["kind"].annotation)), None)
    if typing.get_origin(kind) in (dict, list):
        return arguments[-1]
    return kind.model_fields[key].annotation if is_section(kind) and key in kind.model_fields else None


def several_kinds(kind: Any) -> bool:
    """Whether it is a union of sections, told apart by their key `kind`."""
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return union and all(is_section(one) for one in typing.get_args(kind))


def is_section(kind: Any) -> bool:
    """Whether it is a section."""
    return isinstance(kind, type) and issubclass(kind, Section)


def plain(kind: Any) -> Any:
    """The type without what annotates it, and without None."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        rest = [one for one in typing.get_args(kind) if one is not types.NoneType]
        return plain(rest[0]) if len(rest) == 1 else kind
    return kind
