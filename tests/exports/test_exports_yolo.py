"""YOLO segmentation text, read back by a small reader that follows the format and fills as ultralytics and supervision do."""

import csv
import io
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import ExifTags, Image

from stages.exports import image_files
from stages.exports.export_yolo import export_yolo
from tests.exports.conftest import SIZE, encoded, rectangle, ring

ROUND = {"ultralytics": lambda corners: corners.astype(np.int32), "supervision": lambda corners: np.round(corners)}


def label_of(path) -> str:
    """Where ultralytics looks for the label of an image: behind the last folder called images."""
    before, _, name = str(path).rpartition(f"{os.sep}images{os.sep}")
    return f"{before}{os.sep}labels{os.sep}{name.rpartition('.')[0]}.txt"


def load(folder, key: str = "train", reader: str = "ultralytics"):
    """Images of a split by their place in it: classes and masks of their label, found as the readers do."""
    data = yaml.safe_load((folder / "data.yaml").read_text(encoding="ascii"))
    root = folder / data[key]
    found = {}
    for path in sorted(path for path in root.rglob("*.*") if path.suffix != ".txt"):
        with Image.open(path) as image:
            width, height = image.size
        found[path.relative_to(root).as_posix()] = masks_of(label_of(path), height, width, ROUND[reader])
    return data["names"], found


def masks_of(label: str, height: int, width: int, to_pixels):
    classes, masks = [], []
    with Path(label).open(encoding="utf-8") as file:
        for line in file.read().splitlines():
            kind, *shares = line.split()
            corners = np.array(shares, np.float32).reshape(-1, 2)
            assert len(corners) >= 3
            assert corners.min() >= 0 and corners.max() <= 1
            points = to_pixels(corners * np.array([width, height], np.float32)).astype(np.int32)
            classes.append(int(kind))
            masks.append(cv2.fillPoly(np.zeros((height, width), np.uint8), [points], 1).astype(bool))
    return classes, masks


@pytest.mark.parametrize("reader", ["ultralytics", "supervision"])
@pytest.mark.parametrize("images", ["link", "copy"])
def test_every_image_has_its_masks_pixel_by_pixel(split, yolo_form, reader, images):
    split.predicted["a"][0][0] = rectangle(2, 20, 3, 25) & ~rectangle(6, 15, 8, 20)
    split.on_disk({"a b#%": "a b#%.png", "é": "é.png", "sub/c.d": "sub/c.d.png"})
    export_yolo(**split.write(), output=split.folder / "yolo", settings=yolo_form(images=images))
    names, found = load(split.folder / "yolo", reader=reader)
    assert names == {0: "cat", 1: "dog"}
    assert set(found) == {"a b#%.png", "é.png", "sub/c.d.png"}
    for path, (classes, masks) in found.items():
        expected, of_class, _ = split.predicted[path.removesuffix(".png")]
        assert classes == of_class
        for mask, wanted in zip(masks, expected, strict=True):
            np.testing.assert_array_equal(mask, wanted)


@pytest.mark.parametrize("reader", ["ultralytics", "supervision"])
def test_large_images_come_back_pixel_by_pixel(split, yolo_form, reader):
    size = (12, 30011)
    mask = np.zeros(size, bool)
    mask[3:10, 17:29996] = True
    mask[6, 20000:20003] = False
    split.sizes["a"], split.predicted["a"] = size, ([mask], [1], [0.5])
    export_yolo(**split.write(), output=split.folder / "yolo", settings=yolo_form())
    np.testing.assert_array_equal(load(split.folder / "yolo", reader=reader)[1]["a.png"][1][0], mask)


def test_parts_apart_are_one_line_with_a_bridge_or_a_line_each(split, yolo_form, caplog):
    caplog.set_level("INFO")
    mask = rectangle(2, 8, 2, 6) | rectangle(2, 8, 9, 14)
    split.predicted["a"] = ([mask], [1], [0.5])
    export_yolo(**split.write(), output=split.folder / "joined", settings=yolo_form())
    _, (joined,) = load(split.folder / "joined")[1]["a.png"]
    assert (joined & ~mask).sum() == 3
    assert (joined & mask).sum() / (joined | mask).sum() > 0.94
    assert "1 lines differ from masks in parts: bridges add 3 pixels, parts of 0 pixels are left out" in caplog.text
    export_yolo(**split.write(), output=split.folder / "split", settings=yolo_form("split"))
    classes, masks = load(split.folder / "split")[1]["a.png"]
    assert classes == [1, 1]
    np.testing.assert_array_equal(masks[0] | masks[1], mask)
    with (split.folder / "split" / "instances.csv").open(newline="") as file:
        assert [row["instance"] for row in csv.DictReader(file) if row["image"] == "a"] == ["1", "1"]


def test_scores_stand_in_a_table_of_their_own(split, yolo_form):
    export_yolo(**split.write(), output=split.folder / "yolo", settings=yolo_form(top_k=2))
    with (split.folder / "yolo" / "instances.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[1] == {"image": "a", "instance": "2", "class": "dog", "score": "0.5"}
    assert len(rows) == 3
    assert (split.folder / "yolo" / "labels" / "val" / "sub" / "c.txt").read_text() == ""


def test_a_folder_called_images_pairs_as_readers_pair_it(split, yolo_form):
    split.on_disk({"images/a": "images/a.png", "images/images/a": "images/images/a.png", "labels/a": "labels/a.png"})
    export_yolo(**split.write(), output=split.folder / "images" / "yolo", settings=yolo_form())
    _, found = load(split.folder / "images" / "yolo")
    assert {path: classes for path, (classes, _) in found.items()} == {
        "images/a.png": [0, 1, 1], "images/images/a.png": [1], "labels/a.png": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    "names", [["yes", "1"], ["a: b", "- #x"], ["line\nbreak", "\u202e\U0001f408 'x\""], ["null", "~"]]
)
def test_any_name_of_a_class_comes_back(split, yolo_form, names):
    split.classes = names
    export_yolo(**split.write(), output=split.folder / "yolo", settings=yolo_form())
    assert load(split.folder / "yolo", key="val")[0] == dict(enumerate(names))


def test_images_are_links_to_where_they_lie_or_copies(split, yolo_form, monkeypatch):
    root = split.on_disk({"a": "a.PNG", "b": "b.png", "c": "c.png"})
    monkeypatch.chdir(split.folder)
    split.root = root.name
    export_yolo(**split.write(), output=split.folder / "linked", settings=yolo_form())
    link = split.folder / "linked" / "images" / "val" / "a.PNG"
    assert link.is_symlink() and link.readlink() == root / "a.PNG"
    export_yolo(**split.write(), output=split.folder / "copied", settings=yolo_form(images="copy"))
    copy = split.folder / "copied" / "images" / "val" / "a.PNG"
    assert not copy.is_symlink() and copy.read_bytes() == (root / "a.PNG").read_bytes()


def turned(kind: str) -> bytes:
    """An upright image of SIZE whose file lies on its side, as its EXIF block says."""
    height, width = SIZE
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[: height // 2] = 255
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encoded(np.rot90(rgb).copy(), kind, exif=exif)


@pytest.mark.parametrize(
    ("name", "data", "anew"),
    [
        pytest.param("a.jpg", turned("JPEG"), False, id="JPEG on its side, which every reader turns"),
        pytest.param("a.png", turned("PNG"), True, id="PNG on its side"),
        pytest.param("a.gif", encoded(np.full((*SIZE, 3), 90, np.uint8), "GIF"), True, id="no suffix of YOLO"),
    ],
)
def test_what_other_programs_read_otherwise_is_written_upright_as_png(split, yolo_form, caplog, name, data, anew):
    caplog.set_level("INFO")
    split.files["a"] = data
    root = split.on_disk({"a": name, "b": "b.png", "c": "c.png"})
    export_yolo(**split.write(), output=split.folder / "yolo", settings=yolo_form())
    placed = split.folder / "yolo" / "images" / "val" / ("a.png" if anew else name)
    assert placed.is_symlink() == (not anew)
    assert f"{int(anew)} images are written as PNG" in caplog.text
    if anew:
        with Image.open(placed) as image, Image.open(root / name) as source:
            assert image.size == SIZE[::-1]
            assert (np.array(image)[0, 0] == (255 if source.getexif() else 90)).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        pytest.param(lambda path: path.unlink(), FileNotFoundError, r"a\.png does not exist; restore it", id="gone"),
        pytest.param(lambda path: path.write_bytes(b""), ValueError, r"a\.png has 0 bytes, but had \d+", id="empty"),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()[:-9]), ValueError, "was changed or cut off", id="cut"
        ),
    ],
)
@pytest.mark.parametrize("images", ["link", "copy"])
def test_an_image_that_is_gone_or_has_changed_stops_the_export(split, yolo_form, change, error, message, images):
    root = split.on_disk({"a": "a.png", "b": "b.png", "c": "c.png"})
    paths = split.write()
    change(root / "a.png")
    with pytest.raises(error, match=message):
        export_yolo(**paths, output=split.folder / "yolo", settings=yolo_form(images=images))
    assert not (split.folder / "yolo").exists()


def test_damaged_pixels_of_the_right_size_stop_the_export(split, yolo_form):
    split.files["a"] = b"no image at all"
    split.on_disk({"a": "a.png", "b": "b.png", "c": "c.png"})
    with pytest.raises(ValueError, match=r"a\.png cannot be decoded"):
        export_yolo(**split.write(), output=split.folder / "yolo", settings=yolo_form())


def test_a_disk_without_links_says_which_setting_helps(split, yolo_form, monkeypatch):
    split.on_disk({"a": "a.png", "b": "b.png", "c": "c.png"})

    def refuse(self, target):
        raise PermissionError("not permitted")

    monkeypatch.setattr(image_files.Path, "symlink_to", refuse)
    with pytest.raises(ValueError, match=r"takes no symbolic link to .*a\.png.*set exports.yolo.images to copy"):
        export_yolo(**split.write(), output=split.folder / "yolo", settings=yolo_form())


def test_embedded_images_are_written(split, yolo_form):
    split.predicted["a"] = ([ring()], [0], [0.5])
    export_yolo(**split.write(), output=split.folder / "yolo", settings=yolo_form())
    with Image.open(split.folder / "yolo" / "images" / "val" / "a.png") as image:
        assert (np.array(image) == 90).all()
    assert Image.open(io.BytesIO(split.encoded("a"))).size == SIZE[::-1]
