"""The view of real runs of the graph, in a terminal and without one."""

import re
import sys

import pytest

from tests.pipeline.conftest import ROOT
from tests.project.terminal_screen import Screen, in_terminal

TARGETS = ["results/toy/val/images.h5", "results/toy/train/images.h5"]


def command(*arguments):
    start = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-c1", *arguments]
    profile = ["--workflow-profile", str(ROOT / "profiles" / "default")]
    return [*start, *profile, "--configfile", str(ROOT / "tests" / "pipeline" / "toy.yaml")]


def test_on_a_terminal_the_view_goes_and_what_matters_stays(tmp_path):
    code, written = in_terminal(command(*TARGETS), cwd=tmp_path)
    screen = Screen().feed(written)
    assert code == 0, written
    assert re.search(r"tagmask toy.*stage 1 of 1.*0 of 2 jobs", written)
    assert re.search(r"list_images (val|train).*since", written)
    lines = [line for line in screen.text.splitlines() if line]
    (end,) = [i for i, line in enumerate(lines) if line.startswith("✓ 2 jobs done in")]
    assert lines[end - 1].startswith("✓ images: 2 jobs in")
    assert lines[end + 1].split() == ["stage", "time", "memory", "steps", "slowest"]
    assert lines[end + 2].split()[0] == "images" and screen.cursor_shown
    assert not re.search("since|stage 1 of|Select jobs|Shell command|SNAKEMAKE", screen.text)


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"NO_COLOR": "1"}, {"TAGMASK_TERMINAL": "plain"}], ids=str)
def test_plain_lines_have_no_escape_sequences(tmp_path, environment):
    code, written = in_terminal(command(TARGETS[0]), cwd=tmp_path, environment=environment)
    assert code == 0
    run = written[written.index("tagmask toy: 1 job in 1 stage") :]
    assert "\x1b" not in run
    assert re.search(r"^\d\d:\d\d:\d\d start list_images val\r?$", run, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d done list_images val in .*, 1 of 1 jobs\r?$", run, re.MULTILINE)
    assert run.count("5 images, tagged") == 1  # the step's own line and that of its log are one


def test_a_job_that_fails_is_shown_with_its_log(tmp_path):
    overlay = tmp_path / "lost.yaml"
    splits = ", ".join(f"{split}: {{images: nowhere, tags: tags.csv}}" for split in ("train", "val"))
    overlay.write_text(f"images: {{kind: folder, classes: [cat], folder: {{splits: {{{splits}}}}}}}")
    (tmp_path / "tags.csv").write_text("image,tags\na,cat\n")
    code, written = in_terminal([*command(TARGETS[0]), str(overlay)], cwd=tmp_path)
    screen = Screen().feed(written)
    assert code == 1 and screen.cursor_shown, written
    assert "✗ list_images val failed after" in screen.text
    assert "the end of its log results/toy/logs/list_images.val.log:" in screen.text
    assert "list_images stopped: " in screen.text and "nowhere" in screen.text
    assert "✗ 1 of 1 job failed: list_images val" in screen.text
    assert "CalledProcessError" not in screen.text and "since" not in screen.text


def test_ctrl_c_leaves_the_terminal_clean(tmp_path):
    code, written = in_terminal(command(TARGETS[0]), cwd=tmp_path, interrupt_at="since")
    screen = Screen().feed(written)
    assert code != 0 and screen.cursor_shown
    assert "stopped, with 1 job at work: list_images val" in screen.text
    assert "Traceback" not in screen.text and "since" not in screen.text and "failed" not in screen.text


@pytest.mark.parametrize(
    ("option", "said"), [("-n", "rule list_images:"), ("--quiet", "Job stats"), ("--summary", "output_file")]
)
def test_snakemakes_own_output_stays_where_somebody_asks_for_it(tmp_path, option, said):
    code, written = in_terminal(command(TARGETS[0], option), cwd=tmp_path)
    assert code == 0 and "since" not in written and "tagmask toy" not in written
    assert said in written or option == "--quiet"
