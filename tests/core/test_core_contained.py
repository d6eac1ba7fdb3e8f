"""Readers in a process of their own: what they return arrives, and how they end is an error that names the file."""

import ctypes
import os
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from stages.core.artifacts.hdf5 import RefusedError
from stages.core.workflow.contained import Contained

VALUES = {
    "mapping": {"größe": [1, 2.5, True, None, "text", {"inner": []}]},
    "rows": np.arange(12, dtype=np.int16).reshape(3, 4),
    "columns": np.asfortranarray(np.arange(24, dtype=np.float64).reshape(2, 3, 4)),
    "part": np.arange(12, dtype=np.uint8).reshape(3, 4)[:, ::2],
    "mask": np.eye(3, dtype=bool),
    "one": np.array(7.5),
    "empty": np.zeros((0, 5), np.float32),
}


def values(path):
    print("what libraries say on the way")
    return VALUES


def by_name(path):
    """What the name of the file says."""
    if path.name == "killed":
        ctypes.string_at(0)
    if path.name == "ended":
        os._exit(3)
    if path.name == "endless":
        time.sleep(60)
    if path.name == "large":
        return np.ones(1 << 30, np.uint8)
    if path.name == "refused":
        raise RefusedError("does something bad")
    if path.name == "strange":
        return {"object": object(), "text": np.array(["a"]), "complex": np.zeros(2, complex)}
    if path.name == "fails":
        raise UnboundLocalError("cannot access local variable")
    return [path.name]


@pytest.fixture
def contained():
    made = Contained(by_name, kind="a kind of file", memory=200 << 20, seconds=1.0)
    yield made
    made.close()


def test_what_a_reader_returns_arrives_as_it_was(tmp_path):
    made = Contained(values, kind="a kind of file")
    found = made(tmp_path, remedy="r")
    assert found.keys() == VALUES.keys()
    assert found["mapping"] == VALUES["mapping"]
    for name in VALUES.keys() - {"mapping"}:
        np.testing.assert_array_equal(found[name], VALUES[name])
        assert found[name].dtype == VALUES[name].dtype
    made.close()


def test_what_is_no_data_becomes_nothing(tmp_path, contained):
    assert contained(tmp_path / "strange", remedy="r") == {"object": None, "text": None, "complex": None}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("killed", r"killed ended the process that read it \(SIGSEGV\); fetch it again"),
        ("ended", r"ended ended the process that read it \(exit code 3\); fetch it again"),
        ("endless", "endless was not read within 1 s, and is given up; fetch it again"),
        ("large", "large needs more than the 200 MB that one file may take; fetch it again"),
        ("refused", "refused does something bad; fetch it again"),
        ("fails", r"fails cannot be read as a kind of file \(UnboundLocalError: cannot .*\): fetch it again"),
    ],
)
def test_how_a_reader_ends_is_an_error_that_names_the_file(tmp_path, contained, name, message):
    with pytest.raises(ValueError, match=message) as caught:
        contained(tmp_path / name, remedy="fetch it again")
    assert str(caught.value).startswith(str(tmp_path))
    assert contained(tmp_path / "next", remedy="r") == ["next"]


def test_one_process_reads_many_files_for_all_threads(tmp_path, contained):
    names = [f"{i} 'ß'\n\udce9" for i in range(200)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: contained(tmp_path / name, remedy="r"), names))
    assert found == [[name] for name in names]
