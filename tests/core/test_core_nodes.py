"""How a training over several nodes is started from within its Slurm job."""

import subprocess
import sys

import pytest

from stages.core.workflow.environment import launcher
from stages.core.workflow.nodes import PORTS, command

WORDS = ["stages.cim.train_cim", "--log", "a b.log"]


def started(**variables: str) -> tuple[list[str], dict[str, str]]:
    return command(2, 4, 8, WORDS, host="first", variables=variables)


def test_one_srun_starts_a_torchrun_on_each_node_and_they_meet_on_the_first():
    words, _ = started(SLURM_JOB_ID="123")
    port = PORTS[123]
    assert words == [
        "srun", "--overlap", "--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=8", "--gpus-per-node=4",
        "--kill-on-bad-exit=1",
        "torchrun", "--nnodes=2", "--nproc-per-node=4", "--rdzv-id=123", "--rdzv-backend=c10d",
        f"--rdzv-endpoint=first:{port}", "-m", "--", *WORDS,
    ]  # fmt: skip


def test_variables_of_the_step_that_lies_on_one_node_are_not_handed_on():
    _, variables = started(
        SLURM_JOB_ID="1", SLURM_NNODES="1", SLURM_JOB_NODELIST="gpu1", PATH="/bin", OMP_NUM_THREADS="2"
    )
    assert variables == {"SLURM_JOB_ID": "1", "PATH": "/bin", "OMP_NUM_THREADS": "2"}


def test_jobs_side_by_side_meet_at_ports_of_their_own():
    ends = {started(SLURM_JOB_ID=str(job))[0][13].rpartition(":")[2] for job in range(9_990, 10_010)}
    assert len(ends) == 20
    assert all(int(port) in PORTS for port in ends)


def test_without_slurm_one_sentence_says_what_to_do():
    with pytest.raises(ValueError, match="nodes is 2, but nothing starts stages.cim.train_cim on several nodes here"):
        started()
    line = launcher(4, 2, nodes=2).partition(" ")[2].split()
    done = subprocess.run(
        [sys.executable, *line[1:], *WORDS], capture_output=True, text=True, env={"PATH": "/usr/bin"}, check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert (
        "run with --profile profiles/slurm or in a job of Slurm's (SLURM_JOB_ID is not set), or set nodes: 1"
        in done.stderr
    )
