"""Sources that stand on sources: which are in use, what they name, loops, and what the gallery shows of them."""

import pytest

from stages.project.graph import classifiers_in_use, shown_of_run
from stages.project.project import ConfigError
from stages.project.sources import classifiers_of_semantics, maps_of_prediction, proposals_in_use, semantics_in_use
from tests.project.test_project_project import load

ROUNDS = """
runs:
  first: {method: cim, proposals: fits, cues: cam}
  cim: {proposals: fits_agreed}
  bestie: null
  prm: null
  label_penet: null
proposals: {fits_agreed: {like: fits, semantics: agreed}}
semantics:
  agreed: {like: cam, labels: null, agreement: {semantics: cam, run: first, score_share: 0.3}}
"""


def with_changes(old, new):
    assert old in ROUNDS
    return ROUNDS.replace(old, new)


def test_all_that_a_run_stands_on_is_in_use():
    project = load(ROUNDS)
    assert proposals_in_use(project) == ["fits", "fits_agreed", "heg"]
    assert semantics_in_use(project) == ["agreed", "cam"]
    assert classifiers_of_semantics(project) == ["cam"]
    assert "cam" in classifiers_in_use(project)


def test_what_no_run_stands_on_is_not_in_use():
    project = load(
        with_changes("fits_agreed}\n  bestie", "heg}\n  bestie").replace("proposals: fits,", "proposals: heg,")
    )
    assert (proposals_in_use(project), semantics_in_use(project)) == (["heg"], [])


def test_a_gallery_shows_the_maps_behind_ranked_proposals():
    shown = shown_of_run(load(ROUNDS), "cim", "val")
    assert shown[:2] == ["val/proposals/fits_agreed.h5", "val/semantics/agreed.h5"]
    assert len(set(shown)) == len(shown)


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        pytest.param("proposals: {fits: {proposals: hag}}", r"proposals.fits.proposals is 'hag'; there are .*did you mean `heg`", id="proposals"),
        pytest.param("proposals: {fits: {semantics: cma}}", r"proposals.fits.semantics is 'cma'; there are", id="maps"),
        pytest.param("proposals: {more: {like: fits, proposals: fits}}", r"proposals.more.proposals is 'fits', which is ranked itself; set 'heg'", id="ranked twice"),
        pytest.param(with_changes("run: first", "run: fist"), r"semantics.agreed.agreement.run is 'fist'; there are .*'first'", id="run"),
        pytest.param(with_changes("{semantics: cam, run", "{semantics: cma, run"), r"semantics.agreed.agreement.semantics is 'cma'", id="maps of an agreement"),
        pytest.param(with_changes("run: first", "run: cim"), r"leads back to itself: .*proposals.fits_agreed", id="loop over a run"),
        pytest.param(with_changes("{semantics: cam, run", "{semantics: agreed, run"), r"semantics.agreed leads back to itself: semantics.agreed -> semantics.agreed", id="loop of one"),
        pytest.param("semantics: {cam: {agreement: {semantics: cam, run: cim, score_share: 0.3}}}", r"semantics.cam: .*both are set", id="labels twice"),
        pytest.param("semantics: {cam: {labels: null}}", r"semantics.cam: .*both are null", id="no labels"),
        pytest.param("semantics: {theirs: {kind: weights, weights: 'a{b}', predict: {longer_side: null, scales: [1.0], flip: true, tagged_on: [], crf: {}}}}", r"semantics.theirs.weights is 'a{b}': Snakemake reads braces", id="braces"),
        pytest.param("semantics: {more: {like: cam, starts_from: cma}}", r"semantics.more.starts_from is 'cma'; there are", id="start"),
        pytest.param("semantics: {more: {like: cam, starts_from: more}}", r"semantics.more leads back to itself", id="start of itself"),
        pytest.param("semantics: {more: {like: cam, starts_from: cam_labels}}", r"semantics.more.starts_from is 'cam_labels', of kind cues, which has no network", id="start without a network"),
        pytest.param("semantics: {more: {like: cam, starts_from: cam, train: {head: {channels: 24}}}}", r"semantics.more.starts_from is 'cam', whose layers are .*'channels': 48.*, not .*'channels': 24", id="start of other layers"),
        pytest.param("runs: {cim: {cim: {predict: {map_weight: 1.0, crf: {iterations: 2}}}}}", r"runs.cim reads semantic maps in prediction, but nothing ranks its proposals 'heg'", id="maps of nothing"),
        pytest.param("mask_rcnn: {predict: {map_power: 1.0}}", r"map_weight is 0.0 and map_power 1.0, but semantics is null", id="maps without a name"),
        pytest.param("mask_rcnn: {predict: {map_power: 1.0, semantics: cma}}", r"runs.cim.mask_rcnn.predict.semantics is 'cma'; there are .*did you mean `cam`", id="maps of another name"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(overlay, message):
    with pytest.raises(ConfigError, match=message):
        load(overlay)


def test_maps_that_a_prediction_names_are_in_use_and_shown():
    changed = "runs: {prm: {retrain: mask_rcnn}, cim: null, bestie: null, label_penet: null}"
    named = "mask_rcnn: {predict: {semantics: cam, map_power: 0.5}}"
    project = load(f"{changed}\n{named}")
    assert semantics_in_use(project) == ["cam"]
    assert maps_of_prediction(project, "prm/mask_rcnn") == "cam"
    assert maps_of_prediction(project, "prm") is None
    assert "val/semantics/cam.h5" in shown_of_run(project, "prm", "val")
    unread = load(f"{changed}\n{named.replace('0.5', '0.0')}")
    assert (semantics_in_use(unread), maps_of_prediction(unread, "prm/mask_rcnn")) == ([], None)
    alone = load(f"{changed.replace('retrain: mask_rcnn', 'retrain: none')}\n{named}")
    assert semantics_in_use(alone) == []


def test_a_network_on_top_may_lean_on_maps_that_its_own_run_has_taught():
    overlay = with_changes("cim: {proposals: fits_agreed}", "cim: {proposals: fits, retrain: mask_rcnn}")
    overlay = overlay.replace("run: first", "run: cim").replace("first: {method: cim, proposals: fits, cues: cam}", "")
    project = load(overlay + "mask_rcnn: {predict: {semantics: agreed, map_power: 1.0}}")
    assert maps_of_prediction(project, "cim/mask_rcnn") == "agreed"


@pytest.mark.parametrize("method", ["bestie", "label_penet"])
def test_a_run_may_not_lean_on_maps_that_it_has_taught_itself(method):
    taught = "semantics: {taught: {like: cam, labels: null, agreement: {semantics: cam, run: RUN, score_share: 0.3}}}"
    leaning = f"runs: {{{method}: {{{method}: {{predict: {{semantics: taught, map_power: 0.5}}}}}}}}"
    project = load(f"{taught.replace('RUN', 'cim')}\n{leaning}")
    assert maps_of_prediction(project, method) == "taught"
    assert "taught" in semantics_in_use(project)
    with pytest.raises(ConfigError, match=rf"runs.{method} leads back to itself: runs.{method} -> semantics.taught ->"):
        load(f"{taught.replace('RUN', method)}\n{leaning}")


def test_maps_are_not_read_without_a_crf_or_a_weight():
    for predict in ("{map_weight: 1.0, crf: {iterations: 0}}", "{map_weight: 0.0, crf: {iterations: 2}}"):
        load(f"runs: {{cim: {{cim: {{predict: {predict}}}}}}}")
    with pytest.raises(ConfigError, match="runs.cim reads semantic maps in prediction"):
        load("runs: {cim: {cim: {predict: {map_power: 1.0}}}}")
