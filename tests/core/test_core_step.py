import json
import logging
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stages.core.artifacts.records import MissingImage
from stages.core.config.section import Section
from stages.core.workflow import step

ROOT = Path(__file__).parents[2]


class Colours(Section):
    red: int
    name: str


def test_the_command_line_follows_the_signature(tmp_path):
    calls = []

    def paint(
        *, image: Path, labels: Path | None, parts: list[Path], settings: Colours, ratio: float, fast: bool
    ) -> None:
        """Paint."""
        calls.append((image, labels, parts, settings, ratio, fast))

    settings = Colours(red=3, name='it\'s "quoted" & $HOME {x}')
    arguments = ["--image", "i.h5", "--labels", "--parts", "a", "b", "--settings", settings.canonical()]
    step.run(paint, [*arguments, "--ratio", "0.5", "--fast", "true", "--log", str(tmp_path / "log" / "l.log")])
    assert calls == [(Path("i.h5"), None, [Path("a"), Path("b")], settings, 0.5, True)]
    assert "paint done in" in (tmp_path / "log" / "l.log").read_text()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        pytest.param({"red": 1}, "name", id="missing"),
        pytest.param({"red": 1, "name": "x", "blue": 2}, "blue", id="unknown"),
        pytest.param({"red": "1", "name": "x"}, "red", id="type"),
    ],
)
def test_bad_settings_stop_before_the_step(capsys, settings, message):
    def paint(*, settings: Colours) -> None:
        """Paint."""
        raise AssertionError

    with pytest.raises(SystemExit):
        step.run(paint, ["--settings", json.dumps(settings)])
    assert message in capsys.readouterr().err


def test_an_error_of_the_input_is_one_line_and_fails_the_step(tmp_path, capsys):
    def paint(*, image: Path) -> None:
        """Paint."""
        raise ValueError(f"{image} is empty, expected an image; remove it")

    log = tmp_path / "l.log"
    with pytest.raises(SystemExit) as caught:
        step.run(paint, ["--image", "x.png", "--log", str(log)])
    assert caught.value.code == 1
    assert re.search(r"paint stopped: x\.png is empty", log.read_text())
    assert "Traceback" not in log.read_text()


def test_an_error_of_ours_keeps_its_traceback(tmp_path):
    def paint(*, image: Path) -> None:
        """Paint."""
        raise KeyError(image)

    log = tmp_path / "l.log"
    with pytest.raises(SystemExit):
        step.run(paint, ["--image", "x.png", "--log", str(log)])
    assert "Traceback" in log.read_text()


@pytest.mark.parametrize(("seconds", "text"), [(8.25, "8.2s"), (59.4, "59.4s"), (245, "4m05s"), (7980, "2h13m")])
def test_durations_are_for_people(seconds, text):
    assert step.clock(seconds) == text


def test_progress_passes_everything_on(caplog):
    with caplog.at_level(logging.INFO):
        assert list(step.progress(iter("abc"), total=3, label="letters")) == ["a", "b", "c"]
    assert "letters: 3 in" in caplog.text


def test_help_needs_no_heavy_library(project_root):
    code = "import sys, stages.project.project, stages.core.workflow.digest; print(sorted({'torch','timm','cv2','numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=project_root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("rank", "written"), [("0", True), ("1", False)])
def test_of_several_processes_the_first_writes_the_log(tmp_path, monkeypatch, rank, written):
    monkeypatch.setenv("RANK", rank)
    log = tmp_path / "l.log"

    def paint(*, image: Path) -> None:
        """Paint."""

    step.run(paint, ["--image", "x.png", "--log", str(log)])
    assert log.exists() == written


def test_an_image_that_an_artifact_lacks_is_an_error_of_the_input(tmp_path):
    def paint(*, image: Path) -> None:
        """Paint."""
        raise MissingImage(f"{image} has no image 'p'; remake it")

    log = tmp_path / "l.log"
    with pytest.raises(SystemExit):
        step.run(paint, ["--image", "x.h5", "--log", str(log)])
    assert "paint stopped: x.h5 has no image 'p'; remake it" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_the_peak_of_memory_is_that_of_the_program_not_of_what_started_it():
    """A program is started by a fork, and the resources of the process that forked are counted as its own."""
    code = "from stages.core.workflow.step import peak_megabytes; print(peak_megabytes())"
    large = f"import os, sys; held = bytearray(400 << 20); os.execv(sys.executable, [sys.executable, '-c', {code!r}])"
    done = subprocess.run([sys.executable, "-c", large], capture_output=True, text=True, check=True, cwd=ROOT)
    assert 5 < float(done.stdout) < 350
    growing = code.replace("print", "held = bytearray(400 << 20); del held; print")
    done = subprocess.run([sys.executable, "-c", growing], capture_output=True, text=True, check=True, cwd=ROOT)
    assert float(done.stdout) > 400
