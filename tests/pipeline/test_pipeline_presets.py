"""Every shipped preset plans a whole graph, and the documented commands exist."""

import re
from pathlib import Path

import pytest

from tests.pipeline.conftest import ROOT, planned, snakemake

VOC = "presets/voc2012.yaml"
BESTIE = "presets/voc2012_bestie.yaml"
OFFICIAL = [VOC, "presets/voc2012_released.yaml"]
PENET = "presets/voc2012_label_penet.yaml"
ANIMALS = "presets/voc_animals.yaml"


@pytest.mark.parametrize(
    ("presets", "rules"),
    [
        pytest.param([VOC], {"train_cim", "retrieve_prm"}, id="voc2012"),
        pytest.param([VOC, "presets/voc2012_released.yaml"], {"train_cim"}, id="voc2012_released"),
        pytest.param([VOC, "presets/voc2012_cob.yaml"], {"import_proposals", "train_cim"}, id="voc2012_cob"),
        pytest.param([VOC, "presets/voc2012_points.yaml"], {"take_points", "train_cim"}, id="voc2012_points"),
        pytest.param([VOC, "presets/coco2017.yaml"], {"train_cim"}, id="coco2017"),
        pytest.param([VOC, BESTIE], {"train_bestie", "train_semantics", "transfer_semantics"}, id="voc2012_bestie"),
        pytest.param([VOC, BESTIE, "presets/voc2012_bestie_released.yaml"], {"train_bestie"}, id="bestie_released"),
        pytest.param(
            [VOC, BESTIE, "presets/voc2012_bestie_points.yaml"], {"take_points", "train_bestie"}, id="bestie_points"
        ),
        pytest.param(
            [VOC, "presets/coco2017.yaml", BESTIE, "presets/coco2017_bestie.yaml"],
            {"train_bestie"},
            id="coco2017_bestie",
        ),
        pytest.param([*OFFICIAL, "presets/voc2012_vgg16.yaml"], {"train_cim"}, id="voc2012_vgg16"),
        pytest.param([*OFFICIAL, "presets/voc2012_hrnet.yaml"], {"train_cim"}, id="voc2012_hrnet"),
        pytest.param(
            [*OFFICIAL, "presets/coco2017.yaml", "presets/coco2017_released.yaml"],
            {"train_cim"},
            id="coco2017_released",
        ),
        pytest.param(
            [*OFFICIAL, "presets/voc2012_vgg16.yaml", "presets/coco2017.yaml", "presets/coco2017_vgg16.yaml"],
            {"train_cim"},
            id="coco2017_vgg16",
        ),
        pytest.param(
            [VOC, BESTIE, "presets/voc2012_bestie_released.yaml", "presets/voc2012_bestie_resnet50.yaml"],
            {"train_bestie"},
            id="bestie_resnet50",
        ),
        pytest.param(
            [
                VOC,
                "presets/coco2017.yaml",
                BESTIE,
                "presets/voc2012_bestie_released.yaml",
                "presets/coco2017_bestie_released.yaml",
            ],
            {"train_bestie"},
            id="coco2017_bestie_released",
        ),
        pytest.param([VOC, PENET], {"pretrain_module", "propagate_labels", "train_label_penet"}, id="label_penet"),
        pytest.param([VOC, PENET, "presets/voc2007_label_penet.yaml"], {"train_label_penet"}, id="voc2007_label_penet"),
        pytest.param([VOC, "presets/ablations/cim.yaml"], {"train_cim"}, id="ablations"),
        pytest.param([VOC, "presets/ablations/cim_thresholds.yaml"], {"train_cim"}, id="thresholds"),
        pytest.param([VOC, BESTIE, "presets/ablations/bestie_pam.yaml"], {"train_bestie"}, id="bestie_pam"),
        pytest.param(
            ["presets/ablations/bestie.yaml"],
            {"iterate_instances", "take_annotations", "label_split"},
            id="bestie_ablations",
        ),
        pytest.param([ANIMALS], {"train_cim", "retrieve_prm"}, id="voc_animals"),
        pytest.param([ANIMALS, "presets/ablations/training_time.yaml"], {"train_cim"}, id="training_time"),
        pytest.param([ANIMALS, "presets/ablations/bestie_on_cim.yaml"], {"iterate_instances"}, id="bestie_on_cim"),
        pytest.param(["presets/image_folder.yaml"], {"train_cim"}, id="image_folder"),
    ],
)
def test_a_shipped_preset_plans_its_graph(tmp_path, monkeypatch, presets, rules):
    monkeypatch.setenv("TAGMASK_DATA", str(tmp_path))
    found = {job.rule for job in planned(tmp_path, "--configfile", *[str(ROOT / preset) for preset in presets])}
    assert rules | {"list_images", "evaluate_instances", "build_gallery", "all"} <= found
    assert ("retrieve_prm" in found) == {"presets/image_folder.yaml", BESTIE, PENET}.isdisjoint(presets)


def test_an_empty_mapping_in_a_preset_stops_the_planning(tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("bestie: {train: {training: {lr_mult: {}}}}")
    done = snakemake(tmp_path, "-n", "--configfile", str(overlay))
    assert done.returncode != 0
    assert "bestie.train.training.lr_mult is an empty mapping" in done.stderr + done.stdout


def test_commands_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^make (\w+)", readme, re.MULTILINE)) | set(re.findall(r"`make (\w+)`", readme))
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("page", ["README.md", *[f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))]])
def test_links_and_presets_that_a_page_names_exist(page):
    text = (ROOT / page).read_text()
    folder = (ROOT / page).parent
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (folder / link).exists(), link
    for preset in re.findall(r"presets/[\w/]+\.yaml", text):
        assert (ROOT / preset).is_file(), preset


def test_continuous_integration_calls_the_documented_commands():
    text = Path(ROOT / ".ci" / "run").read_text()
    assert "make check\nmake test\n" in text


def test_the_settings_of_each_run_are_explained_before_anything_has_run(tmp_path):
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("{threads: 2, runs: {bestie: null}}")
    done = snakemake(tmp_path, "-c1", "settings", "--configfile", str(overlay), "--config", "shards=3")
    assert done.returncode == 0, done.stderr
    for run in ("cim", "prm"):
        text = (tmp_path / "results" / "shapes" / run / "settings.yaml").read_text()
        assert text in done.stdout
        assert re.search(r"^threads: 2 +# .*mine\.yaml$", text, re.MULTILINE)
        assert re.search(r"^shards: 3 +# --config$", text, re.MULTILINE)
    assert not (tmp_path / "results" / "shapes" / "bestie").exists()
