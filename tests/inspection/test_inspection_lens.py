"""The artifact lens on every kind of file."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.kinds import RECORDS
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.points import Points
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.artifacts.tag_scores import TagScores
from stages.inspection.__main__ import main
from stages.inspection.lens.artifacts import describe_artifact, opened
from stages.inspection.lens.look import look
from stages.inspection.lens.neighbours import find_images
from stages.inspection.lens.numbers import value_range
from stages.inspection.lens.panels import PAINTED
from stages.inspection.lens.words import lines_of
from stages.ops.regions import Regions

HEIGHT, WIDTH = 24, 32
CLASSES = ["cat", "<script>alert('dog')</script>\n\x1b[31mé"]
IDS = ["val_00000", "a 'b' \"c\"\n\x1b]0;é", "val_00002"]


def regions(count: int) -> dict:
    masks = np.zeros((count, HEIGHT, WIDTH), bool)
    for i, mask in enumerate(masks):
        mask[2 + i : 12 + i, 4 * i : 4 * i + 10] = True
    return packed_fields(Regions.from_masks(masks))


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def record(kind: str, image: str) -> object:
    """An entry of a kind with two objects."""
    encoded = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].reshape(-1)
    two = {"image": image, **regions(2), "classes": i32(0, 1)}
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[3:9, 3:9], labels[20:] = 1, 255
    return {
        ImageRecord.KIND: lambda: ImageRecord(
            image=image, path="", encoded=encoded, height=HEIGHT, width=WIDTH, file_size=encoded.size, digest="",
            tags=np.array([True, False]), looked_at=True,
        ),
        GroundTruth.KIND: lambda: GroundTruth(
            **two, annotated=True, void=np.zeros(0, np.uint8), crowd=np.array([False, True]),
            difficult=np.zeros(2, bool), annotation_ids=np.arange(2),
        ),
        AnnotatedBoxes.KIND: lambda: AnnotatedBoxes(
            image=image, annotated=True, height=HEIGHT, width=WIDTH, boxes=np.array([[1, 2, 9, 9], [4, 4, 30, 20]], np.float32),
            classes=i32(0, 1), crowd=np.array([False, True]), difficult=np.zeros(2, bool),
        ),
        Points.KIND: lambda: Points(image=image, points=i32(3, 4, 9, 9).reshape(2, 2), classes=i32(0, 1)),
        Proposals.KIND: lambda: Proposals(image=image, **regions(3), scores=f32(0.9, 0.5, 0.1)),
        Cues.KIND: lambda: Cues(
            image=image, responses=np.arange(8, dtype=np.float32).reshape(2, 2, 2), class_scores=f32(1, 1),
            peaks=i32(10, 6, 3, 3).reshape(2, 2), peak_classes=i32(0, 1), peak_scores=f32(1, 2),
        ),
        SemanticMaps.KIND: lambda: SemanticMaps(image=image, labels=labels),
        ClusterLabels.KIND: lambda: ClusterLabels(image=image, clusters=i32(1, 2, 0), cluster_classes=i32(0, -1, -1)),
        PseudoInstances.KIND: lambda: PseudoInstances(
            image=image, labels=labels, instances=(labels == 1).astype(np.int32), candidates=2, classes=i32(0),
            centroids=f32(5, 5).reshape(1, 2), points=f32(5, 5).reshape(1, 2), point_classes=i32(0), point_scores=f32(1),
            by_points=False,
        ),
        RefinedLabels.KIND: lambda: RefinedLabels(**two, scores=f32(0.9, 0.4), updates=i32(10, 20)),
        CenterMaps.KIND: lambda: CenterMaps(
            image=image, heatmap=np.eye(4, dtype=np.float16), offsets=np.ones((2, 4, 4), np.float16)
        ),
        ModuleLabels.KIND: lambda: ModuleLabels(
            **two, boxes=np.ones((2, 4), np.float32), weights=f32(0.2, 0.9), attention=np.ones((2, 3, 3), np.float16)
        ),
        Instances.KIND: lambda: Instances(**two, scores=f32(0.9, 0.3)),
        TagScores.KIND: lambda: TagScores(image=image, scores=f32(-1, 2)),
    }[kind]()  # fmt: skip


PLACES = {
    ImageRecord.KIND: "val/images.h5", GroundTruth.KIND: "val/ground_truth.h5", AnnotatedBoxes.KIND: "val/boxes.h5",
    Points.KIND: "val/points.h5", Proposals.KIND: "val/proposals/heg.h5", Cues.KIND: "val/cues/cam.h5",
    SemanticMaps.KIND: "val/semantics/cam.h5", ClusterLabels.KIND: "cim/cluster_labels/val.h5",
    PseudoInstances.KIND: "bestie/pseudo_instances/val.h5", RefinedLabels.KIND: "bestie/refined_labels/val.h5",
    CenterMaps.KIND: "bestie/val/maps.h5", ModuleLabels.KIND: "penet/labels/val.h5",
    Instances.KIND: "cim/mask_rcnn/val/instances.h5", TagScores.KIND: "suspect_tags/fold_0/scores.h5",
}  # fmt: skip
HEADERS = {
    RefinedLabels.KIND: {"updates": [10, 20]}, ModuleLabels.KIND: {"module": "detection"}, Cues.KIND: {"head": "cam"},
    ImageRecord.KIND: {"root": "", "split": "val"},
}  # fmt: skip


def write(folder: Path, kind: str, *, ids=IDS, inputs=None) -> Path:
    path = folder / PLACES[kind]
    header = {"classes": CLASSES, "run": "cim", "supervision": "image tags", **HEADERS.get(kind, {})}
    made = Provenance(step="a_step", settings={"share": 0.5}, seed=3, inputs=inputs or {})
    with create(path, RECORDS[kind], header=header, provenance=made) as writer:
        for image in ids:
            writer.append(record(kind, image))
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """One artifact of each kind, where a run has it."""
    folder = tmp_path_factory.mktemp("results") / "toy"
    for kind in RECORDS:
        if kind == ClusterLabels.KIND:
            with read(folder / PLACES[Proposals.KIND], Proposals) as proposals:
                write(folder, kind, inputs={"proposals": proposals})
        else:
            write(folder, kind)
    return folder


@pytest.mark.parametrize("kind", RECORDS)
def test_every_kind_is_described_and_drawn(results, kind, tmp_path, capsys):
    drawn = tmp_path / "out.png"
    found = look(results / PLACES[kind], image=IDS[1], draw=drawn)
    assert (found["kind"], found["images"], found["sample"]["position"]) == (kind, len(IDS), 1)
    assert found["header"]["run"] == "cim" and found["made_by"]["step"] == "a_step"
    image = cv2.imread(str(drawn))
    assert image.shape[1] >= 480 and image.std() > 5
    out = capsys.readouterr().out
    assert "image tags" in out and "a_step, seed 3" in out and "drawn: " in out
    assert not [c for c in out if not c.isprintable() and c != "\n"]  # no name steers the terminal
    assert "\\x1b]0;" in out


def test_a_borrowed_artifact_says_from_where(results, capsys):
    path = results / PLACES[Proposals.KIND]
    note = path.with_name(f"{path.name}.borrowed.json")
    note.write_text('{"from": "../first/heg\\u001b]0;.h5"}')
    try:
        assert look(path)["borrowed_from"].startswith("../first/heg")
    finally:
        note.unlink()
    assert "  borrowed     ../first/heg\\x1b]0;.h5" in capsys.readouterr().out
    assert look(path)["borrowed_from"] is None


def test_every_kind_has_a_painted_panel():
    assert PAINTED.keys() == RECORDS.keys()


def test_counts_sizes_and_ranges_are_those_of_the_file(results):
    path = results / PLACES[Instances.KIND]
    with opened(path) as artifact:
        found = describe_artifact(artifact, None)
    fields = {field["name"]: field for field in found["fields"]}
    assert fields["scores"]["range"] == {
        "least": pytest.approx(0.3), "largest": pytest.approx(0.9), "not_finite": 0, "looked_at": 6,
    }  # fmt: skip
    assert fields["scores"]["lengths"] == [{"least": 2, "median": 2.0, "largest": 2}]
    assert "range" not in fields["membership"]  # bits are no numbers
    assert found["by_class"] == {"classes": dict(zip(CLASSES, [3, 3], strict=True))}
    assert sum(field["bytes"] for field in found["fields"]) < found["bytes"] == path.stat().st_size
    assert [row["area"] for row in found["sample"]["objects"]] == [100, 100]
    assert found["sample"]["objects"][1]["box"] == [4, 3, 14, 13]


def test_numbers_that_are_not_finite_are_counted_and_shown_in_capitals(tmp_path):
    path = tmp_path / "val" / "scores.h5"
    made = Provenance(step="a", settings=None, seed=None, inputs={})
    with create(path, TagScores, header={"classes": CLASSES}, provenance=made) as writer:
        writer.append(TagScores(image="a", scores=f32(1, np.nan)))
    with opened(path) as artifact:
        found = describe_artifact(artifact, None)
    assert found["fields"][1]["range"] == {"least": 1.0, "largest": 1.0, "not_finite": 1, "looked_at": 2}
    assert "1 NOT FINITE" in "\n".join(lines_of(found))
    assert json.dumps(found, allow_nan=False)


def test_of_a_huge_field_blocks_over_all_of_it_are_read(tmp_path, monkeypatch):
    from stages.inspection.lens import numbers

    monkeypatch.setattr(numbers, "BLOCK", 10)
    monkeypatch.setattr(numbers, "MOST_VALUES", 50)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        values = file.create_dataset("values", data=np.arange(1000))
        assert value_range(values) == {"least": 0, "largest": 999, "not_finite": 0, "looked_at": 50}
        monkeypatch.setattr(numbers, "MOST_VALUES", 5000)
        assert value_range(values)["looked_at"] == 1000


def test_ground_truth_beside_the_images_says_how_well_predictions_fit(results, tmp_path):
    from stages.inspection.lens.drawing import panels_of
    from stages.inspection.lens.panels import Brush

    brush = Brush(opacity=0.5, proposals=2, responses=2, predictions=1, score_threshold=0.0)
    with opened(results / PLACES[Instances.KIND]) as artifact:
        (panel,) = panels_of(artifact, 0, images=None, brush=brush, longer_side=64)
        assert [note.text for note in panel.notes] == ["1 cat 0.90 (IoU 1.00)", "1 weaker not painted"]
        alone = tmp_path / "images.h5"
        shutil.copy(results / PLACES[ImageRecord.KIND], alone)
        (panel,) = panels_of(artifact, 0, images=alone, brush=brush, longer_side=64)
        assert panel.notes[0].text == "1 cat 0.90"


def test_without_images_in_the_folders_above_it_says_so_and_images_are_given(results, tmp_path):
    lost = tmp_path / "1/2/3/4/5/lost.h5"
    lost.parent.mkdir(parents=True)
    shutil.copy(results / PLACES[Instances.KIND], lost)
    with pytest.raises(ValueError, match="no images.h5 with the images of .*give --images"):
        look(lost, draw=tmp_path / "out.png")
    look(lost, draw=tmp_path / "out.png", images=results / PLACES[ImageRecord.KIND])
    assert (tmp_path / "out.png").is_file()


def test_images_are_those_that_an_artifact_was_made_from_whatever_others_hold(results, tmp_path):
    """Splits of two data sets may name their images alike."""
    another = tmp_path / "toy" / "another" / "images.h5"
    another.parent.mkdir(parents=True)
    write(tmp_path / "toy", ImageRecord.KIND, ids=[*IDS, "more"]).rename(another)
    write(tmp_path / "toy", ImageRecord.KIND)
    with read(tmp_path / "toy" / "val" / "images.h5", ImageRecord) as images:
        path = write(tmp_path / "toy", Instances.KIND, inputs={"images": images})
    with opened(path) as artifact:
        assert find_images(artifact) == tmp_path / "toy" / "val" / "images.h5"
    (tmp_path / "toy" / "val" / "images.h5").unlink()
    with opened(path) as artifact, pytest.raises(ValueError, match="give --images"):
        find_images(artifact)
    with opened(write(tmp_path / "toy", Instances.KIND)) as artifact:  # names none
        assert find_images(artifact) == another


def test_cluster_labels_need_the_proposals_that_they_were_made_from(results, tmp_path):
    copy = tmp_path / "toy"
    shutil.copytree(results, copy)
    (copy / PLACES[Proposals.KIND]).unlink()
    with pytest.raises(ValueError, match="is drawn on the proposals that it was made from"):
        look(copy / PLACES[ClusterLabels.KIND], draw=tmp_path / "out.png")


def test_json_is_read_by_programs(results, capsys):
    assert main([str(results / PLACES[Cues.KIND]), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sample"]["fields"]["responses"]["shape"] == [2, 2, 2]
    assert found["header"]["classes"] == CLASSES


def test_weights_are_shown_with_metadata_tensors_and_broken_numbers(tmp_path, capsys):
    path = tmp_path / "weights.safetensors"
    tensors = {"backbone.a": np.ones((3, 4), np.float32), "head.b": np.array([1, np.nan], np.float32)}
    save_file(tensors, path, {"tagmask": json.dumps({"step": "train_cim", "classes": CLASSES})})
    found = look(path)
    assert found["metadata"]["step"] == "train_cim"
    assert found["numbers"] == 14 and found["numbers_by_part"] == {"backbone": 12, "head": 2}
    out = capsys.readouterr().out
    assert "1 numbers: THE NETWORK IS BROKEN" in out and "backbone.a: F32 3x4, 1 to 1" in out and "\x1b" not in out


def test_metrics_are_short(tmp_path, capsys):
    path = tmp_path / "metrics.json"
    metrics = {"masks": {"voc": {"mAP50": 61.25}}, "curve": list(range(100)), "run": "cim", "rows": [{"a": 1}] * 9}
    path.write_text(json.dumps(metrics | {"many": {str(i): {"x": {"y": i}} for i in range(100)}}))
    look(path)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[3] == ["run", "cim"]  # what it is of comes first
    assert ["masks.voc", "{mAP50:", "61.25}"] in lines
    assert ["curve", "100", "numbers", "from", "0", "to", "99"] in lines
    assert lines[-1][:2] == ["and", "54"]


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        pytest.param(None, [], "does not exist; run `snakemake", id="no such file"),
        pytest.param(lambda p: p.write_bytes(b"not hdf5"), [], "is no HDF5 file or was cut off", id="no HDF5"),
        pytest.param(lambda p: h5py.File(p, "w").close(), [], "is HDF5 but no tagmask artifact", id="other HDF5"),
        pytest.param(lambda p: p.mkdir(), [], "is a folder", id="a folder"),
    ],
)
def test_what_is_no_artifact_is_said_in_one_sentence(tmp_path, capsys, make, arguments, message):
    path = tmp_path / "a.h5"
    if make is not None:
        make(path)
    assert main([str(path), *arguments]) == 1
    found = capsys.readouterr()
    assert message in found.err and found.err.count("\n") == 1 and not found.out


@pytest.mark.parametrize("ending", ["png", "pth", "txt"])
def test_other_files_are_refused_by_their_endings(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    path.write_text("")
    with pytest.raises(ValueError, match=r"none of the files that can be shown: .h5"):
        look(path)


@pytest.mark.parametrize("name", ["a.json", "a.safetensors"])
def test_damaged_files_and_files_without_images_are_refused(tmp_path, name):
    path = tmp_path / name
    path.write_text("{")
    with pytest.raises(ValueError, match="damaged|cut off"):
        look(path)
    with pytest.raises(ValueError, match="has no images to show or draw"):
        look(path, image="a")


def damage_values(path: Path) -> None:
    """Overwrite the compressed atoms in place, so that the file still opens."""
    with h5py.File(path) as file:
        chunk = file["atoms/values"].id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset)
        file.write(b"\0" * chunk.size)


def drop_header(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file.attrs["header"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


@pytest.mark.parametrize("damage", [damage_values, drop_header, cut])
def test_damaged_artifacts_are_said_to_be_so(results, tmp_path, damage, capsys):
    path = tmp_path / "instances.h5"
    shutil.copy(results / PLACES[Instances.KIND], path)
    damage(path)
    assert main([str(path)]) == 1
    error = capsys.readouterr().err
    assert str(path) in error and ("damaged" in error or "cut off" in error) and error.count("\n") == 1


def test_an_unknown_image_is_answered_with_the_nearest(results, capsys):
    assert main([str(results / PLACES[Points.KIND]), "--image", "val_0002"]) == 1
    assert "has no image 'val_0002' among its 3; the nearest are 'val_00002', 'val_00000'" in capsys.readouterr().err
    assert main([str(results / PLACES[Points.KIND]), "--image", "zebra"]) == 1
    assert "the first is 'val_00000'" in capsys.readouterr().err


def test_an_artifact_without_images_has_no_sample_and_no_drawing(tmp_path):
    path = write(tmp_path, Points.KIND, ids=[])
    assert look(path)["sample"] is None
    with pytest.raises(ValueError, match="holds no images"):
        look(path, draw=tmp_path / "a.png")


def test_a_drawing_is_a_png(results, tmp_path):
    with pytest.raises(ValueError, match=r"give a name that ends with .png"):
        look(results / PLACES[Points.KIND], draw=tmp_path / "a.jpg")


def test_images_of_another_size_are_refused(results, tmp_path):
    other = tmp_path / "images.h5"
    made = Provenance(step="a", settings=None, seed=None, inputs={})
    encoded = cv2.imencode(".png", np.zeros((10, 12, 3), np.uint8))[1].reshape(-1)
    with create(other, ImageRecord, header={"classes": CLASSES, "root": ""}, provenance=made) as writer:
        writer.append(ImageRecord(
            image=IDS[0], path="", encoded=encoded, height=10, width=12, file_size=encoded.size, digest="",
            tags=np.zeros(2, bool), looked_at=True,
        ))  # fmt: skip
    with pytest.raises(ValueError, match="24x32, but the image of .* is 10x12"):
        look(results / PLACES[Instances.KIND], draw=tmp_path / "a.png", images=other)


@pytest.mark.parametrize("arguments", [["--most", "0"], ["--opacity", "2"], ["--longer-side", "x"], ["--nothing"]])
def test_impossible_options_are_refused(results, arguments, capsys):
    with pytest.raises(SystemExit):
        main([str(results / PLACES[Points.KIND]), *arguments])
    assert "error: " in capsys.readouterr().err


def test_the_module_is_a_command(results, project_root):
    command = [sys.executable, "-m", "stages.inspection", str(results / PLACES[Points.KIND])]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True)
    assert done.returncode == 0 and "kind         points, schema 2" in done.stdout and "\x1b" not in done.stdout
