import dataclasses
import errno
import fcntl
import os
import resource
from pathlib import Path
from typing import ClassVar

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stages.core.artifacts import files
from stages.core.artifacts.kinds import read_any
from stages.core.artifacts.points import Points
from stages.core.artifacts.records import MissingImage, Record, array, check_record_class, text
from stages.core.artifacts.storage import Provenance, create, read

MADE = Provenance(step="test", settings={"a": 1}, seed=7, inputs={})


@dataclasses.dataclass(frozen=True, eq=False)
class Sample(Record):
    KIND: ClassVar[str] = "sample"
    SCHEMA: ClassVar[int] = 2
    image: str = text("id")
    pixels: np.ndarray = array("uint8", "height", "width", about="grey")
    weights: np.ndarray = array("float32", "height", about="of each row")
    boxes: np.ndarray = array("int32", "boxes", 4, about="boxes")
    score: float = array("float64", about="one number")


def sample(name, height=2, width=3, boxes=1, score=0.5):
    return Sample(
        image=name,
        pixels=np.arange(height * width, dtype=np.uint8).reshape(height, width),
        weights=np.linspace(0, 1, height, dtype=np.float32),
        boxes=np.arange(4 * boxes, dtype=np.int32).reshape(boxes, 4),
        score=score,
    )


def write(path, records, record=Sample, header=None):
    with create(path, record, header=header or {"classes": ["a"]}, provenance=MADE) as writer:
        for entry in records:
            writer.append(entry)


@settings(max_examples=25, deadline=None)
@given(images=st.lists(hnp.arrays(np.uint8, st.tuples(st.integers(0, 5), st.integers(0, 5))), min_size=0, max_size=6))
def test_ragged_arrays_come_back_as_they_were(tmp_path_factory, images):
    path = tmp_path_factory.mktemp("ragged") / "a.h5"
    records = [
        Sample(
            image=f"p{i}",
            pixels=pixels,
            weights=np.full(pixels.shape[0], i, np.float32),
            boxes=np.full((i, 4), i, np.int32),
            score=i,
        )
        for i, pixels in enumerate(images)
    ]
    write(path, records)
    with read(path, Sample) as artifact:
        assert artifact.ids == [record.image for record in records]
        for found, wanted in zip(artifact, records, strict=True):
            for field in dataclasses.fields(Sample):
                np.testing.assert_array_equal(getattr(found, field.name), getattr(wanted, field.name))
                assert np.asarray(getattr(found, field.name)).shape == np.asarray(getattr(wanted, field.name)).shape


def test_equal_content_gives_equal_bytes_and_other_content_another_fingerprint(tmp_path):
    prints = []
    for name, score in (("a.h5", 0.5), ("b.h5", 0.5), ("c.h5", 0.25)):
        write(tmp_path / name, [sample("p", score=score)])
        with read(tmp_path / name, Sample) as artifact:
            prints.append(artifact.fingerprint)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert prints[0] == prints[1] != prints[2]


def test_provenance_names_step_settings_seed_and_inputs(tmp_path):
    write(tmp_path / "a.h5", [sample("p")])
    with read(tmp_path / "a.h5", Sample) as source:
        made = Provenance(step="second", settings={"b": 2}, seed=None, inputs={"source": source})
        with create(tmp_path / "b.h5", Sample, header={}, provenance=made):
            pass
        with read(tmp_path / "b.h5", Sample) as artifact:
            assert artifact.provenance == {
                "step": "second",
                "settings": {"b": 2},
                "seed": -1,
                "inputs": {"source": {"kind": "sample", "fingerprint": source.fingerprint}},
            }


def test_file_describes_itself_to_plain_h5py(tmp_path):
    write(tmp_path / "a.h5", [sample("p", 2, 3), sample("q", 4, 1)])
    with h5py.File(tmp_path / "a.h5") as file:
        start, end = file["pixels/offsets"][1:3]
        pixels = file["pixels/values"][start:end].reshape(file["pixels/shapes"][1])
        assert pixels.tolist() == [[0], [1], [2], [3]]
        assert file["pixels"].attrs["about"] == "grey"
        assert file.attrs["kind"] == "sample"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"pixels": np.zeros((2, 3))}, "expected uint8", id="dtype"),
        pytest.param({"pixels": np.zeros(6, np.uint8)}, "1 axes", id="axes"),
        pytest.param({"weights": np.zeros(3, np.float32)}, "axis 'height' is 3 long, expected 2", id="agreement"),
        pytest.param({"boxes": np.zeros((1, 5), np.int32)}, "expected 4", id="fixed axis"),
        pytest.param({"image": 3}, "expected a string", id="text"),
    ],
)
def test_records_refuse_arrays_that_do_not_fit(change, message):
    fields = {field.name: getattr(sample("p"), field.name) for field in dataclasses.fields(Sample)}
    with pytest.raises(ValueError, match=message):
        Sample(**{**fields, **change})


def test_records_must_declare_everything():
    @dataclasses.dataclass(frozen=True, eq=False)
    class Undeclared(Record):
        image: str = text("id")

    with pytest.raises(TypeError, match="KIND"):
        check_record_class(Undeclared)


def test_an_image_twice_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="'p' occurs twice"):
        write(tmp_path / "a.h5", [sample("p"), sample("p")])
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_writing_keeps_the_older_artifact(tmp_path):
    path = tmp_path / "a.h5"
    write(path, [sample("old")])
    with pytest.raises(RuntimeError), create(path, Sample, header={}, provenance=MADE) as writer:
        writer.append(sample("new"))
        raise RuntimeError
    with read(path, Sample) as artifact:
        assert artifact.ids == ["old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.h5"]


def test_a_full_disk_leaves_nothing_and_says_so(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="disk is full.*free some space"):
        write(tmp_path / "a.h5", [sample("p")])
    assert list(tmp_path.iterdir()) == []


def test_a_really_full_disk_leaves_nothing():
    device = Path("/dev/full")
    if not device.exists():
        pytest.skip("no /dev/full here")
    with device.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        file.write(b"x")


def cut_off(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def no_hdf5(path):
    path.write_text("hello")


def unmarked(path):
    path.unlink()
    with h5py.File(path, "w") as file:
        file["x"] = 1


def older(path):
    with h5py.File(path, "a") as file:
        file.attrs["schema"] = 1


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(cut_off, "was cut off", id="cut off"),
        pytest.param(no_hdf5, "no HDF5 file", id="no HDF5"),
        pytest.param(unmarked, "no tagmask artifact", id="foreign HDF5"),
        pytest.param(older, "schema 1 .*expected 2; remove it and run again", id="older schema"),
    ],
)
def test_a_damaged_artifact_is_refused_with_its_name_and_a_remedy(tmp_path, damage, message):
    path = tmp_path / "a.h5"
    write(path, [sample("p")])
    damage(path)
    with pytest.raises(ValueError, match=message) as caught, read(path, Sample):
        pass
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EAGAIN, errno.ESTALE, errno.EIO])
def test_a_failing_file_system_is_no_reason_to_remove_a_file(tmp_path, monkeypatch, number):
    write(tmp_path / "a.h5", [sample("p")])

    def failing(*_, **__):
        raise OSError(number, "Unable to synchronously open file (unable to lock file)")

    monkeypatch.setattr(h5py, "File", failing)
    expected = rf"a\.h5 could not be read \({os.strerror(number)}\), but may be whole; keep it"
    for opened in (lambda: read(tmp_path / "a.h5", Sample), lambda: read_any(tmp_path / "a.h5")):
        with pytest.raises(OSError, match=expected) as caught, opened():
            pass
        assert caught.value.errno == number
        assert "remove" not in str(caught.value)


def test_files_are_read_and_written_where_locks_fail(tmp_path, monkeypatch):
    """HDF5 would ask for a lock that somebody else has, and give up."""
    monkeypatch.delenv("HDF5_USE_FILE_LOCKING", raising=False)
    path = tmp_path / "a.h5"
    write(path, [sample("p")])
    with path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError):
            h5py.File(path, "r")
        with read(path, Sample) as artifact:
            assert artifact.ids == ["p"]
        write(path, [sample("q")])
    with read(path, Sample) as artifact:
        assert artifact.ids == ["q"]


def without_values(file):
    del file["pixels/values"]


def without_a_field(file):
    del file["boxes"]


def without_shapes(file):
    del file["weights/shapes"]


def without_header(file):
    del file.attrs["header"]


def header_of_a_number(file):
    file.attrs["header"] = 3


def header_of_a_list(file):
    file.attrs["header"] = "[]"


def header_that_is_deep(file):
    file.attrs["header"] = "[" * 30_000


def header_of_no_json(file):
    file.attrs["header"] = "{"


def schema_of_text(file):
    file.attrs["schema"] = "new"


def other_type(file):
    values = file["pixels/values"][:].astype(np.float64)
    del file["pixels/values"]
    file["pixels/values"] = values


def a_group_for_values(file):
    del file["score/values"]
    file.create_group("score/values")


def too_few(file):
    file["score/values"].resize(1, axis=0)


def cut_otherwise(file):
    file["pixels/offsets"][1] = 5


def negative_sides(file):
    file["pixels/shapes"][0] = (-2, -3)


def other_fixed_axis(file):
    file["boxes/shapes"][0] = (2, 2)


def wrapping_sides(file):
    """Whose product is 6 modulo 2^64 for int64 and for int32."""
    file["pixels/shapes"][0] = (2**31 - 1, 2**31 - 1)


def ids_twice(file):
    file["image/values"][1] = "p"


def ids_of_numbers(file):
    del file["image/values"]
    file["image/values"] = np.arange(2)


@pytest.mark.parametrize(
    "damage",
    [
        without_values, without_a_field, without_shapes, without_header, header_of_a_number, header_of_a_list,
        header_that_is_deep, header_of_no_json, schema_of_text, other_type, a_group_for_values, too_few, cut_otherwise,
        negative_sides, other_fixed_axis, wrapping_sides, ids_twice, ids_of_numbers,
    ],
)  # fmt: skip
def test_an_artifact_that_is_not_as_its_kind_says_is_refused_when_it_is_opened(tmp_path, damage):
    path = tmp_path / "a.h5"
    write(path, [sample("p"), sample("q")])
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(ValueError, match=r"is damaged .*; remove it and run again") as caught, read(path, Sample):
        pass
    assert str(path) in str(caught.value)


def test_damaged_values_are_refused_when_they_are_read(tmp_path):
    """A block that deflate cannot unpack, between others that it can."""
    path = tmp_path / "a.h5"
    write(path, [sample("p"), sample("q")])
    with h5py.File(path, "a") as file:
        file["pixels/values"].id.write_direct_chunk((0,), b"no block of deflate")
    with read(path, Sample) as artifact:
        assert artifact.field(0, "score") == 0.5
        with pytest.raises(ValueError, match=r"a\.h5 is damaged .*; remove it and run again"):
            artifact[0]
        with pytest.raises(IndexError):
            artifact[2]


def test_another_kind_is_refused(tmp_path):
    write(tmp_path / "a.h5", [sample("p")])
    with pytest.raises(ValueError, match="kind 'sample', expected 'points'"), read(tmp_path / "a.h5", Points):
        pass


def test_a_missing_artifact_says_how_to_make_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; run `snakemake"), read(tmp_path / "a.h5", Sample):
        pass


def test_unknown_image_names_the_file(tmp_path):
    write(tmp_path / "a.h5", [sample("p")])
    with read(tmp_path / "a.h5", Sample) as artifact, pytest.raises(MissingImage, match=r"a\.h5 has no image 'q'"):
        artifact.find("q")


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    points = np.zeros((3, 2), np.int32)
    classes = np.zeros(3, np.int32)

    def entries(count):
        return (Points(image=f"{i:012d}", points=points, classes=classes) for i in range(count))

    write(tmp_path / "small.h5", entries(2_000), Points)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write(tmp_path / "large.h5", entries(100_000), Points)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 60  # MB; the ids alone, kept to refuse duplicates, are about 15
    with read(tmp_path / "large.h5", Points) as artifact:
        assert len(artifact) == 100_000
        assert artifact[99_999].image == "000000099999"


@dataclasses.dataclass(frozen=True, eq=False)
class WithOptional(Record):
    KIND: ClassVar[str] = "sample"
    SCHEMA: ClassVar[int] = 2
    image: str = text("id")
    scores: np.ndarray = array("float32", "boxes", about="scores")
    boxes: np.ndarray | None = array("int32", "boxes", 4, about="boxes", optional=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Without(Record):
    KIND: ClassVar[str] = "sample"
    SCHEMA: ClassVar[int] = 2
    image: str = text("id")
    scores: np.ndarray = array("float32", "boxes", about="scores")


def scored(name, count, *, boxes=False):
    own = np.arange(4 * count, dtype=np.int32).reshape(count, 4) if boxes else None
    return WithOptional(image=name, scores=np.zeros(count, np.float32), boxes=own)


def test_an_optional_field_is_none_where_the_file_lacks_it(tmp_path):
    """A file from before the field is the same file, and is read."""
    write(tmp_path / "old.h5", [Without(image="a", scores=np.zeros(2, np.float32))], Without)
    write(tmp_path / "new.h5", [scored("a", 2)], WithOptional)
    with read(tmp_path / "old.h5", WithOptional) as old, read(tmp_path / "new.h5", WithOptional) as new:
        assert old.fingerprint == new.fingerprint
        assert old[0].boxes is new[0].boxes is old.field(0, "boxes") is None
        assert old[0].scores.tolist() == [0, 0]
    with read(tmp_path / "new.h5", Without) as other:
        assert other.ids == ["a"]


def test_an_optional_field_comes_back_and_is_part_of_the_fingerprint(tmp_path):
    write(tmp_path / "a.h5", [scored("a", 2, boxes=True), scored("b", 0, boxes=True)], WithOptional)
    write(tmp_path / "b.h5", [scored("a", 2), scored("b", 0)], WithOptional)
    with read(tmp_path / "a.h5", WithOptional) as given, read(tmp_path / "b.h5", WithOptional) as without:
        assert [record.boxes.shape for record in given] == [(2, 4), (0, 4)]
        assert given[0].boxes[1].tolist() == [4, 5, 6, 7]
        assert given.fingerprint != without.fingerprint


@pytest.mark.parametrize("first", [True, False])
def test_records_that_differ_in_an_optional_field_are_refused(tmp_path, first):
    with pytest.raises(ValueError, match="image 'b' and those before it differ in whether they give boxes"):
        write(tmp_path / "a.h5", [scored("a", 2, boxes=first), scored("b", 2, boxes=not first)], WithOptional)
    assert not (tmp_path / "a.h5").exists()


def test_an_optional_field_is_checked_as_any_other(tmp_path):
    with pytest.raises(ValueError, match="axis 'boxes' is 1 long, expected 2"):
        WithOptional(image="a", scores=np.zeros(2, np.float32), boxes=np.zeros((1, 4), np.int32))


def test_a_file_of_no_record_has_the_fields_that_are_not_optional(tmp_path):
    write(tmp_path / "a.h5", [], WithOptional)
    with read(tmp_path / "a.h5", WithOptional) as empty:
        assert len(empty) == 0
