"""Snakemake on the real Snakefile, in a folder of the test's own."""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from tests.snakemakes import Done, run_snakemake

ROOT = Path(__file__).parents[2]
SECOND = "results/toy/second/val/metrics.json"  # stands on both rounds of maps


@dataclasses.dataclass(frozen=True)
class Job:
    """A planned job: its rule, inputs and outputs."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def snakemake(folder: Path, *arguments: str, source: Path = ROOT, limit: int | None = None) -> Done:
    """Run Snakemake on the project at `source`, with `folder` as its working directory; see `run_snakemake`."""
    words = ["--directory", str(folder), "--workflow-profile", str(source / "profiles" / "default"), *arguments]
    return run_snakemake(words, folder=folder, source=source, limit=limit)


def jobs(text: str) -> list[Job]:
    """The jobs that a dry run lists."""
    found = []
    for block in re.split(r"\n(?=(?:local)?rule )", text):
        name = re.match(r"(?:local)?rule (\w+):", block)
        if name:
            files = dict(re.findall(r"^    (input|output): (.*)$", block, re.MULTILINE))
            split = {kind: tuple(files.get(kind, "").split(", ")) for kind in ("input", "output")}
            found.append(Job(name[1], split["input"], split["output"]))
    return found


def planned(folder: Path, *arguments: str, source: Path = ROOT) -> list[Job]:
    """What a dry run would do."""
    done = snakemake(folder, "-n", "-c2", *arguments, source=source)
    assert done.returncode == 0, done.stderr + done.stdout
    return jobs(done.stdout + done.stderr)


@pytest.fixture(scope="session")
def whole_graph(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """All jobs of config.yaml as it stands."""
    return planned(tmp_path_factory.mktemp("graph"))


@pytest.fixture
def graph_of(tmp_path: Path):
    """A function from the text of an overlay to all its jobs, or to those of some targets."""

    def graph(overlay: str, *targets: str) -> list[Job]:
        path = tmp_path / "overlay.yaml"
        path.write_text(overlay)
        return planned(tmp_path, *targets, "--configfile", str(path))

    return graph


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which the toy run is done, at a path that shells dislike; tests change it and put it back."""
    folder = tmp_path_factory.mktemp("project") / "it's a $HOME [x] {y} Größe"
    folder.mkdir()
    for name in ("stages", "rules", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "config.yaml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copy(ROOT / "tests" / "pipeline" / "toy.yaml", folder / "toy.yaml")
    done = snakemake(folder, "-c2", "--configfile", "toy.yaml", source=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    shutil.copy(folder / "results" / "toy" / "times.json", folder)  # of this target; each run writes its own
    return folder


@pytest.fixture(scope="session")
def rounds(project: Path) -> Path:
    """Results of the toy run with two rounds of maps: the target SECOND, and a packed model whose proposals are ranked."""
    shutil.copy(ROOT / "tests" / "pipeline" / "toy_rounds.yaml", project)
    model = "results/toy/fitting/model/README.md"
    done = snakemake(project, "-c2", SECOND, model, "--configfile", "toy.yaml", "toy_rounds.yaml", source=project)
    assert done.returncode == 0, done.stdout + done.stderr
    return project / "results" / "toy"
