"""Settings reach a step as JSON, and their declarations are no code: equal JSON must mean equal settings."""

import types
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.core.config.section import Section
from stages.project.project import Project, load_files

ROOT = Path(__file__).parents[2]
PRESETS = [[], ["voc2012"], ["voc2012", "voc2012_released"], ["voc2012", "voc2012_bestie", "voc2012_bestie_released"]]
LEAVES = {str, int, float, bool, types.NoneType, typing.Any}
GROUPS = {typing.Union, types.UnionType, typing.Annotated, list, dict}


def sections(value: object) -> Iterator[Section]:
    """All sections in a section, with itself."""
    if isinstance(value, Section):
        yield value
        value = dict(value)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from sections(part)


def kinds(hint: object) -> Iterator[object]:
    """The types that a hint is made of."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        yield from (type(value) for value in typing.get_args(hint))
    elif origin is typing.Annotated:
        yield from kinds(typing.get_args(hint)[0])
    elif origin in GROUPS:
        for part in typing.get_args(hint):
            yield from kinds(part)
    else:
        yield hint


def heirs(kind: type) -> Iterator[type]:
    for heir in kind.__subclasses__():
        yield heir
        yield from heirs(heir)


@pytest.mark.parametrize("presets", PRESETS, ids=lambda names: "/".join(names) or "config")
def test_settings_are_the_same_after_their_way_to_a_step(presets, monkeypatch):
    """So a validator that changes a value finds nothing left to change."""
    monkeypatch.setenv("TAGMASK_DATA", "/somewhere")
    project = load_files(ROOT / "config.yaml", *(ROOT / "presets" / f"{name}.yaml" for name in presets))
    found = list(sections(project))
    assert len(found) > 50
    for section in found:
        assert type(section).parse(section.canonical()) == section


def test_settings_have_only_types_that_json_tells_apart():
    """A list that is declared a tuple, or a text that is declared a path, would reach a step by the same JSON."""
    assert issubclass(Project, Section)
    for section in heirs(Section):
        if section.__module__.startswith("stages."):
            for name, hint in typing.get_type_hints(section, include_extras=True).items():
                if typing.get_origin(hint) is not typing.ClassVar and name in section.model_fields:
                    other = {kind for kind in kinds(hint) if kind not in LEAVES and not issubclass(kind, Section)}
                    assert not other, f"{section.__name__}.{name} has {other}"


def test_settings_have_no_defaults_and_nothing_that_their_json_lacks():
    for section in heirs(Section):
        if section.__module__.startswith("stages."):
            for name, field in section.model_fields.items():
                assert field.is_required(), f"{section.__name__}.{name} has a default"
                assert not field.exclude, f"{section.__name__}.{name} is excluded"
