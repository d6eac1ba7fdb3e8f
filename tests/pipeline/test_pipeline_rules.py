"""What all rules have in common: quoted shell lines that fit their steps, one pattern of logs, and resources that grow."""

import ast
import re
import subprocess
import sys

import h5py
import pytest
import yaml

from stages.core.workflow.environment import environment
from stages.project.resources import count_images, memory, minutes
from tests.pipeline.conftest import ROOT, snakemake

FILES = [ROOT / "Snakefile", *sorted((ROOT / "rules").glob("*.smk"))]
NUMBERS = {"threads"}  # the only placeholder that is no text


def rules() -> list[tuple[str, str, str]]:
    """File, name and text of each rule of our own that runs a shell line."""
    found = []
    for path in FILES:
        for name, text in re.findall(r"^rule (\w+):\n(.*?)(?=^\S|\Z)", path.read_text(), re.MULTILINE | re.DOTALL):
            if "    shell:\n" in text:
                found.append((path.stem, name, text))
    return found


RULES = [pytest.param(*rule, id=rule[1]) for rule in rules()]
STEPS = [pytest.param(*rule, id=rule[1]) for rule in rules() if rule[0] != "Snakefile"]
WITHOUT_BENCHMARK = {"compare_runs"}  # it reads the benchmarks of all others


def shell_line(text: str) -> str:
    return "".join(re.findall(r'"([^"]*)"', text.partition("    shell:\n")[2]))


def test_there_are_rules():
    assert len(RULES) > 35


@pytest.mark.parametrize(("stem", "name", "text"), RULES)
def test_every_value_of_a_shell_line_is_quoted(stem, name, text):
    values = re.findall(r"\{+([\w.]+)(:q)?\}+", shell_line(text))
    assert values
    # The device is one of three words of the configuration and stands in the line when the rules are read.
    assert not [value for value, quoted in values if not quoted and value not in NUMBERS | {"project.device"}]


@pytest.mark.parametrize(("stem", "name", "text"), STEPS)
def test_the_options_of_a_shell_line_are_those_of_its_step(stem, name, text):
    line = shell_line(text)
    module = re.search(r"(?:-m )?(stages\.[\w.]+)", line)[1]
    tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text())
    called = re.search(r"step\.run\((\w+)\)", (ROOT / f"{module.replace('.', '/')}.py").read_text())[1]
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == called]
    arguments = function.args.kwonlyargs
    assert not function.args.args
    needed = {
        argument.arg for argument, default in zip(arguments, function.args.kw_defaults, strict=True) if default is None
    }
    options = [option.replace("-", "_") for option in re.findall(r" --([a-z-]+)", line)]
    assert len(options) == len(set(options))
    assert needed | {"log"} <= set(options) <= {argument.arg for argument in arguments} | {"log"}


@pytest.mark.parametrize(("stem", "name", "text"), STEPS)
def test_logs_benchmarks_and_resources_follow_one_pattern(stem, name, text):
    log = re.search(
        rf'    log:\n        "results/{{dataset}}/logs/(?:{{(?:run|borrowed)}}/)?{name}((?:\.{{\w+}})*)\.log"', text
    )
    assert log, "results/{dataset}/logs/[{run}/]<rule>.<wildcards>.log, or in the place of a borrowed file"
    place = r"results/{dataset}/benchmarks/(?:{(?:run|borrowed)}/)?" + name + re.escape(log[1]) + r"\.tsv"
    assert name in WITHOUT_BENCHMARK or re.search(place, text), "a benchmark beside the log"
    assert re.search(r"    threads: ", text)
    resources = text.partition("    resources:\n")[2]
    assert re.search(r"mem_mb=memory\(", resources)
    assert re.search(r"runtime=minutes\(", resources)
    assert "    conda:\n        software\n" in text


def test_memory_and_time_grow_with_images_and_attempts(tmp_path):
    path = tmp_path / "images.h5"
    with h5py.File(path, "w") as file:
        file["image/values"] = [b"a"] * 3000
    listed = type("Input", (), {"images": str(path)})()
    assert count_images(path) == 3000
    assert memory(2000)(None, None, 1) == 2000
    assert memory(2000, per_image=0.5)(None, listed, 1) == 3500
    assert memory(2000, per_image=0.5)(None, listed, 2) == 5250
    assert minutes(30, per_1000_images=20)(None, listed, 1) == 90
    assert minutes(100)(None, None, 9) == minutes(100)(None, None, 5)
    path.unlink()
    with pytest.raises(FileNotFoundError) as raised:
        minutes(30, per_1000_images=20)(None, listed, 1)
    assert raised.value.filename == str(path)  # by which Snakemake knows that it is an input


def test_no_further_attempt_asks_for_more_than_the_largest_partition_has(tmp_path, monkeypatch):
    partitions = tmp_path / "partitions.yaml"
    partitions.write_text(
        "partitions: {a: {max_mem_mb: 5000, max_runtime: 2h}, b: {max_mem_mb: 2000, max_runtime: 1-0}}"
    )
    monkeypatch.setenv("SNAKEMAKE_SLURM_PARTITIONS", str(partitions))
    assert [memory(3000)(None, None, attempt) for attempt in (1, 2, 3, 4)] == [3000, 4500, 5000, 5000]
    assert [minutes(1000)(None, None, attempt) for attempt in (1, 2, 3)] == [1000, 1440, 1440]
    assert [memory(9000)(None, None, attempt) for attempt in (1, 2)] == [9000, 9000]  # Slurm says that it does not fit
    partitions.write_text("partitions: {a: {max_mem_mb: 5000, max_runtime: 60}, b: {}}")
    assert memory(9000)(None, None, 3) == 20250
    monkeypatch.delenv("SNAKEMAKE_SLURM_PARTITIONS")
    assert minutes(1000)(None, None, 3) == 2250


@pytest.mark.parametrize("root", ["/a b", "/it's", '/"x"', "/$HOME", "/$(touch PWNED)", "/[x]{y}", "/Größe"])
def test_the_environment_of_a_job_survives_any_path(tmp_path, root):
    prefix = environment(root, own_python=True).replace("{{", "{").replace("}}", "}")
    done = subprocess.run(
        ["bash", "-c", f'{prefix}printf %s "$PYTHONPATH"'], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.stdout == root
    assert not list(tmp_path.iterdir())
    assert "PATH=" not in environment(root, own_python=False).replace("PYTHONPATH=", "")


def test_a_name_of_weights_runs_nothing(tmp_path):
    """The path stands in a configuration that may be a stranger's."""
    weights = tmp_path / "w$(touch PWNED);touch PWNED '\"`touch PWNED`.safetensors"
    weights.write_bytes(b"")
    overlay = tmp_path / "run.yaml"
    shapes = {"splits": {"train": 1, "val": 1}, "height": 64, "width": 80, "min_radius": 8.0, "max_radius": 14.0}
    brought = {"retrain": "none", "trained": {"network": str(weights)}}
    config = {"runs": {"prm": None, "bestie": None, "cim": brought}, "images": {"name": "toy", "shapes": shapes}}
    overlay.write_text(yaml.safe_dump(config))
    done = snakemake(tmp_path, "-c2", "results/toy/cim/val/instances.h5", "--configfile", str(overlay))
    assert done.returncode != 0
    assert "is no safetensors file" in done.stdout + done.stderr
    assert not list(tmp_path.rglob("PWNED"))


def test_the_conda_environment_holds_the_constraints():
    done = subprocess.run([sys.executable, "envs/write_conda.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
