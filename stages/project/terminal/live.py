"""The calm view on a terminal: where the run is, a bar for each job that runs, and above them what stays."""

from collections.abc import Iterable
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stages.core.workflow.step import clock
from stages.project.terminal.frame import Frame
from stages.project.terminal.plain import counted, visible
from stages.project.terminal.progress import Progress
from stages.project.terminal.state import Job, Run

BAR = 24  # cells
NARROW = 72  # columns below which bars are left out


class LiveScreen:
    """Draws on a terminal; what is said stays above the view."""

    def __init__(self, stream: TextIO, title: str, began: float) -> None:
        """The terminal is the stream; the title heads the view; the run began at this time of the caller's clock."""
        self._title, self._frame = title, Frame(stream)
        self._console = Console(file=stream, force_terminal=True, highlight=False, emoji=False, markup=False)
        self._above: list[str] = []
        self._drawn_view: tuple[int, int, list[str]] | None = None
        self._began = began

    def started(self, job: Job) -> None:
        """The view shows what runs."""

    def finished(self, run: Run, job: Job, seconds: float) -> None:
        """A line when the last job of a stage is done."""
        stage = run.stages.get(job.stage)
        if stage is not None and stage.finished and stage.began is not None and stage.ended is not None:
            self.say(f"✓ {stage.name}: {counted(stage.total, 'job')} in {clock(stage.ended - stage.began)}", "green")

    def logged(self, job: Job, said: str, *, warning: bool) -> None:
        """Warnings stay; what else steps say stands in their log files."""
        if warning:
            self.say(f"! {job.name}: {said}", "yellow")

    def say(self, text: str, style: str = "") -> None:
        """Lines that stay above the view from its next drawing on."""
        columns = self._frame.size()[0]
        for line in text.splitlines() or [""]:
            self._above += self._drawn(Text(visible(line), style, overflow="fold"), columns)

    def update(self, run: Run, now: float) -> None:
        """Draw the view."""
        columns, rows = self._frame.size()
        lines = self._drawn(self._view(run, now, columns, rows), columns - 1)
        view = (columns, rows, lines[: max(rows - 2, 1)])
        if self._above or view != self._drawn_view:
            above, self._above, self._drawn_view = self._above, [], view
            self._frame.draw(view[2], above)

    def stop(self) -> None:
        """Take the view away; what was said stays."""
        above, self._above = self._above, []
        self._frame.close(above)

    def _drawn(self, shown: RenderableType, columns: int) -> list[str]:
        """Lines with the terminal's colours, none wider than so many columns."""
        self._console.size = (max(columns, 10), 100)  # type: ignore[assignment]
        with self._console.capture() as captured:
            self._console.print(shown)
        return [line.rstrip() for line in captured.get().split("\n")[:-1]]

    def _view(self, run: Run, now: float, columns: int, rows: int) -> Group:
        place, stages = run.place
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(visible(self._title), "bold")
        head.append(f"  stage {place} of {stages}  {run.done} of {run.total} jobs  {_whole(now - self._began)}")
        if run.failed:
            head.append(f"  {len(run.failed)} failed", "bold red")
        jobs = list(run.running.values())
        shown = [job for job in jobs if job.stage][: max(rows - 6, 1)]
        more = sum(bool(job.stage) for job in jobs) - len(shown)
        parts: list[RenderableType] = [Text(""), head, _stages(run), _jobs(shown, now, columns)]
        if more:
            parts.append(Text(f"and {more} more jobs", "dim"))
        return Group(*parts)


def _stages(run: Run) -> Text:
    """All stages of the run: those that are done, those at work, and those that wait."""
    line = Text(no_wrap=True, overflow="ellipsis")
    busy = {job.stage for job in run.running.values()}
    for i, stage in enumerate(run.stages.values()):
        line.append(" " if i else "")
        if stage.finished:
            line.append(f"✓{stage.name}", "green")
        elif stage.name in busy:
            line.append(f"{stage.name} {stage.done}/{stage.total}", "bold cyan")
        else:
            line.append(f"{stage.name} {stage.done}/{stage.total}" if stage.done else stage.name, "dim")
    return line


def _jobs(jobs: Iterable[Job], now: float, columns: int) -> Table:
    """A row for each job: name, bar, count, rate and time left; the time since it began until it says these."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=None)
    if columns >= NARROW:
        table.add_column(width=BAR, no_wrap=True)
    for _ in range(3):
        table.add_column(no_wrap=True, justify="right", overflow="ellipsis")
    for job in jobs:
        progress = job.progress
        row: list[RenderableType] = [Text(visible(job.name), no_wrap=True, overflow="ellipsis")]
        if columns >= NARROW:
            row.append(_bar(progress) if progress else Text("─" * BAR, "dim"))
        if progress:
            row += [
                Text(f"{progress.done}/{progress.total}"),
                Text(_rate(progress.rate)),
                Text(f"{progress.left} left"),
            ]
        else:
            row += [Text(""), Text(""), Text(f"since {_whole(now - job.started)}", "dim")]
        table.add_row(*row)
    return table


def _rate(rate: float) -> str:
    return f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each" if rate > 0 else ""


def _bar(progress: Progress) -> ProgressBar:
    return ProgressBar(progress.total, progress.done, BAR, complete_style="cyan", finished_style="green")


def _whole(seconds: float) -> str:
    """A duration without tenths, which would draw the view anew all the time."""
    return clock(int(seconds)).replace(".0s", "s")
