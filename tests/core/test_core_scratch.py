"""Copies of images on a node's own disk: never a wrong file, and never a reason to stop but a folder that cannot be."""

import hashlib
import logging
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.images.loading import load_rgb
from stages.core.images.scratch import VARIABLE, Scratch, scratch_in_use
from stages.core.workflow.environment import environment
from tests.classifier.test_classifier_steps import CLASSES, TRAIN, fit, settings
from tests.core.full_disk import largest_file

DATA = b"an image" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


class Original:
    """A file that counts how often it is read."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data, self.reads = data, 0

    def __call__(self) -> bytes:
        self.reads += 1
        return self.data


def copies(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_an_image_is_read_once_from_where_it_is_and_then_from_its_copy(tmp_path):
    original = Original()
    for process in (Scratch(tmp_path / "s"), Scratch(tmp_path / "s")):
        assert process.read(DIGEST, original) == process.read(DIGEST, original) == DATA
    assert original.reads == 1
    (copy,) = copies(tmp_path)
    assert copy.read_bytes() == DATA


@pytest.mark.parametrize("damaged", [DATA[:-1], b"", DATA[:-1] + b"?"], ids=["cut off", "empty", "same size"])
def test_a_copy_that_is_not_what_was_listed_is_never_taken(tmp_path, damaged):
    original, scratch = Original(), Scratch(tmp_path)
    scratch.read(DIGEST, original)
    copies(tmp_path)[0].write_bytes(damaged)
    assert scratch.read(DIGEST, original) == DATA
    assert original.reads == 2
    assert copies(tmp_path)[0].read_bytes() == DATA


def test_what_has_changed_since_it_was_listed_is_given_as_without_scratch_and_not_kept(tmp_path):
    assert Scratch(tmp_path).read(DIGEST, Original(b"other")) == b"other"
    assert copies(tmp_path) == []


def test_processes_side_by_side_make_one_whole_copy(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: Scratch(tmp_path).read(DIGEST, Original()), range(64))) == {DATA}
    assert [path.name for path in copies(tmp_path)] == [DIGEST]


def test_a_full_disk_is_warned_of_once_and_all_is_read_from_where_it_is(tmp_path, caplog):
    scratch, small = Scratch(tmp_path), b"small"
    scratch.read(hashlib.sha256(small).hexdigest(), Original(small))
    with largest_file(100), caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert scratch.read(DIGEST, Original()) == DATA
    assert [record.getMessage() for record in caplog.records] == [
        f"scratch takes no more copies ({tmp_path}: File too large); all other images are read from where they are"
    ]
    assert [path.read_bytes() for path in copies(tmp_path)] == [small], "what did not fit is left"
    assert scratch.read(hashlib.sha256(small).hexdigest(), Original(b"")) == small
    assert scratch.read(DIGEST, Original()) == DATA
    assert len(copies(tmp_path)) == 1, "it was tried again"


def test_a_folder_that_cannot_be_is_refused_with_a_remedy(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "below"))
    with pytest.raises(
        ValueError, match=r"which cannot be made \(Not a directory\); name a folder that jobs may write"
    ):
        scratch_in_use().__enter__()


def test_variables_are_those_of_the_job(tmp_path, monkeypatch):
    """The shell line hands them on as they are written, whatever the driver has."""
    line = environment("/checkout", own_python=False, scratch="$OF_JOB/a b") + f'printf %s "${VARIABLE}"'
    said = subprocess.run(
        ["bash", "-c", line], env={"OF_JOB": "of the driver"}, capture_output=True, text=True, check=True
    )  # fmt: skip
    assert said.stdout == "$OF_JOB/a b"
    monkeypatch.setenv(VARIABLE, said.stdout)
    monkeypatch.delenv("OF_JOB", raising=False)
    with pytest.raises(ValueError, match=re.escape("scratch is $OF_JOB/a b, but this job has no variable OF_JOB")):
        scratch_in_use().__enter__()
    monkeypatch.setenv("OF_JOB", str(tmp_path))
    with scratch_in_use():
        assert (tmp_path / "a b").is_dir()
    assert VARIABLE not in environment("/checkout", own_python=False)


def write_files(folder: Path) -> Path:
    """A list of images that lie as files, some red and some green."""
    generator = np.random.default_rng(0)
    root = folder / "files"
    root.mkdir()
    header = {"classes": CLASSES, "category_ids": [1, 2], "name": "squares", "split": "train", "root": str(root)}
    with create(folder / "images.h5", ImageRecord, header=header, provenance=Provenance("t", None, 0, {})) as writer:
        for i in range(6):
            rgb = generator.integers(0, 90, (60, 80, 3)).astype(np.uint8)
            rgb[20:40, 20:40, i % 2] = 220
            Image.fromarray(rgb).save(root / f"{i}.png")
            data = (root / f"{i}.png").read_bytes()
            writer.append(
                ImageRecord(
                    image=f"p{i}", path=f"{i}.png", encoded=np.zeros(0, np.uint8), height=60, width=80,
                    file_size=len(data), digest=hashlib.sha256(data).hexdigest(), tags=np.arange(2) == i % 2, looked_at=True,
                )
            )  # fmt: skip
    return folder / "images.h5"


def test_a_training_reads_copies_and_gives_the_same_weights_byte_for_byte(tmp_path, monkeypatch):
    images, scratch = write_files(tmp_path), tmp_path / "scratch"
    chosen = settings(training={**TRAIN["training"], "steps": 4, "prefetch": 2})
    weights = [fit(tmp_path / "without", images, chosen).read_bytes()]
    assert not scratch.exists()
    monkeypatch.setenv("NODE", str(scratch))
    monkeypatch.setenv(VARIABLE, "$NODE")
    for name in ("first", "again"):
        weights.append(fit(tmp_path / name, images, chosen).read_bytes())
        assert len(copies(scratch)) == 6
    assert weights[0] == weights[1] == weights[2]
    for path in (tmp_path / "files").iterdir():
        path.unlink()
    assert fit(tmp_path / "gone", images, chosen).read_bytes() == weights[0], "an image was not read from its copy"


def test_what_is_no_training_makes_no_copies(tmp_path, monkeypatch):
    images = write_files(tmp_path)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "scratch"))
    with read(images, ImageRecord) as listing:
        load_rgb(listing[0], listing.header["root"])
    assert not (tmp_path / "scratch").exists()
