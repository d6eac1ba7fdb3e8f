"""One rule for names: spellings, links, suffixes, hints; what is left out of a folder is said."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.core.images.suffixes import suffixes
from stages.images.dataset import check_inside
from stages.images.files.folders import find_images
from stages.images.files.names import Names, spelling, without_suffix

Save = Callable[..., None]
PIXELS = np.full((4, 6, 3), 90, np.uint8)
COMPOSED, IN_PARTS = unicodedata.normalize("NFC", "größe é"), unicodedata.normalize("NFD", "größe é")


def split(
    images: Path, tags: Path | None = None, masks: Path | None = None, points: Path | None = None
) -> dict[str, Any]:
    files = {"images": images, "tags": tags, "masks": masks, "points": points}
    return {"train": {key: None if path is None else str(path) for key, path in files.items()}}


def tags_of(path: Path, names: list[str]) -> Path:
    path.write_text("image,tags\n" + "".join(f"{name},x\n" for name in names), encoding="utf-8")
    return path


def test_suffixes_are_those_that_pillow_decodes_itself() -> None:
    assert {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".ppm",
        ".pgm",
        ".jp2",
        ".tif",
        ".webp",
        ".bmp",
        ".avif",
    } <= suffixes()
    assert not {".eps", ".ps", ".pdf", ".mpg", ".h5", ".wmf", ".pcd", ".gbr", ".txt", ".xml", ".csv"} & suffixes()
    assert without_suffix("day1\\a.JFIF") == "day1/a"
    assert without_suffix("./a.v2.txt") == "a.v2.txt"


@pytest.mark.parametrize("kind", ["jpe", "jfif", "ppm", "jp2", "tif", "qoi", "dds"])
def test_images_under_other_suffixes_are_listed(tmp_path: Path, listing: Any, kind: str) -> None:
    (tmp_path / "images").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "images" / f"a.{kind}")
    with listing("folder", classes=["x"], splits=split(tmp_path / "images")) as made:
        assert [(image.image, image.path, image.height) for image in made.images] == [("a", f"a.{kind}", 4)]


def test_what_is_left_out_of_a_folder_is_counted_and_named(
    tmp_path: Path, save: Save, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    save(tmp_path / "a.jpg", PIXELS)
    for name in ("f.heic", "g.NEF", "notes.txt", "b.txt", "LICENSE", ".hidden.heic"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    assert find_images(tmp_path, None).images == ["a.jpg"]
    assert (
        "2 images of kinds that cannot be read; they are left out, save them as JPEG or PNG: f.heic, g.NEF"
        in caplog.text
    )
    assert "1 links to files that are not there: gone.jpg" in caplog.text
    assert "3 files in" in caplog.text
    assert "(2 .txt, 1 no suffix): LICENSE, b.txt, notes.txt" in caplog.text
    assert "hidden" not in caplog.text


def test_a_folder_without_readable_images_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"x")
    with pytest.raises(FileNotFoundError, match=r"holds no images that can be read .1 \.heic.; set the folder"):
        find_images(tmp_path, None)


def test_a_named_image_that_cannot_be_read_is_not_called_missing(tmp_path: Path, save: Save, refused: Any) -> None:
    save(tmp_path / "images" / "a.jpg", PIXELS)
    (tmp_path / "images" / "f.heic").write_bytes(b"x")
    tags = tags_of(tmp_path / "t.csv", ["a.jpg", "f.heic"])
    message = refused("cannot be read", "folder", classes=["x"], splits=split(tmp_path / "images", tags))
    assert "f.heic (line 3); save them as JPEG or PNG" in message
    assert "not in" not in message


@pytest.mark.parametrize(("on_disk", "written"), [(COMPOSED, IN_PARTS), (IN_PARTS, COMPOSED), (IN_PARTS, IN_PARTS)])
def test_letters_in_parts_and_composed_are_the_same_name(
    tmp_path: Path, save: Save, listing: Any, on_disk: str, written: str
) -> None:
    images, masks, points = tmp_path / "images", tmp_path / "masks", tmp_path / "points"
    save(images / on_disk / f"{on_disk}.png", PIXELS)
    save(masks / on_disk / f"{on_disk}.png", np.eye(4, 6, dtype=np.uint8))
    (masks / "instances.csv").write_text(f"image,instance,class\n{written}/{written},1,x\n", encoding="utf-8")
    (points / on_disk).mkdir(parents=True)
    (points / on_disk / f"{on_disk}.txt").write_text("5 3 0 1\n")
    tags = tags_of(tmp_path / "t.csv", [f"{written}\\{written}.png"])
    with listing("folder", classes=["x"], splits=split(images, tags, masks, points)) as made:
        assert made.images.ids == [f"{COMPOSED}/{COMPOSED}"]
        assert made.images[0].path == f"{on_disk}/{on_disk}.png"
        assert made.ground_truth[0].regions.areas().tolist() == [4]
        assert made.points[0].points.tolist() == [[3, 5]]


def test_two_spellings_on_disk_are_told_apart_by_their_exact_names(tmp_path: Path, save: Save, listing: Any) -> None:
    for name in (COMPOSED, IN_PARTS):
        save(tmp_path / "images" / f"{name}.png", PIXELS)
    assert Names([f"{COMPOSED}.png", f"{IN_PARTS}.png"]).find(f"{IN_PARTS}.png") == [f"{IN_PARTS}.png"]
    tags = tags_of(tmp_path / "t.csv", [f"{IN_PARTS}.png"])
    with listing("folder", classes=["x"], splits=split(tmp_path / "images", tags)) as made:
        assert made.images[0].path == f"{IN_PARTS}.png"


def test_backslashes_of_windows_are_read_alike_in_tags_and_instances(tmp_path: Path, save: Save, listing: Any) -> None:
    save(tmp_path / "images" / "day1" / "a.png", PIXELS)
    save(tmp_path / "masks" / "day1" / "a.png", np.eye(4, 6, dtype=np.uint8))
    (tmp_path / "masks" / "instances.csv").write_text("image,instance,class\nday1\\a.png,1,x\n")
    tags = tags_of(tmp_path / "t.csv", ["day1\\a.png"])
    with listing("folder", classes=["x"], splits=split(tmp_path / "images", tags, tmp_path / "masks")) as made:
        assert made.ground_truth[0].classes.tolist() == [0]


def test_a_colon_may_stand_in_a_name_and_a_drive_may_not(tmp_path: Path, save: Save, listing: Any) -> None:
    save(tmp_path / "images" / "12:30:05" / "a:b.png", PIXELS)
    tags = tags_of(tmp_path / "t.csv", ["12:30:05/a:b.png"])
    with listing("folder", classes=["x"], splits=split(tmp_path / "images", tags)) as made:
        assert made.images.ids == ["12:30:05/a:b"]
    for name in ("C:/a.png", "c:\\a.png", "/a.png", "\\\\server\\a.png", "a/../../b", "..", ""):
        with pytest.raises(ValueError, match="not a path inside the folder"):
            check_inside(name, "t.csv")
    assert check_inside("a:b/c.png", "t.csv") == "a:b/c.png"


def linked(tmp_path: Path, save: Save) -> Path:
    save(tmp_path / "elsewhere" / "b.png", PIXELS)
    save(tmp_path / "images" / "a.png", PIXELS)
    save(tmp_path / "images" / "real" / "c.png", PIXELS)
    (tmp_path / "images" / "day1").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "day2").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "images" / "again").symlink_to(tmp_path / "images" / "real")
    (tmp_path / "images" / "real" / "circle").symlink_to(tmp_path / "images")
    (tmp_path / "elsewhere" / "up").symlink_to(tmp_path)
    (tmp_path / "images" / "loop").symlink_to(tmp_path / "images" / "loop")
    return tmp_path / "images"


def test_folders_behind_links_are_searched_once(tmp_path: Path, save: Save, listing: Any) -> None:
    images = linked(tmp_path, save)
    with listing("folder", classes=["x"], splits=split(images)) as made:
        assert made.images.ids == ["a", "day1/b", "real/c"]


def test_tags_may_name_a_file_by_any_link_to_it(tmp_path: Path, save: Save, listing: Any) -> None:
    images = linked(tmp_path, save)
    tags = tags_of(tmp_path / "t.csv", ["day2/b.png", "again/c", "a"])
    with listing("folder", classes=["x"], splits=split(images, tags)) as made:
        assert [image.path for image in made.images] == ["day1/b.png", "real/c.png", "a.png"]


def test_masks_behind_a_link_are_not_taken_for_images(tmp_path: Path, save: Save) -> None:
    save(tmp_path / "images" / "a.png", PIXELS)
    save(tmp_path / "maps" / "a.png", PIXELS)
    (tmp_path / "images" / "masks").symlink_to(tmp_path / "maps")
    assert find_images(tmp_path / "images", tmp_path / "maps").images == ["a.png"]
    assert find_images(tmp_path / "images", None).images == ["a.png", "masks/a.png"]


def misnamed(tmp_path: Path, save: Save) -> Path:
    save(tmp_path / "images" / "a.png", PIXELS)
    os.link(tmp_path / "images" / "a.png", os.fsencode(tmp_path / "images") + b"/caf\xe9.png")
    return tmp_path / "images"


def test_names_that_are_not_utf8_are_named_with_their_bytes(tmp_path: Path, save: Save, refused: Any) -> None:
    message = refused("rename them", "folder", classes=["x"], splits=split(misnamed(tmp_path, save)))
    assert r"1 files whose names are not UTF-8: caf\xe9.png" in message


def test_with_tags_a_misnamed_file_is_left_out_with_a_warning(
    tmp_path: Path, save: Save, listing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tags = tags_of(tmp_path / "t.csv", ["a"])
    with listing("folder", classes=["x"], splits=split(misnamed(tmp_path, save), tags)) as made:
        assert made.images.ids == ["a"]
    assert r"names are not UTF-8, which nothing can name; rename them to use them: caf\xe9.png" in caplog.text


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Plate_1.jpg", "plate_1.jpg"),
        ("plate_1.JPG", "plate_1.jpg"),
        ("plate_2.png", "plate_2.jpg"),
        ("c.jpg", "day1/c.jpg"),
        ("plat_1.jpg", "plate_1.jpg"),
        ("day2/plate_2.jpg", "plate_2.jpg"),
    ],
)
def test_a_missing_image_comes_with_the_nearest_name(
    tmp_path: Path, save: Save, refused: Any, name: str, hint: str
) -> None:
    for file in ("plate_1.jpg", "plate_2.jpg", "day1/c.jpg"):
        save(tmp_path / "images" / file, PIXELS)
    tags = tags_of(tmp_path / "t.csv", ["plate_1.jpg", name])
    message = refused("are not in", "folder", classes=["x"], splits=split(tmp_path / "images", tags))
    assert f"{name} (line 3); restore or unlist them. Did you mean {hint} for {name}?" in message


def test_a_name_that_resembles_nothing_has_no_hint() -> None:
    assert Names(["plate_1.jpg"]).near("zebra.png") is None
    assert spelling("./a\\b.png") == "a/b.png"


def test_many_missing_images_are_counted_in_a_moment(tmp_path: Path, save: Save, refused: Any) -> None:
    save(tmp_path / "images" / "a.png", PIXELS)
    tags = tags_of(tmp_path / "t.csv", [f"missing_{i}.png" for i in range(5000)])
    message = refused("are not in", "folder", classes=["x"], splits=split(tmp_path / "images", tags))
    assert "and 4990 more" in message


@pytest.mark.parametrize("name", ["x" * 300 + "/a.png", "a/" * 3000 + "a.png", "é" * 200 + "/b/c.png"])
def test_names_that_no_file_can_have_are_missing(tmp_path: Path, save: Save, refused: Any, name: str) -> None:
    save(tmp_path / "images" / "day1" / "a.png", PIXELS)
    refused(
        "are not in", "folder", classes=["x"], splits=split(tmp_path / "images", tags_of(tmp_path / "t.csv", [name]))
    )


def test_an_absolute_path_is_refused_wherever_it_leads(tmp_path: Path, save: Save, refused: Any) -> None:
    save(tmp_path / "images" / "a.png", PIXELS)
    for name in (str(tmp_path / "images" / "a.png"), "/etc/a.png", "../images/a.png", "C:\\images\\a.png"):
        tags = tags_of(tmp_path / "t.csv", [name])
        refused("line 2 names the image .*not a path inside the folder", "folder", classes=["x"],
                splits=split(tmp_path / "images", tags))  # fmt: skip


def test_classes_are_the_same_whatever_the_form_of_their_letters(tmp_path: Path, save: Save, listing: Any) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    save(images / IN_PARTS / "a.png", PIXELS)
    save(masks / IN_PARTS / "a.png", np.eye(4, 6, dtype=np.uint8))
    (masks / "instances.csv").write_text(f"image,instance,class\n{COMPOSED}/a,1,{IN_PARTS}\n", encoding="utf-8")
    (tmp_path / "t.csv").write_text(f"image,tags\n{COMPOSED}/a,{IN_PARTS}\n", encoding="utf-8")
    for tags, name in ((tmp_path / "t.csv", COMPOSED), (images, COMPOSED), (images, IN_PARTS)):
        with listing("folder", classes=[name], splits=split(images, tags, masks)) as made:
            assert made.images[0].tags.tolist() == [True]
            assert made.images.header["classes"] == [name]
            assert made.ground_truth[0].classes.tolist() == [0]
