"""The step: what it writes, in which order, and that bad images stop it together."""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import read
from stages.core.images.loading import load_rgb
from stages.core.workflow import step
from stages.core.workflow.ahead import in_order
from stages.images.dataset import make_annotations
from stages.images.list_images import list_images
from stages.images.records import ground_truth_record

Save = Callable[..., None]


def folder_of(path: Path) -> dict[str, Any]:
    entry = {"images": str(path), "tags": None, "masks": None, "points": None}
    return {"classes": ["a"], "splits": {"train": entry}}


def test_shapes_are_listed_with_tags_masks_and_points(listing: Any) -> None:
    with listing("shapes") as made:
        assert made.images.header["name"] == "trial"
        assert made.images.header["split"] == "train"
        assert made.images.provenance["seed"] == 0
        assert len(made.images) == len(made.ground_truth) == len(made.points) == 6
        for image, ground_truth, points in zip(made.images, made.ground_truth, made.points, strict=True):
            rgb = load_rgb(image, made.images.header["root"])
            assert rgb.shape == (image.height, image.width, 3) == (*ground_truth.atoms.shape, 3)
            assert hashlib.sha256(image.encoded.tobytes()).hexdigest() == image.digest
            assert image.file_size == len(image.encoded)
            assert ground_truth.annotated
            assert np.flatnonzero(image.tags).tolist() == sorted(set(ground_truth.classes.tolist()))
            assert points.classes.tolist() == ground_truth.classes.tolist()
            assert np.all(np.diag(ground_truth.regions.holding(points.points)))


def test_images_hold_no_trace_of_annotations(listing: Any) -> None:
    with listing("shapes") as made, h5py.File(made.images.path, locking=False) as file:
        assert set(file) == {"image", "path", "encoded", "height", "width", "file_size", "digest", "tags", "looked_at"}


def test_equal_settings_give_equal_files(tmp_path: Path, listing: Any) -> None:
    def contents() -> list[bytes]:
        with listing("shapes"):
            return [path.read_bytes() for path in sorted((tmp_path / "made").iterdir())]

    assert contents() == contents()


@pytest.mark.parametrize("verify", ["full", "header"])
def test_bad_images_are_named_together(tmp_path: Path, refused: Any, save: Save, verify: str) -> None:
    for number in range(14):
        (tmp_path / f"{number:02d}.jpg").write_bytes(b"no image")
    save(tmp_path / "good.png", np.zeros((2, 2), np.uint8))
    message = refused("14 of 15 images cannot be used", "folder", verify=verify, **folder_of(tmp_path))
    assert message.count("cannot be decoded") == 10
    assert str(tmp_path / "00.jpg") in message
    assert message.endswith("and 4 more")


def test_a_truncated_image_is_found_by_full_verification_alone(
    tmp_path: Path, refused: Any, listing: Any, save: Save
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    save(tmp_path / "images" / "cut.jpg", noise)
    path = tmp_path / "images" / "cut.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    refused(r"cut\.jpg cannot be decoded", "folder", **folder_of(path.parent))
    with listing("folder", verify="header", **folder_of(path.parent)) as made:
        assert (made.images[0].height, made.images[0].width) == (40, 40)


def test_a_failure_leaves_an_older_listing_as_it_was(
    tmp_path: Path, listing: Any, settings_of: Any, save: Save
) -> None:
    with listing("shapes") as made:
        path, before = made.images.path, made.images.path.read_bytes()
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    chosen = settings_of("folder", **folder_of(tmp_path)).chosen("train")
    others = {"output_ground_truth": path.parent / "g.h5", "output_points": path.parent / "p.h5"}
    with pytest.raises(ValueError, match=r"bad\.jpg"):
        list_images(output_images=path, settings=chosen, split="train", threads=1, **others)
    assert path.read_bytes() == before
    assert not any(other.exists() for other in others.values())


def test_height_and_width_are_those_of_the_upright_image(tmp_path: Path, listing: Any) -> None:
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "p").mkdir()
    Image.new("RGB", (5, 3)).save(tmp_path / "p" / "turned.jpg", exif=exif)
    with listing("folder", **folder_of(tmp_path / "p")) as made:
        assert (made.images[0].height, made.images[0].width) == (5, 3)


def test_the_step_runs_from_its_command_line(tmp_path: Path, settings_of: Any, capsys: Any) -> None:
    settings = settings_of("shapes").chosen("val").canonical()
    names = ("images", "ground-truth", "points")
    outputs = [word for name in names for word in (f"--output-{name}", str(tmp_path / f"{name}.h5"))]
    step.run(list_images, [*outputs, "--settings", settings, "--split", "val", "--threads", "1"])
    with read(tmp_path / "images.h5", ImageRecord) as images:
        assert images.header["split"] == "val"
        assert len(images) == 3


@settings(max_examples=40)
@given(masks=hnp.arrays(bool, st.tuples(st.integers(0, 5), st.just(4), st.just(5))), void=hnp.arrays(bool, (4, 5)))
def test_instances_and_void_survive_their_storage(masks: np.ndarray, void: np.ndarray) -> None:
    count = len(masks)
    ground_truth = make_annotations(list(masks), list(range(count)), list(range(count)), shape=(4, 5), void=void)
    record: GroundTruth = ground_truth_record("a", ground_truth, 4, 5)
    np.testing.assert_array_equal(record.regions.masks(), masks)
    np.testing.assert_array_equal(record.void_mask, void)


def test_results_come_in_order_and_only_a_few_are_ahead() -> None:
    started, consumed, lock = 0, 0, threading.Lock()
    most_ahead = 0

    def work(item: int) -> int:
        nonlocal started, most_ahead
        with lock:
            started += 1
            most_ahead = max(most_ahead, started - consumed)
        time.sleep(0.001 * (item % 3))
        return item

    for expected, found in enumerate(in_order(work, range(100), threads=3)):
        assert found == expected
        with lock:
            consumed += 1
    assert consumed == 100
    assert most_ahead <= 12


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user who is refused by permissions")
def test_an_image_that_may_not_be_read_is_named(tmp_path: Path, refused: Any, save: Save) -> None:
    save(tmp_path / "locked.png", np.zeros((2, 2), np.uint8))
    (tmp_path / "locked.png").chmod(0)
    refused(r"locked\.png cannot be read", "folder", **folder_of(tmp_path))


def test_a_class_that_no_image_is_tagged_with_is_warned_of(
    tmp_path: Path, save: Save, listing: Any, caplog: Any
) -> None:
    save(tmp_path / "images" / "a.png", np.zeros((2, 2, 3), np.uint8))
    (tmp_path / "tags.csv").write_text("image,tags\na.png,cat\n")
    entry = {"images": str(tmp_path / "images"), "tags": str(tmp_path / "tags.csv"), "masks": None, "points": None}
    with listing("folder", classes=["cat", "cow", "dog"], splits={"train": entry}):
        assert (
            "no image of this split is tagged with cow, dog: nothing is learned of what no image shows" in caplog.text
        )
    caplog.clear()
    with listing("folder", classes=["cat"], splits={"train": entry | {"tags": None}}):
        assert "is tagged with" not in caplog.text
