"""What a project borrows: which files, what is brought in place of training, and entries that name nothing."""

import pytest

from stages.project.borrowing import borrowed_files, problems_of_lenders, with_borrowed
from stages.project.graph import classifiers_in_use, made_of
from stages.project.project import ConfigError
from tests.project.test_project_project import load

TOP = "runs: {cim: {retrain: mask_rcnn}}\n"


def borrowing(entries: str):
    return with_borrowed(load(f"{TOP}borrow: {{{entries}}}"))


@pytest.mark.parametrize(
    ("entries", "paths"),
    [
        pytest.param("proposals: {heg: x}", {"train/proposals/heg.h5", "val/proposals/heg.h5"}, id="proposals"),
        pytest.param("classifier: {cam: x}", {"classifier/cam/weights.safetensors"}, id="classifier"),
        pytest.param("cues: {cam: x}", {"train/cues/cam.h5", "val/cues/cam.h5"}, id="cues"),
        pytest.param("semantics: {cam: x}", {"train/semantics/cam.h5", "val/semantics/cam.h5"}, id="semantics"),
        pytest.param(
            "labels: {cim/cluster_labels: x, cim/mask_rcnn/pseudo_masks: x}",
            {"cim/cluster_labels/train.h5", "cim/cluster_labels/val.h5", "cim/mask_rcnn/pseudo_masks/train.h5"},
            id="labels",
        ),
        pytest.param(
            "networks: {cim: x, cim/mask_rcnn: x}",
            {"cim/network/weights.safetensors", "cim/mask_rcnn/network/weights.safetensors"},
            id="networks",
        ),
        pytest.param(
            "instances: {prm: x, cim/mask_rcnn: x}",
            {f"{run}/{split}/instances.h5" for run in ("prm", "cim/mask_rcnn") for split in ("train", "val")},
            id="instances",
        ),
        pytest.param("proposals: null", set(), id="null"),
        pytest.param("proposals: {heg: null}", set(), id="entry that is null"),
    ],
)
def test_an_artifact_has_the_path_that_it_has_in_the_other_project(entries, paths):
    files = borrowed_files(borrowing(entries))
    assert set(files) == paths
    assert {one.source for one in files.values()} == {f"x/{path}" for path in paths}


def test_weights_of_maps_are_borrowed_where_a_network_goes_on_from_them():
    project = with_borrowed(load("borrow: {semantics: {cam: x}}\nsemantics: {more: {like: cam, starts_from: cam}}"))
    files = borrowed_files(project)
    assert files["semantics/cam/weights.safetensors"].settings.made_by == "train_semantics"


def test_each_file_is_held_to_what_makes_it():
    files = borrowed_files(borrowing("classifier: {cam: x}, networks: {cim: x, cim/mask_rcnn: x}, proposals: {heg: x}"))
    assert {path: (one.settings.kind, one.settings.made_by, one.listed) for path, one in files.items()} == {
        "classifier/cam/weights.safetensors": ("weights", "train_classifier", None),
        "cim/network/weights.safetensors": ("weights", "train_cim", None),
        "cim/mask_rcnn/network/weights.safetensors": ("weights", "train_mask_rcnn", None),
        "train/proposals/heg.h5": ("proposals", None, "x/train/images.h5"),
        "val/proposals/heg.h5": ("proposals", None, "x/val/images.h5"),
    }


def test_borrowed_networks_are_brought_and_nothing_on_the_way_to_them_is_made():
    own = load(TOP)
    project = borrowing("networks: {cim: x, bestie: x, label_penet: x}")
    assert own.runs["cim"].trains
    assert {name for name, run in project.runs.items() if run.trains} == {"prm"}
    assert project.runs["cim"].trained.network == "results/shapes/cim/network/weights.safetensors"
    assert {name for name, _ in made_of(project)} == {"cim/mask_rcnn"}


def test_a_borrowed_classifier_is_brought():
    assert borrowing("classifier: {cam: x}").classifier["cam"].trained == (
        "results/shapes/classifier/cam/weights.safetensors"
    )


def test_borrowed_maps_need_no_classifier():
    runs = "runs: {cim: null, prm: null, label_penet: null, bestie: {bestie: {train: {backbone: {weights: none}}}}}"
    assert classifiers_in_use(load(runs)) == ["cam", "pam"]
    assert classifiers_in_use(with_borrowed(load(f"{runs}\nborrow: {{semantics: {{cam: x}}}}"))) == ["pam"]


def test_in_a_trial_the_paths_are_those_of_the_trial():
    project = with_borrowed(load("trial: 50\nborrow: {classifier: {cam: x}}"))
    assert project.classifier["cam"].trained == "results/shapes-trial50/classifier/cam/weights.safetensors"


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param("proposals: {hog: x}", "borrow.proposals has 'hog', .* there are .*did you mean `heg`", id="name"),
        pytest.param("classifer: {cam: x}", "borrow.classifer.*did you mean.*classifier", id="section"),
        pytest.param("labels: {cim/labels: x}", "borrow.labels has 'cim/labels', .*'cim/cluster_labels'", id="labels"),
        pytest.param("networks: {prm: x}", "borrow.networks has 'prm', which is not made here", id="no network"),
        pytest.param("instances: {prm/mask_rcnn: x}", "borrow.instances has 'prm/mask_rcnn'", id="nothing on top"),
        pytest.param("proposals: {heg: 'a{b}'}", "Snakemake reads braces as wildcards", id="braces"),
        pytest.param("proposals: {heg: ''}", r"borrow\.proposals\.heg", id="empty"),
        pytest.param("proposals: {../heg: x}", r"borrow\.proposals", id="a name that leads elsewhere"),
        pytest.param("instances: {cim/..: x}", r"borrow\.instances", id="a run that leads elsewhere"),
    ],
)
def test_what_names_nothing_is_refused(entries, message):
    with pytest.raises(ConfigError, match=f"(?s){message}"):
        borrowing(entries)


def test_a_classifier_is_not_brought_and_borrowed():
    with pytest.raises(
        ConfigError, match=r"borrow.classifier has 'cam', but classifier.cam.trained is 'a.safetensors'"
    ):
        load("classifier: {cam: {trained: a.safetensors}}\nborrow: {classifier: {cam: x}}")


def test_folders_are_looked_at_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results" / "shapes").mkdir(parents=True)
    for path in ("train/images.h5", "val/images.h5", "train/proposals/heg.h5", "val/proposals/mcg.h5"):
        (tmp_path / "x" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / path).touch()

    def problems(folder):
        return problems_of_lenders(
            borrowed_files(with_borrowed(load(f"borrow: {{proposals: {{heg: {folder}}}}}"))), "shapes"
        )

    assert problems("x/") == [
        "borrow.proposals.heg is 'x/', which has no val/proposals/heg.h5; in that place are ['mcg.h5']; make it in that"
        " project, or name another"
    ]
    (tmp_path / "x/val/proposals/heg.h5").touch()
    assert problems("x") == problems(tmp_path / "x") == []
    (tmp_path / "x/val/images.h5").unlink()
    (found,) = problems("x")
    assert "which has no val/images.h5" in found
    assert "which is no folder; name the results of another project" in problems("y")[0]
    for own in ("results/shapes", tmp_path / "results/../results/shapes"):
        assert "the results of this project; name those of another" in problems(own)[0]
