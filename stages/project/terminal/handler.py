"""Takes Snakemake's events and gives them to a screen. Implements the interface of Snakemake's logger plugins."""

import atexit
import contextlib
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from stages.core.artifacts.metrics import read_metrics
from stages.core.workflow.headline import HEADLINE, headline
from stages.core.workflow.step import clock
from stages.project.terminal.capture import Capture
from stages.project.terminal.cautions import is_warning
from stages.project.terminal.plain import PlainScreen, counted, visible
from stages.project.terminal.progress import message, read_progress
from stages.project.terminal.state import Job, Run
from stages.project.terminal.tail import last_lines

VARIABLE = "TAGMASK_TERMINAL"
MODES = ("auto", "plain", "snakemake")
SECONDS_BETWEEN_VIEWS = 0.25
LAST_LINES = 12  # of the log of a job that failed
# What Snakemake says of itself at every run; its own log file keeps it.
NOISE = (
    "Using shell:", "Select jobs to execute", "Conda environments: ignored", "Singularity containers: ignored",
    "Complete log(s):", "Elapsed time:", "Assuming unrestricted shared", "host:", "Building DAG", "Group jobs:",
    "Workflow has started", "Touching output file", "Removing temporary output", "Removing output files of failed job",
    "Exiting because a job execution failed", "Job failed, going on with independent jobs",
)  # fmt: skip
# What the driver of a cluster says of each job.
OF_JOBS = re.compile(r"Auto-selected partition|Job \d+ has been submitted|Submitted array job")
# Errors that are told with the job that failed, and at the end.
KNOWN = ("CalledProcessError in file", "At least one job did not complete successfully")
INTERRUPTED = "Terminating processes on user request"
QUIET = (LogEvent.WORKFLOW_STARTED, LogEvent.RESOURCES_INFO)


class TagmaskLogHandler(LogHandlerBase):
    """One calm view of a run on a terminal, plain lines elsewhere.

    Until the graph runs, and after it has, Snakemake's own handler writes.
    """

    def __init__(
        self,
        common_settings: Any,
        settings: None = None,
        *,
        stage_of: Mapping[str, str] | None = None,
        title: str = "tagmask",
        column: str = HEADLINE,
        otherwise: logging.Handler | None = None,
        plain: bool | None = None,
    ) -> None:
        """Make a handler that shows nothing until the graph runs.

        Args:
            common_settings: Snakemake's settings of its output.
            settings: none; the interface names it.
            stage_of: stage of each rule that runs something, in the order of the graph.
            title: of the view.
            column: the metric that is said of a run, by its name in a comparison.
            otherwise: writes while the graph does not run.
            plain: plain lines; None: where standard error is no terminal to draw on.
        """
        self._plain = not _draws() if plain is None else plain
        self._run, self._title = Run(stage_of or {}), title
        self._otherwise, self._column = otherwise, column
        self._screen: Any = None
        self._capture = Capture(both=not self._plain)
        self._ended, self._interrupted, self._began = False, False, time.monotonic()
        self._gave_up = False
        self._ticker: threading.Thread | None = None
        self._stopping = threading.Event()
        super().__init__(common_settings, settings)

    @property
    def writes_to_stream(self) -> bool:
        """It writes to standard error."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """It writes to no file."""
        return False

    @property
    def has_filter(self) -> bool:
        """It chooses itself what to show."""
        return True

    @property
    def has_formatter(self) -> bool:
        """It has words of its own."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """It needs the numbers of jobs alone."""
        return False

    def emit(self, record: logging.LogRecord) -> None:
        """Show what a record says. Called with the handler's lock."""
        if self._gave_up:
            self._leave(record)
            return
        try:
            self._show(record, getattr(record, "event", None))
        except Exception as error:  # a fault of the view must not end hours of work
            self._give_up(record, error)

    def _show(self, record: logging.LogRecord, event: Any) -> None:
        if self._screen is None and not self._ended and event == LogEvent.RUN_INFO and not self._is_dry():
            self._begin(record)
        elif self._screen is None:
            self._pass_on(record, event)
        else:
            take = {
                LogEvent.JOB_INFO: self._started,
                LogEvent.JOB_FINISHED: self._finished,
                LogEvent.JOB_ERROR: self._failed,
                LogEvent.PROGRESS: self._counted,
                LogEvent.ERROR: self._error,
                None: self._said,
            }.get(event)
            if take is not None:
                take(record)

    def finish(self) -> None:
        """The graph has run: take the view away, say how it went, and leave the terminal as it was."""
        self.acquire()
        try:
            self._end()
        finally:
            self.release()

    def close(self) -> None:
        """As `finish`, where nobody has called it; called by Snakemake at its end, and at that of the process."""
        self.finish()
        super().close()

    def _give_up(self, record: logging.LogRecord, error: Exception) -> None:
        """Take the view away and leave what comes to Snakemake's own handler."""
        self._stopping.set()
        screen, self._screen, self._gave_up = self._screen, None, True
        left: list[str] = []
        with contextlib.suppress(Exception):
            if screen is not None:
                screen.stop()
            left = self._capture.stop()
        for line in left:
            print(visible(line), file=sys.stderr)
        reason = visible(f"{type(error).__name__}: {error}")
        print(f"the view of this run failed, which goes on in Snakemake's own words ({reason})", file=sys.stderr)
        self._leave(record)

    def _leave(self, record: logging.LogRecord) -> None:
        if self._otherwise is not None:
            self._otherwise.handle(record)

    def _is_dry(self) -> bool:
        return bool(getattr(self.common_settings, "dryrun", False))

    def _pass_on(self, record: logging.LogRecord, event: Any) -> None:
        """Snakemake's own words, where the graph does not run: those that are no noise, and all of a dry run."""
        noise = str(record.msg or "").startswith(NOISE) or event in QUIET or (self._ended and event is not None)
        known = self._ended and any(known in str(record.msg) for known in KNOWN)
        if self._otherwise is not None and not known and (event == LogEvent.ERROR or not noise):
            self._otherwise.handle(record)

    def _begin(self, record: logging.LogRecord) -> None:
        self._began = time.monotonic()
        self._run.plan(getattr(record, "stats", {}))
        self._capture.start()
        if self._plain:
            self._screen = PlainScreen(self._capture.screen)
            stages = counted(len(self._run.stages), "stage")
            self._screen.say(f"{self._title}: {counted(self._run.total, 'job')} in {stages}")
        else:
            from stages.project.terminal.live import LiveScreen  # rich is loaded where it draws

            self._screen = LiveScreen(self._capture.screen, self._title, self._began)
        self._ticker = threading.Thread(target=self._tick, daemon=True)
        self._ticker.start()

    def _tick(self) -> None:
        while not self._stopping.wait(SECONDS_BETWEEN_VIEWS):
            self.acquire()
            try:
                if self._screen is not None:
                    self._look()
            finally:
                self.release()

    def _look(self) -> None:
        """Read the logs of what runs, show what came in, and draw."""
        for job in self._run.running.values():
            self._read(job)
        for line in self._capture.lines():
            self._screen.say(line)
        self._screen.update(self._run, time.monotonic())

    def _read(self, job: Job) -> None:
        for tail in job.tails:
            for line in tail.read():
                said = message(line)
                self._capture.know(said)
                progress = read_progress(said)
                if progress is not None:
                    job.progress = progress
                elif said.strip() and " done in " not in said:
                    self._screen.logged(job, said, warning=is_warning(said))

    def _started(self, record: logging.LogRecord) -> None:
        job = self._run.start(vars(record), time.monotonic())
        if job.stage:
            self._screen.started(job)

    def _finished(self, record: logging.LogRecord) -> None:
        number, now = vars(record)["job_id"], time.monotonic()
        job = self._run.running.get(number)
        if job is not None:
            self._read(job)
        job = self._run.finish(number, now)
        if job is None or not job.stage:
            return
        self._screen.finished(self._run, job, now - job.started)
        for path in job.outputs:
            if path.name == "metrics.json" and path.is_file():
                with contextlib.suppress(ValueError, OSError):
                    metrics = read_metrics(path, also=("supervision",))
                    run, split = metrics["run"], metrics["split"]
                    self._screen.say(headline(metrics, run=run, split=split, column=self._column), "bold")

    def _failed(self, record: logging.LogRecord) -> None:
        job = self._run.fail(vars(record)["jobid"])
        if job is None or self._interrupted:
            return
        self._read(job)
        taken = clock(time.monotonic() - job.started)
        self._screen.say(f"✗ {job.name} failed after {taken}", "bold red")
        for line in str(vars(record).get("rule_msg") or "").splitlines():  # what the executor says, such as sbatch
            self._screen.say(f"  {line}", "red")
        # With those of a cluster's jobs, which say what the cluster has done to one.
        for path in dict.fromkeys(map(Path, vars(record)["log"] or ())):
            lines = last_lines(path, LAST_LINES)
            self._screen.say(f"  the end of its log {path}:" if lines else f"  its log {path} is empty", "red")
            for line in lines:
                self._capture.know(message(line))
                self._screen.say(f"  | {line}")

    def _counted(self, record: logging.LogRecord) -> None:
        self._run.done, self._run.total = vars(record)["done"], vars(record)["total"]
        if self._run.done >= self._run.total:
            self._end()

    def _error(self, record: logging.LogRecord) -> None:
        """An error of the graph; that of a job comes as its own event, with the end of its log."""
        if not any(known in str(record.msg) for known in KNOWN):
            self._screen.say(str(record.msg), "bold red")

    def _said(self, record: logging.LogRecord) -> None:
        text = record.getMessage() if record.msg else ""
        if text.startswith(INTERRUPTED):
            self._interrupted = True
            self._capture.forget()  # the tracebacks of the jobs
        if not text.strip() or text.startswith(NOISE) or (not self._plain and OF_JOBS.match(text)):
            return
        if record.levelno >= logging.INFO:
            told = record.levelno >= logging.WARNING
            self._screen.say(text, ("bold red" if record.levelno >= logging.ERROR else "yellow") if told else "")

    def _end(self) -> None:
        """Take the view away, and give standard error back."""
        if self._screen is None:
            return
        self._stopping.set()
        screen, self._screen, self._ended = self._screen, None, True
        for job in self._run.running.values():
            self._run.failed.setdefault(job.number, job)
        for line in () if self._interrupted else self._capture.lines(patience=0.0):
            screen.say(line)
        failed = [job.name for job in self._run.failed.values() if job.stage]
        if self._interrupted:
            screen.say(f"stopped, with {counted(len(failed), 'job')} at work: {', '.join(failed)}", "yellow")
            screen.say("the same command goes on where it was; a training goes on from its last checkpoint")
        elif failed:
            screen.say(f"✗ {len(failed)} of {counted(self._run.total, 'job')} failed: {', '.join(failed)}", "bold red")
            screen.say("mend what the log says and give the same command again: it goes on where it was")
        else:
            taken = clock(time.monotonic() - self._began)
            screen.say(f"✓ {counted(self._run.done, 'job')} done in {taken}", "bold green")
        screen.stop()
        left = self._capture.stop()
        for line in () if self._interrupted else left:
            print(visible(line), file=sys.stderr)


def attach(
    workflow: Any, stage_of: Mapping[str, str], title: str, *, column: str = HEADLINE
) -> TagmaskLogHandler | None:
    """Put the view in the place of Snakemake's own output, which stays where somebody asks something of it.

    That is a dry run, `--quiet`, `--verbose`, `--debug-dag`, a logger plugin, a job's own process, and
    TAGMASK_TERMINAL=snakemake. TAGMASK_TERMINAL=plain asks for plain lines on a terminal, too.

    Returns what was put there, or None. Raises ValueError for another value of TAGMASK_TERMINAL.
    """
    mode = os.environ.get(VARIABLE, "") or "auto"
    if mode not in MODES:
        raise ValueError(f"{VARIABLE} is {mode!r}; expected one of {', '.join(MODES)}")
    settings = workflow.output_settings
    asked = settings.dryrun or settings.quiet or settings.verbose or settings.debug_dag
    if mode == "snakemake" or asked or not workflow.is_main_process:
        return None
    logger = logging.getLogger("snakemake.logging")
    own = next((handler for handler in logger.handlers if handler.name == "DefaultStreamHandler"), None)
    if own is None:
        return None
    plain = mode == "plain" or settings.nocolor or not _draws()
    handler = TagmaskLogHandler(settings, stage_of=stage_of, title=title, column=column, otherwise=own, plain=plain)
    logger.removeHandler(own)
    logger.addHandler(handler)
    atexit.register(handler.close)
    return handler


def _draws() -> bool:
    """Whether standard error is a terminal that can be drawn on, and colour is welcome."""
    named = os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    return sys.stderr.isatty() and named and not os.environ.get("NO_COLOR")


def stages_of_rules(workflow: Any) -> dict[str, str]:
    """The stage of each rule that runs something, by the file that it stands in, in the order of the graph."""
    found = {}
    for rule in workflow.rules:
        if rule.shellcmd is not None:
            file = Path(str(rule.snakefile)).stem
            found[rule.name] = "settings" if file == "Snakefile" else file
    return found
