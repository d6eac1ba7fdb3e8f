"""A few damaged inputs of every reader: a result, or one error that names the file. `make fuzz` tries many."""

import json
import subprocess
import sys

from tests.fuzz.readers import READERS
from tests.fuzz.run import ROOT


def test_damaged_inputs_are_read_or_refused_by_name():
    """All in one process, which must not die; seed 0, and as many of each as a part of a second allows."""
    command = [sys.executable, "-m", "tests.fuzz.run", "--seconds", "0.3", "--trials", "200", "--one", *READERS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [entry["reader"] for entry in found] == list(READERS)
    wrong = {entry["reader"]: entry["wrong things"] for entry in found if entry["wrong things"]}
    assert wrong == {}
    assert all(entry.get("read", 0) + entry.get("refused", 0) > 0 for entry in found)
