"""Writes everything that the project writes, under one limit after the other to the size of a file.

A program of its own, since what it looks for is a process that dies: `python -m tests.core.full_disk KIND FOLDER`. It
prints, as JSON, the limit, the class of the error, its text, and what stands in the folder, of each trial.
"""

import contextlib
import json
import resource
import sys
from pathlib import Path

import numpy as np

from stages.core.artifacts.files import write_bytes, write_json, write_text
from stages.core.artifacts.folders import whole_folder
from stages.core.artifacts.points import Points
from stages.core.artifacts.storage import Provenance, create

MADE = Provenance("test", None, None, {})
NOISE = np.random.default_rng(0)


@contextlib.contextmanager
def largest_file(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_artifact(path):
    """Some 600 KB in blocks of gzip, in two flushes."""
    with create(path, Points, header={"classes": ["a"]}, provenance=MADE) as writer:
        for i in range(1100):
            points = NOISE.integers(0, 1 << 30, (60, 2)).astype(np.int32)
            writer.append(Points(image=f"{i:05d}", points=points, classes=np.zeros(60, np.int32)))


def write_large_artifact(path):
    """Images that are each larger than what the writer holds back."""
    with create(path, Points, header={}, provenance=MADE) as writer:
        for name in "ab":
            points = NOISE.integers(0, 1 << 30, (1_200_000, 2)).astype(np.int32)
            writer.append(Points(image=name, points=points, classes=np.zeros(1_200_000, np.int32)))


def write_empty_artifact(path):
    with create(path, Points, header={"classes": ["a"] * 1000}, provenance=MADE):
        pass


def write_weights(path):
    import torch

    from stages.core.networks.weights import save_tensors

    save_tensors(path, {"a": torch.rand(300, 300), "b": torch.rand(3)}, {"step": "test"})


def write_checkpoint(path):
    import torch

    from stages.core.training.checkpoints import save_checkpoint

    save_checkpoint(path.parent, {"step": 1, "network": {"a": torch.rand(300, 300)}}, identity="x")


def write_plot(path):
    from stages.core.training.curves import Curves, plot_curves

    points = [{"step": i, "rate": 0.1, "losses": {"a": float(i)}} for i in range(9)]
    plot_curves(path, Curves(points=points), title="t")


def write_entries(path):
    from stages.exports.streams import write_list

    write_list(path, ({"id": i} for i in range(30_000)))


def write_folder(path):
    with whole_folder(path) as folder:
        for i in range(3):
            (folder / f"{i}.txt").write_bytes(b"x" * 100_000)


KINDS = {
    "artifact": write_artifact,
    "large artifact": write_large_artifact,
    "empty artifact": write_empty_artifact,
    "weights": write_weights,
    "checkpoint": write_checkpoint,
    "JSON": lambda path: write_json(path, list(range(40_000))),
    "page": lambda path: write_text(path, "<p>ß</p>\n" * 30_000),
    "bytes": lambda path: write_bytes(path, bytes(300_000)),
    "plot": write_plot,
    "list of entries": write_entries,
    "folder": write_folder,
}
SHARES = (0.0, 0.003, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999)


def main(kind, folder):
    write = KINDS[kind]
    target = folder / ("checkpoint.pt" if kind == "checkpoint" else "file")
    write(target)
    size = max(path.stat().st_size for path in [target, *target.glob("*")] if path.is_file())
    before = target.read_bytes() if target.is_file() else sorted(path.name for path in target.iterdir())
    for share in SHARES:
        error = None
        with largest_file(int(share * size)):
            try:
                write(target)
            except Exception as raised:  # whatever it is, it is what the test looks at
                error = raised
        after = target.read_bytes() if target.is_file() else sorted(path.name for path in target.iterdir())
        found = {
            "limit": int(share * size),
            "error": type(error).__name__,
            "text": str(error),
            "kept": after == before,
            "left": sorted(path.name for path in folder.iterdir()),
        }
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
