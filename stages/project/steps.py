"""Which steps each step of a workflow waits for, read from Snakemake's graph of jobs."""

from pathlib import Path
from typing import Any


def needs_of_steps(dag: Any, benchmarks: str) -> dict[str, list[str]]:
    """Names of the steps that each step waits for; jobs without a benchmark file, as targets, are passed through.

    Args:
        dag: of Snakemake's workflow, with all its jobs, those with nothing to do, too.
        benchmarks: folder of the benchmark files, below which a file without its ending is a step's name.
    """
    names = {job: _name(job, benchmarks) for job in dag.jobs}
    return {
        name: sorted({found for before in dag.job_dependencies(job) for found in _named(before, dag, names)})
        for job, name in names.items()
        if name is not None
    }


def _name(job: Any, benchmarks: str) -> str | None:
    path = Path(str(job.benchmark or ""))
    if not path.is_relative_to(benchmarks):
        return None
    return path.relative_to(benchmarks).with_suffix("").as_posix()


def _named(job: Any, dag: Any, names: dict[Any, str | None]) -> set[str]:
    """The step of a job, or those before it where it is none."""
    name = names[job]
    if name is not None:
        return {name}
    return {found for before in dag.job_dependencies(job) for found in _named(before, dag, names)}
