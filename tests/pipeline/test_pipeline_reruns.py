"""What a change reruns, on a real run of the whole graph at toy size, from a copy of the project."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.core.artifacts.instances import Instances
from stages.core.artifacts.storage import read
from tests.pipeline.conftest import planned, snakemake

DOWNSTREAM_OF_METRICS = {"evaluate_instances", "compare_runs", "build_gallery"}
DOWNSTREAM_OF_PREDICTION = DOWNSTREAM_OF_METRICS | {"chart_instances", "build_joint_gallery"}
DOWNSTREAM_OF_TRAINING = DOWNSTREAM_OF_PREDICTION | {"predict_cim"}
DOWNSTREAM_OF_LABELS = DOWNSTREAM_OF_TRAINING | {"train_cim", "report_cluster_labels"}
DOWNSTREAM_OF_BESTIE = DOWNSTREAM_OF_PREDICTION | {"predict_bestie", "refine_labels", "report_masks"}
DOWNSTREAM_OF_SEMANTICS = DOWNSTREAM_OF_BESTIE | {
    "report_semantics", "transfer_semantics", "report_masks", "train_bestie"
}  # fmt: skip
SEMANTICS_OF_CUES = {"label_pixels", "report_pixel_labels", "train_semantics", "predict_semantics"}
DOWNSTREAM_OF_CUES = (
    DOWNSTREAM_OF_LABELS
    | {"label_clusters", "report_cues", "retrieve_prm"}
    | DOWNSTREAM_OF_SEMANTICS
    | SEMANTICS_OF_CUES
)
RETRAINING = {"make_pseudo_masks", "report_masks", "train_mask_rcnn", "predict_mask_rcnn"}
DOWNSTREAM_OF_CLASSIFIER = DOWNSTREAM_OF_CUES | {"find_cues"}


def reruns(project: Path, *overlays: str) -> set[str]:
    """Names of the rules that would run now."""
    return {job.rule for job in planned(project, "--configfile", "toy.yaml", *overlays, source=project)} - {"all"}


def test_a_finished_run_has_everything_and_nothing_to_do(project):
    results = project / "results" / "toy"
    for path in (
        "val/images.h5",
        "val/proposals/heg.h5",
        "val/proposals/heg.report.json",
        "val/cues/cam.h5",
        "cim/cluster_labels/train.h5",
        "cim/network/weights.safetensors",
        "cim/network/curves.png",
        "cim/val/instances.h5",
        "cim/val/metrics.json",
        "cim/val/precision_recall.png",
        "cim/val/charts.json",
        "cim/val/charts/errors.svg",
        "val/proposals/heg.recall.svg",
        "cim/gallery/index.html",
        "prm/val/metrics.json",
        "bestie/network/snapshots.safetensors",
        "bestie/refined_labels/val.png",
        "bestie/val/maps.h5",
        "bestie/gallery/index.html",
        "gallery/index.html",
        "gallery/data/000/000000.js",
        "comparison.md",
    ):
        assert (results / path).is_file(), path
    for run in ("cim", "prm", "bestie"):
        metrics = json.loads((results / run / "val" / "metrics.json").read_text())
        assert metrics["unmeasured"] == {}, run
        assert metrics["corloc_on"] == {"split": "train", "n_images": 10, "n_images_left_out": 0}
    assert not list(results.rglob("*.unfinished"))
    assert not (results / "cim" / "network" / "checkpoint").exists()
    assert reruns(project) == set()


@pytest.mark.parametrize("run", ["prm", "fresh"])
def test_a_retrained_run_is_planned_on_the_predictions_of_its_training_split(project, run):
    """The evaluated split is not predicted for it; the training split is, where CorLoc has not asked for it before."""
    (project / "overlay.yaml").write_text(
        f"runs: {{{run}: {{{'' if run == 'prm' else 'like: prm, '}retrain: mask_rcnn}}}}"
    )
    found = planned(project, "mask_rcnn", "--configfile", "toy.yaml", "overlay.yaml", source=project)
    made = {job.rule: job.outputs for job in found if job.rule != "mask_rcnn"}
    predicted = {} if run == "prm" else {"retrieve_prm": ("results/toy/fresh/train/instances.h5",)}
    assert made == predicted | {
        "make_pseudo_masks": (f"results/toy/{run}/mask_rcnn/pseudo_masks/train.h5",),
        "train_mask_rcnn": tuple(
            f"results/toy/{run}/mask_rcnn/network/{name}"
            for name in ("weights.safetensors", "curves.json", "curves.png")
        ),
        "predict_mask_rcnn": (f"results/toy/{run}/mask_rcnn/val/instances.h5",),
    }


def test_without_corloc_no_training_split_is_predicted_for_it(project):
    (project / "overlay.yaml").write_text("evaluation: {corloc: false}\nruns: {fresh: {like: prm}}")
    files = ["--configfile", "toy.yaml", "overlay.yaml"]
    target = "results/toy/fresh/val/metrics.json"
    found = planned(project, target, *files, source=project)
    assert {job.outputs[0] for job in found} == {"results/toy/fresh/val/instances.h5", target}
    (project / "overlay.yaml").write_text("runs: {fresh: {like: prm}}")
    found = planned(project, target, *files, source=project)
    assert "results/toy/fresh/train/instances.h5" in {path for job in found for path in job.outputs}


def test_touched_files_rerun_nothing(project):
    for path in [*project.rglob("*.py"), *project.rglob("*.smk"), *project.rglob("*.h5"), project / "config.yaml"]:
        os.utime(path)
    assert reruns(project) == set()


def test_comments_layout_and_docstrings_rerun_nothing(project):
    for name in ("cim/losses.py", "core/artifacts/storage.py", "ops/regions.py", "proposals/heg.py"):
        path = project / "stages" / name
        text = path.read_text()
        path.write_text("# why\n" + text.replace('"""', '"""Changed. ', 1) + "\n\n\n# the end\n")
        try:
            assert reruns(project) == set(), name
        finally:
            path.write_text(text)


@pytest.mark.parametrize(
    ("overlay", "expected"),
    [
        pytest.param(
            "evaluation: {masks: {curve_threshold: 0.25}}", DOWNSTREAM_OF_METRICS | {"chart_instances"}, id="evaluation"
        ),
        pytest.param("evaluation: {corloc: false}", DOWNSTREAM_OF_METRICS, id="corloc"),
        pytest.param("evaluation: {semantic: {score_threshold: 0.5}}", DOWNSTREAM_OF_METRICS, id="painted instances"),
        pytest.param("evaluation: {charts: {score_bins: 5}}", {"chart_instances", "compare_runs"}, id="charts"),
        pytest.param("evaluation: {comparison: {headline: CorLoc}}", {"compare_runs"}, id="headline"),
        pytest.param("evaluation: {proposals: {numbers: [1]}}", {"report_proposals"}, id="numbers of proposals"),
        pytest.param("inspection: {images: 3}", {"build_gallery", "build_joint_gallery"}, id="inspection"),
        pytest.param("cim: {predict: {top_k: 7}}", DOWNSTREAM_OF_TRAINING, id="prediction"),
        pytest.param("cim: {train: {losses: {mil: 0.5}}}", DOWNSTREAM_OF_TRAINING | {"train_cim"}, id="loss weight"),
        pytest.param("cim: {agpl: {support_threshold: 0.6}}", DOWNSTREAM_OF_LABELS | {"label_clusters"}, id="agpl"),
        pytest.param(
            "bestie: {predict: {top_k: 7}}", DOWNSTREAM_OF_PREDICTION | {"predict_bestie"}, id="bestie's prediction"
        ),
        pytest.param("bestie: {predict: {longer_side: 64}}", DOWNSTREAM_OF_BESTIE, id="size of bestie's input"),
        pytest.param("bestie: {train: {snapshots: [3]}}", DOWNSTREAM_OF_BESTIE | {"train_bestie"}, id="snapshots"),
        pytest.param("classifier: {cam: {cues: {flip: false}}}", DOWNSTREAM_OF_CLASSIFIER, id="cues"),
        pytest.param(
            "classifier: {cam: {train: {seed: 9}}}", DOWNSTREAM_OF_CLASSIFIER | {"train_classifier"}, id="classifier"
        ),
        pytest.param(
            "runs: {cim: {retrain: mask_rcnn}}",
            RETRAINING | DOWNSTREAM_OF_PREDICTION,  # the training split is predicted for CorLoc
            id="retrain of a run",
        ),
        pytest.param("mask_rcnn: {train: {seed: 9}}", set(), id="Mask R-CNN that no run has"),
        pytest.param("images: {voc: {difficult_tags: false}}", set(), id="block of another data set"),
        pytest.param("classifier: {own: {like: prm, train: {seed: 9}}}", set(), id="classifier that no run uses"),
    ],
)
def test_one_setting_reruns_what_depends_on_it_and_nothing_else(project, overlay, expected):
    (project / "overlay.yaml").write_text(overlay)
    assert reruns(project, "overlay.yaml") == expected


AT_POINTS = """
runs:
  at_points:
    {like: bestie, cues: points, trained: {network: results/toy/bestie/network/weights.safetensors},
     bestie: {predict: {use_tags: true, use_points: %s}}}
"""


def test_points_at_test_time_rerun_the_prediction_alone_and_are_said_in_its_supervision(project):
    found = "results/toy/at_points/val/instances.h5"
    files = ["--configfile", "toy.yaml", "overlay.yaml"]
    said = []
    for use_points, wanted in (("false", {"predict_bestie"}), ("true", {"take_points", "predict_bestie"})):
        (project / "overlay.yaml").write_text(AT_POINTS % use_points)
        assert {job.rule for job in planned(project, found, *files, source=project)} == wanted
        done = snakemake(project, "-c2", found, *files, source=project)
        assert done.returncode == 0, done.stdout + done.stderr
        assert planned(project, found, *files, source=project) == []
        with read(project / found, Instances) as instances:
            said.append((instances.header["supervision"], sorted(instances.provenance["inputs"])))
    assert said == [("image tags", ["images"]), ("points", ["cues", "images"])]


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        pytest.param("cim/losses.py", "def ", "def unused():\n    return 1\n\n\ndef ", DOWNSTREAM_OF_TRAINING | {"train_cim"}, id="losses"),
        pytest.param("cim/decoding.py", "def ", "def unused():\n    return 1\n\n\ndef ", DOWNSTREAM_OF_TRAINING, id="decoding"),
        pytest.param("cim/agpl.py", "def ", "def unused():\n    return 1\n\n\ndef ", DOWNSTREAM_OF_LABELS | {"label_clusters"}, id="agpl"),
        pytest.param("inspection/gallery/find.js", "const state", "const more = 1;\nconst state", {"build_gallery", "build_joint_gallery"}, id="script"),
        pytest.param("inspection/gallery/layers.py", "def ", "def unused():\n    return 1\n\n\ndef ", {"build_gallery", "build_joint_gallery"}, id="layers"),
    ],
)  # fmt: skip
def test_one_edited_function_reruns_the_steps_that_import_it(project, file, old, new, expected):
    path = project / "stages" / file
    text = path.read_text()
    path.write_text(text.replace(old, new, 1))
    try:
        assert reruns(project) == expected
    finally:
        path.write_text(text)


def train_command(project: Path, output: Path) -> list[str]:
    """The printed command of train_cim, writing elsewhere. Equal bytes need equal threads: one, as in config.yaml."""
    done = snakemake(project, "-n", "-p", "--forcerun", "train_cim", "--configfile", "toy.yaml", source=project)
    lines = [line.strip() for line in done.stdout.splitlines() if "-m stages.cim.train_cim" in line]
    assert lines, done.stdout + done.stderr
    command = "python" + lines[0].partition("python")[2].replace("results/toy/cim/network/", f"{output}/")
    return ["bash", "-c", f"export PATH={Path(sys.executable).parent}:$PATH; exec {command}"]


def test_training_killed_with_sigkill_goes_on_to_the_same_network_bit_for_bit(project, tmp_path):
    undisturbed = project / "results" / "toy" / "cim" / "network" / "weights.safetensors"
    command = train_command(project, tmp_path)
    checkpoint = tmp_path / "checkpoint" / "checkpoint.pt"
    process = subprocess.Popen(
        command, cwd=project, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 120
    while not checkpoint.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, "training ended before it could be killed; raise the toy's steps"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.is_file()
    assert not (tmp_path / "weights.safetensors").exists()
    done = subprocess.run(
        command, cwd=project, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert "resumed after update" in done.stderr
    assert (tmp_path / "weights.safetensors").read_bytes() == undisturbed.read_bytes()


@pytest.mark.parametrize(
    "target", ["images", "proposals", "classifier", "cues", "cim", "prm", "evaluation", "inspection"]
)
def test_each_stage_is_a_target(project, target):
    assert {job.rule for job in planned(project, target, "--configfile", "toy.yaml", source=project)} == set()


def test_each_artifact_is_a_target(project):
    wanted = "results/toy/val/proposals/heg.h5"
    jobs = planned(project, wanted, "-F", "--configfile", "toy.yaml", source=project)
    assert {job.rule for job in jobs} == {"list_images", "generate_proposals", "merge_proposals"}


def test_the_end_of_a_run_says_what_took_longest_of_what_waits_for_each_other(project):
    results = project / "results" / "toy"
    times = json.loads((project / "times.json").read_text())
    steps = {step["step"]: step for step in times["steps"]}
    made = {path.relative_to(results / "benchmarks") for path in (results / "benchmarks").rglob("*.tsv")}
    assert set(steps) <= {path.with_suffix("").as_posix() for path in made}
    assert {"list_images.train", "generate_proposals.val.heg.1-of-2", "cim/train_cim", "bestie/build_gallery"} <= set(
        steps
    )
    assert steps["cim/predict_cim.val"]["needs"] == ["cim/train_cim", "list_images.val", "merge_proposals.val.heg"]
    assert (steps["cim/train_cim"]["stage"], steps["list_images.train"]["needs"]) == ("cim", [])
    assert times["critical_path"][0].startswith("list_images.")  # train and val take as long
    for before, after in itertools.pairwise(times["critical_path"]):
        assert before in steps[after]["needs"]
    assert times["critical_seconds"] < times["seconds"]
