"""The whole configuration: what is refused, how runs are completed, and that everything shipped is valid."""

import copy
import itertools
from pathlib import Path

import pytest
import yaml

from stages.project.defaults import with_defaults
from stages.project.overlays import merged, with_likes
from stages.project.project import ConfigError, load_files, load_project
from stages.project.sources import (
    classifiers_of_semantics,
    imported_maps,
    labelling,
    map_prediction,
    semantics_in_use,
)

ROOT = Path(__file__).parents[2]
BASE = yaml.safe_load((ROOT / "config.yaml").read_text())
BELOW = {  # shipped presets that stand on others, and on which
    "ablations/training_time": ["voc_animals"],
    "ablations/bestie_on_cim": ["voc_animals"],
    **{
        name: ["voc2012"]
        for name in (
            "voc2012_released",
            "voc2012_cob",
            "voc2012_points",
            "coco2017",
            "ablations/cim",
            "ablations/cim_thresholds",
        )
    },
    "ablations/bestie": [],
    "ablations/bestie_pam": [],
    "ablations/bestie_seeds": [],
    "voc2012_bestie": ["voc2012"],
    "voc2012_bestie_released": ["voc2012", "voc2012_bestie"],
    "voc2012_bestie_points": ["voc2012", "voc2012_bestie"],
    "coco2017_bestie": ["voc2012", "coco2017", "voc2012_bestie"],
    "voc2012_label_penet": ["voc2012"],
    "voc2007_label_penet": ["voc2012", "voc2012_label_penet"],
    "voc2012_vgg16": ["voc2012", "voc2012_released"],
    "voc2012_hrnet": ["voc2012", "voc2012_released"],
    "voc2012_bestie_resnet50": ["voc2012", "voc2012_bestie", "voc2012_bestie_released"],
    "coco2017_released": ["voc2012", "voc2012_released", "coco2017"],
    "coco2017_vgg16": ["voc2012", "voc2012_released", "voc2012_vgg16", "coco2017"],
    "coco2017_bestie_released": ["voc2012", "coco2017", "voc2012_bestie", "voc2012_bestie_released"],
}


def load(overlay):
    return load_project(merged(copy.deepcopy(BASE), yaml.safe_load(overlay) or {}))


@pytest.fixture(autouse=True)
def data_folder(monkeypatch):
    monkeypatch.setenv("TAGMASK_DATA", "/somewhere")


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        pytest.param("cim: {train: {losses: {mill: 1.0}}}", "cim.train.losses.mill: unknown key", id="typo"),
        pytest.param("colour: red", "colour: unknown key", id="unknown section"),
        pytest.param("cim: {train: {training: {steps: 0}}}", "cim.train.training.steps: .*greater than or equal to 1, found 0", id="impossible"),
        pytest.param("cim: {train: {training: {steps: many}}}", "cim.train.training.steps: .*found 'many'", id="type"),
        pytest.param("cim: {train: {training: {learning_rate: 1e-3}}}", "write 1.0e-4, with a point", id="YAML's 1e-3"),
        pytest.param("runs: {cim: {proposals: cob}}", "runs.cim.proposals is 'cob'; there are", id="unknown source"),
        pytest.param("runs: {cim: {cues: prn}}", "runs.cim.cues is 'prn'; there are", id="unknown classifier"),
        pytest.param("runs: {cim: {cim: {train: {mning: {}}}}}", "runs.cim.cim.train.mning: unknown key", id="typo in a run"),
        pytest.param("runs: {cim: {cim: {train: {mining: {strategy: fast}}}}}", "runs.cim.cim.train.mining.strategy", id="value in a run"),
        pytest.param("runs: {cim: {metod: cim}}", "runs.cim.metod: unknown key", id="typo beside a run's method"),
        pytest.param("runs: {prm: {cues: points}}", "method prm needs a classifier's response maps", id="prm of points"),
        pytest.param("runs: {cim: {cues: points}}", "cues are points, so cim.train.backbone.weights", id="classifier's weights of points"),
        pytest.param("runs: {cim: {retrain: yes please}}", "runs.cim.retrain.*found 'yes please'", id="retrain of a run"),
        pytest.param("retrain: maybe", "retrain: .*found 'maybe'", id="retrain"),
        pytest.param("runs: {cim: {mask_rcnn: {trian: {}}}}", "runs.cim.mask_rcnn.trian: unknown key", id="typo in a run's Mask R-CNN"),
        pytest.param("mask_rcnn: {train: {backbone: {stages: [1]}}}", "mask_rcnn.train: .*anchor_sizes has 3 lists", id="levels of the pyramid"),
        pytest.param("runs: {cim: {cues: points, cim: {train: {backbone: {weights: none}}}}}", "cues are points, so mask_rcnn.train.backbone", id="classifier's weights of points, retrained"),
        pytest.param("runs: {cim: {trained: {netwrk: a}}}", "runs.cim.trained.netwrk: unknown key", id="typo in trained"),
        pytest.param("runs: {cim: {trained: {network: 3}}}", "runs.cim.trained.network: .*found 3", id="weights are no path"),
        pytest.param("runs: {cim: {trained: {network: 'a{b}.safetensors'}}}", "runs.cim.trained.network is 'a{b}.safetensors': Snakemake reads braces", id="braces in a path of weights"),
        pytest.param("runs: {cim: {trained: {network: ''}}}", "runs.cim.trained.network: .*at least 1", id="empty path of weights"),
        pytest.param("runs: {prm: {trained: {network: a}}}", "runs.prm.trained.network: method prm has no network", id="weights for prm"),
        pytest.param("runs: {prm: {trained: {mask_rcnn: a}}}", "runs.prm.trained.mask_rcnn is set, but retrain", id="weights of no Mask R-CNN"),
        pytest.param("exports: {coco: {segmentation: boxes}}", "exports.coco.segmentation: .*found 'boxes'", id="form of masks"),
        pytest.param("splits: {train: trian}", "splits names 'trian'", id="unknown split"),
        pytest.param("images: {kind: voc}", "voc.root is null", id="path of the chosen data set"),
        pytest.param("runs: {'a b': {method: cim, proposals: heg, cues: prm}}", "String should match pattern", id="name"),
        pytest.param("images: {kind: voc, voc: {root: '${NOT_SET}/x'}}", "images.voc.root: .*NOT_SET is not set", id="variable"),
        pytest.param("classifier: {prm: {train: {head: {kind: prn}}}}", "classifier.prm.train.head", id="kind of head"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_the_path_of_its_key(overlay, message):
    with pytest.raises(ConfigError, match=message):
        load(overlay)


def test_a_missing_key_is_named():
    config = copy.deepcopy(BASE)
    del config["cim"]["agpl"]["iou_threshold"]
    with pytest.raises(ConfigError, match="cim.agpl.iou_threshold: missing key") as caught:
        load_project(config)
    assert str(caught.value).count("iou_threshold") == 1


def test_all_problems_are_listed_at_once():
    with pytest.raises(ConfigError) as caught:
        load("{cim: {agpl: {iou_threshold: 2.0}}, prm: {grid: 1}, evaluation: {masks: {void: ignored}}, shards: 0}")
    for key in ("cim.agpl.iou_threshold", "prm.grid", "evaluation.masks.void", "shards"):
        assert f"  {key}: " in str(caught.value)
    assert "4 problem(s)" in str(caught.value)


def test_a_run_is_the_base_section_with_its_overrides():
    project = load("runs: {mist: {method: cim, proposals: heg, cues: prm, cim: {train: {mining: {strategy: mist}}}}}")
    assert project.runs["mist"].cim.train.mining.strategy == "mist"
    assert project.runs["cim"].cim == project.cim
    assert project.runs["mist"].cim.predict == project.cim.predict


def test_an_overlay_leaves_out_a_run_with_null():
    assert list(load("runs: {prm: null}").runs) == ["cim", "bestie", "label_penet"]


def test_an_overlay_leaves_out_a_split_with_null():
    project = load("{images: {shapes: {splits: {train: null, new: 3}}}, splits: {train: new}}")
    assert project.images.splits == ["val", "new"]


@pytest.mark.parametrize(
    ("overlay", "factors"),
    [
        pytest.param("null", {}, id="none at all"),
        pytest.param("{backbone: null}", {}, id="one left out"),
        pytest.param("{backbone: null, heads: 2.0}", {"heads": 2.0}, id="one in place of another"),
        pytest.param("{heads: 2.0}", {"backbone": 0.3, "heads": 2.0}, id="one more"),
    ],
)
def test_an_overlay_takes_named_entries_away_with_null(overlay, factors):
    whole = load(f"bestie: {{train: {{training: {{lr_mult: {overlay}}}}}}}")
    run = load(f"runs: {{bestie: {{bestie: {{train: {{training: {{lr_mult: {overlay}}}}}}}}}}}")
    assert whole.bestie.train.training.lr_mult == run.runs["bestie"].bestie.train.training.lr_mult == factors


def test_a_source_that_an_overlay_leaves_out_is_not_there():
    project = load("{classifier: {pam: null}, runs: {bestie: null}, images: {coco: {splits: {val: null}}}}")
    assert (list(project.classifier), list(project.images.coco.splits)) == (["prm", "cam"], ["train"])


def test_an_empty_mapping_in_an_overlay_is_refused(tmp_path):
    """Merged with what lies below, it says nothing, and looks as if it did."""
    overlay = tmp_path / "mine.yaml"
    overlay.write_text("{bestie: {train: {training: {lr_mult: {}}}}, runs: {}, splits: {evaluate: []}}")
    with pytest.raises(ConfigError, match="mine.yaml: bestie.train.training.lr_mult is an empty mapping") as caught:
        load_files(ROOT / "config.yaml", overlay)
    assert "mine.yaml: runs is an empty mapping, which changes nothing" in str(caught.value)
    overlay.write_text("{}")
    assert load_files(ROOT / "config.yaml", overlay) == load("")


def test_a_run_with_brought_weights_needs_no_cues():
    brought = load("runs: {cim: {cues: theirs, retrain: none, trained: {network: a.safetensors}}}").runs["cim"]
    assert (brought.trains, brought.predicts, brought.trained.network) == (False, True, "a.safetensors")
    for overlay in ("{}", "runs: {cim: {trained: null}}", "runs: {cim: {trained: {network: null}}}"):
        assert load(overlay).runs["cim"].trains


def test_a_run_with_a_brought_mask_rcnn_alone_needs_no_proposals():
    overlay = "runs: {label_penet: null, cim: {proposals: theirs, cues: theirs, trained: {mask_rcnn: a.safetensors}}}"
    brought = load(overlay)
    assert (brought.runs["cim"].trains, brought.runs["cim"].predicts) == (False, False)
    assert (brought.measured, brought.retrained_here("mask_rcnn")) == (["cim/mask_rcnn", "bestie", "prm"], [])


def test_a_mask_rcnn_that_starts_from_the_classifier_needs_cues_though_the_network_is_brought():
    overlay = "runs: {cim: {cues: theirs, retrain: %s, trained: {network: a.safetensors}}}"
    with pytest.raises(ConfigError, match="runs.cim.cues is 'theirs'"):
        load(overlay % "mask_rcnn")
    assert load(overlay % "none").runs["cim"].predicts


def test_points_are_declared_in_the_run():
    project = load("runs: {cim: {cues: points, retrain: none, cim: {train: {backbone: {weights: none}}}}}")
    assert project.runs["cim"].cues == "points"
    assert project.runs["prm"].cues == "cam"


def test_every_method_can_be_retrained_with_overrides_of_its_own():
    overlay = "runs: {label_penet: null, cim: {retrain: none}, prm: {mask_rcnn: {train: {seed: 8}}}}"
    project = load(f"{{retrain: mask_rcnn, {overlay}}}")
    assert project.retrained("mask_rcnn") == ["bestie", "prm"]
    assert project.measured == ["cim", "bestie", "bestie/mask_rcnn", "prm", "prm/mask_rcnn"]
    assert project.runs["prm"].mask_rcnn.train.seed == 8
    assert project.runs["cim"].mask_rcnn == project.mask_rcnn
    assert load("runs: {label_penet: null}").measured == ["cim", "cim/mask_rcnn", "bestie", "prm"]


def test_variables_in_texts_are_replaced():
    project = load("images: {kind: voc, voc: {root: '${TAGMASK_DATA}/VOC'}}")
    assert project.images.voc.root == "/somewhere/VOC"


@pytest.mark.parametrize("preset", [*BELOW, "voc2012", "voc_animals", "image_folder"])
def test_every_shipped_preset_is_valid(preset):
    below = BELOW.get(preset, [])
    assert load_files(ROOT / "config.yaml", *[ROOT / "presets" / f"{name}.yaml" for name in (*below, preset)]).runs


def test_no_shipped_preset_is_left_out_here():
    shipped = {str(path.relative_to(ROOT / "presets").with_suffix("")) for path in (ROOT / "presets").rglob("*.yaml")}
    assert shipped == {*BELOW, "voc2012", "voc_animals", "image_folder"}


def leaves(value, path=()):
    if isinstance(value, dict) and (value or not path):
        return dict(itertools.chain.from_iterable(leaves(v, (*path, k)).items() for k, v in value.items()))
    return {path: value}


def test_paper_and_official_code_differ_in_settings_of_the_same_sections_alone():
    paper = load_files(ROOT / "config.yaml", ROOT / "presets/voc2012.yaml")
    official = load_files(ROOT / "config.yaml", *[ROOT / f"presets/{n}.yaml" for n in ("voc2012", "voc2012_released")])
    one, other = leaves(paper.cim.model_dump()), leaves(official.cim.model_dump())
    assert one.keys() == other.keys()
    differing = {path[-1] for path in one if one[path] != other[path]}
    assert differing == {
        "interpolation", "inclusive_clip", "inclusive_flip", "big_share", "foreground_at_threshold", "one_class",
        "half_precision_maps", "integrity", "refinement_mil", "first_branch", "cluster_form",
        "scale_momentum_at_drops", "nms_inclusive",
    }  # fmt: skip


COMPLETE = with_defaults(with_likes(BASE, []), [])[0]


@pytest.mark.parametrize("key", [path for path in leaves(COMPLETE) if path[0] != "runs"])
def test_no_key_of_the_complete_config_can_be_left_out(key):
    config = copy.deepcopy(COMPLETE)
    place = config
    for part in key[:-1]:
        place = place[part]
    if key[0] in ("proposals", "classifier", "semantics") and len(key) < 3:
        pytest.skip("a name, not a key")
    if ("splits" in key[:-1] and key[0] == "images") or "lr_mult" in key[:-1]:
        pytest.skip("entries of a mapping of names")
    del place[key[-1]]
    with pytest.raises(ConfigError):
        load_project(config)


@pytest.mark.parametrize("preset", [name for name, below in BELOW.items() if below])
def test_a_preset_on_presets_holds_only_what_differs(preset):
    """On config.yaml alone it may repeat: a paper's settings must not move with the demo."""
    below = {}
    for name in BELOW[preset]:
        below = merged(below, yaml.safe_load((ROOT / "presets" / f"{name}.yaml").read_text()))
    said = leaves(below)
    own = leaves(yaml.safe_load((ROOT / "presets" / f"{preset}.yaml").read_text()))
    repeated = {".".join(path): value for path, value in own.items() if path in said and said[path] == value}
    assert repeated == {}, f"presets/{preset}.yaml repeats what {BELOW[preset]} say: remove these keys"


@pytest.mark.parametrize("name", [name for name in BELOW if name.startswith("ablations/")])
def test_an_ablation_trains_no_mask_rcnn_for_its_rows(name):
    """Even where the run that they are like has one: the papers' tables are of the networks."""
    below = BELOW[name] or ["voc2012", "voc2012_bestie"]
    paths = [ROOT / "config.yaml", *(ROOT / "presets" / f"{preset}.yaml" for preset in (*below, name))]
    before, after = load_files(*paths[:-1]).runs, load_files(*paths).runs
    assert any(run.retrain == "mask_rcnn" for run in before.values())
    added = {key: run.retrain for key, run in after.items() if key not in before}
    assert added and set(added.values()) == {"none"}


def test_the_comparison_knows_what_each_run_reads_and_nothing_else():
    runs = load("runs: {cim: {retrain: mask_rcnn}, prm: {retrain: none}}").comparison().runs
    shared = {"method", "proposals", "cues", "retrain"}
    assert set(runs["cim"]) == shared | {"cim", "mask_rcnn"}
    assert set(runs["prm"]) == shared | {"prm"}
    assert runs["cim"]["cim"]["train"]["mining"]["strategy"] == "cim"


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        pytest.param("classifier: {pan: {like: pim}}", r"classifier.pan.like is 'pim'; there are \['cam'", id="of nothing"),
        pytest.param("runs: {prm: null, a: {like: prm}}", "runs.a.like is 'prm'; there are", id="of what is left out"),
        pytest.param("runs: {a: {like: b}, b: {like: a}}", "runs.a.like leads back to itself: a -> b -> a", id="in a circle"),
        pytest.param("classifier: {pan: {like: pam, train: {hed: {}}}}", "classifier.pan.train.hed: unknown key", id="typo"),
    ],
)  # fmt: skip
def test_an_entry_cannot_be_like_what_is_not_there(overlay, message):
    with pytest.raises(ConfigError, match=message):
        load(overlay)


def test_an_entry_like_another_differs_in_what_it_says_alone():
    project = load(
        "{classifier: {a: {like: pam, train: {head: {alpha: 0.0}}}, b: {like: a, train: {seed: 9}}},"
        " runs: {twin: {like: cim, retrain: none}}}"
    )
    assert project.classifier["b"].train.head.alpha == 0
    assert project.classifier["b"].train.seed == 9
    assert project.classifier["b"].cues == project.classifier["pam"].cues
    assert project.classifier["pam"].train.head.alpha == 0.3
    assert project.runs["twin"].retrain == "none"
    assert project.runs["twin"].cim == project.runs["cim"].cim


def test_a_head_and_peaks_of_another_kind_replace_those_of_the_entry_that_it_is_like():
    pooled = "{kind: pooled, smoothing: 3, window: 15, limit: 25, threshold: 0.1}"
    project = load(
        f"{{classifier: {{a: {{like: pam, train: {{head: {{kind: cam}}}}}}, b: {{like: cam, cues: {{peaks: {pooled}}}}}}}}}"
    )
    assert project.classifier["a"].train.head.kind == "cam"
    assert project.classifier["a"].train.backbone == project.classifier["pam"].train.backbone
    assert project.classifier["b"].cues.peaks == project.classifier["pam"].cues.peaks
    assert project.classifier["b"].train == project.classifier["cam"].train
    with pytest.raises(ConfigError, match=r"a\.train\.head\.alpha: unknown key"):
        load("classifier: {a: {like: pam, train: {head: {kind: cam, alpha: 0.5}}}}")


PNG = "semantics: {irn: {kind: png, folders: {train: a, val: b}, class_values: null, supervision: image tags}}"


@pytest.mark.parametrize(
    ("overlay", "source", "problems"),
    [
        pytest.param("{}", "cam", [], id="network"),
        pytest.param("{}", "annotated", [], id="oracle"),
        pytest.param(PNG, "irn", [], id="png"),
        pytest.param("semantics: {cam: {predict: {tagged_on: [trian]}}}", "cam", ["cam.predict.tagged_on names split 'trian'"], id="split"),
        pytest.param("semantics: {cam_labels: {tagged_on: [trian]}}", "cam_labels", ["cam_labels.tagged_on names split 'trian'"], id="split of cues"),
        pytest.param(PNG.replace("val: b", "vla: b"), "irn", ["folders names split 'vla'", "no folder of split 'val'"], id="folders"),
    ],
)  # fmt: skip
def test_problems_of_sources_of_semantic_maps_in_use(overlay, source, problems):
    overlay = merged(yaml.safe_load(overlay), {"runs": {"bestie": {"semantics": source}}})
    if not problems:
        assert semantics_in_use(load(yaml.safe_dump(overlay))) == [source]
        return
    with pytest.raises(ConfigError) as raised:
        load(yaml.safe_dump(overlay))
    assert all(part in str(raised.value) for part in problems)


def test_a_source_needs_a_classifier_that_exists_and_an_unused_one_no_split():
    with pytest.raises(ConfigError, match="semantics.cam.cues is 'cma'; there are"):
        load("semantics: {cam: {cues: cma}}")
    load("{semantics: {cam: {predict: {tagged_on: [trian]}}}, runs: {bestie: null}}")


def test_sources_in_use_are_those_of_runs_that_train():
    project = load("{}")
    assert (semantics_in_use(project), classifiers_of_semantics(project)) == (["cam"], ["cam"])
    assert semantics_in_use(load("runs: {bestie: {trained: {network: a.safetensors}}}")) == []
    assert classifiers_of_semantics(load(PNG[:-1] + "}\nruns: {bestie: {semantics: irn}}")) == []


def test_labels_of_a_network_are_of_the_tags_of_the_training_split():
    project = load("splits: {train: val, evaluate: [train]}")
    assert labelling(project, "cam").tagged_on == ["val"]
    assert labelling(project, "cam_labels").tagged_on == ["val"]
    assert map_prediction(project, "cam").tagged_on == ["val"]
    assert labelling(project, "cam").labels == project.semantics["cam"].labels


def test_an_import_reads_the_folder_of_its_split():
    project = load(PNG)
    assert imported_maps(project, "irn", "val").folder == "b"
    with pytest.raises(ValueError, match="semantics.irn.folders has no folder of split 'test'; add one"):
        imported_maps(project, "irn", "test")


def test_a_run_whose_method_has_no_section_says_what_is_missing():
    config = merged(copy.deepcopy(BASE), yaml.safe_load("runs: {cim: {cim: {predict: {top_k: 7}}}}"))
    config["cim"] = None
    with pytest.raises(ConfigError, match=r"runs\.cim\.cim\.train: missing key"):
        load_project(config)
    config["runs"]["cim"].pop("cim")
    with pytest.raises(ConfigError, match="runs.cim is of method cim, but the configuration has no section 'cim'"):
        load_project(config)


def test_a_section_that_no_run_needs_may_be_left_out():
    config = merged(copy.deepcopy(BASE), {"runs": {"prm": None}})
    del config["prm"]
    assert load_project(config).prm is None
