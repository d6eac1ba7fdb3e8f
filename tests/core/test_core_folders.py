"""Folders that appear whole or not at all."""

import errno

import pytest

from stages.core.artifacts.folders import file_in, whole_folder


def test_a_folder_appears_with_all_its_files(tmp_path):
    with whole_folder(tmp_path / "new" / "out") as folder:
        file_in(folder, "a/b.c", ".png").write_text("x")
        assert not (tmp_path / "new" / "out").exists()
    assert (tmp_path / "new" / "out" / "a" / "b.c.png").read_text() == "x"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_an_older_folder_is_replaced_whole(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("x")
    with whole_folder(out) as folder:
        (folder / "new").write_text("y")
    assert [path.name for path in out.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_error_leaves_the_older_folder_and_nothing_else(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").write_text("x")
    with pytest.raises(ValueError, match="stop"), whole_folder(out) as folder:
        (folder / "new").write_text("y")
        raise ValueError("stop")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]


def test_a_full_disk_is_said(tmp_path):
    with (
        pytest.raises(OSError, match="out: the disk is full, nothing was written there"),
        whole_folder(tmp_path / "out"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
