"""Every block of settings in the pages is a valid overlay of config.yaml, or of the presets that a note above it names."""

import re

import pytest
import yaml

from stages.project.explain_settings import explain_settings
from stages.project.project import ConfigError, load_files
from tests.docs.blocks import ROOT, Block, all_blocks

YAML = [block for block in all_blocks("yaml") if not block.is_left_to]
SHORT = {
    "P": "presets/voc2012.yaml",
    "R": "presets/voc2012_released.yaml",
    "COB": "presets/voc2012_cob.yaml",
    "B": "presets/voc2012_bestie.yaml",
    "BR": "presets/voc2012_bestie_released.yaml",
}


def load(block: Block, folder):
    """The project that the block makes of the files below it."""
    names = (block.noted("on") or "").split()
    overlay = folder / "overlay.yaml"
    overlay.write_text(block.text, encoding="utf-8")
    return load_files(ROOT / "config.yaml", *[ROOT / name for name in names], overlay)


@pytest.mark.parametrize("block", YAML, ids=str)
def test_a_block_of_settings_is_valid(block, tmp_path, monkeypatch):
    monkeypatch.setenv("TAGMASK_DATA", str(tmp_path))
    if yaml.safe_load(block.text) is None:  # the line that names the schema to an editor
        (schema,) = re.findall(r"\$schema=(\S+)", block.text)
        assert (ROOT / schema).is_file()
        return
    project = load(block, tmp_path)
    for name in yaml.safe_load(block.text).get("runs", {}):
        assert name in project.runs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("runs: {cim: {method: cmi}}", "cmi"),
        ("exports: {yolo: {parts: joined}}", "joined"),
        ("bestie: {train: {trainings: {}}}", "trainings"),
        ("runs: {again: {like: bestei}}", "bestei"),
    ],
)
def test_a_block_that_is_wrong_is_found(text, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        load(Block("README.md", 1, "yaml", text, ""), tmp_path)


def test_what_explain_settings_prints_is_what_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.setenv("TAGMASK_DATA", str(tmp_path))
    (shown,) = [block for block in all_blocks("yaml") if block.page == "docs/settings.md" and "optimizer" in block.text]
    printed = explain_settings("cim", [ROOT / "presets" / "voc2012.yaml"], {}).splitlines()
    assert {" ".join(line.split()) for line in shown.text.splitlines()} <= {" ".join(line.split()) for line in printed}


def rows_of_tables():
    """Each row of docs/reproducing.md whose presets stand in short names, as the files that they stand for."""
    for line in (ROOT / "docs" / "reproducing.md").read_text(encoding="utf-8").splitlines():
        for code in (
            re.findall(r"`((?:P|B|R|BR|COB|presets/[\w/]+\.yaml)(?: [\w/.]+)*)`", line) if line[:1] == "|" else ()
        ):
            names = [SHORT.get(name, name) for name in code.split()]
            if len(names) > 1:
                yield pytest.param(names, id=f"{line.split('|')[1].strip()}: {code}")


def test_short_names_of_presets_are_those_of_the_page():
    page = (ROOT / "docs" / "reproducing.md").read_text(encoding="utf-8")
    assert len(list(rows_of_tables())) >= 18
    for short in SHORT:
        assert f"`{short}`" in page


@pytest.mark.parametrize("names", list(rows_of_tables()))
def test_presets_of_a_paper_s_table_fit_together(names, tmp_path, monkeypatch):
    monkeypatch.setenv("TAGMASK_DATA", str(tmp_path))
    assert load_files(ROOT / "config.yaml", *[ROOT / name for name in names]).runs
