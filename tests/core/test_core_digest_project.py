"""Which edits of the real modules rerun which steps of the real rules; the files are edited in memory."""

import ast
import functools
import re
from pathlib import Path

import pytest

from stages.core.workflow.digest import Sources
from stages.core.workflow.prose import LOOKS

ROOT = Path(__file__).parents[2]
FILES = {str(path.relative_to(ROOT)): path.read_bytes() for path in sorted((ROOT / "stages").rglob("*.py"))}
STEPS = sorted(
    {
        step
        for path in sorted((ROOT / "rules").glob("*.smk"))
        for step in re.findall(r'code_digest\("([\w.]+)"\)', path.read_text())
    }
)


def digests(files):
    sources = Sources(files.get)
    return {step: sources.digest(step) for step in STEPS}


BEFORE = digests(FILES)


def moved(path, edited):
    """Steps that an edited file reruns."""
    after = digests({**FILES, path: edited})
    return {step for step in STEPS if after[step] != BEFORE[step]}


def replaced(path, old, new):
    source = FILES[path].decode()
    assert source.count(old) == 1, f"{path} holds {old!r} {source.count(old)} times"
    return source.replace(old, new).encode()


def users(path):
    """Steps that import a module, directly or not."""
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return {step for step in STEPS if name in _closures()[step]}


@functools.cache
def _closures():
    sources = Sources(FILES.get)
    return {step: set(sources.import_closure(step)) for step in STEPS}


class Reword(ast.NodeTransformer):
    """Edits every docstring, description and message, in a way of its own: no rule of prose.py is used."""

    edits = 0

    def reworded(self, node):
        for part in ast.walk(node):
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                part.value += " in other words"
                self.edits += 1

    def visit_Expr(self, node):
        if isinstance(node.value, ast.Constant):
            self.reworded(node.value)
        call = node.value
        if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("log."):
            self.reworded(call)
        return self.generic_visit(node)

    def visit_Raise(self, node):
        if isinstance(node.exc, ast.Call):
            for argument in node.exc.args:
                self.reworded(argument)
        return node

    def visit_Assert(self, node):
        if node.msg:
            self.reworded(node.msg)
        return self.generic_visit(node)

    def visit_Call(self, node):
        if ast.unparse(node.func).endswith(("Error", "MissingImage")):
            self.reworded(node)
        for keyword in node.keywords:
            words = keyword.arg in ("description", "about")
            if words or (keyword.arg == "label" and ast.unparse(node.func) == "step.progress"):
                self.reworded(keyword)
        return self.generic_visit(node)


def reworded(source):
    tree, reword = ast.parse(source), Reword()
    text = f"# a comment\n{ast.unparse(reword.visit(tree))}\n"
    return text.encode(), reword.edits


def test_the_rules_name_steps():
    assert len(STEPS) > 35


def test_edited_descriptions_docstrings_messages_comments_and_layout_rerun_no_step():
    edited = {path: reworded(source) for path, source in FILES.items()}
    assert sum(edits for _, edits in edited.values()) > 2000
    files = {path: source for path, (source, _) in edited.items()}
    after = digests(files)
    culprits = [path for path in FILES if users(path) and moved(path, files[path])] if after != BEFORE else []
    assert not culprits, "the code of these modules changes with a description or message; see prose.py"
    assert after == BEFORE


OF_LABEL_PENET = [  # each asks a module of the cascade
    f"stages.label_penet.{step}"
    for step in ("pretrain_module", "propagate_labels", "train_label_penet", "follow_labels", "predict_label_penet")
]


@pytest.mark.parametrize(
    ("path", "old", "new", "steps"),
    [
        pytest.param("stages/cim/losses.py", "def ", "import math\ndef ", {"stages.cim.train_cim"}, id="CIM"),
        pytest.param(
            "stages/label_penet/passes.py", "def ", "import math\ndef ", set(OF_LABEL_PENET), id="Label-PEnet"
        ),
        pytest.param("stages/bestie/losses.py", "def ", "import math\ndef ", {"stages.bestie.train_bestie"}, id="BESTIE"),
        pytest.param(
            "stages/core/networks/weighted_rcnn.py", "def ", "import math\ndef ",
            {"stages.mask_rcnn.train_mask_rcnn", "stages.mask_rcnn.predict_mask_rcnn", *OF_LABEL_PENET},
            id="heads of Mask R-CNN and Label-PEnet",
        ),
    ],
)  # fmt: skip
def test_an_edited_loss_reruns_the_training_that_it_belongs_to(path, old, new, steps):
    assert moved(path, FILES[path].decode().replace(old, new, 1).encode()) == steps == users(path)


def test_an_added_function_reruns_exactly_the_steps_that_import_its_module():
    for path, source in FILES.items():
        assert moved(path, source + b"\n\ndef added():\n    return 1\n") == users(path), path


@pytest.mark.parametrize(
    ("path", "section"),
    [
        pytest.param("stages/cim/settings.py", "class CimPredictionSettings(Section):", id="CIM's prediction"),
        pytest.param("stages/bestie/settings.py", "class BestiePredictionSettings(MapSettings, LeaningSettings):", id="BESTIE's prediction"),
        pytest.param("stages/mask_rcnn/settings.py", "class PseudoMaskSettings(Section):", id="pseudo masks"),
        pytest.param("stages/core/networks/settings.py", "class PyramidBackboneSettings(Section):", id="backbones"),
        pytest.param("stages/core/config/crf.py", "class CrfSettings(Section):", id="CRF"),
    ],
)  # fmt: skip
def test_an_added_setting_reruns_no_step(path, section):
    """Its value does, by the settings that the rule holds."""
    option = '"""Doc."""\n    option: Annotated[int, Field(ge=1)] | None = Field(description="new")\n\n    """'
    edited = FILES[path].decode().replace(f'{section}\n    """', f"{section}\n    {option}", 1)
    edited = edited.replace(
        "\nfrom pydantic import Field", "\nfrom typing import Annotated\nfrom pydantic import Field", 1
    )
    assert edited.count("option:") == 1
    assert moved(path, edited.encode()) == set()


def test_every_declared_setting_may_change_without_a_rerun():
    """Each class of settings is known as a section: one more field in each reruns nothing."""
    for path in FILES:
        if path.endswith("/settings.py"):
            edited = re.sub(r"(\nclass \w+\(\w+\):\n)", r"\1    one_more: int\n", FILES[path].decode())
            assert edited.count("one_more") > 0, path
            assert moved(path, edited.encode()) == set(), path


def test_an_edited_method_of_settings_reruns_its_users():
    path = "stages/core/networks/settings.py"
    steps = moved(path, replaced(path, "output_stride=32", "output_stride=16"))
    assert steps == users(path)
    assert {"stages.bestie.train_bestie", "stages.mask_rcnn.train_mask_rcnn"} <= steps
    assert "stages.images.list_images" not in steps


@pytest.mark.parametrize(
    ("path", "old", "steps"),
    [
        pytest.param(
            "stages/evaluation/report_cues.py", "area under the interpolated precision-recall curve",
            {"stages.evaluation.report_cues"}, id="JSON",
        ),
        pytest.param("stages/evaluation/table.py", "The other metrics", {"stages.evaluation.compare_runs"}, id="table"),
        pytest.param("stages/inspection/gallery/layers.py", "no instance", {"stages.inspection.build_gallery"}, id="page"),
        pytest.param("stages/exports/model_card.py", "## Limits", {"stages.exports.pack_model"}, id="model card"),
    ],
)  # fmt: skip
def test_an_edited_text_of_a_result_reruns_its_step(path, old, steps):
    assert moved(path, replaced(path, old, "other words")) == steps


def test_no_module_uses_the_private_names_of_another():
    """So a private function that its own module uses in messages alone is prose."""
    for path, source in FILES.items():
        tree = ast.parse(source)
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names = {alias.asname or alias.name for node in imports for alias in node.names}
        parts = [
            node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        ]
        used = {part.attr for part in parts if part.value.id in names and part.value.id.islower()}
        private = {name for name in names | used if name.startswith("_") and name not in NAMED_TUPLES}
        assert not private, f"{path} uses {private} of another module"


NAMED_TUPLES = {"_replace", "_asdict", "_fields"}


def test_log_lines_call_only_what_looks():
    """So that every log line is prose."""
    for path, source in FILES.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and re.match(
                r"log\.(info|warning|error|exception|debug)$", ast.unparse(node.func)
            ):
                parts = [part for argument in node.args for part in ast.walk(argument)]
                calls = [part.func for part in parts if isinstance(part, ast.Call)]
                names = {func.attr if isinstance(func, ast.Attribute) else ast.unparse(func) for func in calls}
                assert names <= LOOKS, f"{path}:{node.lineno} calls {names - LOOKS}: call it before the log line"
