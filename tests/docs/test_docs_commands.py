"""Every command of the pages is planned, parsed or executed; none is only looked at."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, Command, all_blocks, commands_of, inline_commands

SHELL = [block for block in all_blocks("bash") if not block.is_left_to]
INLINE = inline_commands()
MAKEFILE = (ROOT / "Makefile").read_text()


def check_make(words: list[str]) -> None:
    targets = [word for word in words if "=" not in word]
    assert targets
    for target in targets:
        assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), f"the Makefile has no target {target}"
    for variable in (word.partition("=")[0] for word in words if "=" in word):
        assert re.search(rf"^{variable} \?=", MAKEFILE, re.MULTILINE), f"the Makefile has no variable {variable}"


def check_python(words: list[str], folder: Path, variables: dict[str, str]) -> None:
    """A module of the project knows the options that it is given; what only prints is executed."""
    if words[0] == "-c":
        exec(compile(words[1], "-c", "exec"), {"__name__": "__main__"})  # here, where torch is imported already
        return
    assert words[0] == "-m", "expected -m or -c"
    module, options = words[1], [word for word in words[2:] if word.startswith("-")]
    path = ROOT / Path(*module.split(".")).with_suffix(".py")
    assert path.is_file() or (ROOT / Path(*module.split("."))).is_dir(), f"there is no module {module}"
    if module == "stages.project.explain_settings":
        environment = os.environ | variables | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=folder, env=environment)
        assert done.returncode == 0, done.stderr
    elif path.is_file():
        known = options_of(path)
        assert set(options) <= known, f"{module} knows the options {sorted(known)}"


def options_of(path: Path) -> set[str]:
    """The options of a program: keyword parameters of the step that it runs, and what it adds to an argparse parser."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {"--help", "-h"}
    run = re.search(r"step\.run\((\w+)\)", path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and run and node.name == run[1]:
            found |= {f"--{argument.arg.replace('_', '-')}" for argument in node.args.kwonlyargs} | {"--log"}
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            found |= {value.value for value in node.args if isinstance(value, ast.Constant)}
    return found


def check_pytest(words: list[str]) -> None:
    for path in (word.partition("::")[0] for word in words if not word.startswith("-")):
        assert (ROOT / path).exists(), path


@pytest.fixture
def check(reader, planned):
    """A function that checks one command of a page, and raises where it would not do what the page says."""

    def check(page: str, command: Command, exported: dict[str, str]) -> None:
        folder, (program, *words) = reader.folders[page], command.words
        program = program.removeprefix(".venv/bin/")
        if program == "make":
            check_make(words)
        elif program == "snakemake":
            variables = reader.variables | exported | command.variables
            assert (said := planned(folder, variables, words)) is None, said
        elif program == "python":
            check_python(words, folder, reader.variables | command.variables)
        elif program == "pytest":
            check_pytest(words)
        elif program == "export":
            for name, _, value in (word.partition("=") for word in words):
                assert any(f"${{{name}}}" in path.read_text() for path in (ROOT / "presets").glob("*.yaml")), name
                exported[name] = value
        elif program in ("echo", "cp"):
            subprocess.run(["bash", "-ec", command.text], cwd=folder, check=True, capture_output=True)
        else:
            pytest.fail(f"nobody knows how to check `{command.text}`; say why it is not run in a note above the block")

    return check


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_the_commands_of_a_block_do_what_they_say(block, check):
    commands = commands_of(block.text)
    assert commands
    exported = {}
    for command in commands:
        if "snakemake" in command.words[0]:
            assert re.search(r"^(-c\d+|-n|--profile)$", "\n".join(command.words), re.MULTILINE), "how many cores?"
        check(block.page, command, exported)


@pytest.mark.parametrize(("page", "code"), INLINE, ids=lambda value: value if "/" not in value else value[:60])
def test_the_commands_in_sentences_do_what_they_say(page, code, check):
    (command,) = commands_of(code)
    check(page, command, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("make demoo", "no target demoo"),
        ("snakemake -c1 exporst", "exporst"),
        ("snakemake -c1 --configfile presets/voc2021.yaml", "voc2021"),
        ("snakemake -c1 --confgfile mine.yaml", "confgfile"),
        ("snakemake -c1 --config treads=4", "treads"),
        ("snakemake -c1 --profile profiles/slrum", "slrum"),
        ("python -m stages.cim.train_cm", "no module stages.cim.train_cm"),
        ("python -m stages.cim.train_cim --output-weigths a", "--output-weights"),
        ("python -m stages.project.explain_settings --run cmi", "cmi"),
        ("pytest tests/cmi", "tests/cmi"),
        ("export TAGMASK_DATE=a", "TAGMASK_DATE"),
        ("yolo segment train", "nobody knows how"),
    ],
)
def test_a_command_that_is_wrong_is_found(text, message, check):
    (command,) = commands_of(text)
    with pytest.raises((AssertionError, pytest.fail.Exception), match=re.escape(message)):
        check("README.md", command, {})
