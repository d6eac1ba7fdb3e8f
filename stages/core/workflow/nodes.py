"""Starts a training on all nodes of the Slurm job that it stands in.

    python -m stages.core.workflow.nodes --nodes=2 --processes=4 --cpus=8 -- stages.cim.train_cim --images ...

becomes one srun, which starts on each node one torchrun with that many processes, as `--gpus-per-node`, on `cpus` CPU
threads. The torchruns meet at a port of the node on which this runs.
"""

import argparse
import os
import socket
import sys
from collections.abc import Iterable, Mapping

PORTS = range(20_000, 30_000)  # below those that systems give to programs that ask for any
JOB = "SLURM_JOB_ID"


def in_slurm_job(variables: Mapping[str, str] = os.environ) -> bool:
    """Whether a process with these variables runs in a job of Slurm's."""
    return bool(variables.get(JOB))


def needs_slurm(nodes: int, trainings: Iterable[str]) -> str:
    """What to say where trainings over several nodes would run without Slurm."""
    return (
        f"nodes is {nodes}, but nothing starts {', '.join(sorted(trainings))} on several nodes here: run with --profile"
        f" profiles/slurm or in a job of Slurm's ({JOB} is not set), or set nodes: 1"
    )


def command(
    nodes: int, processes: int, cpus: int, words: list[str], *, host: str, variables: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """The srun, and its environment, for a module and its arguments, met at `host`.

    Raises ValueError outside a Slurm job.
    """
    if not in_slurm_job(variables):
        raise ValueError(needs_slurm(nodes, [words[0]]))
    job = variables[JOB]
    # The step of Snakemake's own process lies on one node, whose variables would keep this srun there, too.
    kept = {name: value for name, value in variables.items() if not name.startswith("SLURM_") or name == JOB}
    srun = [
        "srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", f"--cpus-per-task={cpus}",
        f"--gpus-per-node={processes}", "--kill-on-bad-exit=1",
    ]  # fmt: skip
    port = PORTS[int(job) % len(PORTS)]
    torchrun = [
        "torchrun", f"--nnodes={nodes}", f"--nproc-per-node={processes}", f"--rdzv-id={job}", "--rdzv-backend=c10d",
        f"--rdzv-endpoint={host}:{port}", "-m", "--",
    ]  # fmt: skip
    return [*srun, *torchrun, *words], kept


def main() -> None:
    """Become the srun; exit with 1 and a message outside a Slurm job."""
    parser = argparse.ArgumentParser(prog="python -m stages.core.workflow.nodes", allow_abbrev=False)
    for name in ("nodes", "processes", "cpus"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("words", nargs="+", metavar="MODULE ...")
    asked = parser.parse_args()
    try:
        words, variables = command(
            asked.nodes, asked.processes, asked.cpus, asked.words, host=socket.gethostname(), variables=os.environ
        )
    except ValueError as error:
        sys.exit(str(error))
    os.execvpe(words[0], words, variables)


if __name__ == "__main__":
    main()
