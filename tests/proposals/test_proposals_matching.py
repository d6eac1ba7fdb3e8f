"""Proposals belong to the image of their path: one JSON for all, results without names, and a file for each image."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import read
from stages.ops import rle
from stages.proposals.import_proposals import import_proposals
from stages.proposals.settings import CocoJsonSettings

HEIGHT, WIDTH = 8, 10
BOXES = [(1, 1, 4, 5), (2, 3, 9, 7), (5, 0, 10, 4), (0, 4, 6, 8)]  # x0, y0, x1, y1


def mask(box: tuple[int, int, int, int]) -> np.ndarray:
    made = np.zeros((HEIGHT, WIDTH), bool)
    made[box[1] : box[3], box[0] : box[2]] = True
    return made


RLES = rle.encode(np.stack([mask(box) for box in BOXES]))
Run = Callable[..., dict[str, list[list[int]]]]


@pytest.fixture
def run(tmp_path: Path, image_list: Any) -> Run:
    """Imports for images given as id -> path; the boxes of each image's masks."""

    def call(
        path: Path, images: dict[str, str], kind: str = "folder", prefixes: tuple[str, ...] = ("",)
    ) -> dict[str, list[list[int]]]:
        blank = {image: np.zeros((HEIGHT, WIDTH, 3), np.uint8) for image in images}
        listing = image_list(blank, kind=kind, paths=images)
        settings = CocoJsonSettings(
            kind="coco_json", path=str(path), prefixes=list(prefixes), count=9, supervision="label-free"
        )
        import_proposals(images=listing, output=tmp_path / "out.h5", settings=settings, source="own", shard="1-of-1")
        with read(tmp_path / "out.h5", Proposals) as proposals:
            return {record.image: record.regions.boxes().tolist() for record in proposals}

    return call


@pytest.fixture
def refused(tmp_path: Path, run: Run) -> Callable[..., None]:
    def call(message: str, *given: Any, **options: Any) -> None:
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            run(*given, **options)
        assert not (tmp_path / "out.h5").exists()

    return call


def folder(*names: str) -> dict[str, str]:
    """Images of kind folder: ids are paths without suffix."""
    return {name.rsplit(".", 1)[0]: name for name in names}


def data_set(path: Path, names: dict[Any, str | None], **image: Any) -> Path:
    """A JSON of images given as id -> file name, with one mask each."""
    entries = [{"id": number} | ({} if name is None else {"file_name": name}) | image for number, name in names.items()]
    annotations = [
        {"id": i, "image_id": number, "segmentation": encoding}
        for i, (number, encoding) in enumerate(zip(names, RLES, strict=False))
    ]
    path.write_text(json.dumps({"images": entries, "annotations": annotations}))
    return path


def results(path: Path, *numbers: Any) -> Path:
    found = [{"image_id": number, "segmentation": encoding} for number, encoding in zip(numbers, RLES, strict=False)]
    path.write_text(json.dumps(found))
    return path


def boxes(*numbers: int) -> list[list[list[int]]]:
    return [[list(BOXES[number])] for number in numbers]


def test_ids_and_names_are_never_mixed(tmp_path: Path, run: Run) -> None:
    path = data_set(tmp_path / "a.json", {0: "1.jpg", 1: "2.jpg", 2: "3.jpg", 3: "4.jpg"})
    found = run(path, folder("1.jpg", "2.jpg", "3.jpg", "4.jpg"))
    assert list(found.values()) == boxes(0, 1, 2, 3)
    as_coco = {"1": "val/4.jpg", "2": "val/3.jpg", "3": "val/2.jpg", "4": "val/1.jpg"}
    assert list(run(path, as_coco, kind="coco").values()) == boxes(3, 2, 1, 0)


def test_folders_and_zeros_keep_images_apart(tmp_path: Path, run: Run) -> None:
    path = data_set(tmp_path / "a.json", {7: "day2\\1.jpg", 8: "day1/1.jpg", 9: "1.jpg", 10: "001.jpg"})
    found = run(path, folder("1.jpg", "001.jpg", "day1/1.jpg", "day2/1.jpg"))
    assert list(found.values()) == boxes(2, 3, 1, 0)


@pytest.mark.parametrize(
    ("kind", "images", "names"),
    [
        ("voc", {"2007_000001": "JPEGImages/2007_000001.jpg"}, {1: "2007_000001.jpg"}),
        ("voc", {"2007_000001": "JPEGImages/2007_000001.jpg"}, {1: "VOC2012/JPEGImages/2007_000001.jpg"}),
        ("voc", {"000005": "JPEGImages/000005.jpg"}, {5: "000005"}),
        ("coco", {"139": "val2017/000000000139.jpg"}, {4: "000000000139.jpg"}),
        ("coco", {"139": "val2017/a/b.jpg"}, {4: "a/b.png"}),
        ("folder", {"d/a": "d/a.jpg"}, {4: "D:\\images\\d\\a.jpg"}),
        ("folder", {"d/a": "d/a.jpg"}, {4: "a.jpg"}),
        ("shapes", {"train_00001": ""}, {4: "train_00001.png"}),
    ],
)
def test_names_may_be_written_from_another_root(
    kind: str, images: dict[str, str], names: dict[Any, str], tmp_path: Path, run: Run
) -> None:
    assert list(run(data_set(tmp_path / "a.json", names), images, kind=kind).values()) == boxes(0)


def test_ids_are_asked_where_the_file_has_no_names_or_those_of_nothing(tmp_path: Path, run: Run, caplog: Any) -> None:
    images = {"139": "val2017/000000000139.jpg"}
    unnamed = data_set(tmp_path / "a.json", {"000000000139": None})
    renamed = data_set(tmp_path / "b.json", {139: "COCO_val2014_000000000139.jpg"})
    assert list(run(unnamed, images, kind="coco").values()) == boxes(0)
    assert list(run(renamed, images, kind="coco").values()) == boxes(0)
    assert "no file_name is that of an image, but ids are; images are matched by id" in caplog.text


def test_names_that_fit_two_images_or_none_are_refused(tmp_path: Path, refused: Any) -> None:
    path = tmp_path / "a.json"
    two = folder("day1/1.jpg", "day2/1.jpg")
    refused(r"'1\.jpg' may be the image day1/1\.jpg or day2/1\.jpg", data_set(path, {1: "1.jpg"}), two)
    refused(r"may be 'x/1\.jpg' \(id 4\) or 'y/1\.jpg'", data_set(path, {4: "x/1.jpg", 5: "y/1.jpg"}), folder("1.jpg"))
    refused("regions of none of the 1 images; its images are like b.jpg", data_set(path, {1: "b.jpg"}), folder("1.jpg"))
    refused(
        r"lists 1 images, but not 'd/1\.jpg'; take the file of this split, or add", data_set(path, {1: "1.jpg"}),
        folder("1.jpg", "d/1.jpg"),
    )  # fmt: skip
    refused("1 of 2 images have a file_name; give it to all", data_set(path, {1: "1.jpg", 2: None}), folder("1.jpg"))


def test_an_entry_of_another_size_is_refused(tmp_path: Path, run: Run, refused: Any) -> None:
    path = data_set(tmp_path / "a.json", {1: "1.jpg"}, height=4, width=5)
    refused(r"the file says 4x5 pixels .* but the image is 8x10", path, folder("1.jpg"))
    assert run(data_set(path, {1: "1.jpg"}, height=None, width="10"), folder("1.jpg"))


@pytest.mark.parametrize("number", [139, "139", "000000000139", 139.0])
def test_results_of_coco_are_found_by_number(number: Any, tmp_path: Path, run: Run) -> None:
    images = {"7": "val/000000000007.jpg", "139": "val/000000000139.jpg"}
    assert list(run(results(tmp_path / "a.json", number), images, kind="coco").values()) == [[], *boxes(0)]


def test_results_of_own_images_are_found_by_name(tmp_path: Path, run: Run, caplog: Any) -> None:
    path = results(tmp_path / "a.json", "day1/1", "day2/1.jpg", 1)
    assert list(run(path, folder("1.jpg", "day1/1.jpg", "day2/1.jpg")).values()) == boxes(2, 0, 1)
    assert "are names of no image" not in caplog.text
    found = run(results(tmp_path / "a.json", 0, 1, 2), folder("1.jpg", "2.jpg", "3.jpg"))
    assert list(found.values()) == [*boxes(1, 2), []]
    assert "1 image_id, such as 0, are names of no image, and 1 images have no region" in caplog.text


def test_annotations_without_images_are_results(tmp_path: Path, run: Run) -> None:
    path = results(tmp_path / "a.json", "1", "2")
    path.write_text(json.dumps({"annotations": json.loads(path.read_text())}))
    assert list(run(path, folder("1.jpg", "2.jpg")).values()) == boxes(0, 1)


def save(path: Path, number: int, **image: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    content: Any = [{"segmentation": RLES[number]}]
    path.write_text(json.dumps({"images": [image], "annotations": content} if image else content))


@pytest.mark.parametrize(
    ("kind", "images", "files"),
    [
        ("folder", folder("day1/1.jpg", "day2/1.jpg"), ["day1/1.json", "day2/1.json"]),
        ("folder", folder("day1/1.jpg", "day2/2.jpg"), ["1.json", "2.json"]),
        ("folder", folder("day1/1.jpg", "day2/2.jpg"), ["day1/SAM_1.json", "SAM_2.json"]),
        ("folder", folder("1.jpg", "001.jpg"), ["1.json", "001.json"]),
        ("folder", folder("a.v1.jpg", "a.v2.jpg"), ["a.v1.json", "a.v2.json"]),
        ("coco", {"17": "val/left.jpg", "5": "val/right.jpg"}, ["left.json", "right.json"]),
        ("coco", {"17": "val/left.jpg", "5": "val/right.jpg"}, ["17.json", "000000000005.json"]),
        ("coco", {"2": "val/1.jpg", "1": "val/2.jpg"}, ["val/1.json", "val/2.json"]),
        ("voc", {"2007_000001": "JPEGImages/2007_000001.jpg"}, ["2007_000001.json"]),
    ],
)
def test_a_file_of_its_own_has_the_name_of_the_image(
    kind: str, images: dict[str, str], files: list[str], tmp_path: Path, run: Run
) -> None:
    for number, name in enumerate(files):
        save(tmp_path / "sam" / name, number)
    found = run(tmp_path / "sam", images, kind=kind, prefixes=("", "SAM_"))
    assert list(found.values()) == boxes(*range(len(files)))


def test_files_that_may_be_of_two_images_are_not_taken(tmp_path: Path, refused: Any) -> None:
    save(tmp_path / "sam" / "1.json", 0)
    save(tmp_path / "sam" / "2.json", 1)
    refused("'day1/1': looked for day1/1.json; add the file", tmp_path / "sam", folder("day1/1.jpg", "day2/1.jpg"))
    refused("'001': looked for 001.json;", tmp_path / "sam", folder("001.jpg"))
    refused(
        r"image 2 may have 1\.json \(by its file name\) or 2\.json \(by its id\)",
        tmp_path / "sam", {"2": "val/1.jpg", "1": "val/2.jpg"}, kind="coco",
    )  # fmt: skip


def test_a_data_set_of_one_image_may_be_its_file(tmp_path: Path, run: Run, refused: Any) -> None:
    save(tmp_path / "sam" / "1.json", 0, id=1, file_name="1.jpg")
    assert list(run(tmp_path / "sam", folder("1.jpg")).values()) == boxes(0)
    data_set(tmp_path / "sam" / "2.json", {1: "1.jpg", 2: "2.jpg"})
    (tmp_path / "out.h5").unlink()
    refused(r"2\.json holds an object with .*, which is no known layout", tmp_path / "sam", folder("2.jpg"))


OUTLINE = [1, 1, 4, 1, 4, 5, 1, 5]
FORMS = {
    "bitmap": mask(BOXES[0]).tolist(),
    "flat polygon": OUTLINE,
    "points": [[1, 1], [4, 1], [4, 5], [1, 5]],
    "shares": [[number / (HEIGHT if i % 2 else WIDTH) for i, number in enumerate(OUTLINE)]],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("layout", ["one file", "a file per image"])
def test_masks_are_read_in_the_forms_of_data_sets(form: str, layout: str, tmp_path: Path, run: Run) -> None:
    entry = {"segmentation": FORMS[form], "bbox": [1, 1, 3, 4], "area": 12, "score": "0.5"}
    path = tmp_path / "sam" / "a.json"
    path.parent.mkdir()
    path.write_text(json.dumps([entry | {"image_id": "a"}]))
    assert list(run(path if layout == "one file" else path.parent, folder("a.jpg")).values()) == boxes(0)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"segmentation": RLES[0], "bbox": [1, 1, 9, 9]}, "a: entry 0 of annotations: its mask has 12 pixels"),
        ({"segmentation": RLES[0], "area": 70}, "12 pixels, but area says 70"),
        ({"segmentation": [], "bbox": [1, 1, 3, 4]}, "a: entry 0 of annotations: it has no mask in `segmentation`"),
        ({"segmentation": [[0, 0, 1, 0, 1, 1]]}, "its mask has 0 pixels"),
        ({"segmentation": [[1, 1, 4, None, 4, 5]]}, "entry 0 of annotations is no mask .*a polygon has null"),
        ({"segmentation": mask(BOXES[0])[1:].tolist()}, "7 rows of 10 values 0 and 1, but its image is 8 rows of 10"),
        ({"segmentation": RLES[0], "score": None, "predicted_iou": "x"}, "predicted_iou is 'x', expected a finite"),
    ],
)
def test_masks_that_are_something_else_are_refused(
    entry: dict[str, Any], message: str, tmp_path: Path, refused: Any
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([entry | {"image_id": "a"}]))
    refused(f"(?s){message}", path, folder("a.jpg"))


def test_one_odd_or_empty_entry_stops_no_import(tmp_path: Path, run: Run, caplog: Any) -> None:
    path = tmp_path / "a.json"
    entries = [{"segmentation": encoding} for encoding in RLES[:3]]
    entries += [{"segmentation": RLES[3], "area": 70}, {"segmentation": [], "area": 0}, {"segmentation": None}]
    path.write_text(json.dumps([entry | {"image_id": "a"} for entry in entries]))
    assert run(path, folder("a.jpg"))["a"] == [list(box) for box in BOXES]
    assert "2 of 5 masks of" in caplog.text
    assert "entry 3 of annotations: its mask has 24 pixels, but area says 70" in caplog.text
    assert "entry 5 of annotations: it has no mask" in caplog.text


def test_boxes_alone_are_no_proposals(tmp_path: Path, refused: Any) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"image_id": "a", "bbox": [1, 1, 3, 4], "score": 0.5}]))
    refused("none of 1 annotations has a `segmentation`; expected a list", path, folder("a.jpg"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": 5, "annotations": [{"image_id": 1}]}, "images is 5, expected a list"),
        ({"images": [{"id": [1]}], "annotations": [{"image_id": 1}]}, r"entry 0 of images: id is \[1\]"),
        ({"annotations": 3}, "which is no known layout"),
        ([{"image_id": [1], "segmentation": []}], r"entry 0 of annotations: image_id is \[1\]"),
        ([{"image_id": None, "segmentation": []}], "image_id is null"),
        (["x"], "entry 0 of annotations is 'x', expected an object"),
        ([{"image_id": 2**70, "segmentation": []}], "beyond 64 bits"),
    ],
)
def test_entries_of_other_types_are_named(content: Any, message: str, tmp_path: Path, refused: Any) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    refused(message, path, folder("a.jpg"))


def test_deeply_nested_files_are_named(tmp_path: Path, refused: Any) -> None:
    path = tmp_path / "sam" / "a.json"
    path.parent.mkdir()
    path.write_text("[" * 3000)
    for place in (path, path.parent):
        refused(r"a\.json is nested too deeply", place, folder("a.jpg"))
