"""What is written from the descriptions of settings: comments of config.yaml, docs/settings.md, the editors' schema."""

import copy
import json
import typing
from pathlib import Path

import jsonschema
import pytest
import yaml

from stages.project.defaults import with_defaults
from stages.project.descriptions import parts_of
from stages.project.document_settings import MARK, PAGE, document_settings
from stages.project.overlays import merged, with_likes
from stages.project.places import is_section, place_of, plain
from stages.project.project import Project
from stages.project.settings_comments import COLUMN, WIDTH, field_at, with_comments

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config.yaml"
SHIPPED = [CONFIG, *sorted((ROOT / "presets").rglob("*.yaml"))]


@pytest.fixture(scope="module")
def documents():
    return document_settings(ROOT)


@pytest.mark.parametrize("path", ["config.yaml", "docs/settings.md", "docs/settings.schema.json"])
def test_the_written_documents_are_in_step_with_the_code(documents, path):
    assert (ROOT / path).read_text() == documents[path], f"{path} is not in step: run `make format`"


def test_comments_change_no_value_and_are_written_once():
    text = CONFIG.read_text()
    assert yaml.safe_load(with_comments(text)) == yaml.safe_load(text)
    assert with_comments(with_comments(text)) == with_comments(text)


def test_comments_are_written_anew_and_those_of_people_stay():
    text = CONFIG.read_text()
    spoilt = "\n".join(
        line
        for line in text.replace("# GPUs of a training job", "# wrong").split("\n")
        if "stand side by side" not in line
    )
    mended = with_comments(spoilt.replace("shards: 2 ", "shards: 3 "))
    assert "# GPUs of a training job" in mended
    assert "stand side by side" not in mended
    assert "shards: 3 " in mended


def test_a_comment_goes_on_in_lines_of_its_column_and_width():
    lines = with_comments(CONFIG.read_text()).splitlines()
    written = [line for line in lines if line.startswith(" " * COLUMN + "# ")]
    assert written
    assert all(len(line) <= WIDTH for line in lines if line in written or not line.lstrip().startswith("#"))


@pytest.mark.parametrize(
    ("text", "comment"),
    [
        ('images: {name: "a # b"}  # mine', "# mine"),
        ("runs: {a#b: {method: cim}} # mine", "# mine"),
    ],
)
def test_a_hash_in_a_text_is_no_comment(text, comment):
    line = with_comments(f"{text}\n").splitlines()[0]
    assert line.startswith(text[: text.rindex("#")].rstrip())


def fields_of_the_config():
    """Sections and fields of all keys of config.yaml, blocks apart."""
    complete = with_defaults(with_likes(yaml.safe_load(CONFIG.read_text()), []), [])[0]

    def walk(value, path):
        for key, inner in value.items() if isinstance(value, dict) else ():
            found = field_at((*path, key), complete)
            if found is not None:
                yield (*path, key), found[1]
            yield from walk(inner, (*path, key))

    yield from walk({name: value for name, value in complete.items() if name != "runs"}, ())


@pytest.mark.parametrize(("path", "field"), [pytest.param(p, f, id=".".join(p)) for p, f in fields_of_the_config()])
def test_every_value_of_the_config_is_described_with_its_choices(path, field):
    kind = plain(field.annotation)
    if is_section(kind) or path[-1] in ("head", "peaks"):
        return
    assert field.description
    choices = typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else ()
    if len(choices) > 1 and isinstance(choices[0], str):
        assert all(choice in field.description for choice in choices)


@pytest.mark.parametrize(
    ("description", "parts"),
    [
        ("pixels; side of a crop (PRM: 448, BESTIE: 384)", ("pixels", "side of a crop", "PRM: 448, BESTIE: 384")),
        ("weight of a term (official code: 3)", ("", "weight of a term", "official code: 3")),
        ("rle: exact; polygons: edited", ("", "rle: exact; polygons: edited", "")),
        ("left out (drop) or 3x3 (stride_1)", ("", "left out (drop) or 3x3 (stride_1)", "")),
        ("updates", ("", "updates", "")),
        ("maxima of the map (BESTIE)", ("", "maxima of the map", "BESTIE")),
    ],
)
def test_a_description_has_a_unit_an_effect_and_a_source(description, parts):
    assert parts_of(description) == parts


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_config_and_presets_are_valid_for_editors_and_name_the_schema(path):
    schema = json.loads((ROOT / "docs" / "settings.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(path.read_text()))
    first = path.read_text().splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == ROOT / "docs" / "settings.schema.json"


@pytest.mark.parametrize(
    "overlay",
    [
        "cim: {train: {losses: {bagg: 1.0}}}",
        "colour: red",
        "defaults: {training: {stepss: 1}}",
        "exports: {coco: {segmentation: boxes}}",
        "prm: {grid: 1}",
        "semantics: {cam: {labels: {crf: {iterations: many}}}}",
    ],
)
def test_editors_see_what_is_wrong(documents, overlay):
    schema = json.loads(documents["docs/settings.schema.json"])
    whole = merged(copy.deepcopy(yaml.safe_load(CONFIG.read_text())), yaml.safe_load(overlay))
    assert not jsonschema.Draft202012Validator(schema).is_valid(whole)


def test_the_page_has_every_key_also_of_kinds_that_the_config_does_not_use(documents):
    page = documents[PAGE]
    for heading in (
        "`proposals.<name>`, kind mat",
        "`semantics.<name>`, kind png",
        "`defaults.training`",
        "`cim.train.mining`",
    ):
        assert f"## {heading}" in page
    assert "| `crop_size` | whole number ≥ 1 ≤ 32 | bins | `7` | official code: 7 | side of a region's" in page
    assert "`cim.train.training` starts from [defaults.training](#defaultstraining) with `steps` `1500`" in page
    assert page.startswith("# Settings\n")


def test_a_page_without_the_line_under_which_it_is_written_is_refused(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "settings.md").write_text("# Settings\n")
    (tmp_path / "config.yaml").write_text(CONFIG.read_text())
    with pytest.raises(ValueError, match="put it back"):
        document_settings(tmp_path)
    assert MARK in (ROOT / PAGE).read_text()


def test_the_place_of_a_key_holds_the_kinds_on_its_way():
    values = {"semantics": {"cam": {"kind": "network"}}}
    keys = ("semantics", "cam", "labels", "crf", "iterations")
    assert place_of(Project, keys, values) == ("semantics", "cam", "network", "labels", "crf", "iterations")
