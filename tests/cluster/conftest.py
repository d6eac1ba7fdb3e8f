"""A real Slurm of the tests' own, and drivers that send the toy graph to it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import Job, Slurm, why_not

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "pipeline" / "toy.yaml"
PREDICTED = "results/toy/cim/val/instances.h5"
ON_GPUS = {"train_classifier", "find_cues", "train_cim", "predict_cim"}  # of the rules up to it
PATIENCE = 300.0  # seconds for anything on a busy machine
SLURM = (
    "--profile", str(ROOT / "profiles" / "slurm"), "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10",
)  # fmt: skip


def until(true: Callable[[], object], what: str) -> object:
    """Wait until something is true, and give it; it fails after a while."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = true()
        if found:
            return found
        time.sleep(0.1)
    pytest.fail(f"waited {PATIENCE:g} seconds for {what}")


class Driver:
    """Snakemake on the real Snakefile, in a folder, with the profile of an engine or, for comparison, without."""

    def __init__(self, folder: Path, *engine: str, environment: dict[str, str] | None = None) -> None:
        self.folder, self.engine = folder, engine
        self.environment = dict(os.environ) if environment is None else environment
        folder.mkdir(exist_ok=True)
        self.said = folder / "driver.log"

    def command(self, *arguments: str, local: bool = False) -> list[str]:
        """The command line."""
        first = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--directory", str(self.folder)]
        first += ["--workflow-profile", str(ROOT / "profiles" / "default")]
        return [*first, *(("-c2",) if local else self.engine), *arguments]

    def run(self, *arguments: str, local: bool = False) -> subprocess.CompletedProcess[str]:
        """Run to its end."""
        return subprocess.run(
            self.command(*arguments, local=local), env=self.environment, capture_output=True, text=True,
            cwd=self.folder, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start, with what it says in `said`."""
        with self.said.open("ab") as said:
            return subprocess.Popen(
                self.command(*arguments), env=self.environment, stdout=said, stderr=said, cwd=self.folder,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip

    def end(self, process: subprocess.Popen[bytes], status: int = 0) -> None:
        """Wait for a driver that is to exit so."""
        assert process.wait(PATIENCE) == status, self.said.read_text()

    def made(self, *suffixes: str) -> dict[str, bytes]:
        """Content of the result files with these suffixes, by their path."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.glob("results/**/*"))
            if path.suffix in suffixes and path.is_file() and not {"logs", "benchmarks", "checkpoint"} & set(path.parts)
        }


@pytest.fixture(scope="session", autouse=True)
def asked() -> None:
    """These tests run where somebody asks for them."""
    if not os.environ.get("TAGMASK_CLUSTER"):
        pytest.skip("takes minutes: `make cluster-test` runs it")


@pytest.fixture(scope="session")
def local(asked: None, tmp_path_factory: pytest.TempPathFactory) -> Driver:
    """The toy graph up to PREDICTED, made without an engine, to compare with."""
    driver = Driver(tmp_path_factory.mktemp("local"))
    done = driver.run(PREDICTED, "--configfile", str(TOY), local=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return driver


def unlike(driver: Driver, other: Driver) -> set[str]:
    """Names of artifacts, weights and metrics that are not equal byte for byte; curves and times.json hold wall times."""
    made, expected = (one.made(".h5", ".safetensors", ".json") for one in (driver, other))
    names = {name for name in made.keys() | expected.keys() if Path(name).name not in ("curves.json", "times.json")}
    assert len(names) > 10
    return {name for name in names if made.get(name) != expected.get(name)}


@pytest.fixture(scope="session")
def cluster(asked: None) -> Iterator[Slurm]:
    """Slurm, with two CPU nodes and two with two pretended GPUs each."""
    reason = why_not()
    if reason:
        pytest.fail(reason)
    with Slurm() as slurm:
        yield slurm


@pytest.fixture
def submitted(cluster: Slurm) -> Callable[..., list[Job]]:
    """The jobs that were submitted since the test began."""
    before = {job.number for job in cluster.jobs()}
    return lambda rule=None: [job for job in cluster.jobs(rule) if job.number not in before]
