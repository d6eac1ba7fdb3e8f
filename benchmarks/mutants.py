"""Changes one thing of a module at a time and looks whether its tests notice.

    python -m benchmarks.mutants --modules stages.ops.nms stages.ops.boxes --most 40 --seed 3 --output mutants.json

Of each module, `--most` mutants are drawn (benchmarks/mutations.py makes them). Each takes the place of its module in a
copy of the project; then those tests of TESTS run that hold the module. A mutant is killed where one of them fails, the
tests cannot be imported, or they take longer than `--limit`. What survives as it changes nothing
that can be observed stands, with the reason, in benchmarks/mutants_equivalent.txt.

Each judgement is written at once, and kept by the next run with the same output, unless the module was changed.
`--again` judges survivors once more, after tests were added. Tests run in processes that are forked from one that has
imported the libraries, not the project: a mutant costs its tests, not the import of torch. Examples of Hypothesis
follow `--seed`; they are not made smaller.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.mutations import mutants_of

ROOT = Path(__file__).parents[1]
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.txt")
LEFT_OUT = (".*", "__pycache__", "results", "site", "data", "weights")
MEMORY = 6 << 30  # bytes that they may allocate

OPS, EVALUATION = "tests/ops/test_ops_", "tests/evaluation/test_evaluation_"
TESTS = {
    "stages.ops.arrays": [
        OPS + "arrays.py", OPS + "boxes.py", OPS + "peaks.py", OPS + "components.py", OPS + "partition.py",
        OPS + "regions.py", OPS + "nms.py",
    ],
    "stages.ops.boxes": [OPS + "boxes.py", OPS + "nms.py"],
    "stages.ops.components": [OPS + "components.py"],
    "stages.ops.crf": [OPS + "crf.py", "tests/cim/test_cim_masks.py"],
    "stages.ops.drawing": [OPS + "drawing.py"],
    "stages.ops.errors": [OPS + "errors.py"],
    "stages.ops.nms": [OPS + "nms.py"],
    "stages.ops.overlaps": [OPS + "regions.py", EVALUATION + "overlaps.py", OPS + "rescoring.py"],
    "stages.ops.partition": [OPS + "partition.py", OPS + "regions.py"],
    "stages.ops.peaks": [OPS + "peaks.py"],
    "stages.ops.precision": [EVALUATION + "average_precision.py"],
    "stages.ops.regions": [OPS + "regions.py"],
    "stages.ops.rescoring": [OPS + "rescoring.py"],
    "stages.ops.resize": [OPS + "resize.py", "tests/images/test_images_loading.py"],
    "stages.ops.rle": [OPS + "rle.py"],
    "stages.ops.windows": [
        OPS + "windows.py", "tests/images/test_images_tiling.py", "tests/tiles/test_tiles_merging.py",
        OPS + "drawing.py",
    ],
    "stages.evaluation.average_precision": [EVALUATION + "average_precision.py", EVALUATION + "evaluate.py"],
    "stages.evaluation.best_overlap": [EVALUATION + "overlaps.py", EVALUATION + "average_precision.py"],
    "stages.evaluation.boxes": [EVALUATION + "boxes.py"],
    "stages.evaluation.confusion": [EVALUATION + "semantics.py", EVALUATION + "refined_labels.py"],
    "stages.evaluation.mask_counts": [EVALUATION + "pseudo_masks.py"],
    "stages.evaluation.matching": [EVALUATION + "average_precision.py", EVALUATION + "evaluate.py"],
    "stages.evaluation.overlaps": [EVALUATION + "overlaps.py", EVALUATION + "average_precision.py"],
    "stages.evaluation.pairing": [EVALUATION + "pseudo_masks.py", EVALUATION + "evaluate.py"],
    "stages.cim.agpl": ["tests/cim/test_cim_agpl.py"],
    "stages.cim.decoding": ["tests/cim/test_cim_decoding.py"],
    "stages.cim.label_clusters": ["tests/cim/test_cim_points_of_some.py", "tests/cim/test_cim_label_clusters.py"],
    "stages.cim.losses": ["tests/cim/test_cim_losses.py"],
    "stages.cim.masks": ["tests/cim/test_cim_masks.py"],
    "stages.cim.mining": ["tests/cim/test_cim_mining.py"],
    "stages.cim.targets": ["tests/cim/test_cim_losses.py", "tests/cim/test_cim_mining.py"],
    "stages.bestie.centers": ["tests/bestie/test_bestie_grouping.py"],
    "stages.bestie.decoding": ["tests/bestie/test_bestie_decoding.py", "tests/bestie/test_bestie_points.py"],
    "stages.bestie.grouping": ["tests/bestie/test_bestie_grouping.py", "tests/bestie/test_bestie_points.py"],
    "stages.bestie.losses": ["tests/bestie/test_bestie_losses.py"],
    "stages.bestie.refinement": ["tests/bestie/test_bestie_refinement.py"],
    "stages.bestie.targets": ["tests/bestie/test_bestie_targets.py"],
    "stages.bestie.transfer": ["tests/bestie/test_bestie_targets.py", "tests/bestie/test_bestie_pseudo_instances.py"],
    "stages.label_penet.boxes": [
        "tests/label_penet/test_label_penet_calibration.py",
        "tests/label_penet/test_label_penet_losses.py",
    ],
    "stages.label_penet.calibration": ["tests/label_penet/test_label_penet_calibration.py"],
    "stages.label_penet.curriculum": [
        "tests/label_penet/test_label_penet_training.py",
        "tests/label_penet/test_label_penet_prior.py",
    ],
    "stages.label_penet.excitation": ["tests/label_penet/test_label_penet_excitation.py"],
    "stages.label_penet.passes": [
        "tests/label_penet/test_label_penet_losses.py",
        "tests/label_penet/test_label_penet_passes.py",
    ],
    "stages.label_penet.samples": ["tests/label_penet/test_label_penet_samples.py"],
    "stages.mask_rcnn.detection": ["tests/mask_rcnn/test_mask_rcnn_network.py"],
    "stages.mask_rcnn.pseudo_masks": ["tests/mask_rcnn/test_mask_rcnn_pseudo_masks.py"],
    "stages.mask_rcnn.samples": ["tests/mask_rcnn/test_mask_rcnn_network.py"],
    "stages.prm.retrieval": ["tests/prm/test_prm_retrieval.py"],
    "stages.semantics.agreement": ["tests/semantics/test_semantics_agreement.py"],
    "stages.semantics.labels": ["tests/semantics/test_semantics_labels.py"],
}  # fmt: skip


class Judgement(NamedTuple):
    """What tests made of a tree: "passed", or the test that failed first, "time" or how the process ended."""

    by: str
    seconds: float


def main() -> None:
    """Judge mutants, write each judgement, print counts and survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", nargs="+", default=list(TESTS))
    parser.add_argument("--most", type=int, default=40, help="mutants of each module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("results/mutants.json"))
    parser.add_argument("--again", action="store_true", help="judge survivors once more")
    parser.add_argument("--tests", nargs="+", help="in place of those in TESTS")
    parser.add_argument("--limit", type=int, default=60, help="seconds of a processor; ten times as many by the clock")
    parser.add_argument("--root", type=Path, default=ROOT, help="the project")
    values = parser.parse_args()
    unknown = [] if values.tests else sorted(set(values.modules) - TESTS.keys())
    if unknown:
        raise SystemExit(f"{', '.join(unknown)}: not in TESTS, so which tests hold them is not known; give --tests")
    os.environ["OMP_NUM_THREADS"] = "1"  # read when the libraries are imported
    results = json.loads(values.output.read_text()) if values.output.exists() else {}
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place) / "tree"
        shutil.copytree(values.root, tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
        for module in values.modules:
            judge_module(
                tree, module, values.tests or TESTS[module],
                most=values.most, seed=values.seed, again=values.again, limit=values.limit,
                results=results, output=values.output,
            )  # fmt: skip
    same = equivalent()
    print(table(results, same))
    for module, found in results.items():
        for name, one in found["judged"].items():
            if one["by"] == "passed" and name not in same.get(module, {}):
                print(f"{module}:{one['line']}: {name}")


def judge_module(
    tree: Path,
    module: str,
    tests: Sequence[str],
    *,
    most: int,
    seed: int,
    again: bool,
    limit: int,
    results: dict[str, Any],
    output: Path,
) -> None:
    """Judge those mutants of a module that are drawn and not judged yet."""
    file = tree / f"{module.replace('.', '/')}.py"
    source = file.read_text()
    mutants, digest = mutants_of(source), hashlib.sha256(source.encode()).hexdigest()[:16]
    if results.get(module, {}).get("source") != digest:
        results[module] = {"source": digest, "mutants": len(mutants), "judged": {}}
    judged = results[module]["judged"]
    order = random.Random(f"{seed} {module}").sample(range(len(mutants)), len(mutants))  # more begin with the same
    skipped = {name for name, one in judged.items() if not (again and one["by"] == "passed")}
    wanted = [mutants[number] for number in sorted(order[:most]) if mutants[number].name not in skipped]
    if not wanted:
        return
    right = run_tests(tree, tests, seed=seed, limit=10 * limit, warm=True)
    if right.by != "passed":
        raise SystemExit(f"{module}: its tests fail without a mutant: {right.by}")
    for mutant in wanted:
        file.write_text(mutant.source)
        Path(cache_from_source(str(file))).unlink(missing_ok=True)
        found = run_tests(tree, tests, seed=seed, limit=limit)
        judged[mutant.name] = {"line": mutant.line, "by": found.by, "seconds": round(found.seconds, 1)}
        write(results, output)
        print(f"{module}:{mutant.line}: {mutant.name}: {found.by}", file=sys.stderr, flush=True)
    file.write_text(source)
    Path(cache_from_source(str(file))).unlink(missing_ok=True)


def run_tests(tree: Path, tests: Sequence[str], *, seed: int, limit: int, warm: bool = False) -> Judgement:
    """Run tests of a tree in a fork of this process; `warm`: import here what they imported, but for the tree's own."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as said:
        pid = os.fork()
        if not pid:
            _child(tree, tests, Path(said), seed=seed, limit=limit, warm=warm)
        waited = os.pidfd_open(pid)
        late = not select.select([waited], [], [], 10 * limit)[0]
        with contextlib.suppress(ProcessLookupError):  # children of a test end with it
            os.killpg(pid, signal.SIGKILL)
        os.close(waited)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        seconds = time.perf_counter() - began
        if warm and status == 0:
            for name in json.loads((Path(said) / "modules").read_text()):
                with contextlib.suppress(ImportError):  # of a name that a package has given itself
                    import_module(name)
        if late or status == -signal.SIGXCPU:
            return Judgement("time", seconds)
        failed = Path(said) / "failed"
        by = failed.read_text() if failed.exists() else f"ended with {status}"
        return Judgement("passed" if status == 0 else by, seconds)


class _First:
    """Notes what failed first, as a plugin of pytest."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.file.exists():
            self.file.write_text(report.nodeid)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and not self.file.exists():
            self.file.write_text(f"import of {report.nodeid}")


def _child(tree: Path, tests: Sequence[str], said: Path, *, seed: int, limit: int, warm: bool) -> None:
    """Run the tests; does not return."""
    status = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for stream in (1, 2):
            os.dup2(os.open(said / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        os.chdir(tree)
        sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() not in (ROOT, tree)]
        for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
            del sys.modules[name]
        # Mutants of the same second and size share the name of their bytecode. Only right sources leave some.
        sys.dont_write_bytecode = not warm
        if not warm:
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        import hypothesis
        import pytest

        found = [phase for phase in hypothesis.Phase if phase.name not in ("shrink", "explain")]
        hypothesis.settings.register_profile("mutants", phases=found, database=None)
        hypothesis.settings.load_profile("mutants")  # profiles and settings of the tests build on it
        words = ["-x", "-q", "--assert=plain", "-p", "no:cacheprovider", f"--hypothesis-seed={seed}", *tests]
        status = int(pytest.main(words, plugins=[_First(said / "failed")]))
        if warm:
            ours = {path.stem for path in tree.iterdir()} | {"__main__"}
            names = [name for name in sys.modules if name.partition(".")[0] not in ours and "test_" not in name]
            (said / "modules").write_text(json.dumps(names))
    finally:
        os._exit(status)


def write(results: dict[str, Any], output: Path) -> None:
    """Write the judgements; a stopped run leaves the older ones or these."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(f".{output.name}.unfinished")
    partial.write_text(json.dumps(results, indent=1))
    partial.replace(output)


def equivalent(file: Path = EQUIVALENT) -> dict[str, dict[str, str]]:
    """Names of mutants that change nothing, and why, per module: `module: name`, and indented below it the reason."""
    found: dict[str, dict[str, str]] = {}
    module = name = ""
    for line in file.read_text().splitlines():
        if line.startswith(" "):
            found[module][name] = f"{found[module][name]} {line.strip()}".strip()
        elif line and not line.startswith("#"):
            module, _, name = line.partition(": ")
            found.setdefault(module, {})[name] = ""
    return found


def table(results: dict[str, Any], same: dict[str, dict[str, str]]) -> str:
    """Counts per module, as Markdown."""
    lines = [
        "| module | mutants | judged | killed | equivalent | survived |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    sums = [0] * 5
    for module, found in results.items():
        passed = {name for name, one in found["judged"].items() if one["by"] == "passed"}
        alike = len(passed & same.get(module, {}).keys())
        judged = len(found["judged"])
        row = [found["mutants"], judged, judged - len(passed), alike, len(passed) - alike]
        sums = [one + other for one, other in zip(sums, row, strict=True)]
        lines.append(f"| {module.removeprefix('stages.')} | {' | '.join(map(str, row))} |")
    return "\n".join([*lines, f"| all | {' | '.join(map(str, sums))} |"])


if __name__ == "__main__":
    main()
