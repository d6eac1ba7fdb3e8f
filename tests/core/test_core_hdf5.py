"""HDF5 that reads other files, holds itself, or declares more than it can hold is refused before it is read."""

import time

import h5py
import numpy as np
import pytest

from stages.core.artifacts import hdf5
from stages.core.artifacts.hdf5 import naming, open_hdf5
from stages.core.artifacts.points import Points
from stages.core.artifacts.storage import Provenance, create, read


def soft_link(file, folder):
    file["other"] = h5py.SoftLink("/elsewhere")


def external_link(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = np.arange(3)
    file["other"] = h5py.ExternalLink("other.h5", "/x")


def external_storage(file, folder):
    (folder / "secret").write_bytes(b"x" * 100)
    file.create_dataset("other", (100,), "u1", external=[(str(folder / "secret"), 0, 100)])


def virtual(file, folder):
    with h5py.File(folder / "other.h5", "w") as other:
        other["x"] = np.arange(3)
    layout = h5py.VirtualLayout((3,), "i8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "x", (3,))
    file.create_virtual_dataset("other", layout)


def holds_itself(file, folder):
    file.create_group("inner")["again"] = file


def deep(file, folder):
    group = file
    for _ in range(3000):
        group = group.create_group("x")


def huge(file, folder):
    file.create_dataset("other", (3000, 1000, 3_000_000), "u1", chunks=(1, 1000, 1000), compression=4)


def huge_unpacked(file, folder):
    file.create_dataset("other", (3000, 3_000_000), "u1")


def huge_chunks(file, folder):
    file.create_dataset("other", (1,), "u1", maxshape=(None,), chunks=(4_000_000_000,), compression=4)


def packed_twice(file, folder):
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((1000,))
    for _ in range(2):
        made.set_deflate(9)
    space = h5py.h5s.create_simple((1000,))
    h5py.h5d.create(file.id, b"other", h5py.h5t.NATIVE_UINT8, space, made)


def plugin(file, folder):
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_chunk((1000,))
    made.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    space = h5py.h5s.create_simple((1000,))
    h5py.h5d.create(file.id, b"other", h5py.h5t.NATIVE_UINT8, space, made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(soft_link, "link at '/other'", id="soft link"),
        pytest.param(external_link, "link at '/other'", id="external link"),
        pytest.param(external_storage, "data lie in other files", id="external storage"),
        pytest.param(virtual, "data lie in other files", id="virtual dataset"),
        pytest.param(holds_itself, "group '/inner/again' that is or holds another one again", id="a group in itself"),
        pytest.param(deep, "more than 32 groups within each other", id="3,000 groups deep"),
        pytest.param(huge, r"declares 9 TB in '/other', but can hold", id="9 TB"),
        pytest.param(huge_unpacked, r"declares 9 GB in '/other', but can hold", id="9 GB without chunks"),
        pytest.param(huge_chunks, r"chunks of 4 GB in '/other'", id="chunks of 4 GB"),
        pytest.param(packed_twice, "packed twice", id="deflated twice"),
        pytest.param(plugin, r"filters \[32015\]", id="a filter of a plugin"),
    ],
)
def test_what_no_file_should_do_is_refused(tmp_path, change, message):
    path = tmp_path / "a.h5"
    with create(path, Points, header={}, provenance=Provenance("test", None, None, {})):
        pass
    with h5py.File(path, "a") as file:
        change(file, tmp_path)
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as caught, open_hdf5(path, remedy="fetch it again"):
        pass
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).endswith("fetch it again")
    with pytest.raises(ValueError, match=message), read(path, Points):
        pass
    assert time.perf_counter() - start < 5


def test_links_of_artifacts_are_not_followed_to_look_at_them(tmp_path):
    """A field that is a link elsewhere is refused, though what it leads to has the right form."""
    path = tmp_path / "a.h5"
    with create(path, Points, header={}, provenance=Provenance("test", None, None, {})):
        pass
    with h5py.File(path, "a") as file:
        file.move("points/values", "points/own")
        file["points/values"] = h5py.SoftLink("/points/own")
    with pytest.raises(ValueError, match="link at '/points/values'"), read(path, Points):
        pass


def test_no_library_of_filters_is_found_any_more(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
    h5py.h5pl.append(b"/somewhere")
    with open_hdf5(tmp_path / "a.h5", remedy="r") as file:
        assert file["x"][()] == 1
    assert h5py.h5pl.size() == 0


def test_what_is_well_formed_is_read(tmp_path):
    """Datasets that several links name, of nothing, and that deflate packs a thousandfold."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset(
            "zeros", (3000, 4000), "u1", chunks=(1000, 1000), compression=9, data=np.zeros((3000, 4000))
        )
        file["again"] = file["zeros"]
        file.create_dataset("none", (0, 7), "f8")
        file.create_dataset("growing", (0,), "f8", maxshape=(None,), chunks=(1024,))
    with open_hdf5(tmp_path / "a.h5", remedy="r") as file:
        assert not file["again"][()].any()


def test_an_error_in_what_reads_the_file_is_not_taken_for_damage(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(KeyError, match="mine"), open_hdf5(tmp_path / "a.h5", remedy="r"):
        raise KeyError("mine")
    with (
        pytest.raises(ValueError, match=r"a\.h5 is damaged \(KeyError: 'x'\); r"),
        naming(tmp_path / "a.h5", remedy="r"),
    ):
        raise KeyError("x")


def test_sizes_are_for_people():
    assert [hdf5.size_of(n) for n in (0, 999, 1000, 9 * 10**12)] == ["0 bytes", "999 bytes", "1 KB", "9 TB"]


def test_a_heap_of_texts_without_end_is_refused(tmp_path):
    """An object of size 0 in the heap, for which HDF5 never returns."""
    path = tmp_path / "a.h5"
    with create(path, Points, header={"classes": ["a"]}, provenance=Provenance("test", None, None, {})):
        pass
    data = bytearray(path.read_bytes())
    at = place = data.index(hdf5.HEAP) + 16
    while data[place : place + 2] != b"\0\0":
        place += 16 + -(-int.from_bytes(data[place + 8 : place + 16], "little") // 8) * 8
    assert place > at
    data[place + 8 : place + 16] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(ValueError, match="is damaged .*remove it and run again"), read(path, Points):
        pass
