"""The tests that need a CUDA device: those with the mark `cuda`."""

import contextlib
import os
from pathlib import Path

import pytest

from benchmarks.gpu.results import Part
from benchmarks.gpu.trainers import ROOT

MARK = "pytest.mark.cuda"


def run(part: Part) -> None:
    """Run them, and keep the outcome of each. Raises RuntimeError where one fails or none is found."""
    seen = _Outcomes(part)
    words = ["-m", "cuda", "-p", "no:cacheprovider", "--no-header", "-q"]
    words += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]  # this process has libraries
    with contextlib.chdir(ROOT):
        status = pytest.main([*words, *places(ROOT / "tests")], plugins=[seen])
    if seen.count == 0 or status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise RuntimeError(f"pytest ended with {status!r} after {seen.count} tests; its output says why")
    if status == pytest.ExitCode.TESTS_FAILED:
        raise RuntimeError(f"failed: {', '.join(seen.failed)}")


def places(tests: Path) -> list[str]:
    """Files that hold the mark; of a conftest.py its folder, all of whose tests may have it by a fixture."""
    found = [path for path in sorted(tests.rglob("*.py")) if MARK in path.read_text(encoding="utf-8")]
    folders = [path.parent for path in found if path.name == "conftest.py"]
    files = [path for path in found if path.name.startswith("test_") and path.parent not in folders]
    return [os.path.relpath(path, tests.parent) for path in (*folders, *files)]


class _Outcomes:
    def __init__(self, part: Part) -> None:
        self._part, self.count, self.failed = part, 0, list[str]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or (report.outcome != "passed" and report.when == "setup"):
            self.count += 1
            if report.outcome == "failed":
                self.failed.append(report.nodeid)
            self._part.add(test=report.nodeid, outcome=report.outcome, seconds=round(report.duration, 3))
