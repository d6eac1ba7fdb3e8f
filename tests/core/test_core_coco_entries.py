"""Types of COCO's JSON: what may be meant is read, what cannot be meant is refused with file and entry."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from stages.core.coco.entries import image_keys, read_annotations, read_categories, read_images
from stages.core.coco.json_files import load_json

FILE = Path("some.json")
BOTH = ("image_id", "category_id")


def one(**changes: Any) -> Any:
    (read,) = read_annotations([{"id": 1, "image_id": 2, "category_id": 3} | changes], FILE, BOTH)
    return read


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("id", 7, "id", 7),
        ("id", 7.0, "id", 7),
        ("id", "7", "id", 7),
        ("id", " 007 ", "id", 7),
        ("id", "7.0", "id", 7),
        ("id", "-7", "id", -7),
        ("id", "a7", "id", "a7"),
        ("id", 2**63 - 1, "id", 2**63 - 1),
        ("image_id", "000000000139", "image", "139"),
        ("image_id", 139.0, "image", "139"),
        ("image_id", "000000000139", "given_image", "000000000139"),
        ("image_id", "a.jpg", "image", "a.jpg"),
        ("category_id", "3", "category", 3),
        ("category_id", "dog", "category", "dog"),
        ("iscrowd", 0, "crowd", False),
        ("iscrowd", 1, "crowd", True),
        ("iscrowd", 1.0, "crowd", True),
        ("iscrowd", "0", "crowd", False),
        ("iscrowd", "1", "crowd", True),
        ("iscrowd", False, "crowd", False),
        ("iscrowd", True, "crowd", True),
        ("iscrowd", "False", "crowd", False),
        ("iscrowd", "true", "crowd", True),
        ("iscrowd", None, "crowd", False),
        ("iscrowd", "", "crowd", False),
        ("ignore", "1", "ignore", True),
        ("bbox", [1, "2.5", 3.0, 4], "bbox", (1, 2.5, 3, 4)),
        ("bbox", [], "bbox", None),
        ("bbox", None, "bbox", None),
        ("area", "12.5", "area", 12.5),
        ("area", None, "area", None),
        ("score", "0.5", "score", 0.5),
        ("score", 1, "score", 1.0),
        ("predicted_iou", 0.5, "score", 0.5),
    ],
)
def test_values_are_read_as_what_they_mean(key: str, value: Any, field: str, expected: Any) -> None:
    found = getattr(one(**{key: value}), field)
    assert found == expected
    assert type(found) is type(expected) or expected in (1, 12.5)


def test_scores_of_sam_are_multiplied_and_own_scores_come_first() -> None:
    assert one(predicted_iou=0.5, stability_score="0.5").score == 0.25
    assert one(predicted_iou=0.5, stability_score=0.5, score=0.9).score == 0.9
    assert one(stability_score=0.5).score is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": None}, r"some\.json: entry 0 of annotations: id is null, expected a whole number or text; mend it"),
        ({"id": True}, "id is true, expected a whole number"),
        ({"id": [1]}, r"id is \[1\], expected"),
        ({"id": {}}, "id is {}, expected"),
        ({"id": ""}, "id is '', expected"),
        ({"id": 1.5}, "id is 1.5, expected"),
        ({"id": math.nan}, "id is nan, expected"),
        ({"id": math.inf}, "id is inf, expected"),
        ({"id": 2**63}, "annotation 9223372036854775808: id is 9223372036854775808, beyond 64 bits"),
        ({"id": "1180591620717411303424"}, "beyond 64 bits"),
        ({"id": 1e300}, "beyond 64 bits"),
        ({"image_id": None}, r"some\.json: annotation 1: image_id is null"),
        ({"image_id": False}, "annotation 1: image_id is false"),
        ({"category_id": [3]}, r"annotation 1: category_id is \[3\]"),
        ({"iscrowd": 2}, "iscrowd is 2, expected 0 or 1"),
        ({"iscrowd": "no"}, "iscrowd is 'no', expected"),
        ({"iscrowd": []}, r"iscrowd is \[\], expected"),
        ({"iscrowd": math.nan}, "iscrowd is nan, expected"),
        ({"bbox": [1, 2, 3]}, r"bbox is \[1, 2, 3\], expected x, y, width, height"),
        ({"bbox": "1,2,3,4"}, "bbox is '1,2,3,4', expected x, y"),
        ({"bbox": [1, 2, None, 4]}, "bbox has null, expected a finite number"),
        ({"bbox": [1, 2, math.nan, 4]}, "bbox has nan, expected a finite number"),
        ({"bbox": [1, 2, 10**400, 4]}, "bbox has 1000"),
        ({"bbox": [1, 2, "wide", 4]}, "bbox has 'wide'"),
        ({"bbox": [1, 2, -3, 4]}, "bbox is .* below 0"),
        ({"area": -1}, "area is -1, which is below 0"),
        ({"area": "large"}, "area is 'large', expected a finite number"),
        ({"area": True}, "area is true, expected"),
        ({"score": math.inf}, "score is inf"),
        ({"score": [0.5]}, r"score is \[0\.5\]"),
    ],
)
def test_values_that_cannot_be_meant_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        one(**changes)


@pytest.mark.parametrize("entries", [3, "x", None, {"id": 1}, True])
def test_what_is_no_list_is_named(entries: Any) -> None:
    for read in (read_images, read_categories, lambda content, path: read_annotations(content, path, BOTH)):
        with pytest.raises(ValueError, match=r"some\.json: .* expected a list; restore it"):
            read(entries, FILE)


@pytest.mark.parametrize("entry", ["x", 3, None, [], True])
def test_entries_that_are_no_objects_are_named(entry: Any) -> None:
    with pytest.raises(ValueError, match=r"some\.json: entry 1 of images is .*, expected an object"):
        read_images([{"id": 1}, entry], FILE)


@pytest.mark.parametrize("missing", ["image_id", "category_id"])
def test_missing_keys_are_named(missing: str) -> None:
    entry = {"id": 5, "image_id": 1, "category_id": 1}
    del entry[missing]
    with pytest.raises(ValueError, match=f"annotation 5: it lacks {missing}"):
        read_annotations([entry], FILE, BOTH)


def image(**changes: Any) -> Any:
    return read_images([{"id": 1, "file_name": "a.jpg"} | changes], FILE)[0]


def test_sides_may_be_text_or_unknown() -> None:
    assert image(height="48", width=64.0)[-2:] == (48, 64)
    assert image(height=None)[-2:] == (None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 0}, "entry 0 of images: height is 0, expected pixels, or null"),
        ({"width": -3}, "width is -3"),
        ({"width": 64.5}, "width is 64.5"),
        ({"width": True}, "width is true"),
        ({"height": [48]}, r"height is \[48\]"),
        ({"file_name": True}, "file_name is true, expected text"),
        ({"file_name": None}, "file_name is null, expected text"),
        ({"file_name": " "}, "file_name is ' ', expected text"),
        ({"file_name": ["a.jpg"]}, "file_name is .*, expected text"),
        ({"id": [1]}, r"id is \[1\]"),
    ],
)
def test_images_of_other_types_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image(**changes)


@pytest.mark.parametrize("name", [["square"], 3, None, "", {"en": "square"}])
def test_names_of_categories_are_text(name: Any) -> None:
    with pytest.raises(ValueError, match="entry 0 of categories: name is .*, expected text"):
        read_categories([{"id": 1, "name": name}], FILE)


@pytest.mark.parametrize(
    ("ids", "keys", "as_written"),
    [
        ([1, 2], ["1", "2"], False),
        (["000000000139", "7"], ["139", "7"], False),
        ([139.0, "a"], ["139", "a"], False),
        (["1", "001"], ["1", "001"], True),
        ([1, "001"], ["1", "001"], True),
    ],
)
def test_images_are_told_apart_by_their_ids(ids: list[Any], keys: list[str], as_written: bool) -> None:
    assert image_keys(read_images([{"id": number} for number in ids], FILE), FILE) == (keys, as_written)


@pytest.mark.parametrize("ids", [[1, 1], [1, "1"], ["a", "a"], [1, 1.0]])
def test_images_of_one_id_are_named(ids: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"some\.json: images names (1|a) more than once"):
        image_keys(read_images([{"id": number} for number in ids], FILE), FILE)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_is_read_in_what_editors_write(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(json.dumps({"name": "Käfer"}, ensure_ascii=False).encode(encoding))
    assert load_json(tmp_path / "a.json") == {"name": "Käfer"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.json is not JSON, or was cut off .*; restore it"),
        (b'{"images": [{"id": 1}, {"i', r"a\.json is not JSON, or was cut off"),
        (b"[" * 100_000, r"a\.json is nested too deeply"),
        (b'{"a":' * 100_000, r"a\.json is nested too deeply"),
        (b"[" * 3000 + b"]" * 3000, r"a\.json is nested too deeply"),
        ('{"name": "Käfer"}'.encode("cp1252"), r"a\.json is not JSON in UTF-8 .*; save it as UTF-8"),
        (b"\x89PNG\r\n", r"a\.json is not JSON"),
        (b"[" + b"9" * 5000 + b"]", r"a\.json is not JSON"),
    ],
)
def test_files_that_are_no_json_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_json(tmp_path / "a.json")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.json does not exist"):
        load_json(tmp_path / "no.json")
    with pytest.raises(ValueError, match="cannot be read"):
        load_json(tmp_path)
