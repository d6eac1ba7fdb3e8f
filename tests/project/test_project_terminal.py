"""The view of a running graph: what it reads from log files, what it draws, what it leaves alone."""

import contextlib
import logging
import os
import pty
import re
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings, TestLogHandlerBase

from stages.core.training import reporter
from stages.core.workflow import step
from stages.project.terminal.capture import Capture
from stages.project.terminal.cautions import is_warning, warning_texts
from stages.project.terminal.handler import TagmaskLogHandler, attach, stages_of_rules
from stages.project.terminal.live import LiveScreen
from stages.project.terminal.plain import PlainScreen
from stages.project.terminal.progress import Progress, message, read_progress
from stages.project.terminal.state import Run
from stages.project.terminal.tail import Tail, last_lines
from tests.conftest import ROOT
from tests.project.terminal_screen import Screen, resize

STAGES = {"list_images": "images", "train_cim": "cim", "predict_cim": "cim"}


class TestHandler(TestLogHandlerBase):
    """The interface's own tests of a logger plugin."""

    __test__ = True

    def get_log_handler_cls(self):
        return TagmaskLogHandler

    def get_log_handler_settings(self):
        return None

    @pytest.fixture(autouse=True)
    def _closed(self, monkeypatch):
        made = []

        def create():
            made.append(TagmaskLogHandler(MockOutputSettings(), None))
            return made[-1]

        monkeypatch.setattr(self, "_create_handler", create)
        yield
        for handler in made:
            handler.close()


def test_progress_is_read_as_steps_write_it(monkeypatch, caplog):
    monkeypatch.setattr(step, "SECONDS_BETWEEN_REPORTS", 0.0)
    with caplog.at_level(logging.INFO):
        list(step.progress(range(3), total=3, label="images drawn"))
    found = [read_progress(record.getMessage()) for record in caplog.records]
    assert [(p.label, p.done, p.total) for p in found if p] == [("images drawn", n, 3) for n in (1, 2, 3)]
    assert found[0].left.endswith("s")


def test_progress_is_read_as_trainings_write_it():
    source = (ROOT / "stages" / "core" / "training" / "reporter.py").read_text()
    (form,) = re.findall(r'"(update %d of %d: .*? left)"', source)
    line = "12:00:03 " + form % (40, 1000, "mil 0.53, cluster 1.2", 0.001, 2.5, reporter.clock(384))
    assert read_progress(message(line)) == Progress("update", 40, 1000, 2.5, "6m24s")


@pytest.mark.parametrize(
    "said",
    [
        "images: 40 in 3.1s", "of 40 images all have clusters", "3 of 2 done, 1.00 per second, 2s left",
        "images.sample: 6 of 100 images, seed 3", "0 of 0, 1.00 per second, 1s left", "",
    ],
)  # fmt: skip
def test_other_messages_are_no_progress(said):
    assert read_progress(said) is None


def calls(level):
    """Texts of all log lines of a level in the stages, as they are written, with something in each gap."""
    found = []
    for path in sorted((ROOT / "stages").rglob("*.py")):
        for call in re.finditer(rf'\blog\.{level}\(\s*((?:f?"(?:[^"\\]|\\.)*"\s*)+)', path.read_text()):
            text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', call[1])).replace('\\"', '"').replace("\\n", "\n")
            text = re.sub(r"%(?!%)[\d.]*[dfg]", "7", re.sub(r"\{[^{}]*\}", "name", text)).replace("%%", "%")
            found.append(re.sub(r"%[srx]", "some 'thing'", text))
    return found


def test_every_warning_of_a_stage_is_known_as_one_and_nothing_else_is():
    warnings, others = calls("warning"), calls("info")
    assert len(warnings) > 20 and len(others) > 40
    # Texts of gaps alone cannot be told from others.
    unknown = [said for said in warnings if not is_warning(said)]
    assert [re.sub("some 'thing'", "", said).strip() for said in unknown] in (
        [],
        [""],
        ["", ""],
        ["; they are taken as they are:"],
    )
    assert [said for said in others if is_warning(said)] == []
    assert is_warning("/a/b.py:3: UserWarning: something")
    assert len(warning_texts()) >= len(warnings) - 2


def test_a_log_file_is_read_line_by_line_from_its_new_beginning(tmp_path):
    path = tmp_path / "a.log"
    path.write_text("of an earlier job\n")
    os.utime(path, (1, 1))
    tail = Tail(path)
    assert tail.read() == []
    path.write_text("one\ntw")
    assert tail.read() == ["one"]
    with path.open("ab") as file:
        file.write(b"o\n\xff\n")
    assert tail.read() == ["two", "�"]
    assert tail.read() == []
    path.write_text("new\n")  # begun anew
    assert tail.read() == ["new"]
    path.unlink()
    assert tail.read() == []
    late = Tail(tmp_path / "late.log")
    assert late.read() == [] and last_lines(late.path, 3) == []
    late.path.write_text("a\n\nb\nc\n")
    assert late.read() == ["a", "", "b", "c"] and last_lines(late.path, 2) == ["b", "c"]


def info(number, rule, *, log=(), output=(), **wildcards):
    return {
        "jobid": number, "rule_name": rule, "wildcards": {"dataset": "toy", **wildcards}, "log": log, "output": output,
    }  # fmt: skip


def test_stages_and_jobs_are_counted():
    run = Run(STAGES)
    run.plan({"predict_cim": 2, "train_cim": 1, "list_images": 1, "all": 1, "total": 5})
    assert (run.total, list(run.stages), run.place) == (5, ["images", "cim"], (1, 2))
    job = run.start(info(1, "list_images", split="val"), 10.0)
    assert (job.name, job.stage) == ("list_images val", "images")
    run.finish(1, 12.5)
    assert run.place == (2, 2) and run.stages["images"].ended == 12.5
    run.start(info(2, "train_cim", run="cim"), 13.0)
    assert run.fail(2).name == "train_cim cim" and run.fail(2) is None
    run.start(info(2, "train_cim", run="cim"), 14.0)  # started again
    assert not run.failed
    run.finish(2, 15.0)
    assert run.start(info(9, "all"), 15.0).stage == "" and run.finish(77, 16.0) is None
    assert run.stages["cim"].done == 1 and not run.stages["cim"].finished


@pytest.fixture
def terminal():
    """Both ends of a terminal of 100 x 20."""
    ours, theirs = pty.openpty()
    resize(theirs, 100, 20)
    stream = os.fdopen(theirs, "w", encoding="utf-8")
    written: list[bytes] = []

    def drain():  # all the time, as a terminal holds little
        with contextlib.suppress(OSError):
            while data := os.read(ours, 65536):
                written.append(data)

    threading.Thread(target=drain, daemon=True).start()

    def read():
        time.sleep(0.1)
        data, written[:] = b"".join(written), []
        return data.decode()

    yield SimpleNamespace(stream=stream, read=read, ours=ours)
    stream.close()
    os.close(ours)


def running(jobs):
    run = Run(STAGES)
    run.plan({"list_images": 1, "train_cim": jobs, "total": jobs + 1})
    for i in range(jobs):
        run.start(info(i, "train_cim", run=f"run{i}"), 0.0)
    return run


def test_the_view_is_drawn_in_place_below_what_stays(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    run, live = running(2), LiveScreen(terminal.stream, "tagmask toy", 0.0)
    run.running[0].progress = Progress("update", 250, 1000, 12.5, "1m00s")
    screen = Screen()
    for now in (1.0, 2.0, 3.0):
        live.say(f"said at {now}", "yellow")
        live.update(run, now)
        screen.feed(terminal.read())
    rows = [row.rstrip() for row in screen.rows]
    assert rows[:3] == ["said at 1.0", "said at 2.0", "said at 3.0"]
    assert rows[4].startswith("tagmask toy  stage 1 of 2  0 of 3 jobs")
    assert rows[5] == "images cim 0/2"
    assert re.match(r"train_cim run0  ━+[╸╺]?━*  250/1000  12.5/s  1m00s left$", rows[6])
    assert re.match(r"train_cim run1  ─{24} +since 3s$", rows[7]) and not screen.cursor_shown
    live.update(run, 3.2)
    assert terminal.read() == ""  # nothing new
    live.stop()
    screen.feed(terminal.read())
    assert screen.text.rstrip() == "said at 1.0\nsaid at 2.0\nsaid at 3.0" and screen.cursor_shown


@pytest.mark.parametrize("size", [(100, 20), (40, 10), (25, 4), (10, 2), (300, 60)])
def test_no_line_is_wider_and_no_view_higher_than_the_terminal(terminal, size):
    resize(terminal.ours, *size)
    run, live = running(40), LiveScreen(terminal.stream, "tagmask " + "long" * 20, 0.0)
    for i, job in enumerate(run.running.values()):
        job.name = "ü" * (5 * i)
        job.progress = Progress("update", i, 40, 0.25, "2h13m") if i % 2 else None
    live.update(run, 5.0)
    screen = Screen().feed(terminal.read())
    assert max(len(row.rstrip()) for row in screen.rows) < max(size[0], 11)
    assert len(screen.rows) <= max(size[1], 2)
    if size == (100, 20):
        assert "and 26 more jobs" in screen.text


def test_a_narrower_terminal_has_no_rest_of_the_wide_view(terminal):
    """Terminals that wrap lines anew show each on several rows, which are all taken away."""
    run, live = running(1), LiveScreen(terminal.stream, "tagmask toy", 0.0)
    live.update(run, 1.0)
    wide = [len(row) for row in Screen().feed(terminal.read()).rows[:-1]]
    resize(terminal.ours, 30, 20)
    live.update(run, 2.0)
    rows = sum(max(1, -(-width // 30)) for width in wide)
    assert rows > len(wide) and terminal.read().startswith(f"\x1b[{rows}A\r\x1b[J")


def test_names_cannot_steer_the_terminal(terminal):
    run, live = running(1), LiveScreen(terminal.stream, "tagmask \x1b[2J", 0.0)
    run.running[0].name = "train [bold]x[/bold] \x1b]0;title\x07"
    live.say("a\x1b[2Jb\rc")
    live.update(run, 1.0)
    text = Screen().feed(terminal.read()).text  # raises for sequences that are not the view's
    assert "a\\x1b[2Jb" in text and "train [bold]x[/bold] \\x1b]0;title" in text


def test_plain_lines_say_start_end_and_now_and_then_how_far(capsys):
    run, plain = running(1), PlainScreen(sys.stdout)
    job = run.running[0]
    plain.started(job)
    job.progress = Progress("update", 1, 10, 2.0, "4.5s")
    for now in (1.0, 31.0, 32.0, 62.0):
        plain.update(run, now)
    plain.logged(job, "odd \x1b[2J", warning=True)
    plain.finished(run, job, 70.0)
    plain.stop()
    lines = [message(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "start train_cim run0", *["train_cim run0: update 1 of 10, 2.00 per second, 4.5s left"] * 2,
        "train_cim run0: warning: odd \\x1b[2J", "done train_cim run0 in 1m10s, 1 of 2 jobs",
    ]  # fmt: skip


CAPTURING = """
import os, subprocess, sys, time
from stages.project.terminal.capture import Capture
capture = Capture(both=False)
capture.start()
capture.know("12 images")
script = '''import sys
print("12:00:00 12 images", file=sys.stderr)
print("12:00:01 update 1 of 2: mil 3, rate 0.1, 2.00 updates per second, 1.0s left", file=sys.stderr)
print("of a library", file=sys.stderr)
print("Traceback (most recent call last):\\\\n  File x\\\\nKeyboardInterrupt", file=sys.stderr)
print("Traceback (most recent call last):\\\\n  File y\\\\nValueError: z", file=sys.stderr)
print("to stdout")
'''
subprocess.run([sys.executable, "-c", script])
time.sleep(0.3)
early = capture.lines()
capture.screen.write("drawn\\n")
left = capture.stop()
print("after", file=sys.stderr)
print(early, left)
"""


def test_what_jobs_write_is_held_back_without_what_log_files_have():
    done = subprocess.run([sys.executable, "-c", CAPTURING], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == "drawn\nafter\n", done.stderr
    left = ["of a library", "Traceback (most recent call last):", "  File y", "ValueError: z"]
    assert done.stdout == f"to stdout\n[] {left}\n"


def handler_on(monkeypatch, **options):
    monkeypatch.setattr(Capture, "start", lambda self: None)
    monkeypatch.setattr(Capture, "stop", lambda self: [])
    otherwise = logging.StreamHandler(sys.stderr)
    handler = TagmaskLogHandler(MockOutputSettings(), stage_of=STAGES, otherwise=otherwise, plain=True, **options)
    handler._capture.screen = sys.stderr
    return handler


def say(handler, text=None, *, level=logging.INFO, **fields):
    record = logging.LogRecord("snakemake", level, "", 0, text, (), None)
    vars(record).update(fields)
    handler.handle(record)


def test_a_fault_of_the_view_leaves_the_run_to_snakemakes_own_handler(monkeypatch, capsys):
    handler = handler_on(monkeypatch)
    say(handler, "Job stats", event=LogEvent.RUN_INFO, stats={"train_cim": 1, "all": 1, "total": 2})
    monkeypatch.setattr(handler._run, "finish", lambda *arguments: 1 / 0)
    say(handler, "Finished jobid: 1", event=LogEvent.JOB_FINISHED, job_id=1)
    say(handler, "careful", level=logging.WARNING)
    handler.finish()
    said = capsys.readouterr().err.splitlines()
    assert said[-3:] == [
        "the view of this run failed, which goes on in Snakemake's own words (ZeroDivisionError: division by zero)",
        "Finished jobid: 1",
        "careful",
    ]


def test_a_view_that_cannot_begin_leaves_the_run_to_snakemakes_own_handler(monkeypatch, capsys):
    handler = handler_on(monkeypatch)
    monkeypatch.setattr(handler._run, "plan", lambda stats: 1 / 0)
    say(handler, "Job stats", event=LogEvent.RUN_INFO, stats={"train_cim": 1, "all": 1, "total": 2})
    say(handler, "careful", level=logging.WARNING)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("the view of this run failed")
    assert said[1:] == ["Job stats", "careful"]


def test_a_run_from_its_plan_to_its_end(monkeypatch, capsys, tmp_path):
    log, metrics = tmp_path / "a.log", tmp_path / "cim" / "val" / "metrics.json"
    metrics.parent.mkdir(parents=True)
    metrics.write_text(
        '{"run": "cim", "split": "val", "supervision": "image tags", "n_images": 5,'
        ' "masks": {"voc": {"mAP25": 70, "mAP50": 61.26}, "ABO": 50},'
        ' "boxes": {"n_objects": 5, "voc07": {"AP50": 1}, "voc12": {"AP50": 2}},'
        ' "corloc": null, "semantic": {"mIoU": 44}}'
    )
    handler = handler_on(monkeypatch)
    say(handler, "host: here")
    say(handler, "Nothing to be done")  # Snakemake's own, as long as nothing runs
    say(handler, "Job stats", event=LogEvent.RUN_INFO, stats={"train_cim": 1, "predict_cim": 1, "all": 1, "total": 3})
    say(handler, event=LogEvent.JOB_INFO, **info(1, "train_cim", log=[str(log)], run="cim"))
    log.write_text(
        "12:00:00 3 images are odd\n12:00:01 update 1 of 2: a 1, rate 1, 2.00 updates per second, 1.0s left\n"
    )
    time.sleep(0.6)
    say(handler, "careful", level=logging.WARNING)
    say(handler, event=LogEvent.JOB_FINISHED, job_id=1)
    say(handler, event=LogEvent.PROGRESS, done=1, total=3)
    say(handler, event=LogEvent.JOB_INFO, **info(2, "predict_cim", output=[str(metrics)], run="cim"))
    say(handler, event=LogEvent.JOB_FINISHED, job_id=2)
    say(handler, event=LogEvent.PROGRESS, done=3, total=3)
    say(handler, "Elapsed time: 3")
    say(handler, "after the run")
    handler.close()
    handler.close()
    lines = [message(line) for line in capsys.readouterr().err.splitlines()]
    assert [re.sub(r"[\d.]+s\b", "_s", line) for line in lines] == [
        "Nothing to be done", "tagmask: 3 jobs in 1 stage", "start train_cim cim", "train_cim cim: 3 images are odd",
        "careful", "done train_cim cim in _s, 1 of 3 jobs", "start predict_cim cim",
        "done predict_cim cim in _s, 2 of 3 jobs", "cim on val, supervision image tags: mAP50 (voc) 61.3",
        "✓ 3 jobs done in _s", "after the run",
    ]  # fmt: skip


def test_a_failure_is_shown_with_the_end_of_its_log_and_the_run_goes_on(monkeypatch, capsys, tmp_path):
    log = tmp_path / "a.log"
    handler = handler_on(monkeypatch)
    say(handler, event=LogEvent.RUN_INFO, stats={"train_cim": 2})
    for number in (1, 2):
        say(handler, event=LogEvent.JOB_INFO, **info(number, "train_cim", log=[str(log)], run=f"r{number}"))
    log.write_text("".join(f"12:00:00 line {i}\n" for i in range(30)) + "12:00:01 train_cim stopped: no room\n")
    of_cluster = tmp_path / "slurm.log"
    of_cluster.write_text("killed: out of memory\n")
    both = [str(log), str(of_cluster)]
    say(handler, level=logging.ERROR, event=LogEvent.JOB_ERROR, **info(1, "train_cim", log=both, run="r1"))
    say(handler, level=logging.ERROR, event=LogEvent.JOB_ERROR, **info(1, "train_cim", log=both, run="r1"))
    say(handler, "RuleException:\nCalledProcessError in file x", level=logging.ERROR, event=LogEvent.ERROR)
    say(handler, event=LogEvent.JOB_FINISHED, job_id=2)
    handler.finish()
    say(handler, "WorkflowError:\nAt least one job did not complete successfully.", level=40, event=LogEvent.ERROR)
    err = capsys.readouterr().err
    assert err.count("✗ train_cim r1 failed after") == 1
    assert f"the end of its log {log}:" in err and "| 12:00:01 train_cim stopped: no room" in err
    assert (
        err.count("  | ") == 13
        and "| killed: out of memory" in err
        and "CalledProcess" not in err
        and "WorkflowError" not in err
    )
    assert "done train_cim r2" in err and "✗ 1 of 2 jobs failed: train_cim r1" in err


def fake_workflow(**settings):
    shown = {"dryrun": False, "quiet": None, "verbose": False, "debug_dag": False, "nocolor": False} | settings
    return SimpleNamespace(output_settings=SimpleNamespace(**shown), is_main_process=True)


@pytest.fixture
def snakemake_handler():
    """Snakemake's own handler, as it is when the Snakefile is read."""
    logger = logging.getLogger("snakemake.logging")
    before = list(logger.handlers)
    own = logging.StreamHandler()
    own.name = "DefaultStreamHandler"
    logger.handlers = [own]
    yield own
    logger.handlers = before


@pytest.mark.parametrize("asked", ["dryrun", "quiet", "verbose", "debug_dag"])
def test_who_asks_something_of_snakemakes_output_gets_it(snakemake_handler, asked):
    assert attach(fake_workflow(**{asked: True}), STAGES, "tagmask") is None
    assert logging.getLogger("snakemake.logging").handlers == [snakemake_handler]


def test_the_view_takes_the_place_of_snakemakes_handler(snakemake_handler, monkeypatch):
    logger = logging.getLogger("snakemake.logging")
    monkeypatch.setenv("TAGMASK_TERMINAL", "snakemake")
    assert attach(fake_workflow(), STAGES, "tagmask") is None
    monkeypatch.setenv("TAGMASK_TERMINAL", "colourful")
    with pytest.raises(ValueError, match="TAGMASK_TERMINAL is 'colourful'; expected one of auto, plain, snakemake"):
        attach(fake_workflow(), STAGES, "tagmask")
    monkeypatch.delenv("TAGMASK_TERMINAL")
    job = fake_workflow()
    job.is_main_process = False
    assert attach(job, STAGES, "tagmask") is None
    handler = attach(fake_workflow(), STAGES, "tagmask")
    assert logger.handlers == [handler]
    handler.close()
    assert attach(fake_workflow(), STAGES, "tagmask") is None  # another logger is there


def test_a_stage_is_the_file_that_its_rules_stand_in():
    rules = [("a", "x", "/p/rules/images.smk"), ("all", None, "/p/Snakefile"), ("b", "y", "/p/Snakefile")]
    workflow = SimpleNamespace(rules=[SimpleNamespace(name=n, shellcmd=c, snakefile=f) for n, c, f in rules])
    assert stages_of_rules(workflow) == {"a": "images", "b": "settings"}
