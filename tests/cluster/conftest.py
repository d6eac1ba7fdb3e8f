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
    """Snakemake on the real Snakefile, in a folder, with Slurm's profile or, for comparison, without."""

    def __init__(self, cluster: Slurm, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        folder.mkdir(exist_ok=True)
        self.said = folder / "driver.log"

    def command(self, *arguments: str, local: bool = False) -> list[str]:
        """The command line."""
        first = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "--directory", str(self.folder)]
        first += ["--workflow-profile", str(ROOT / "profiles" / "default")]
        return [*first, *(("-c2",) if local else SLURM), *arguments]

    def run(self, *arguments: str, local: bool = False) -> subprocess.CompletedProcess[str]:
        """Run to its end."""
        return subprocess.run(
            self.command(*arguments, local=local), env=self.cluster.environment, capture_output=True, text=True,
            cwd=self.folder, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start, with what it says in `said`."""
        with self.said.open("ab") as said:
            return subprocess.Popen(
                self.command(*arguments), env=self.cluster.environment, stdout=said, stderr=said, cwd=self.folder,
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


@pytest.fixture(scope="session")
def cluster() -> Iterator[Slurm]:
    """Slurm, with two CPU nodes and one with two pretended GPUs."""
    if not os.environ.get("TAGMASK_CLUSTER"):
        pytest.skip("takes minutes: `make cluster-test` runs it")
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
