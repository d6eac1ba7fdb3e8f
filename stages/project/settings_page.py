"""Writes docs/settings.md: every key with its type, unit, value in config.yaml, source and effect."""

import inspect
import typing
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from stages.core.config.section import Section
from stages.project.defaults import BLOCKS, DEFAULTS, with_defaults
from stages.project.descriptions import parts_of
from stages.project.explain_settings import scalar
from stages.project.overlays import with_likes
from stages.project.places import is_section, plain, several_kinds
from stages.project.project import Project

NAME = "<name>"
OR_NULL = " or null"  # of each entry of a mapping of names
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<", "multipleOf": "multiple of"}
COLUMNS = ("key", "type", "unit", "in config.yaml", "source", "effect")


def settings_page(head: str, config: dict[str, Any]) -> str:
    """The page.

    Args:
        head: what people wrote above the tables.
        config: config.yaml.
    """
    complete = with_defaults(with_likes(config, []), [])[0]
    parts = [head.rstrip(), "## Top level"]
    parts += _table(
        Project, [name for name, kind in _kinds_of_fields(Project) if not _holds_sections(kind)], [complete]
    )
    for name, block in BLOCKS.items():
        parts += _tables(block, f"{DEFAULTS}.{name}", [config[DEFAULTS][name]], linked={})
    links = {
        block: _Link(f"{DEFAULTS}.{name}", "starts from", config[DEFAULTS][name]) for name, block in BLOCKS.items()
    }
    of_runs = {
        kind: _Link(name, "overrides parts of", None) for name, kind in _kinds_of_fields(Project) if is_section(kind)
    }
    kinds = dict(_kinds_of_fields(Project))
    for name, kind in ((name, kinds[name]) for name in config if name in kinds):
        if _holds_sections(kind):
            parts += _of_kind(kind, name, [complete[name]], linked=links | (of_runs if name == "runs" else {}))
    return "\n\n".join(parts) + "\n"


class _Link(NamedTuple):
    """A section that has its table elsewhere."""

    path: str
    relation: str  # of what stands here to it
    values: Any  # there

    def sentence(self, path: str, kind: type[Section], values: list[Any], about: str | None) -> str:
        """What stands at a path: where its table is, and the values that differ from those there."""
        text = f"`{path}` {self.relation} [{self.path}](#{_anchor(self.path)})"
        if self.values is not None:
            shown = {name: _shown(name, values) for name in kind.model_fields}
            other = {name: found for name, found in shown.items() if found and found != _shown(name, [self.values])}
            text += " with" * bool(other) + "".join(f" `{name}` {found}," for name, found in other.items())
        return f"{text.rstrip(',')}{f'; {_escaped(about)}' if about else ''}."


def _of_kind(kind: Any, path: str, values: list[Any], *, linked: dict[Any, _Link]) -> Iterator[str]:
    """The tables of what stands at a path: one section, several kinds of them, or named entries."""
    if is_section(kind):
        yield from _tables(kind, path, values, linked=linked)
    elif several_kinds(kind):
        for one in typing.get_args(kind):
            name = typing.get_args(one.model_fields["kind"].annotation)[0]
            own = [value for value in values if value.get("kind") == name]
            yield from _tables(one, path, own, linked=linked, suffix=f", kind {name}")
    else:
        entries = [entry for value in values for entry in value.values()]
        yield from _of_kind(plain(typing.get_args(kind)[-1]), f"{path}.{NAME}", entries, linked=linked)


def _tables(
    section: type[Section], path: str, values: list[Any], *, linked: dict[Any, _Link], suffix: str = ""
) -> Iterator[str]:
    """A section's heading, its summary, the table of its keys, then those of the sections in it."""
    yield f"{'###' if '.' in path else '##'} `{path}`{suffix}"
    yield _escaped((inspect.getdoc(section) or "").partition("\n\n")[0].replace("\n", " "))
    kinds = dict(_kinds_of_fields(section))
    leaves = [name for name, kind in kinds.items() if not _holds_sections(kind)]
    if leaves:
        yield from _table(section, leaves, values)
    for name in (name for name in kinds if name not in leaves):
        about = section.model_fields[name].description
        within = [value[name] for value in values if isinstance(value, dict) and value.get(name) is not None]
        if kinds[name] in linked:
            yield linked[kinds[name]].sentence(f"{path}.{name}", kinds[name], within, about)
        else:
            yield from _of_kind(kinds[name], f"{path}.{name}", within, linked=linked)


def _table(section: type[Section], names: Iterable[str], values: list[Any]) -> list[str]:
    types = section.model_json_schema()
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    for name in names:
        unit, effect, source = parts_of(section.model_fields[name].description or "")
        kind = _type(types["properties"][name], types.get("$defs", {}))
        rows.append((f"`{name}`", kind, unit, _shown(name, values), source, effect))
    return ["\n".join(_row(cells) for cells in rows)]


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_escaped(cell.replace("|", "\\|")) for cell in cells) + " |"


def _escaped(text: str) -> str:
    """A text in which Markdown sees no tag of HTML."""
    return text.replace("<", "&lt;")


def _shown(name: str, values: list[Any]) -> str:
    """The value of a key in config.yaml, or those of several entries."""
    present = [value[name] for value in values if isinstance(value, dict) and name in value]
    return ", ".join(dict.fromkeys(f"`{scalar(value)}`" for value in present))


def _type(schema: dict[str, Any], kinds: dict[str, Any]) -> str:
    """A type with its bounds, in words."""
    if "anyOf" in schema:
        return " or ".join(_type(option, kinds) for option in schema["anyOf"])
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema["type"] == "array":
        fewest, most = schema.get("minItems", 0), schema.get("maxItems")
        count = f"{most} " if most is not None and most == fewest else ""
        return f"list of {count}{_type(schema['items'], kinds)}{'' if fewest or count else ', may be empty'}"
    if schema["type"] == "object":
        (entry,) = schema.get("patternProperties", {"": schema.get("additionalProperties")}).values()
        return f"names: {_type(entry, kinds).removesuffix(OR_NULL)}"
    names = {
        "integer": "whole number",
        "number": "number",
        "boolean": "true or false",
        "string": "text",
        "null": "null",
    }
    return names[schema["type"]] + _bounds(schema)


def _bounds(schema: dict[str, Any]) -> str:
    return "".join(f" {sign} {schema[word]:g}" for word, sign in BOUNDS.items() if word in schema)


def _kinds_of_fields(section: type[Section]) -> Iterator[tuple[str, Any]]:
    """Names of the fields and their types without what annotates these."""
    for name, field in section.model_fields.items():
        yield name, plain(field.annotation)


def _holds_sections(kind: Any) -> bool:
    if typing.get_origin(kind) is dict:
        return _holds_sections(plain(typing.get_args(kind)[-1]))
    return is_section(kind) or several_kinds(kind)


def _anchor(heading: str) -> str:
    """GitHub's anchor of a heading."""
    return "".join(letter for letter in heading.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")
