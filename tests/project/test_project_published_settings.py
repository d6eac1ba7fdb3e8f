"""What each shipped preset ends with is what its publication says: docs/published_settings.csv, a row for every value.

A row holds for the stack of presets that ends in its preset, and for the stacks above until one of theirs says otherwise. The
table is written from the papers and the official codes, not from the presets. Sources that begin with "ours" are choices
that no publication makes, those with "unused" values that the other settings leave without effect.
"""

import csv
import itertools
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from stages.project.project import load_files
from tests.project.test_project_project import BELOW

ROOT = Path(__file__).parents[2]
OURS = {  # no publication has their settings
    "voc_animals": "five classes of VOC, small enough for two cores",
    "image_folder": "images of your own",
    "ablations/bestie": "runs of the demo",
    "ablations/bestie_seeds": "runs of the demo",
    "ablations/bestie_pam": "runs of the demo",
    "ablations/cim": "runs that leave out parts of CIM",
    "ablations/cim_thresholds": "runs that change thresholds of CIM",
    "ablations/training_time": "runs of different length on voc_animals",
    "ablations/bestie_on_cim": "a run on voc_animals",
}
PUBLISHED = ["voc2012", *(name for name in BELOW if name not in OURS)]
SOURCES = (
    "BESTIE", "CIM", "COB", "DeepLab-v2", "DeepLab-v3", "DeepLab-v3+", "Fast R-CNN", "Faster R-CNN", "Label-PEnet", "Detectron 1x", "IRNet", "Mask R-CNN", "PRM", "mmdetection",
    "official code", "ours: ", "paper silent; ", "torchvision", "unused: ",
)  # fmt: skip
NAMED = ("runs", "classifier", "semantics", "proposals")  # sections of which a run reads entries by name
RUN = ("method", "proposals", "semantics", "iterates", "cues", "retrain")


class Row(NamedTuple):
    """One value of the table, and where it is published."""

    preset: str
    key: str
    value: object
    source: str


def read_table():
    with (ROOT / "docs" / "published_settings.csv").open(newline="", encoding="utf-8") as file:
        return [Row(**row | {"value": yaml.safe_load(row["value"])}) for row in csv.DictReader(file)]


TABLE = read_table()


@pytest.fixture(autouse=True)
def data_folder(monkeypatch):
    """A path keeps its variable, as it stands in the table."""
    monkeypatch.setenv("TAGMASK_DATA", "${TAGMASK_DATA}")


def load(*presets, overlays=()):
    return load_files(ROOT / "config.yaml", *[ROOT / "presets" / f"{name}.yaml" for name in presets], *overlays)


def stack(preset):
    return [*BELOW.get(preset, []), preset]


def leaves(value, path):
    """Values by key; a mapping without a key is a value, too."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    return {key: leaf for name, inner in value.items() for key, leaf in leaves(inner, f"{path}.{name}").items()}


def read_by(project, name):
    """All that a run reads, by key. Of proposals those that are imported: the built-in generator is no publication's."""
    run = project.runs[name]
    source = project.semantics[run.semantics] if run.uses("semantics") else None
    classifiers = {run.cues} if run.uses("cues") else set()
    classifiers |= {source.cues} if hasattr(source, "cues") else set()
    read = {f"runs.{name}": {key: getattr(run, key) for key in RUN}, run.method: run.settings.model_dump()}
    read["images"] = {"untagged": project.images.untagged}  # the rest says where the data lie
    if run.retrains:
        read[run.retrain] = getattr(run, run.retrain).model_dump()
    if source is not None:
        read[f"semantics.{run.semantics}"] = source.model_dump()
    for classifier in sorted(classifiers & project.classifier.keys()):
        read[f"classifier.{classifier}"] = project.classifier[classifier].model_dump()
    if run.uses("proposals") and project.proposals[run.proposals].kind != "heg":
        read[f"proposals.{run.proposals}"] = project.proposals[run.proposals].model_dump()
    return {key: value for part, values in read.items() for key, value in leaves(values, part).items()}


def part(key):
    """The section of a key, or the named entry of one."""
    words = key.split(".")
    return ".".join(words[: 2 if words[0] in NAMED else 1])


def published(presets, table=None):
    """The rows that hold for a stack, by key; later presets say otherwise."""
    rows = {}
    for preset in presets:
        for row in [row for row in table or TABLE if row.preset == preset]:
            for key in [key for key in rows if key.startswith(f"{row.key}.") or row.key.startswith(f"{key}.")]:
                del rows[key]  # a mapping and its keys replace each other
            rows[row.key] = row
    return rows


def same(one, other):
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def differences(rows, found):
    """One line for each key whose value is another than published, that no row has, or that has a row but no value."""
    read = {part(key) for key in found}
    rows = {key: row for key, row in rows.items() if part(key) in read}
    lines = [f"{key}: no row, found {found[key]!r}" for key in sorted(found.keys() - rows.keys())]
    for key, row in rows.items():
        if key not in found or not same(row.value, found[key]):
            value = repr(found[key]) if key in found else "no such key"
            lines.append(f"{key}: expected {row.value!r}, found {value} ({row.preset}: {row.source})")
    return lines


@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_preset_ends_with_the_published_settings(preset):
    project = load(*stack(preset))
    rows = published(stack(preset))
    wrong = [f"{name}: {line}" for name in project.runs for line in differences(rows, read_by(project, name))]
    assert wrong == [], "\n".join(wrong)


def test_every_shipped_preset_is_compared_or_named_as_ours():
    shipped = {str(path.relative_to(ROOT / "presets").with_suffix("")) for path in (ROOT / "presets").rglob("*.yaml")}
    assert shipped == set(PUBLISHED) | set(OURS)
    assert not set(PUBLISHED) & set(OURS)


@pytest.mark.parametrize("preset", sorted({row.preset for row in TABLE}))
def test_every_row_of_a_preset_is_read_by_a_run_of_its_stack(preset):
    assert preset in PUBLISHED
    project = load(*stack(preset))
    read = {part(key) for name in project.runs for key in read_by(project, name)}
    assert [row.key for row in TABLE if row.preset == preset and part(row.key) not in read] == []


@pytest.mark.parametrize("preset", PUBLISHED)
def test_no_row_repeats_one_below_it(preset):
    below = published(BELOW.get(preset, []))
    own = [row for row in TABLE if row.preset == preset]
    assert [row.key for row in own if row.key in below and same(below[row.key].value, row.value)] == []


def test_rows_stand_together_by_preset_and_once_with_a_source():
    assert len(list(itertools.groupby(TABLE, lambda row: row.preset))) == len({row.preset for row in TABLE})
    assert len({(row.preset, row.key) for row in TABLE}) == len(TABLE)
    assert [row for row in TABLE if not row.source.startswith(SOURCES)] == []


@pytest.mark.parametrize(
    ("preset", "overlay", "keys"),
    [
        pytest.param("voc2012_bestie", "bestie: {train: {training: {lr_mult: {backbone: 0.3}}}}", ["bestie.train.training.lr_mult", "bestie.train.training.lr_mult.backbone"], id="the rate of BESTIE's backbone"),
        pytest.param("coco2017_bestie", "defaults: {training: {ema_decay: 0.9}}", ["bestie.train.training.ema_decay", "classifier.cam.train.training.ema_decay", "classifier.pam.train.training.ema_decay"], id="a default of all networks"),
        pytest.param("voc2012_released", "cim: {train: {mining: {one_class: false}}}", ["cim.train.mining.one_class"], id="the official code's rule"),
        pytest.param("voc2012_points", "runs: {cim_points: {cim: {train: {mining: {seed_share: 0.2}}}}}", ["cim.train.mining.seed_share"], id="an override of a run"),
        pytest.param("voc2012", "mask_rcnn: {train: {training: {lr_mult: null}}}", ["mask_rcnn.train.training.lr_mult", "mask_rcnn.train.training.lr_mult.backbone"], id="a mapping without a key"),
        pytest.param("voc2012_cob", "proposals: {cob: {count: 200}}", ["proposals.cob.count"], id="imported proposals"),
    ],
)  # fmt: skip
def test_another_value_is_noticed(tmp_path, preset, overlay, keys):
    changed = tmp_path / "changed.yaml"
    changed.write_text(overlay)
    project = load(*stack(preset), overlays=[changed])
    rows = published(stack(preset))
    lines = {line.split(":")[0] for name in project.runs for line in differences(rows, read_by(project, name))}
    assert sorted(lines) == sorted(keys)


def test_a_difference_names_key_both_values_and_source():
    rows = published(
        ["a", "b"], [Row("a", "cim.x", 1, "CIM"), Row("a", "cim.y", {}, "ours: z"), Row("b", "cim.x", 2, "PRM")]
    )
    assert differences(rows, {"cim.x": 1, "cim.z": None}) == [
        "cim.z: no row, found None",
        "cim.x: expected 2, found 1 (b: PRM)",
        "cim.y: expected {}, found no such key (a: ours: z)",
    ]
    assert differences(rows, {"cim.x": 2.0, "cim.y": {}}) == []
    assert differences({"cim.x": Row("a", "cim.x", 1, "CIM")}, {"cim.x": True}) != []
    assert list(published(["a", "b"], [Row("a", "cim.y.z", 1, "CIM"), Row("b", "cim.y", {}, "CIM")])) == ["cim.y"]
