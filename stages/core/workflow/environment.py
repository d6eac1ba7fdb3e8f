"""How a job's shell line begins: its environment, and what starts a training."""

import shlex
import sys
from pathlib import Path


def environment(root: str | Path, *, own_python: bool, scratch: str | None = None) -> str:
    """What stands before every shell line, so that it finds the stages of the checkout at `root`.

    `scratch` is where trainings keep copies of images; its variables are left to the job. With `own_python` it finds
    this process's Python too, else the one that Snakemake has activated. Quoted for the shell, whatever the paths hold,
    with the braces doubled that Snakemake would read as its own.
    """
    variables = {"PYTHONPATH": shlex.quote(str(root)), "PYTHONUNBUFFERED": "1"}
    if scratch is not None:
        variables["TAGMASK_SCRATCH"] = shlex.quote(scratch)
    if own_python:
        variables["PATH"] = f"{shlex.quote(str(Path(sys.executable).parent))}:$PATH"
    assignments = " ".join(f"{name}={value}" for name, value in variables.items())
    return f"export {assignments}; ".replace("{", "{{").replace("}", "}}")


def launcher(processes: int, threads: int, *, nodes: int = 1) -> str:
    """What starts a training's module: Python, or torchrun with that many processes of `threads` CPU threads each.

    On several nodes, that is what starts such a torchrun on each node of the Slurm job that it stands in.
    """
    if nodes > 1:
        cpus = processes * threads
        return (
            f"OMP_NUM_THREADS={threads} python -m stages.core.workflow.nodes"
            f" --nodes={nodes} --processes={processes} --cpus={cpus} --"
        )
    if processes <= 1:
        return "python -m"
    # Snakemake gives a job all its threads: each process takes its own share. Behind `--` torchrun reads no option of
    # the step as one of its own.
    return f"OMP_NUM_THREADS={threads} torchrun --standalone --nproc-per-node={processes} -m --"
