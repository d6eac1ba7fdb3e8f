"""What runs, and what has run: stages and jobs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.project.terminal.progress import Progress
from stages.project.terminal.tail import Tail


@dataclass
class Job:
    """A job that runs.

    Attributes:
        number: Snakemake's number of it.
        rule: name of its rule.
        stage: the stage that the rule belongs to; empty: a target, which runs nothing.
        name: rule and wildcards.
        started: seconds on the clock of the caller.
        tails: its log files.
        outputs: its files.
        progress: how far it is, where it has said so.
    """

    number: int
    rule: str
    stage: str
    name: str
    started: float
    tails: list[Tail]
    outputs: list[Path]
    progress: Progress | None = None
    told: float = 0.0  # when a plain line last said how far it is
    shellcmd: str | None = None


@dataclass
class Stage:
    """Jobs of one stage: how many there are, how many are done, and when the first began and the last ended."""

    name: str
    total: int = 0
    done: int = 0
    began: float | None = None
    ended: float | None = None

    @property
    def finished(self) -> bool:
        """Whether all of its jobs are done."""
        return self.done >= self.total


@dataclass
class Run:
    """A run of the graph.

    Attributes:
        stage_of: stage of each rule that runs something, in the order of the graph.
        stages: those that have jobs, in that order.
        running: jobs by number.
        failed: names of jobs that failed and were not started again, by number.
        done: finished jobs, targets among them.
        total: all jobs.
    """

    stage_of: Mapping[str, str]
    stages: dict[str, Stage] = field(default_factory=dict)
    running: dict[int, Job] = field(default_factory=dict)
    failed: dict[int, Job] = field(default_factory=dict)
    done: int = 0
    total: int = 0

    def plan(self, stats: Mapping[str, int]) -> None:
        """Take the numbers of jobs by rule, as Snakemake counts them."""
        self.total = sum(count for rule, count in stats.items() if rule != "total")
        for rule, stage in self.stage_of.items():
            if rule in stats:
                self.stages.setdefault(stage, Stage(stage)).total += stats[rule]

    def start(self, info: Mapping[str, Any], now: float) -> Job:
        """A job begins: the fields of Snakemake's JOB_INFO."""
        rule = info["rule_name"]
        wildcards = [str(value) for name, value in (info["wildcards"] or {}).items() if name != "dataset"]
        job = Job(
            number=info["jobid"], rule=rule, stage=self.stage_of.get(rule, ""), name=" ".join([rule, *wildcards]),
            started=now, tails=[Tail(Path(path)) for path in info["log"] or ()],
            outputs=[Path(path) for path in info["output"] or ()], shellcmd=info.get("shellcmd"),
        )  # fmt: skip
        self.running[job.number] = job
        self.failed.pop(job.number, None)
        if job.stage:
            stage = self.stages.setdefault(job.stage, Stage(job.stage, total=1))
            stage.began = now if stage.began is None else stage.began
        return job

    def finish(self, number: int, now: float) -> Job | None:
        """A job is done; None for one that never began, such as a target."""
        job = self.running.pop(number, None)
        if job is not None and job.stage:
            stage = self.stages[job.stage]
            stage.done, stage.ended = stage.done + 1, now
        return job

    def fail(self, number: int) -> Job | None:
        """A job has failed; None where that is known already."""
        job = self.running.pop(number, None)
        if job is not None:
            self.failed[number] = job
        return job

    @property
    def place(self) -> tuple[int, int]:
        """The stage at which the run is, from 1 on, and how many there are."""
        finished = sum(stage.finished for stage in self.stages.values())
        return min(finished + 1, len(self.stages)), len(self.stages)
