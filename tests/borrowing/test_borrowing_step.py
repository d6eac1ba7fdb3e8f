"""What is borrowed is whole, of the same images and classes, of the expected kind, and says where it comes from."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from stages.borrowing.borrow_artifact import borrow_artifact
from stages.borrowing.settings import BorrowedSettings
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.networks.weights import save_tensors

CLASSES = ["cat", "dog"]
IDS = ("a", "b", "c")
LABELS = {name: np.zeros(0, np.int32) for name in ("clusters", "cluster_classes")}


def image(name: str, **changed: Any) -> ImageRecord:
    record = ImageRecord(
        image=name, path="", encoded=np.zeros(0, np.uint8), height=20, width=30, file_size=9, digest=f"digest of {name}",
        tags=np.array([True, False]), looked_at=True,
    )  # fmt: skip
    return dataclasses.replace(record, **changed)


def cue(name: str) -> Cues:
    return Cues(
        image=name, responses=np.random.default_rng(0).random((2, 32, 32), np.float32),
        class_scores=np.array([2, -1], np.float32), peaks=np.array([[5, 6]], np.int32),
        peak_classes=np.array([0], np.int32), peak_scores=np.array([7], np.float32),
    )  # fmt: skip


def listed(path: Path, records: list[ImageRecord], **header: Any) -> Path:
    header = {"classes": CLASSES, "root": "", **header}
    with create(path, ImageRecord, header=header, provenance=Provenance("list_images", None, 0, {})) as writer:
        for record in records:
            writer.append(record)
    return path


@dataclasses.dataclass
class Projects:
    """Another project with cues of three images, and this one."""

    folder: Path
    kind: str = "cues"
    made_by: str | None = None
    earlier: Path | None = None

    def __post_init__(self) -> None:
        self.there = listed(self.folder / "first/images.h5", [image(name) for name in IDS])
        self.here = listed(self.folder / "second/images.h5", [image(name) for name in IDS])
        self.cues = self.with_cues()
        self.output = self.folder / "second/cues.h5"
        self.note = self.folder / "second/cues.h5.borrowed.json"

    def with_cues(self, ids: tuple[str, ...] = IDS, **header: Any) -> Path:
        path = self.folder / "first/cues.h5"
        with read(self.there, ImageRecord) as images:
            made_by = Provenance("find_cues", {"flip": True}, None, {"images": images})
            with create(path, Cues, header={"classes": CLASSES, **header}, provenance=made_by) as writer:
                for name in ids:
                    writer.append(cue(name))
        return path

    def borrow(self, artifact: Path | None = None) -> dict[str, Any]:
        borrow_artifact(
            artifact=artifact or self.cues,
            listed=None if self.kind == "weights" else self.there,
            earlier=self.earlier,
            images=self.here,
            output=self.output,
            output_note=self.note,
            settings=BorrowedSettings(name="cues.cam", kind=self.kind, made_by=self.made_by),
        )
        return json.loads(self.note.read_text())


@pytest.fixture
def projects(tmp_path: Path) -> Projects:
    return Projects(tmp_path)


def test_a_borrowed_artifact_is_the_others_byte_for_byte_and_its_note_says_whose(projects):
    before = projects.cues.read_bytes()
    note = projects.borrow()
    assert projects.output.read_bytes() == before == projects.cues.read_bytes()
    with read(projects.output, Cues) as cues:
        assert cues.provenance["step"] == "find_cues"
        assert note["fingerprint"] == cues.fingerprint
    kept = {key: note[key] for key in ("name", "from", "kind", "step", "settings", "images", "earlier")}
    assert kept == {
        "name": "cues.cam", "from": str(projects.cues), "kind": "cues", "step": "find_cues", "settings": {"flip": True},
        "images": 3, "earlier": None,
    }  # fmt: skip
    assert len(note["sha256"]) == 64


def test_the_same_images_in_another_folder_with_other_tags_are_the_same(projects):
    """Fingerprints of the lists differ; ids, digests and sizes do not."""
    records = [image(name, path=f"{name}.png", tags=np.array([False, True])) for name in IDS]
    projects.here = listed(projects.here, records, root="/elsewhere")
    assert projects.borrow()["images"] == 3


def damaged(projects: Projects) -> None:
    with h5py.File(projects.cues, "r") as file:
        place = file["responses/values"].id.get_chunk_info(0).byte_offset
    data = bytearray(projects.cues.read_bytes())
    data[place + 200 : place + 300] = bytes(100)
    projects.cues.write_bytes(bytes(data))


def cut_off(projects: Projects) -> None:
    projects.cues.write_bytes(projects.cues.read_bytes()[:-3000])


def of_schema(number: int):
    def change(projects: Projects) -> None:
        with h5py.File(projects.cues, "a") as file:
            file.attrs["schema"] = number

    return change


def of_other_kind(projects: Projects) -> None:
    projects.cues = projects.there


def of_other_classes(projects: Projects) -> None:
    projects.here = listed(projects.here, [image(name) for name in IDS], classes=["dog", "cat"])


def of_fewer_images(projects: Projects) -> None:
    projects.here = listed(projects.here, [image(name) for name in IDS[:2]])


def in_another_order(projects: Projects) -> None:
    projects.here = listed(projects.here, [image(name) for name in reversed(IDS)])


def of_changed_images(projects: Projects) -> None:
    projects.here = listed(projects.here, [image("a"), image("b", digest="other"), image("c", digest="other")])


def of_another_size(projects: Projects) -> None:
    projects.here = listed(projects.here, [image("a"), image("b"), image("c", height=40)])


def listed_anew(projects: Projects) -> None:
    projects.there = listed(projects.there, [image(name) for name in IDS], root="moved")
    projects.here = listed(projects.here, [image(name) for name in IDS], root="elsewhere")


def by_another_step(projects: Projects) -> None:
    projects.made_by = "take_points"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(damaged, r"first/cues\.h5 is damaged", id="damaged"),
        pytest.param(cut_off, r"first/cues\.h5 is no HDF5 file or was cut off", id="cut off"),
        pytest.param(
            of_schema(3), r"has schema 3 of kind 'cues', expected 2; make it again there, with", id="newer schema"
        ),
        pytest.param(of_other_kind, r"is an artifact of kind 'images', expected 'cues'; name the right one", id="kind"),
        pytest.param(
            of_other_classes,
            r"holds classes \['cat', 'dog'\], .* holds \['dog', 'cat'\]; borrow from .* in the same order",
            id="classes",
        ),
        pytest.param(
            of_fewer_images, r"3 images, .* holds 2, .* place 3 it has image 'c', expected no more", id="more"
        ),
        pytest.param(in_another_order, r"place 1 it has image 'a', expected image 'c'", id="order"),
        pytest.param(
            of_changed_images, r"under 2 of 3 ids: of 'b' digest is digest of b there, other here", id="digests"
        ),
        pytest.param(of_another_size, r"under 1 of 3 ids: of 'c' height is 20 there, 40 here", id="sizes"),
        pytest.param(listed_anew, r"made from another list than .*first/images\.h5.*up to date first", id="list"),
        pytest.param(by_another_step, r"was written by find_cues, expected take_points", id="step"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(projects, change, message):
    change(projects)
    with pytest.raises(ValueError, match=f"(?s)^cues.cam cannot be borrowed: .*{message}"):
        projects.borrow()
    assert not projects.output.exists()
    assert not projects.note.exists()


def test_an_artifact_that_is_not_there_says_where_to_make_it(projects):
    with pytest.raises(FileNotFoundError, match="no_such does not exist; make it in the project that it is borrowed"):
        projects.borrow(projects.folder / "no_such")


def test_labels_may_leave_images_out_but_know_no_others(projects):
    projects.kind = "labels"
    with read(projects.there, ImageRecord) as images:
        made_by = Provenance("label_clusters", {}, None, {"images": images})
    for ids in (("a", "c"), ("a", "x")):
        path = projects.folder / "first/labels.h5"
        with create(path, ClusterLabels, header={"classes": CLASSES}, provenance=made_by) as writer:
            for name in ids:
                writer.append(ClusterLabels(image=name, **LABELS))
        if "x" not in ids:
            assert projects.borrow(path)["kind"] == "cluster_labels"
    with pytest.raises(
        ValueError, match="lacks 1 of the 2 images of .*labels.*, such as 'x'; borrow from a project of the same images"
    ):
        projects.borrow(path)


def weights(path: Path, **noted: Any) -> Path:
    metadata = {"step": "train_classifier", "classes": CLASSES, "settings": {"seed": 3}, **noted}
    save_tensors(path, {"a": torch.arange(3.0)}, metadata)
    return path


def test_weights_are_of_their_step_and_classes(projects):
    projects.kind, projects.made_by = "weights", "train_classifier"
    path = projects.folder / "first/weights.safetensors"
    note = projects.borrow(weights(path))
    assert projects.output.read_bytes() == path.read_bytes()
    assert (note["step"], note["settings"]) == ("train_classifier", {"seed": 3})
    for changed, message in (
        ({"step": "train_semantics"}, "was written by train_semantics, expected train_classifier"),
        ({"classes": ["dog", "cat"]}, r"knows classes \['dog', 'cat'\], .* in the same order"),
    ):
        with pytest.raises(ValueError, match=message):
            projects.borrow(weights(path, **changed))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="is no safetensors file or was cut off"):
        projects.borrow()  # of the field: weights that are HDF5 are none, either
    with pytest.raises(ValueError, match="is no safetensors file or was cut off"):
        projects.borrow(path)


def test_what_was_borrowed_in_its_turn_says_from_whom_first(projects):
    first = projects.borrow()
    projects.earlier = projects.folder / "earlier.json"
    projects.earlier.write_text(json.dumps({**first, "resolved": "/zeroth/cues.h5", "from": "../zeroth/cues.h5"}))
    assert projects.borrow()["earlier"]["from"] == "../zeroth/cues.h5"


def test_what_the_other_project_has_borrowed_from_here_is_refused(projects):
    """Directly, or through a third one."""
    first = projects.borrow()
    for note in (
        {"resolved": str(projects.output.resolve())},
        {"earlier": {"resolved": str(projects.output.resolve())}},
    ):
        projects.earlier = projects.folder / "earlier.json"
        projects.earlier.write_text(json.dumps({**first, **note}))
        with pytest.raises(ValueError, match="cues.cam cannot be borrowed: the other project has borrowed it from"):
            projects.borrow()


def test_a_note_that_is_none_is_refused(projects):
    projects.earlier = projects.folder / "earlier.json"
    projects.earlier.write_text("[]")
    with pytest.raises(ValueError, match=r"earlier\.json does not say where its artifact comes from"):
        projects.borrow()


def test_an_artifact_that_changes_while_it_is_copied_is_refused(projects, monkeypatch):
    from stages.borrowing import borrow_artifact as module

    copy = module.shutil.copyfile

    def changed(source, target):
        Path(source).write_bytes(b"made anew")
        copy(source, target)

    monkeypatch.setattr(module.shutil, "copyfile", changed)
    with pytest.raises(ValueError, match="has changed while it was copied; wait until the other project has made it"):
        projects.borrow()
    assert not projects.output.exists()
