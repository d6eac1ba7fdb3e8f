"""Writes the trailing comments of config.yaml from the descriptions of its keys.

A key's comment stands where the key of its section occurs first. Comment lines that are as far right as the trailing
ones continue them, and are written anew; all others are people's, and stay. So does the comment of a line whose key has
no description, such as the name of a run.
"""

import re
import textwrap
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from pydantic.fields import FieldInfo

from stages.core.config.section import Section
from stages.project.defaults import BLOCKS, DEFAULTS, with_defaults
from stages.project.overlays import with_likes
from stages.project.places import fields_of, place_of, section_of
from stages.project.project import Project

COLUMN = 32  # of a trailing comment, counted from 0
WIDTH = 120
KEY = re.compile(r"(?P<indent> *)(?P<key>[\w.-]+):(?: |$)")
# A line's content, in which quotes may hold a hash, and its comment.
CONTENT = re.compile(r"""(?P<content>(?:"[^"]*"|'[^']*'|[^"'#]|(?<=\S)#)*?)\s*(?:(?<!\S)#\s*(?P<comment>.*))?$""")


class Line(NamedTuple):
    """A line of the file, without the comments that are written anew."""

    path: tuple[str, ...]  # empty where it holds no key
    content: str
    comment: str


def with_comments(text: str) -> str:
    """The text of config.yaml with the comments that its keys' descriptions give."""
    complete = with_defaults(with_likes(yaml.safe_load(text), []), [])[0]
    said: set[tuple[type[Section], str]] = set()
    lines = []
    for line in _lines(text):
        comment = line.comment
        field = field_at(line.path, complete) if line.path else None
        if field is not None and field[1].description:
            name = (_owner(field[0], line.path[-1]), line.path[-1])
            comment = "" if name in said else field[1].description
            said.add(name)
        lines += _written(line.content, comment)
    return "\n".join(lines) + "\n"


def field_at(path: tuple[str, ...], complete: Any) -> tuple[type[Section], FieldInfo] | None:
    """The section and the field of a path in config.yaml; None for a name that people give."""
    root: type[Section] = Project
    if path[0] == DEFAULTS:
        if len(path) < 3 or path[1] not in BLOCKS:
            return None
        root, path, complete = BLOCKS[path[1]], path[2:], None
    place = place_of(root, path, complete)
    field = fields_of(root, place[:-1]).get(place[-1])
    return None if field is None else (section_of(root, place[:-1]), field)


def _owner(section: type[Section], key: str) -> type[Section]:
    """The section that describes the key, of this one and those that it inherits from."""
    return next(kind for kind in section.__mro__ if key in vars(kind).get("__annotations__", {}))


def _lines(text: str) -> Iterator[Line]:
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if line.lstrip().startswith("#"):
            if indent < COLUMN:
                yield Line((), line, "")
            continue
        found = CONTENT.fullmatch(line)
        content, comment = (found["content"].rstrip(), found["comment"] or "") if found else (line, "")
        key = KEY.match(content)
        if key is None:
            yield Line((), content, comment)
            continue
        path = [*((depth, name) for depth, name in path if depth < indent), (indent, key["key"])]
        yield Line(tuple(name for _, name in path), content, comment)


def _written(content: str, comment: str) -> list[str]:
    """The line, and those that its comment goes on in."""
    if not comment:
        return [content]
    start = max(COLUMN, len(content) + 2)
    first, *rest = textwrap.wrap(comment, WIDTH - start - 2, break_long_words=False, break_on_hyphens=False)
    if rest and start > COLUMN:
        first, *rest = _unequal(comment, WIDTH - start - 2, WIDTH - COLUMN)
    return [f"{content:<{start}}# {first}", *(f"{'':<{COLUMN}}# {line}" for line in rest)]


def _unequal(text: str, first: int, others: int) -> list[str]:
    """The text in lines of which the first has another width."""
    head = textwrap.wrap(text, first, break_long_words=False, break_on_hyphens=False)[0]
    return [head, *textwrap.wrap(text[len(head) :].strip(), others, break_long_words=False, break_on_hyphens=False)]
