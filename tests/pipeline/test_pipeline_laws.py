"""The laws of CONTRIBUTING.md, proved on the graph and on the sources."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.workflow.digest import Sources, read_project
from tests.pipeline.conftest import Job, planned

READS_GROUND_TRUTH = {
    "evaluate_instances",
    "chart_instances",
    "report_proposals",
    "report_cues",
    "report_cluster_labels",
    "report_masks",
    "report_semantics",
    "report_pixel_labels",
    "build_gallery",
    "build_joint_gallery",
    "build_sample_gallery",
    "list_boxes",
}
READS_BOXES = {"evaluate_instances"}
READS_POINTS = {"join_points", "take_points"}
ANNOTATED_MAPS = "semantic_annotations.h5"
AFTER_GROUND_TRUTH = READS_GROUND_TRUTH | {"compare_runs", "pack_model", "exports"}
FOUNDATIONS = {"core", "ops"}
ROOT_OF_ALL = "project"  # stands on top of the stages


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
    assert readers <= READS_GROUND_TRUTH


def test_only_the_evaluation_reads_annotated_boxes(whole_graph, project_root):
    readers = {job.rule for job in whole_graph if any(path.endswith("/boxes.h5") for path in job.inputs)}
    assert readers == READS_BOXES
    namers = {path.stem for path in (project_root / "rules").glob("*.smk") if "boxes.h5" in path.read_text()}
    assert namers == {"images", "evaluation"}


def test_exports_read_no_annotations_and_nothing_is_made_from_them(graph_of):
    jobs = graph_of("runs: {prm: null}", "exports")
    exporters = [job for job in jobs if job.rule.startswith(("export_", "pack_"))]
    assert {job.rule for job in exporters} >= {
        "export_coco",
        "export_voc",
        "export_yolo",
        "export_label_studio",
        "export_cvat",
        "export_ids",
        "export_overlays",
        "pack_model",
    }
    for job in exporters:
        assert not any(path.endswith(("ground_truth.h5", "/boxes.h5", "points.h5")) for path in job.inputs), job
    tainted = {path for job in jobs if job.rule in AFTER_GROUND_TRUTH for path in job.outputs if path}
    assert {job.rule for job in jobs if tainted & set(job.inputs)} <= {"pack_model", "exports"} | READS_BOXES


def test_points_are_read_only_for_runs_that_declare_them(whole_graph):
    readers = {job.rule for job in whole_graph if any(path.endswith("points.h5") for path in job.inputs)}
    readers -= {job.rule for job in whole_graph if any(path.endswith("cues/points.h5") for path in job.inputs)}
    assert readers <= READS_POINTS


def test_with_points_the_graph_reads_them_and_without_it_does_not(graph_of):
    plain = graph_of("runs: {cim: {cues: prm}}")
    assert "take_points" not in {job.rule for job in plain}
    declared = graph_of("runs: {cim: {cues: points, retrain: none, cim: {train: {backbone: {weights: none}}}}}")
    assert "take_points" in {job.rule for job in declared}


def test_points_of_some_images_stand_beside_the_cues_of_a_classifier(graph_of):
    overlay = "runs: {cim: {cues: points_or_prm}, bestie: {cues: points_or_pam}, prm: null, label_penet: null}"
    graph = graph_of(overlay)
    joined = {path: job for job in graph for path in job.outputs if "/cues/points_or_" in path}
    assert set(joined) == {
        f"results/shapes/{split}/cues/points_or_{name}.h5" for split in ("train", "val") for name in ("prm", "pam")
    }
    assert {job.rule for job in joined.values()} == {"join_points"}
    (cues,) = {path for job in graph if job.rule == "label_clusters" for path in job.inputs if "train/cues" in path}
    assert cues == "results/shapes/train/cues/points_or_prm.h5"
    assert "results/shapes/classifier/prm/weights.safetensors" in upstream(graph, "results/shapes/cim/val/metrics.json")


def upstream(jobs: list[Job], *targets: str) -> set[str]:
    """All files that are read on the way to the targets, and the targets themselves."""
    makers = {path: job for job in jobs for path in job.outputs}
    found: set[str] = set()
    todo = list(targets)
    while todo:
        path = todo.pop()
        if path and path not in found:
            found.add(path)
            todo += makers[path].inputs if path in makers else []
    return found


def annotations(paths: set[str]) -> set[str]:
    return {path for path in paths if path.endswith(("ground_truth.h5", "/boxes.h5", ANNOTATED_MAPS))}


def test_no_network_and_no_prediction_of_a_run_has_annotations_upstream(whole_graph):
    made = [path for job in whole_graph for path in job.outputs]
    targets = [path for path in made if path.endswith(("weights.safetensors", "instances.h5", "/semantics/cam.h5"))]
    assert any(path.endswith("network/weights.safetensors") for path in targets)
    assert not annotations(upstream(whole_graph, *targets))
    assert "annotate_semantics" not in {job.rule for job in whole_graph}


@pytest.mark.parametrize("source", ["cam", "cam_labels", "irn"])
def test_weak_semantic_maps_have_no_annotations_upstream(graph_of, source):
    targets = [f"results/shapes/{split}/semantics/{source}.h5" for split in ("train", "val")]
    png = "{kind: png, folders: {train: a, val: b}, class_values: null, supervision: image tags}"
    jobs = graph_of(f"semantics: {{irn: {png}}}", *targets)
    assert {path for job in jobs for path in job.outputs} >= set(targets)
    assert not annotations(upstream(jobs, *targets))
    assert not {job.rule for job in jobs} & (READS_GROUND_TRUTH | {"annotate_semantics", "take_annotations"})


def test_annotated_maps_are_read_by_a_declared_oracle_alone(graph_of):
    target = "results/shapes/train/semantics/annotated.h5"
    jobs = graph_of("{}", target)
    assert {job.rule for job in jobs} == {"list_images", "annotate_semantics", "take_annotations"}
    assert {job.rule for job in jobs if any(path.endswith(ANNOTATED_MAPS) for path in job.inputs)} == {
        "take_annotations"
    }
    assert {job.rule for job in jobs if any(path.endswith("ground_truth.h5") for path in job.inputs)} == {
        "annotate_semantics"
    }
    assert annotations(upstream(jobs, target))


RUNS_OF_BESTIE = """
runs:
  cim: null
  prm: null
  bestie: {retrain: mask_rcnn}
  again: {like: bestie, iterates: bestie}
  of_points: {like: bestie, cues: points, retrain: none, bestie: {train: {backbone: {weights: none}}}}
  at_points: {like: of_points, bestie: {predict: {use_tags: true, use_points: true}}}
  of_points_again: {like: of_points, cues: pam, iterates: of_points}
  of_masks: {like: bestie, semantics: annotated}
"""


@pytest.fixture(scope="module")
def graph_of_bestie(tmp_path_factory):
    """All jobs of runs of BESTIE that differ in what people have given."""
    folder = tmp_path_factory.mktemp("bestie")
    (folder / "overlay.yaml").write_text(RUNS_OF_BESTIE)
    return planned(folder, "--configfile", str(folder / "overlay.yaml"))


@pytest.mark.parametrize(
    ("run", "given"),
    [
        pytest.param("bestie", set(), id="tags"),
        pytest.param("bestie/mask_rcnn", set(), id="tags, Mask R-CNN"),
        pytest.param("again", set(), id="tags, iterated"),
        pytest.param("again/mask_rcnn", set(), id="tags, iterated, Mask R-CNN"),
        pytest.param("of_points", {"points.h5"}, id="points"),
        pytest.param("at_points", {"points.h5"}, id="points at test time, too"),
        pytest.param("of_points_again", {"points.h5"}, id="points of an earlier run"),
        pytest.param("of_masks", {"ground_truth.h5", ANNOTATED_MAPS}, id="annotated maps"),
        pytest.param("of_masks/mask_rcnn", {"ground_truth.h5", ANNOTATED_MAPS}, id="annotated maps, Mask R-CNN"),
    ],
)
def test_a_run_of_bestie_has_upstream_what_it_declares_alone(graph_of_bestie, run, given):
    targets = [f"results/shapes/{run}/network/weights.safetensors", f"results/shapes/{run}/val/instances.h5"]
    assert {path for job in graph_of_bestie for path in job.outputs} >= set(targets)
    # cues/points.h5 are made from points.h5, which stands beside the images.
    found = {path.split("/", 3)[-1] for path in upstream(graph_of_bestie, *targets)}
    assert found & {"ground_truth.h5", "points.h5", ANNOTATED_MAPS} == given
    assert not any("proposals" in path for path in found)


def test_points_come_to_the_predictions_that_group_to_them_alone(graph_of_bestie):
    readers = {
        path.split("/")[2]
        for job in graph_of_bestie
        if job.rule == "predict_bestie" and "results/shapes/val/cues/points.h5" in job.inputs
        for path in job.outputs
    }
    assert readers == {"at_points"}
    (transfer,) = [job for job in graph_of_bestie if "results/shapes/at_points/pseudo_instances/val.h5" in job.outputs]
    assert "results/shapes/val/cues/points.h5" in transfer.inputs


def test_annotations_come_to_runs_of_bestie_by_the_declared_ways_alone(graph_of_bestie):
    def readers(file):
        return {job.rule for job in graph_of_bestie if any(path.endswith(f"/{file}") for path in job.inputs)}

    assert readers("ground_truth.h5") <= READS_GROUND_TRUTH | {"annotate_semantics"}
    assert readers(ANNOTATED_MAPS) == {"take_annotations"}
    assert {
        job.rule for job in graph_of_bestie if any(re.fullmatch(r"results/shapes/\w+/points.h5", p) for p in job.inputs)
    } == {"take_points"}


def test_rules_of_semantics_name_annotated_maps_once(project_root):
    """Only the rule of the oracle could bring annotations into a run."""
    readers = [path.name for path in (project_root / "rules").glob("*.smk") if ANNOTATED_MAPS in path.read_text()]
    assert sorted(readers) == ["images.smk", "semantics.smk"]
    assert (project_root / "rules" / "semantics.smk").read_text().count(ANNOTATED_MAPS) == 1


def test_nothing_made_from_annotations_goes_back_into_a_run(whole_graph):
    tainted = {path for job in whole_graph if job.rule in AFTER_GROUND_TRUTH for path in job.outputs}
    users = {job.rule for job in whole_graph if tainted & set(job.inputs)} - {"all"}
    assert users <= AFTER_GROUND_TRUTH


def test_rules_that_read_annotations_run_code_of_evaluation_and_inspection(project_root):
    for path in (project_root / "rules").glob("*.smk"):
        if "ground_truth=" in path.read_text().replace(" ", "") and path.stem not in (
            "images",
            "evaluation",
            "inspection",
        ):
            pytest.fail(f"{path.name} names ground truth")


READ_ANNOTATIONS = {"images", "evaluation", "inspection"}  # images writes them


def test_no_other_stage_imports_the_record_of_annotations(project_root):
    """Nor anything that imports it: neither the table of all kinds nor a foundation that passes it on."""
    folders = project_root / "stages"
    stages = {path.name for path in folders.iterdir() if (path / "__init__.py").is_file()}
    others = stages - READ_ANNOTATIONS - FOUNDATIONS - {ROOT_OF_ALL}
    assert len(others) > 5
    code = Sources(read_project)
    for path in (path for stage in others for path in (folders / stage).rglob("*.py")):
        annotated = {"stages.core.artifacts.ground_truth", "stages.core.artifacts.annotated_boxes"}
        assert not imports(path) & (annotated | {"stages.core.artifacts.kinds"}), path
        module = ".".join(path.relative_to(project_root).with_suffix("").parts).removesuffix(".__init__")
        assert not annotated & set(code.import_closure(module)), f"{path}, through another module"


def test_stages_do_not_import_each_other_and_foundations_no_stage(project_root):
    folders = {path.name for path in (project_root / "stages").iterdir() if (path / "__init__.py").is_file()}
    for path in (project_root / "stages").rglob("*.py"):
        own = path.relative_to(project_root / "stages").parts[0]
        if own == ROOT_OF_ALL:
            continue
        targets = {name.split(".")[1] for name in imports(path) if name.startswith("stages.") and name.count(".") >= 1}
        strangers = (targets & folders) - FOUNDATIONS - {own}
        assert not strangers, f"{path} imports {strangers}"


def test_rules_and_stages_have_the_same_names(project_root):
    rules = {path.stem for path in (project_root / "rules").glob("*.smk")}
    stages = {path.name for path in (project_root / "stages").iterdir() if (path / "__init__.py").is_file()}
    assert rules == stages - FOUNDATIONS - {ROOT_OF_ALL}


def test_the_composition_root_reads_of_a_stage_its_settings_and_description_alone(project_root):
    for path in (project_root / "stages" / ROOT_OF_ALL).glob("*.py"):
        of_stages = {name for name in imports(path) if re.match(r"stages\.(?!project|core)\w+", name)}
        strange = {name for name in of_stages if name.split(".")[2:3] not in (["settings"], ["method"])}
        assert not strange, f"{path} imports {strange}"


METHODS = ("cim", "prm", "bestie", "mask_rcnn", "label_penet")
SHARED = ("images", "borrowing", "proposals", "classifier", "semantics", "evaluation", "inspection", "exports", "tiles")


def words_of(path: Path) -> set[str]:
    """Names and texts of a file without comments and docstrings, cut into words of letters, digits and underscores."""
    if path.suffix != ".py":
        code = "\n".join(line.partition("#")[0] for line in path.read_text().splitlines())
        return set(re.findall(r"\w+", code))
    words = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    for node in ast.walk(tree):
        for value in (getattr(node, field, None) for field in ("id", "attr", "name", "arg", "module", "value")):
            words |= set(re.findall(r"\w+", value)) if isinstance(value, str) else set()
    return words


def test_core_the_snakefile_and_the_shared_rules_name_no_method(project_root):
    shared = [project_root / "Snakefile", *(project_root / "rules" / f"{name}.smk" for name in SHARED)]
    code = [*(project_root / "stages" / "core").rglob("*.py"), *(project_root / "stages" / ROOT_OF_ALL).glob("*.py")]
    pages = [
        path
        for stage in ("inspection", "exports", "evaluation")
        for path in (project_root / "stages" / stage).glob("*.py")
    ]
    for path in [*shared, *code, *pages]:
        # The evaluations have a preset `cim`, the metric of that paper; the list of methods is the one place that has
        # all.
        allowed = {"cim"} if path in pages else set(METHODS) if path.name == "methods.py" else set()
        named = {
            word
            for word in words_of(path)
            for method in METHODS
            if word == method or word.startswith(f"{method}_") or word.endswith(f"_{method}")
        }
        assert named <= allowed, f"{path} names {named}"


def test_every_step_is_named_after_its_rule(project_root):
    """Rule = file = function; a rule that inherits from another runs that one's step."""
    for path in (project_root / "rules").glob("*.smk"):
        text = path.read_text()
        inherited = dict(re.findall(r"^use rule (\w+) as (\w+)", text, re.MULTILINE))
        blocks = re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
        for name, block in blocks:
            modules = set(re.findall(r"stages\.(\w+\.\w+)", block))
            if "shell:" not in block:
                assert not modules, f"{path.name}: {name}"
                continue
            assert modules == {f"{path.stem}.{name}"}, f"{path.name}: rule {name} runs {modules}"
            source = (project_root / "stages" / path.stem / f"{name}.py").read_text()
            assert f"step.run({name})" in source
        assert set(inherited) <= {name for name, _ in blocks}


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


def test_the_repository_holds_no_links(project_root):
    """A link to an environment outside would be committed as a file, and break the first set-up elsewhere."""
    if not (project_root / ".git").exists():
        pytest.skip("not a clone: what is kept is not known")
    listed = subprocess.run(
        ["git", "ls-files", "--stage"], cwd=project_root, capture_output=True, text=True, check=True
    ).stdout
    assert listed
    assert [line for line in listed.splitlines() if line.startswith("120000")] == []
