"""The laws of the design, proved on the graph and on the sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

READS_TRUTH = {
    "evaluate_instances",
    "report_proposals",
    "report_cues",
    "report_cluster_labels",
    "report_pseudo_masks",
    "build_gallery",
}
READS_POINTS = {"point_cues"}
AFTER_TRUTH = READS_TRUTH | {"compare_runs", "pack_model", "exports"}
FOUNDATIONS = {"core", "ops"}


def sources(root: Path) -> list[Path]:
    return [*sorted((root / "stages").rglob("*.py")), *sorted((root / "benchmarks").glob("*.py"))]


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_only_evaluation_and_inspection_read_annotations(whole_graph):
    readers = {job.rule for job in whole_graph if any(path.endswith("ground_truth.h5") for path in job.inputs)}
    assert readers
    assert readers <= READS_TRUTH


def test_exports_read_no_annotations_and_nothing_is_made_from_them(graph_of):
    jobs = graph_of("runs: {prm: null}", "exports")
    exporters = [job for job in jobs if job.rule.startswith(("export_", "draw_", "pack_"))]
    assert {job.rule for job in exporters} >= {"export_coco", "export_voc", "export_ids", "draw_overlays", "pack_model"}
    for job in exporters:
        assert not any(path.endswith(("ground_truth.h5", "points.h5")) for path in job.inputs), job
    tainted = {path for job in jobs if job.rule in AFTER_TRUTH for path in job.outputs if path}
    assert {job.rule for job in jobs if tainted & set(job.inputs)} <= {"pack_model", "exports"}


def test_points_are_read_only_for_runs_that_declare_them(whole_graph):
    readers = {job.rule for job in whole_graph if any(path.endswith("points.h5") for path in job.inputs)}
    readers -= {job.rule for job in whole_graph if any(path.endswith("cues/points.h5") for path in job.inputs)}
    assert readers <= READS_POINTS


def test_with_points_the_graph_reads_them_and_without_it_does_not(graph_of):
    plain = graph_of("runs: {cim: {cues: prm}}")
    assert "point_cues" not in {job.rule for job in plain}
    declared = graph_of("runs: {cim: {cues: points, refinement: none, cim: {train: {backbone: {weights: none}}}}}")
    assert "point_cues" in {job.rule for job in declared}


def test_nothing_made_from_annotations_goes_back_into_a_run(whole_graph):
    tainted = {path for job in whole_graph if job.rule in AFTER_TRUTH for path in job.outputs}
    users = {job.rule for job in whole_graph if tainted & set(job.inputs)} - {"all"}
    assert users <= AFTER_TRUTH


def test_rules_that_read_annotations_run_code_of_evaluation_and_inspection(project_root):
    for path in (project_root / "rules").glob("*.smk"):
        if "ground_truth=" in path.read_text().replace(" ", "") and path.stem not in (
            "images",
            "evaluation",
            "inspection",
        ):
            pytest.fail(f"{path.name} names ground truth")


@pytest.mark.parametrize("stage", ["proposals", "classifier", "cim", "prm", "mask_rcnn", "exports"])
def test_no_training_stage_imports_the_record_of_annotations(project_root, stage):
    for path in (project_root / "stages" / stage).glob("*.py"):
        assert "stages.core.artifacts.ground_truth" not in imports(path), path


def test_stages_do_not_import_each_other_and_foundations_no_stage(project_root):
    folders = {path.name for path in (project_root / "stages").iterdir() if (path / "__init__.py").is_file()}
    for path in (project_root / "stages").rglob("*.py"):
        own = path.relative_to(project_root / "stages").parts[0]
        targets = {name.split(".")[1] for name in imports(path) if name.startswith("stages.") and name.count(".") >= 1}
        strangers = (targets & folders) - FOUNDATIONS - {own}
        assert not strangers, f"{path} imports {strangers}"


def test_rules_and_stages_have_the_same_names(project_root):
    rules = {path.stem for path in (project_root / "rules").glob("*.smk")}
    stages = {path.name for path in (project_root / "stages").iterdir() if (path / "__init__.py").is_file()}
    assert rules == stages - FOUNDATIONS


def test_import_contracts_hold(project_root):
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=project_root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


def test_nothing_is_pickled(project_root):
    for path in sources(project_root):
        assert not imports(path) & {"pickle", "dill", "joblib", "shelve", "marshal"}, path
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            keywords = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            assert keywords.get("allow_pickle") is not True, path
            if ast.unparse(node.func) == "torch.load":
                assert keywords.get("weights_only") is True, path


def test_there_is_no_bare_except_and_no_swallowed_error(project_root):
    for path in sources(project_root):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler):
                assert node.type is not None, f"{path}:{node.lineno}"
                swallowed = len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
                assert not swallowed, f"{path}:{node.lineno}"


def test_files_stay_readable(project_root):
    for path in sources(project_root):
        assert len(path.read_text().splitlines()) <= 400, path
