"""VOC: tags from XML, masks from SegmentationObject and SBD, lists with train_aug, and its bad input."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from PIL import Image

from stages.images.voc import CLASSES

Save = Callable[..., None]
DOG, PERSON = CLASSES.index("dog") + 1, CLASSES.index("person") + 1
VOID = 255
# Instance 1 a dog, 2 a person, 3 another dog, and void between them.
OBJECTS = np.array([[1, 1, 255, 2], [1, 1, 255, 2], [255, 255, 0, 0], [3, 3, 0, 0]], np.uint8)
CATEGORIES = np.array([[12, 12, 255, 15], [12, 12, 255, 15], [255, 255, 0, 0], [12, 12, 0, 0]], np.uint8)


def xml(*objects: tuple[str, int]) -> str:
    parts = "<part><name>head</name></part>"
    return "<annotation>" + "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult>{parts}</object>" for name, difficult in objects
    ) + "</annotation>"  # fmt: skip


@pytest.fixture
def voc(tmp_path: Path, save: Save) -> Path:
    """A VOCdevkit with two train images and a val image; train's first has masks."""
    year = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("Annotations", "ImageSets/Segmentation", "ImageSets/Main"):
        (year / folder).mkdir(parents=True)
    tags = {"2007_000001": [("dog", 0), ("person", 1)], "2007_000002": [("cat", 0)], "2007_000003": [("dog", 1)]}
    for number, (name, objects) in enumerate(tags.items()):
        save(year / "JPEGImages" / f"{name}.jpg", np.full((4, 4, 3), 40 * number, np.uint8))
        (year / "Annotations" / f"{name}.xml").write_text(xml(*objects))
    (year / "ImageSets/Segmentation/train.txt").write_text("2007_000001\n2007_000002\n")
    (year / "ImageSets/Segmentation/val.txt").write_text("2007_000003\n")
    (year / "ImageSets/Main/val.txt").write_text("2007_000002\n2007_000003\n")
    (year / "ImageSets/Main/dog_val.txt").write_text("2007_000002 -1\n2007_000003  1\n")
    for folder, numbers in (("SegmentationObject", OBJECTS), ("SegmentationClass", CATEGORIES)):
        (year / folder).mkdir()
        palette = Image.fromarray(numbers).convert("L")
        palette.putpalette([value for value in range(256) for _ in range(3)])
        palette.save(year / folder / "2007_000001.png")
    return year


def add_sbd(folder: Path, image: str, ids: np.ndarray, categories: list[int]) -> None:
    (folder / "inst").mkdir(parents=True, exist_ok=True)
    ground_truth = {"Segmentation": ids, "Categories": np.array(categories, np.uint8)[:, None], "Boundaries": 0}
    scipy.io.savemat(folder / "inst" / f"{image}.mat", {"GTinst": ground_truth})


@pytest.mark.parametrize("given", ["the year's folder", "VOCdevkit"])
def test_tags_masks_and_official_ids(voc: Path, listing: Any, given: str) -> None:
    root = voc if given == "the year's folder" else voc.parent
    with listing("voc", root=root) as made:
        header = made.images.header
        assert header["classes"] == CLASSES
        assert header["category_ids"] == list(range(1, 21))
        assert header["root"] == str(voc)
        assert made.images.ids == ["2007_000001", "2007_000002"]
        first, second = made.images[0], made.images[1]
        assert np.flatnonzero(first.tags).tolist() == [DOG - 1, PERSON - 1]
        assert first.path == "JPEGImages/2007_000001.jpg"
        assert second.tags[CLASSES.index("cat")]
        ground_truth = made.ground_truth[0]
        assert ground_truth.annotated
        # chainercv (VOCInstanceSegmentationDataset): ids without 0 and 255; class = category of the mask - 1.
        assert ground_truth.classes.tolist() == [DOG - 1, PERSON - 1, DOG - 1]
        np.testing.assert_array_equal(ground_truth.regions.masks(), np.array([1, 2, 3])[:, None, None] == OBJECTS)
        np.testing.assert_array_equal(ground_truth.void_mask, OBJECTS == VOID)
        assert not ground_truth.difficult.any()
        assert not made.ground_truth[1].annotated
        assert len(made.ground_truth[1].classes) == 0
        assert made.points[0].points.tolist() == [[0, 0], [0, 3], [3, 0]]
        assert len(made.points[1].points) == 0


def test_the_class_of_an_instance_is_the_first_of_its_categories(voc: Path, listing: Any) -> None:
    # chainercv: the first of unique(SegmentationClass[mask]); one pixel of the person is marked cat (8).
    categories = CATEGORIES.copy()
    categories[0, 3] = 8
    Image.fromarray(categories).save(voc / "SegmentationClass/2007_000001.png")
    with listing("voc", root=voc) as made:
        assert made.ground_truth[0].classes.tolist() == [DOG - 1, CLASSES.index("cat"), DOG - 1]


def test_selected_classes_leave_out_other_tags_and_masks(voc: Path, listing: Any) -> None:
    with listing("voc", root=voc, classes=["person", "dog"]) as made:
        assert made.images.header["category_ids"] == [PERSON, DOG]
        assert (made.images.header["negatives"], made.images.header["unknown"]) == (1, 0)
        assert made.images[0].tags.tolist() == [True, True]
        assert made.images[1].tags.tolist() == [False, False]
        assert made.ground_truth[0].classes.tolist() == [1, 0, 1]
    with listing("voc", root=voc, classes=["person"]) as made:
        assert made.ground_truth[0].annotation_ids.tolist() == [2]


def test_difficult_objects_tag_by_setting(voc: Path, listing: Any) -> None:
    with listing("voc", "val", root=voc, classes=["dog"], difficult_tags=False) as made:
        assert not made.images[0].tags.any()
        assert not made.images[0].looked_at  # the dog is there
    with listing("voc", "val", root=voc, classes=["dog"], difficult_tags=True) as made:
        assert made.images[0].tags.all()


def test_lists_come_from_the_chosen_image_sets(voc: Path, listing: Any) -> None:
    with listing("voc", "val", root=voc, image_sets="Main") as made:
        assert made.images.ids == ["2007_000002", "2007_000003"]


def test_train_aug_is_train_and_sbd_without_val(voc: Path, tmp_path: Path, listing: Any, save: Save) -> None:
    sbd = tmp_path / "sbd" / "benchmark_RELEASE" / "dataset"
    ids = np.array([[0, 2, 2, 0], [0, 2, 2, 0], [1, 1, 1, 1], [1, 1, 1, 1]], np.uint8)
    for image in ("2007_000001", "2007_000003", "2008_000009"):
        add_sbd(sbd, image, ids, [DOG, PERSON])
    save(voc / "JPEGImages/2008_000009.jpg", np.zeros((4, 4, 3), np.uint8))
    (sbd / "train.txt").write_text("2008_000009\n2007_000003\n")
    (sbd / "val.txt").write_text("2007_000001\n")
    with listing("voc", root=voc, sbd=tmp_path / "sbd", splits={"train": "train_aug"}) as made:
        assert made.images.ids == ["2007_000001", "2007_000002", "2008_000009"]
        # VOC's own masks come before SBD's; an image without XML takes its tags from SBD.
        assert len(made.ground_truth[0].classes) == 3
        ground_truth = made.ground_truth.find("2008_000009")
        assert ground_truth.classes.tolist() == [DOG - 1, PERSON - 1]
        np.testing.assert_array_equal(ground_truth.regions.masks(), ids == np.array([1, 2])[:, None, None])
        assert np.flatnonzero(made.images.find("2008_000009").tags).tolist() == [DOG - 1, PERSON - 1]


def test_points_come_from_files_where_a_folder_is_given(
    voc: Path, tmp_path: Path, listing: Any, refused: Any, caplog: Any
) -> None:
    # BESTIE's class index counts VOC's classes from 0, whichever are selected here.
    folder = tmp_path / "Center_points"
    folder.mkdir()
    (folder / "2007_000001.txt").write_text(f"2 1 {PERSON - 1} 1.0\n3 3 {DOG - 1} 1.0\n")
    with listing("voc", root=voc, classes=["cat", "dog"], points=folder) as made:
        assert made.points[0].points.tolist() == [[3, 3]]
        assert made.points[0].classes.tolist() == [1]
        assert len(made.points[1].points) == 0
    assert "1 images have no file of points" in caplog.text
    refused(r"no file <image>\.txt of any image", "voc", root=voc, points=tmp_path)


def rename_tag(voc: Path) -> None:
    (voc / "Annotations/2007_000001.xml").write_text(xml(("dgo", 0)))


def cut_xml(voc: Path) -> None:
    (voc / "Annotations/2007_000001.xml").write_text(xml(("dog", 0))[:-20])


def shrink_mask(voc: Path) -> None:
    Image.fromarray(OBJECTS[:3]).save(voc / "SegmentationObject/2007_000001.png")


def colour_mask(voc: Path) -> None:
    Image.fromarray(OBJECTS).convert("RGB").save(voc / "SegmentationObject/2007_000001.png")


def cut_mask(voc: Path) -> None:
    path = voc / "SegmentationObject/2007_000001.png"
    path.write_bytes(path.read_bytes()[:50])


def empty_class(voc: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(voc / "SegmentationClass/2007_000001.png")


def remove(name: str) -> Callable[[Path], None]:
    return lambda voc: (voc / name).unlink()


def write_list(text: str) -> Callable[[Path], None]:
    return lambda voc: (voc / "ImageSets/Segmentation/train.txt").write_text(text)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        pytest.param(rename_tag, r"2007_000001\.xml tags 'dgo', not among the classes of VOC", id="unknown tag"),
        pytest.param(cut_xml, r"2007_000001\.xml line 1 is not XML .* restore it", id="broken XML"),
        pytest.param(remove("Annotations/2007_000002.xml"), r"000002\.xml does not exist; restore it", id="no XML"),
        pytest.param(remove("JPEGImages/2007_000002.jpg"), r"000002\.jpg does not exist; restore it", id="no image"),
        pytest.param(shrink_mask, r"SegmentationObject/2007_000001\.png is 3x4 pixels .* is 4x4", id="mask size"),
        pytest.param(colour_mask, r"2007_000001\.png holds colours \(mode RGB\)", id="mask in colour"),
        pytest.param(cut_mask, r"SegmentationObject/2007_000001\.png cannot be decoded", id="mask cut off"),
        pytest.param(empty_class, "instance 1 has category 0 in SegmentationClass", id="instance without class"),
        pytest.param(write_list(""), r"train\.txt is empty", id="empty list"),
        pytest.param(write_list("a\nb\na\n"), r"train\.txt names a more than once", id="name twice"),
        pytest.param(write_list("../../b\n"), r"names the image '\.\./\.\./b', which is not a path", id="escape"),
        pytest.param(write_list("a -1\n"), r"line 1 is 'a -1', expected one name per line", id="list of one class"),
        pytest.param(remove("ImageSets/Segmentation/train.txt"), "lists in that folder: val", id="no list"),
    ],
)
def test_bad_input_is_named_with_a_remedy(voc: Path, refused: Any, harm: Callable[[Path], Any], message: str) -> None:
    harm(voc)
    refused(message, "voc", root=voc)


def test_wrong_roots_are_named(voc: Path, tmp_path: Path, refused: Any) -> None:
    (voc.parent / "VOC2007" / "JPEGImages").mkdir(parents=True)
    (tmp_path / "nothing").mkdir()
    cases = {
        "holds VOC2007, VOC2012; set images.voc.root to one": {"root": voc.parent},
        "nothing is not VOC": {"root": tmp_path / "nothing"},
        "no folder 'inst' of SBD": {"root": voc, "sbd": tmp_path / "nothing"},
        "train_aug is made from SBD: set images.voc.sbd": {"root": voc, "splits": {"train": "train_aug"}},
    }
    for message, options in cases.items():
        refused(message, "voc", **options)


@pytest.mark.parametrize(
    ("ids", "categories", "message"),
    [
        (np.ones((3, 4), np.uint8), [DOG], r"2008_000009\.mat is 3x4 pixels"),
        (np.full((4, 4), 2, np.uint8), [DOG], r"instances \[2\] have no category, 1 are given"),
        (np.ones((4, 4), np.uint8), [21], r"has categories \[21\], expected 1 to 20"),
    ],
)
def test_bad_sbd_files_are_named(
    voc: Path, tmp_path: Path, refused: Any, save: Save, ids: np.ndarray, categories: list[int], message: str
) -> None:
    add_sbd(tmp_path / "sbd", "2008_000009", ids, categories)
    save(voc / "JPEGImages/2008_000009.jpg", np.zeros((4, 4, 3), np.uint8))
    write_list("2008_000009\n")(voc)
    refused(message, "voc", root=voc, sbd=tmp_path / "sbd")


def test_a_file_that_is_no_sbd_is_named(voc: Path, tmp_path: Path, refused: Any) -> None:
    (tmp_path / "sbd/inst").mkdir(parents=True)
    (tmp_path / "sbd/inst/2007_000002.mat").write_bytes(b"not MATLAB" * 20)
    refused(r"2007_000002\.mat cannot be read .* no instance file of SBD", "voc", root=voc, sbd=tmp_path / "sbd")


def test_real_images(real_data: Path, tmp_path: Path, listing: Any) -> None:
    source = real_data / "data" / "voc_animals" / "VOC2012"
    lists = {name: (source / f"ImageSets/Segmentation/{name}.txt").read_text().split() for name in ("train", "val")}
    assert [len(lists["train"]), len(lists["val"])] == [800, 201]
    year = tmp_path / "VOC2012"
    (year / "ImageSets/Segmentation").mkdir(parents=True)
    for folder in ("Annotations", "JPEGImages", "SegmentationClass", "SegmentationObject"):
        (year / folder).symlink_to(source / folder)
    for name, images in lists.items():
        (year / f"ImageSets/Segmentation/{name}.txt").write_text("\n".join(images[:6]))
    animals = ["cat", "cow", "dog", "horse", "sheep"]
    with listing("voc", "val", root=year, classes=animals) as made:
        assert made.images.header["category_ids"] == [8, 10, 12, 13, 17]
        assert (made.images.header["negatives"], made.images.header["unknown"]) == (0, 0)
        assert all(ground_truth.annotated for ground_truth in made.ground_truth)
        for image, ground_truth, points in zip(made.images, made.ground_truth, made.points, strict=True):
            assert set(ground_truth.classes.tolist()) == set(np.flatnonzero(image.tags).tolist())
            assert ground_truth.atoms.shape == (image.height, image.width)
            holding = ground_truth.regions.holding(points.points)
            assert np.all(np.diag(holding))
    with listing("voc", "train", root=year, classes=animals) as made:
        assert not any(ground_truth.annotated for ground_truth in made.ground_truth)
        assert all(image.tags.any() for image in made.images)
