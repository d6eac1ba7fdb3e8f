"""A disk that is full at any point of any write: one message, the older file kept, nothing left, no process that dies."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from stages.core.artifacts import storage
from stages.core.artifacts.disk import NotingFile, is_full
from stages.core.artifacts.files import write_text
from stages.core.networks import weights
from tests.core.full_disk import KINDS, SHARES, largest_file, write_artifact

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))  # noqa: PTH120


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_one_message_and_leaves_the_older_file(kind, tmp_path):
    command = [sys.executable, "-m", "tests.core.full_disk", kind, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    trials = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(trials) == len(SHARES)
    for trial in trials:
        assert trial["error"] == "OSError", trial
        assert f"{tmp_path}/" in trial["text"], trial
        assert "the disk is full, nothing was written there; free some space" in trial["text"], trial
        assert trial["kept"], trial
        assert len(trial["left"]) == 1, trial


def test_a_file_that_hdf5_damages_in_silence_gets_no_name(tmp_path, monkeypatch):
    """What is written last is lost without an error."""

    class Loses(NotingFile):
        def write(self, buffer):
            return len(buffer) if self.tell() > 100_000 else super().write(buffer)

    monkeypatch.setattr(storage, "NotingFile", Loses)
    with pytest.raises((ValueError, OSError)):
        write_artifact(tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_values_that_came_out_otherwise_are_noticed_by_their_digest(tmp_path, monkeypatch):
    extend = storage._extend

    def changed(dataset, values):
        changed = values.copy()
        if dataset.name == "/classes/values":
            changed[7] += 1
        extend(dataset, changed)

    monkeypatch.setattr(storage, "_extend", changed)
    with pytest.raises(ValueError, match="does not hold what was written"):
        write_artifact(tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_came_out_otherwise_get_no_name(tmp_path, monkeypatch):
    import safetensors.torch
    import torch

    save = safetensors.torch.save_file

    def changed(tensors, path, metadata):
        save({name: tensor + 1 for name, tensor in tensors.items()}, path, metadata)

    weights.save_tensors(tmp_path / "fine", {"a": torch.tensor([float("nan"), 1.0]), "b": torch.tensor(3)}, {})
    monkeypatch.setattr(safetensors.torch, "save_file", changed)
    with pytest.raises(ValueError, match="does not hold what was written"):
        weights.save_tensors(tmp_path / "w", {"a": torch.zeros(2)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["fine"]


def test_text_that_came_out_otherwise_gets_no_name(tmp_path, monkeypatch):
    from pathlib import Path

    monkeypatch.setattr(Path, "read_bytes", lambda self: b"<p")
    with pytest.raises(OSError, match="does not hold what was written"):
        write_text(tmp_path / "a.html", "<p>")
    assert list(tmp_path.iterdir()) == []


def test_a_noting_file_reads_what_the_disk_did_not_take(tmp_path):
    """As a file in memory would, whatever was written where, with a limit in the middle."""
    draw = np.random.default_rng(0)
    for trial in range(50):
        expected = io.BytesIO()
        with largest_file(int(draw.integers(0, 3000))), NotingFile(tmp_path / f"{trial}") as file:
            for _ in range(20):
                data, at = draw.bytes(int(draw.integers(1, 400))), int(draw.integers(0, 3000))
                for target in (file, expected):
                    target.seek(at)
                    target.write(data)
                at = int(draw.integers(0, 3000))
                for target in (file, expected):
                    target.seek(at)
                assert file.read(500) == expected.read(500)
                assert file.tell() == expected.tell()
            assert file.seek(0, os.SEEK_END) == expected.seek(0, os.SEEK_END)
            file.error = None  # the file's end is another test's


def test_the_error_of_a_noting_file_waits_for_its_end(tmp_path):
    with pytest.raises(OSError, match="File too large") as caught, largest_file(10), NotingFile(tmp_path / "a") as file:
        file.write(b"x" * 11)
        with pytest.raises(OSError, match="File too large"):
            file.check()
        raise RuntimeError("whatever the library says")
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert is_full(caught.value)
