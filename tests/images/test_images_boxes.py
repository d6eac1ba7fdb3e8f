"""Annotated boxes: VOC's XML, COCO's bbox, boxes of masks elsewhere, and bad input."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.storage import Artifact, read
from stages.images.list_boxes import list_boxes
from stages.ops.boxes import iou
from tests.images.conftest import make_settings, run_listing
from tests.images.test_images_voc import CLASSES, add_sbd

Save = Callable[..., None]


def listed_object(name: str, corners: Any, difficult: int = 0) -> str:
    numbers = "".join(
        f"<{key}>{number}</{key}>" for key, number in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    part = "<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part>"
    return f"<object><name>{name}</name><difficult>{difficult}</difficult>{part}<bndbox>{numbers}</bndbox></object>"


@pytest.fixture
def boxes_of(tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[Artifact[AnnotatedBoxes]]]:
    """Run `list_images`, then `list_boxes`, and open the boxes."""

    @contextlib.contextmanager
    def run(kind: str, split: str = "train", **options: Any) -> Iterator[Artifact[AnnotatedBoxes]]:
        images, ground_truth, _ = run_listing(tmp_path / "made", kind, split, **options)
        output = tmp_path / "made" / "boxes.h5"
        settings = make_settings(kind, **options).chosen(split, "train")
        list_boxes(images=images, ground_truth=ground_truth, output=output, settings=settings, split=split)
        with read(output, AnnotatedBoxes) as boxes:
            yield boxes

    return run


@pytest.fixture
def voc(tmp_path: Path, save: Save) -> Path:
    """A VOC of two images without masks."""
    year = tmp_path / "VOCdevkit" / "VOC2007"
    for folder in ("Annotations", "ImageSets/Main"):
        (year / folder).mkdir(parents=True)
    for name in ("000001", "000002"):
        save(year / "JPEGImages" / f"{name}.jpg", np.zeros((30, 40, 3), np.uint8))
    (year / "ImageSets/Main/train.txt").write_text("000001\n000002\n")
    objects = [listed_object("person", (1, 1, 40, 30)), listed_object("dog", (8, 12, 35.5, 20), 1)]
    (year / "Annotations/000001.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")
    (year / "Annotations/000002.xml").write_text(f"<annotation>{listed_object('cat', (3, 4, 3, 4))}</annotation>")
    return year


def test_voc_images_without_masks_have_boxes_from_0_half_open(voc: Path, boxes_of: Any, tmp_path: Path) -> None:
    with boxes_of("voc", root=voc, image_sets="Main") as boxes:
        assert (boxes.header["split"], boxes.header["classes"]) == ("train", CLASSES)
        first, second = boxes
        assert first.boxes.tolist() == [[0, 0, 40, 30], [7, 11, 35.5, 20]]
        assert [CLASSES[label] for label in first.classes] == ["person", "dog"]
        assert first.difficult.tolist() == [False, True]
        assert (first.annotated, first.height, first.width) == (True, 30, 40)
        assert second.boxes.tolist() == [[2, 3, 3, 4]]  # one pixel
    with read(tmp_path / "made" / "ground_truth.h5", GroundTruth) as ground_truth:
        assert not ground_truth.column("annotated").any()


def test_boxes_of_classes_that_are_left_out_are_left_out(voc: Path, boxes_of: Any) -> None:
    with boxes_of("voc", root=voc, image_sets="Main", classes=["dog", "cat"]) as boxes:
        assert [record.classes.tolist() for record in boxes] == [[0], [1]]
        assert all(record.annotated for record in boxes)


def test_an_image_of_sbd_alone_has_the_boxes_of_its_masks(voc: Path, boxes_of: Any, tmp_path: Path) -> None:
    (voc / "Annotations/000002.xml").unlink()
    ids = np.zeros((30, 40), np.uint8)
    ids[5:8, 10:20] = 1
    add_sbd(tmp_path / "sbd", "000002", ids, [CLASSES.index("cat") + 1])
    with boxes_of("voc", root=voc, image_sets="Main", sbd=tmp_path / "sbd") as boxes:
        assert boxes[1].boxes.tolist() == [[10, 5, 20, 8]]


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        (("a", 1, 2, 2), r"000002\.xml has a bndbox \['a', '1', '2', '2'\], expected four numbers"),
        ((5, 1, 2, 2), r"000002\.xml has a bndbox .* that ends before it starts"),
    ],
)
def test_broken_boxes_of_voc_are_named(voc: Path, boxes_of: Any, corners: Any, message: str) -> None:
    (voc / "Annotations/000002.xml").write_text(f"<annotation>{listed_object('cat', corners)}</annotation>")
    with pytest.raises(ValueError, match=message), boxes_of("voc", root=voc, image_sets="Main"):
        pass


def test_an_object_of_voc_without_a_box_is_named(voc: Path, boxes_of: Any, tmp_path: Path) -> None:
    (voc / "Annotations/000002.xml").write_text("<annotation><object><name>cat</name></object></annotation>")
    with (
        pytest.raises(ValueError, match=r"000002\.xml has a bndbox \[None, None, None, None\], expected four numbers"),
        boxes_of("voc", root=voc, image_sets="Main"),
    ):
        pass
    assert not (tmp_path / "made" / "boxes.h5").exists()


def coco(folder: Path, save: Save, annotations: list[dict[str, Any]] | None) -> Path:
    root = folder / "coco"
    save(root / "train" / "a.jpg", np.zeros((4, 6, 3), np.uint8))
    data: dict[str, Any] = {
        "images": [{"id": 5, "file_name": "a.jpg", "height": 4, "width": 6}],
        "categories": [{"id": 7, "name": "dog"}, {"id": 1, "name": "person"}],
    }
    (root / "train.json").write_text(json.dumps(data | ({} if annotations is None else {"annotations": annotations})))
    return root


SQUARE = [[1, 1, 3, 1, 3, 3, 1, 3]]


def test_boxes_of_coco_are_its_own_and_need_no_mask(tmp_path: Path, save: Save, boxes_of: Any) -> None:
    annotations = [
        {"id": 1, "image_id": 5, "category_id": 7, "bbox": [0.5, 1, 2.25, 3]},
        {"id": 2, "image_id": 5, "category_id": 1, "bbox": [0, 0, 6, 4], "iscrowd": 1},
        {"id": 3, "image_id": 5, "category_id": 1, "bbox": [0, 0, 1, 1], "ignore": 1},
    ]
    with boxes_of("coco", root=coco(tmp_path, save, annotations)) as boxes:
        (record,) = boxes
        assert record.boxes.tolist() == [[0.5, 1, 2.75, 4], [0, 0, 6, 4], [0, 0, 1, 1]]
        assert record.classes.tolist() == [1, 0, 0]
        assert (record.crowd.tolist(), record.difficult.tolist()) == ([False, True, False], [False, False, True])


def test_coco_without_bbox_has_the_boxes_of_its_masks(tmp_path: Path, save: Save, boxes_of: Any) -> None:
    annotations = [{"id": 1, "image_id": 5, "category_id": 7, "segmentation": SQUARE}]
    with boxes_of("coco", root=coco(tmp_path, save, annotations)) as boxes:
        assert boxes[0].boxes.tolist() == [[1, 1, 3, 3]]


def test_coco_without_annotations_has_no_known_boxes(tmp_path: Path, save: Save, boxes_of: Any) -> None:
    with boxes_of("coco", root=coco(tmp_path, save, None)) as boxes:
        assert not boxes[0].annotated
        assert boxes[0].boxes.shape == (0, 4)


def test_a_broken_bbox_is_named(tmp_path: Path, save: Save, boxes_of: Any) -> None:
    annotations = [{"id": 9, "image_id": 5, "category_id": 7, "segmentation": SQUARE, "bbox": [1, 2, 3]}]
    with (
        pytest.raises(ValueError, match=r"annotation 9: bbox is \[1, 2, 3\], expected x, y, width, height"),
        boxes_of("coco", root=coco(tmp_path, save, annotations)),
    ):
        pass


def test_scenes_have_the_boxes_of_their_masks(boxes_of: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with boxes_of("shapes") as boxes, read(tmp_path / "made" / "ground_truth.h5", GroundTruth) as ground_truth:
        assert boxes.ids == ground_truth.ids
        for found, annotated in zip(boxes, ground_truth, strict=True):
            assert found.boxes.tolist() == annotated.regions.boxes().tolist()
            assert found.classes.tolist() == annotated.classes.tolist()
    assert "images with boxes: 6 of masks" in caplog.text


def test_real_voc_boxes_fit_their_masks(real_data: Path, tmp_path: Path, boxes_of: Any) -> None:
    source = real_data / "data" / "voc_animals" / "VOC2012"
    year = tmp_path / "VOC2012"
    (year / "ImageSets/Segmentation").mkdir(parents=True)
    for folder in ("Annotations", "JPEGImages", "SegmentationClass", "SegmentationObject"):
        (year / folder).symlink_to(source / folder)
    names = (source / "ImageSets/Segmentation/val.txt").read_text().split()[:6]
    (year / "ImageSets/Segmentation/val.txt").write_text("\n".join(names))
    animals = ["cat", "cow", "dog", "horse", "sheep"]
    with (
        boxes_of("voc", "val", root=year, classes=animals) as boxes,
        read(tmp_path / "made" / "ground_truth.h5", GroundTruth) as ground_truth,
    ):
        for found, annotated in zip(boxes, ground_truth, strict=True):
            # The masks end at a border of void, so that the annotators' boxes are a few pixels wider.
            ious = iou(found.boxes, annotated.regions.boxes())
            same_class = found.classes[:, None] == annotated.classes
            assert (np.where(same_class, ious, 0).max(axis=0) > 0.65).all()
