"""Which image a name or an id in a file means: an image is its path."""

from typing import Any

import pytest

from stages.core.coco.entries import read_annotations
from stages.core.coco.ids import match_ids
from stages.core.coco.names import match_names, parts, stem


def match(images: list[str], names: list[str]) -> dict[str, str]:
    """Names by image; both are given as paths."""
    found = match_names({path: path for path in images}, {f"key {name}": name for name in names}, "some.json")
    return {image: key.removeprefix("key ") for image, key in found.items()}


def test_paths_have_one_spelling() -> None:
    assert parts("day1\\0001.jpg") == parts("./day1//0001.jpg") == parts("/day1/0001.jpg") == ("day1", "0001.jpg")
    assert parts("Ka\u0308fer.jpg") == parts("K\u00e4fer.jpg")
    assert parts("1.jpg") != parts("001.jpg")
    assert parts("A.jpg") != parts("a.jpg")


def test_only_suffixes_of_images_are_left_out() -> None:
    assert stem("a/b.JPEG") == ("a", "b")
    assert stem("a/b.jp2") == ("a", "b")
    assert stem("a/b.v2") == ("a", "b.v2")
    assert stem("a/b.c.png") == ("a", "b.c")
    assert stem(".png") == (".png",)
    assert stem("") == ("",)


@pytest.mark.parametrize(
    ("images", "names", "expected"),
    [
        pytest.param(["1.jpg", "2.jpg"], ["2.jpg", "1.jpg"], {"1.jpg": "1.jpg", "2.jpg": "2.jpg"}, id="paths"),
        pytest.param(["1.jpg", "001.jpg"], ["001.jpg"], {"001.jpg": "001.jpg"}, id="numbers are names"),
        pytest.param(["a.jpg", "a.png"], ["a.png", "a.jpg"], {"a.jpg": "a.jpg", "a.png": "a.png"}, id="suffixes"),
        pytest.param(["a.png", "b.png"], ["a.jpg", "b"], {"a.png": "a.jpg", "b.png": "b"}, id="other suffixes"),
        pytest.param(["a.png", "a.jpg"], ["a.png"], {"a.png": "a.png"}, id="whole paths first"),
        pytest.param(
            ["d1/1.jpg", "d2/1.jpg"], ["d2\\1.jpg", "d1\\1.jpg"], {"d1/1.jpg": "d1\\1.jpg", "d2/1.jpg": "d2\\1.jpg"},
            id="folders",
        ),
        pytest.param(["d1/1.jpg", "1.jpg"], ["d1/1.jpg"], {"d1/1.jpg": "d1/1.jpg"}, id="a folder is not left out"),
        pytest.param(["val/d1/1.jpg"], ["d1/1.jpg", "d2/1.jpg"], {"val/d1/1.jpg": "d1/1.jpg"}, id="longer root"),
        pytest.param(["d1/1.jpg"], ["C:\\x\\d1\\1.jpg", "C:\\x\\d2\\1.jpg"], {"d1/1.jpg": "C:\\x\\d1\\1.jpg"}, id="drive"),
        pytest.param(["d1/1.jpg"], ["d2/1.jpg"], {}, id="another folder"),
        pytest.param(["d1/1.jpg"], ["xd1/1.jpg", "11.jpg"], {}, id="ends of words"),
        pytest.param([], ["1.jpg"], {}, id="no images"),
        pytest.param(["1.jpg"], [], {}, id="no names"),
    ],
)  # fmt: skip
def test_names_are_matched_by_path(images: list[str], names: list[str], expected: dict[str, str]) -> None:
    assert match(images, names) == expected


@pytest.mark.parametrize(
    ("images", "names", "message"),
    [
        (["1.png"], ["1.jpg", "1.bmp"], r"some\.json: the image 1\.png may be '1\.jpg' .* or '1\.bmp'"),
        (["1.png", "1.tif"], ["1.jpg"], r"'1\.jpg' may be the image 1\.png or 1\.tif"),
        (["d1/1.jpg", "d2/1.jpg"], ["1.jpg"], r"'1\.jpg' may be the image d1/1\.jpg or d2/1\.jpg"),
        (["1.jpg"], ["d1/1.jpg", "d2/1.jpg"], r"image 1\.jpg may be 'd1/1\.jpg' .* or 'd2/1\.jpg'"),
    ],
)
def test_names_of_two_images_are_refused(images: list[str], names: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        match(images, names)


def test_entries_of_one_name_are_refused_with_their_ids() -> None:
    with pytest.raises(ValueError, match=r"may be '1\.jpg' \(id 3\) or '1\.jpg' \(id 4\); write file_name as the path"):
        match_names({"1": "1.jpg"}, {"3": "1.jpg", "4": "1.jpg"}, "some.json")


def ids(images: dict[str, str], written: list[Any], kind: str = "folder") -> dict[str, list[str]]:
    annotations = read_annotations([{"image_id": value} for value in written], "some.json", ("image_id",))
    return match_ids(images, annotations, kind, "some.json")


COCO = {"139": "val/000000000139.jpg", "7": "val/000000000007.jpg"}


@pytest.mark.parametrize("written", [139, "139", "000000000139", 139.0])
def test_ids_of_coco_are_numbers_however_written(written: Any) -> None:
    (found,) = ids(COCO, [written, 8], "coco").items()
    assert found[0] == "139"


def test_ids_of_coco_are_not_its_names() -> None:
    images = {"1": "val/2.jpg", "2": "val/1.jpg"}
    assert ids(images, [1], "coco") == {"1": ["1"]}
    assert ids(images, ["2.jpg"], "coco") == {"1": ["2.jpg"]}  # where no id is one, they are names


def test_spellings_of_one_id_of_coco_belong_together() -> None:
    assert ids(COCO, ["139", "000000000139"], "coco") == {"139": ["139", "000000000139"]}


def test_ids_elsewhere_are_names_and_numbers_only_where_no_name_fits() -> None:
    assert ids({"1": "1.jpg", "001": "001.jpg"}, [1, "001"]) == {"1": ["1"], "001": ["001"]}
    assert ids({"1": "1.jpg", "001": "001.jpg"}, [1]) == {"1": ["1"]}
    assert ids({"000005": "JPEGImages/000005.jpg"}, [5], "voc") == {"000005": ["5"]}
    assert ids({"2007_000001": "JPEGImages/2007_000001.jpg"}, ["2007_000001"], "voc") == {
        "2007_000001": ["2007_000001"]
    }
    assert ids({"d1/a": "d1/a.jpg", "d2/a": "d2/a.jpg"}, ["d2/a.jpg"]) == {"d2/a": ["d2/a.jpg"]}
    assert ids({"a": "a.jpg"}, ["b"]) == {}


def test_an_id_that_may_be_two_numbers_is_refused() -> None:
    with pytest.raises(ValueError, match="the image 01 may be '1' or '001'"):
        ids({"01": "01.jpg"}, ["1", "001"])
