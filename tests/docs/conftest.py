"""A folder as the reader of a page has it: the project's own files, and those that the page tells to make."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stages.project.packing import pack_settings
from stages.project.project import load_files
from tests.docs.blocks import PAGES, ROOT, all_blocks
from tests.snakemakes import run_snakemake


@dataclasses.dataclass(frozen=True)
class Reader:
    """Folders of readers, one for each page, and the environment of their shells."""

    folders: dict[str, Path]
    variables: dict[str, str]


@pytest.fixture(scope="session")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    """Each folder holds links to what a clone has, a file for each block that a page names, and a packed model."""
    data = tmp_path_factory.mktemp("data")
    folders = {}
    for page in PAGES:
        folders[page] = folder = tmp_path_factory.mktemp("reader")
        for name in ("presets", "profiles", "tests", "stages", "benchmarks", "config.yaml", "Makefile"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "my_images.yaml").write_text((ROOT / "presets" / "image_folder.yaml").read_text())
        (folder / "mine.yaml").write_text("threads: 1\n")
        (folder / "model").mkdir()
        (folder / "model" / "weights.safetensors").write_bytes(b"")
        (folder / "model" / "segment.yaml").write_text(packed())
    for block in all_blocks():
        if name := block.noted("as"):
            (folders[block.page] / name).write_text(block.text, encoding="utf-8")
    return Reader(folders, {"TAGMASK_DATA": str(data)})


def packed() -> str:
    """The overlay of the packed model of the demo's run of BESTIE, as `pack_model` writes it."""
    project = load_files(ROOT / "config.yaml")
    splits = list(project.images.splits)
    overlay = pack_settings(project, "bestie", code={}, runs=project.runs, splits=splits).overlay
    overlay["images"]["classes"] = ["disc", "star"]
    return yaml.safe_dump(overlay)


@pytest.fixture(scope="session")
def planned() -> Callable[[Path, dict[str, str], list[str]], str | None]:
    """A function from folder, variables and the words behind `snakemake` to what is wrong with them, None for nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TAGMASK_")}
    known: dict[str, str | None] = {}

    def plan(folder: Path, variables: dict[str, str], words: list[str]) -> str | None:
        asked = json.dumps([str(folder), variables, words])
        if asked not in known:
            done = run_snakemake(["--quiet", "-n", *words], folder=folder, variables=environment | variables)
            known[asked] = None if done.returncode == 0 else done.stdout + done.stderr
        return known[asked]

    return plan
