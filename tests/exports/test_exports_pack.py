"""A packed model: weights, card, metrics, and an overlay that is a whole configuration elsewhere."""

import copy
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
import yaml
from markdown_it import MarkdownIt

from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import Provenance, create
from stages.core.networks.weights import save_weights
from stages.exports.pack_model import pack_model
from stages.project.overlays import merged
from stages.project.packing import pack_settings
from stages.project.project import load_project
from stages.project.sources import maps_of_prediction, proposals_in_use, semantics_in_use
from tests.exports.conftest import CLASSES

ROOT = Path(__file__).parents[2]
BASE = yaml.safe_load((ROOT / "config.yaml").read_text())
METADATA = {
    "step": "train_cim", "classes": CLASSES, "supervision": "image tags", "inputs": {"images": "0f"},
    "settings": {"seed": 3, "training": {"steps": 77}},
}  # fmt: skip
METRICS = {
    "run": "cim", "split": "val", "n_images": 2, "n_instances": 5,
    "masks": {"voc": {"mAP50": 41.26}, "coco": {"AP": None}},
    "boxes": {"voc07": {"AP50": 30.5}, "voc12": {"AP50": 31.5}}, "corloc": None, "semantic": {"mIoU": 60.5},
}  # fmt: skip


def configuration(overlay: str = "{}") -> dict:
    return merged(copy.deepcopy(BASE), yaml.safe_load(overlay))


def settings_of(config: dict, run: str = "cim"):
    names = {"runs": config["runs"], "splits": config["images"]["folder"]["splits"]}
    return pack_settings(load_project(config), run, code={"train": "ab", "predict": "cd"}, **names)


@pytest.fixture
def arguments(split):
    """Arguments of pack_model for the small split; a test changes what it needs."""
    folder = split.folder
    images = split.write()["images"]
    header = {"source": "heg", "supervision": "label-free"}
    made_by = Provenance(step="test", settings=None, seed=None, inputs={})
    with create(folder / "proposals.h5", Proposals, header=header, provenance=made_by):
        pass
    save_weights(folder / "trained.safetensors", torch.nn.Linear(2, 1), METADATA)
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    model = folder / "model"
    return {
        "weights": folder / "trained.safetensors", "images": images, "proposals": folder / "proposals.h5",
        "metrics": [folder / "metrics.json"], "output_weights": model / "weights.safetensors",
        "output_card": model / "README.md", "output_metrics": model / "metrics.json",
        "output_segment": model / "segment.yaml", "settings": settings_of(configuration()),
    }  # fmt: skip


def test_the_folder_holds_weights_card_metrics_and_overlay(arguments):
    pack_model(**arguments)
    model = arguments["output_card"].parent
    assert sorted(path.name for path in model.iterdir()) == [
        "README.md", "metrics.json", "segment.yaml", "weights.safetensors",
    ]  # fmt: skip
    assert (model / "weights.safetensors").read_bytes() == arguments["weights"].read_bytes()
    assert json.loads((model / "metrics.json").read_text()) == {"val": METRICS}


def test_the_card_says_what_the_network_learned_from_and_how_good_it_is(arguments):
    pack_model(**arguments)
    card = arguments["output_card"].read_text()
    for expected in (
        "2 classes: cat, dog", "image tags; proposals of 'heg', which have seen: label-free", "train ab, predict cd",
        "3 images, 2 of them tagged, 3 tags", "| cat | 2 |", "| dog | 1 |", "5 annotated instances in 2 images",
        "| voc | mAP50 41.3 |", "| coco | AP - |", "| boxes, voc12 | AP50 31.5 |", "| none | CorLoc -, mIoU 60.5 |", "steps: 77", "snakemake segment", "## Limits",
    ):  # fmt: skip
        assert expected in card, expected


HOSTILE = ["a|b <img src=x onerror=alert(1)>", "line\nbreak [x](javascript:y) ```"]


def test_no_name_in_the_card_breaks_a_table_or_becomes_html(arguments, split):
    split.classes = HOSTILE
    settings = {"seed": 3, "prompt": "```\n<script>alert(1)</script>"}
    save_weights(arguments["weights"], torch.nn.Linear(2, 1), {**METADATA, "classes": HOSTILE, "settings": settings})
    dataset = arguments["settings"].model_copy(update={"dataset": "<b>data</b>\n# set"})
    pack_model(**arguments | {"images": split.write()["images"], "settings": dataset})
    html = MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(arguments["output_card"].read_text())
    page = ElementTree.fromstring(f"<page>{html}</page>")
    assert not {element.tag for element in page.iter()} & {"img", "script", "a", "b", "s"}
    plain = [name.replace("\n", " ") for name in HOSTILE]
    table = [[cell.text for cell in row] for row in page.find("table").iter("tr")]
    assert table == [["class", "images with the tag"], [plain[0], "2"], [plain[1], "1"]]
    assert page.findtext("h1") == "cim of <b>data</b> # set"
    assert f"Segments instances of 2 classes: {', '.join(plain)}." in [text.text for text in page.iter("p")]
    assert yaml.safe_load([block.text for block in page.iter("code")][-1]) == settings


def test_without_known_masks_the_card_says_so(arguments):
    arguments["metrics"][0].write_text(json.dumps({**METRICS, "n_images": 0}))
    pack_model(**arguments)
    assert "Split val: not measured, no masks of it are known." in arguments["output_card"].read_text()


def elsewhere(arguments, monkeypatch):
    """The project of config.yaml in a fresh clone with the packed overlay."""
    pack_model(**arguments)
    monkeypatch.setenv("TAGMASK_MODEL", "/model")
    monkeypatch.setenv("TAGMASK_IMAGES", "/images")
    overlay = yaml.safe_load(arguments["output_segment"].read_text())
    return load_project(merged(copy.deepcopy(BASE), overlay))


def test_the_overlay_is_a_whole_configuration_in_a_fresh_clone(arguments, monkeypatch):
    project = elsewhere(arguments, monkeypatch)
    assert (project.dataset, project.images.kind, project.images.classes) == ("new_images", "folder", CLASSES)
    assert (project.images.splits, project.all_splits) == (["new"], ["new"])
    assert (project.images.folder.splits["new"].images, project.images.folder.splits["new"].tags) == (
        "/images",
        None,
    )
    assert project.measured == ["cim"]
    assert project.runs["cim"].trained.network == "/model/weights.safetensors"


def test_settings_of_the_model_win_over_those_of_the_clone(arguments, monkeypatch):
    changed = configuration("""
        runs: {prm: null, mine: {method: cim, proposals: fine, cues: own, cim: {predict: {top_k: 7, use_tags: true}}}}
        proposals: {fine: null}
        classifier: {own: null}
        splits: {train: train, evaluate: [val]}
        """)
    changed["proposals"]["fine"] = {**BASE["proposals"]["heg"], "count": 33}
    changed["classifier"]["own"] = BASE["classifier"]["cam"]
    arguments["settings"] = settings_of(changed, "mine")
    arguments["metrics"][0].write_text(json.dumps({**METRICS, "run": "mine"}))
    project = elsewhere(arguments, monkeypatch)
    run = project.runs["mine"]
    assert list(project.runs) == ["mine"]
    assert (run.cim.predict.top_k, project.proposals[run.proposals].count) == (7, 33)
    assert run.cim.predict.use_tags is False


def test_imported_proposals_of_new_images_are_asked_for(arguments, monkeypatch):
    changed = configuration("runs: {cim: {proposals: cob}}")
    changed["proposals"]["cob"] = {
        "kind": "mat", "path": "/mine", "prefixes": [""], "count": 9, "supervision": "class-agnostic boundaries",
    }  # fmt: skip
    arguments["settings"] = settings_of(changed)
    monkeypatch.setenv("TAGMASK_PROPOSALS", "/theirs")
    assert elsewhere(arguments, monkeypatch).proposals["cob"].path == "/theirs"


RANKED = "runs: {cim: {proposals: fits, cim: {predict: {prior_share: 0.5, map_weight: 1.0, crf: {iterations: 2}}}}}"


def test_ranked_proposals_bring_the_network_of_their_maps(arguments, monkeypatch, tmp_path):
    maps = tmp_path / "maps.safetensors"
    maps.write_bytes(b"weights of the maps")
    arguments |= {"semantics": maps, "output_semantics": tmp_path / "model" / "semantics.safetensors"}
    arguments["settings"] = settings_of(configuration(RANKED))
    project = elsewhere(arguments, monkeypatch)
    assert arguments["output_semantics"].read_bytes() == maps.read_bytes()
    fits = project.proposals["fits"]
    assert (fits.kind, fits.proposals) == ("ranked", "heg")
    source = project.semantics[fits.semantics]
    assert (source.kind, source.weights) == ("weights", "/model/semantics.safetensors")
    assert source.predict.tagged_on == []  # new images have no tags
    assert (semantics_in_use(project), proposals_in_use(project)) == ([fits.semantics], ["fits", "heg"])
    assert project.runs["cim"].cim.predict.map_weight == 1.0


def test_maps_without_a_network_cannot_be_packed():
    overlay = "{proposals: {fits: {semantics: annotated}}, " + RANKED + "}"
    with pytest.raises(
        ValueError, match=r"predicts with maps of semantics.annotated; that is of kind oracle, and has no network"
    ):
        settings_of(configuration(overlay))


@pytest.mark.parametrize(
    ("run", "section", "step"),
    [
        pytest.param("cim/mask_rcnn", "cim: {mask_rcnn: ", "train_mask_rcnn", id="Mask R-CNN"),
        pytest.param("bestie", "bestie: {bestie: ", "train_bestie", id="BESTIE"),
    ],
)
def test_what_leans_on_maps_brings_their_network(arguments, monkeypatch, tmp_path, run, section, step):
    maps = tmp_path / "maps.safetensors"
    maps.write_bytes(b"weights of the maps")
    arguments |= {"semantics": maps, "output_semantics": tmp_path / "model" / "semantics.safetensors"}
    overlay = f"runs: {{{section}{{predict: {{semantics: cam, map_power: 0.5}}}}}}}}"
    arguments["settings"] = settings_of(configuration(overlay), run)
    save_weights(arguments["weights"], torch.nn.Linear(2, 1), {**METADATA, "step": step})
    arguments["metrics"][0].write_text(json.dumps({**METRICS, "run": run}))
    project = elsewhere(arguments, monkeypatch)
    (source,) = semantics_in_use(project)
    assert project.semantics[source].weights == "/model/semantics.safetensors"
    assert project.semantics[source].predict.tagged_on == []
    assert maps_of_prediction(project, run) == source
    card = arguments["output_card"].read_text()
    assert "At use it needs images alone. It reads semantic maps of the network in semantics.safetensors." in card
    assert proposals_in_use(project) == []


def test_a_mask_rcnn_is_packed_without_proposals(arguments, monkeypatch):
    arguments["settings"] = settings_of(
        configuration("runs: {cim: {mask_rcnn: {predict: {top_k: 9}}}}"), "cim/mask_rcnn"
    )
    save_weights(arguments["weights"], torch.nn.Linear(2, 1), {**METADATA, "step": "train_mask_rcnn"})
    arguments["metrics"][0].write_text(json.dumps({**METRICS, "run": "cim/mask_rcnn"}))
    project = elsewhere(arguments, monkeypatch)
    assert project.measured == ["cim/mask_rcnn"]
    assert project.runs["cim"].trained.mask_rcnn == "/model/weights.safetensors"
    assert project.runs["cim"].mask_rcnn.predict.top_k == 9
    assert "proposals" not in yaml.safe_load(arguments["output_segment"].read_text())
    assert "At use it needs images alone" in arguments["output_card"].read_text()


def bestie(arguments, run="bestie", **metadata):
    """The arguments for a run of BESTIE, which has no proposals; `arguments` are changed."""
    step = "train_mask_rcnn" if run.endswith("/mask_rcnn") else "train_bestie"
    overlay = "runs: {bestie: {retrain: mask_rcnn, bestie: {predict: {top_k: 7, use_tags: true}}}}"
    save_weights(arguments["weights"], torch.nn.Linear(2, 1), {**METADATA, "step": step, **metadata})
    arguments["metrics"][0].write_text(json.dumps({**METRICS, "run": run}))
    return arguments | {"proposals": None, "settings": settings_of(configuration(overlay), run)}


def test_bestie_is_packed_without_proposals_and_finds_instances_without_tags(arguments, monkeypatch):
    arguments = bestie(arguments)
    project = elsewhere(arguments, monkeypatch)
    run = project.runs["bestie"]
    assert project.measured == ["bestie"]
    assert (run.method, run.trained.network) == ("bestie", "/model/weights.safetensors")
    assert (run.uses("proposals"), run.uses("semantics"), run.uses("cues")) == (False, False, False)
    assert (run.bestie.predict.top_k, run.bestie.predict.use_tags) == (7, False)
    assert "proposals" not in yaml.safe_load(arguments["output_segment"].read_text())
    card = arguments["output_card"].read_text()
    for expected in (
        "Method: BESTIE", "Supervision: image tags; by way of semantic maps of 'cam'. At use it needs images alone",
        "Nobody drew a mask",
    ):  # fmt: skip
        assert expected in card, expected


def test_bestie_with_points_at_test_time_is_packed_without_them(arguments, monkeypatch):
    """New images have neither tags nor points."""
    changed = configuration("""
        runs: {bestie: {cues: points, bestie: {
          train: {backbone: {weights: none}}, predict: {use_tags: true, use_points: true}}}}
        """)
    arguments = bestie(arguments) | {"settings": settings_of(changed, "bestie")}
    run = elsewhere(arguments, monkeypatch).runs["bestie"]
    assert (run.cues, run.bestie.predict.use_tags, run.bestie.predict.use_points) == ("points", False, False)


def test_a_mask_rcnn_on_masks_of_bestie_is_packed(arguments, monkeypatch):
    project = elsewhere(bestie(arguments, "bestie/mask_rcnn"), monkeypatch)
    assert project.measured == ["bestie/mask_rcnn"]
    assert project.runs["bestie"].trained.mask_rcnn == "/model/weights.safetensors"


@pytest.mark.parametrize(
    ("supervision", "said"),
    [("points", True), ("masks", False), ("points and masks", False), ("boxes of others", False)],
)
def test_the_card_denies_masks_only_where_nobody_drew_any(arguments, supervision, said):
    pack_model(**bestie(arguments, supervision=supervision))
    card = arguments["output_card"].read_text()
    assert f"Supervision: {supervision};" in card
    assert ("Nobody drew a mask" in card) == said


def test_a_packed_run_wins_over_one_of_its_name_with_another_method(arguments, monkeypatch):
    """A fresh clone has a run bestie, with semantic maps that no run of CIM may name."""
    changed = configuration("runs: {cim: null}")
    changed["runs"]["bestie"] = {"method": "cim", "proposals": "heg", "cues": "cam"}
    arguments["settings"] = settings_of(changed, "bestie")
    arguments["metrics"][0].write_text(json.dumps({**METRICS, "run": "bestie"}))
    project = elsewhere(arguments, monkeypatch)
    assert (project.runs["bestie"].method, project.runs["bestie"].proposals) == ("cim", "heg")


def test_nothing_of_the_training_machine_is_in_the_overlay(arguments):
    pack_model(**arguments)
    assert str(arguments["weights"].parent) not in arguments["output_segment"].read_text()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        pytest.param({**METADATA, "step": "train_classifier"}, "'train_classifier', not by train_cim", id="other step"),
        pytest.param({**METADATA, "step": "train_bestie"}, "'train_bestie', not by train_cim", id="other method"),
        pytest.param({}, "written by None, not by train_cim", id="not ours"),
        pytest.param({**METADATA, "classes": ["cat"]}, r"knows classes \['cat'\]", id="other classes"),
    ],
)
def test_weights_of_something_else_are_refused(arguments, metadata, message):
    save_weights(arguments["weights"], torch.nn.Linear(2, 1), metadata)
    with pytest.raises(ValueError, match=message):
        pack_model(**arguments)
    assert not arguments["output_card"].exists()


def test_weights_that_were_cut_off_are_refused(arguments):
    data = arguments["weights"].read_bytes()
    arguments["weights"].write_bytes(data[: len(data) - 4])
    with pytest.raises(ValueError, match="no safetensors file or was cut off"):
        pack_model(**arguments)


def test_metrics_of_another_run_are_refused(arguments):
    arguments["metrics"][0].write_text(json.dumps({**METRICS, "run": "prm"}))
    with pytest.raises(ValueError, match=r"\('prm', 'val'\), expected \('cim', 'val'\)"):
        pack_model(**arguments)
    assert not np.any([path.exists() for path in (arguments["output_weights"], arguments["output_segment"])])
