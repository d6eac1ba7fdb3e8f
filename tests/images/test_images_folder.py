"""Own images: tags in CSV and JSON, PNG and JSON masks, and their bad input."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Save = Callable[..., None]
CLASSES = ["cat", "dog"]
IDS = np.array([[1, 1, 0, 9], [0, 300, 300, 9]], np.uint16)
NO_IMAGES = np.zeros((2, 4, 3), np.uint8)


@pytest.fixture
def images(tmp_path: Path, save: Save) -> Path:
    folder = tmp_path / "images"
    for name in ("a.png", "b.JPG", "sub/c.png", ".hidden.png"):
        save(folder / name, NO_IMAGES)
    (folder / "notes.txt").write_text("not an image")
    return folder


def splits(images: Path, **files: Any) -> dict[str, Any]:
    entry = {"images": str(images), "tags": None, "masks": None, "points": None}
    return {"train": entry | {key: str(value) for key, value in files.items()}}


def written(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


TAGS = {
    "one row per image": ("t.csv", "image,tags\na,cat; dog\nsub/c,\nb.JPG,dog\n"),
    "one row per tag": ("t.csv", "tag,image\ncat,a.png\n,sub/c.png\ndog,a.png\ndog,b\n"),
    "other columns, spaces, Windows and a byte order mark": (
        "t.csv", "\ufeffimage , photographer,tags\r\na.png, me ,cat;dog\r\nsub/c,\"her, him\",\r\nb,x,dog;\r\n",
    ),
    "former name of the column": ("t.csv", "picture,tags\na,cat; dog\nsub/c,\nb.JPG,dog\n"),
    "JSON": ("t.json", '{"a": ["cat", "dog"], "sub/c.png": [], "b.JPG": ["dog"]}'),
}  # fmt: skip


@pytest.mark.parametrize("form", TAGS)
def test_all_forms_of_tags_give_the_same_images(tmp_path: Path, images: Path, listing: Any, form: str) -> None:
    tags = written(tmp_path / TAGS[form][0], TAGS[form][1])
    with listing("folder", classes=CLASSES, splits=splits(images, tags=tags)) as made:
        assert made.images.ids == ["a", "sub/c", "b"]
        assert [image.path for image in made.images] == ["a.png", "sub/c.png", "b.JPG"]
        assert [image.tags.tolist() for image in made.images] == [[True, True], [False, False], [False, True]]
        assert (made.images.header["negatives"], made.images.header["unknown"]) == (1, 0)
        assert made.images.header["category_ids"] == [1, 2]
        assert not any(ground_truth.annotated for ground_truth in made.ground_truth)


def test_images_without_a_file_of_tags_are_all_listed(images: Path, listing: Any, caplog: Any) -> None:
    with listing("folder", classes=CLASSES, splits=splits(images)) as made:
        assert made.images.ids == ["a", "b", "sub/c"]
        assert (made.images.header["negatives"], made.images.header["unknown"]) == (0, 3)
    assert "3 images without a tag say nothing and are not trained on: a, b, sub/c" in caplog.text


def test_images_that_the_tags_do_not_name_are_counted(tmp_path: Path, images: Path, listing: Any, caplog: Any) -> None:
    caplog.set_level("INFO")
    tags = written(tmp_path / "t.csv", "image,tags\na,cat\n")
    with listing("folder", classes=CLASSES, splits=splits(images, tags=tags)) as made:
        assert made.images.ids == ["a"]
    assert "2 images in" in caplog.text
    assert "are not named in" in caplog.text


def write_maps(folder: Path, save: Save, rows: str = "a,300,dog\na,1,cat\na,9,cat\n") -> Path:
    save(folder / "a.png", IDS)
    written(folder / "instances.csv", f"image,instance,class\n{rows}")
    return folder


def test_png_maps_give_instances_by_ascending_id(images: Path, listing: Any, save: Save) -> None:
    # The maps may lie inside the folder of images without being taken for images.
    maps = write_maps(images / "maps", save)
    with listing("folder", classes=CLASSES, splits=splits(images, masks=maps)) as made:
        assert made.images.ids == ["a", "b", "sub/c"]
        ground_truth = made.ground_truth[0]
        assert ground_truth.annotation_ids.tolist() == [1, 9, 300]
        assert ground_truth.classes.tolist() == [0, 0, 1]
        np.testing.assert_array_equal(ground_truth.regions.masks(), np.array([1, 9, 300])[:, None, None] == IDS)
        assert ground_truth.void.size == 0
        assert [ground_truth.annotated for ground_truth in made.ground_truth] == [True, False, False]


def test_a_value_of_png_maps_can_mean_void(tmp_path: Path, images: Path, listing: Any, save: Save) -> None:
    maps = write_maps(tmp_path / "maps", save, "a,300,dog\na,1,cat\n")
    with listing("folder", classes=CLASSES, splits=splits(images, masks=maps), void_id=9) as made:
        assert made.ground_truth[0].annotation_ids.tolist() == [1, 300]
        np.testing.assert_array_equal(made.ground_truth[0].void_mask, IDS == 9)


def coco_json(path: Path, name: str = "sub/c.png", category: str = "dog") -> Path:
    annotation = {"id": 5, "image_id": 1, "category_id": 3, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]}
    image = {"id": 1, "file_name": name, "height": 2, "width": 4}
    data = {"images": [image], "categories": [{"id": 3, "name": category}], "annotations": [annotation]}
    return written(path, json.dumps(data))


def test_json_masks_belong_to_the_images_of_their_file_names(tmp_path: Path, images: Path, listing: Any) -> None:
    masks = coco_json(tmp_path / "masks.json")
    with listing("folder", classes=CLASSES, splits=splits(images, masks=masks)) as made:
        ground_truth = made.ground_truth.find("sub/c")
        assert ground_truth.classes.tolist() == [1]
        assert ground_truth.regions.areas().tolist() == [4]
        assert made.points.find("sub/c").points.tolist() == [[0, 0]]
        assert [ground_truth.annotated for ground_truth in made.ground_truth] == [False, False, True]


def test_point_files_number_the_classes_from_0(tmp_path: Path, images: Path, listing: Any) -> None:
    written(tmp_path / "points" / "a.txt", "3 1 1 1.0\n")
    with listing("folder", classes=CLASSES, splits=splits(images, points=tmp_path / "points")) as made:
        assert made.points[0].points.tolist() == [[1, 3]]
        assert made.points[0].classes.tolist() == [1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param("t.csv", "image,tags\na,cow\nb,hen;cat\n", "'cow' of a, 'hen' of b; mend", id="unknown tag"),
        pytest.param("t.csv", "file,tags\na,cat\n", r"columns file, tags; image missing", id="column missing"),
        pytest.param("t.csv", "image;tags\na;cat\n", r"separated by commas", id="other separator"),
        pytest.param("t.csv", "", r"columns none; image, tags missing", id="empty file"),
        pytest.param("t.csv", "image,tags\n", "names no images; add them", id="header alone"),
        pytest.param("t.csv", "image,tags\na\n", "line 2 has not 2 values", id="short row"),
        pytest.param("t.csv", "image,tags\na,cat,dog\n", "line 2 has not 2 values", id="long row"),
        pytest.param("t.csv", "image,tags\na,cat\na,dog\n", "call the column 'tag'.* names a more than", id="twice"),
        pytest.param("t.csv", "image,tags\na,cat\na.png,dog\n", "names a more than once", id="twice by suffix"),
        pytest.param("t.csv", "image,tags\nnone,cat\n", "images that are not in .*: none; restore", id="missing"),
        pytest.param("t.csv", "image,tags\n../a,cat\n", "not a path inside the folder", id="escape"),
        pytest.param("t.csv", "image,tags\nC:\\a,cat\n", "not a path inside the folder", id="drive letter"),
        pytest.param("t.json", "[1]", "must be an object of lists", id="JSON list"),
        pytest.param("t.json", '{"a": "cat"}', "must be an object of lists", id="JSON text for a list"),
        pytest.param("t.json", '{"a": ["cat"], "a": []}', "names a more than once", id="JSON key twice"),
        pytest.param("t.json", '{"a": ', r"t\.json is not JSON", id="JSON cut off"),
    ],
)  # fmt: skip
def test_bad_tags_are_named_with_a_remedy(
    tmp_path: Path, images: Path, refused: Any, name: str, text: str, message: str
) -> None:
    tags = written(tmp_path / name, text)
    refused(message, "folder", classes=CLASSES, splits=splits(images, tags=tags))


def test_tags_in_another_encoding_are_named(tmp_path: Path, images: Path, refused: Any) -> None:
    tags = written(tmp_path / "t.csv", "image,tags\na,chaton né\n", "latin-1")
    refused(r"t\.csv is not UTF-8 .* save it as UTF-8", "folder", classes=CLASSES, splits=splits(images, tags=tags))


def test_missing_and_empty_places_are_named(tmp_path: Path, images: Path, refused: Any) -> None:
    (tmp_path / "empty").mkdir()
    refused("gone is no folder", "folder", classes=CLASSES, splits=splits(tmp_path / "gone"))
    refused("empty holds no images", "folder", classes=CLASSES, splits=splits(tmp_path / "empty"))
    refused(r"no\.csv does not exist", "folder", classes=CLASSES, splits=splits(images, tags=tmp_path / "no.csv"))


def test_two_files_of_one_id_are_refused(tmp_path: Path, images: Path, refused: Any, listing: Any, save: Save) -> None:
    save(images / "a.jpg", NO_IMAGES)
    refused("names a more than once", "folder", classes=CLASSES, splits=splits(images))
    tags = written(tmp_path / "t.csv", "image,tags\na,cat\n")
    refused(r"'a', which may be a\.jpg or a\.png", "folder", classes=CLASSES, splits=splits(images, tags=tags))
    tags = written(tmp_path / "t.csv", "image,tags\na.jpg,cat\n")
    with listing("folder", classes=CLASSES, splits=splits(images, tags=tags)) as made:
        assert made.images[0].path == "a.jpg"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,1,cat\na,9,cat\n", r"holds the instances \[1, 9, 300\], but instances\.csv gives classes to \[1, 9\]"),
        ("a,1,cow\n", "instance 1 of a has class 'cow', not among images.classes cat, dog"),
        ("a,one,cat\n", "instance one of a: an instance is its value in the map"),
        ("a,0,cat\n", "instance 0 of a: an instance is its value in the map"),
        ("a,1,cat\na,1,dog\n", "instance 1 of a is given twice"),
        ("a,1,cat\na,9,cat\na,300,dog\nb,1,cat\n", r"b\.png does not exist"),
    ],
)
def test_bad_instances_are_named(
    tmp_path: Path, images: Path, refused: Any, save: Save, rows: str, message: str
) -> None:
    maps = write_maps(tmp_path / "maps", save, rows)
    refused(message, "folder", classes=CLASSES, splits=splits(images, masks=maps))


def test_masks_that_fit_no_image_are_refused(tmp_path: Path, images: Path, refused: Any, save: Save) -> None:
    def refuse(message: str, masks: Path) -> None:
        refused(message, "folder", classes=CLASSES, splits=splits(images, masks=masks))

    refuse("has none of the images", coco_json(tmp_path / "masks.json", name="c.png"))
    refuse("categories that are not among images.classes: cow", coco_json(tmp_path / "masks.json", category="cow"))
    refuse("nowhere does not exist; set masks to a folder of PNG maps", tmp_path / "nowhere")
    refuse(r"images/instances\.csv does not exist", images)
    maps = write_maps(tmp_path / "maps", save)
    (maps / "a.png").rename(maps / "z.png")
    refuse(r"has no map <image>\.png of any image", maps)
    save(maps / "a.png", IDS[:, :3])
    refuse(r"a\.png is 2x3 pixels .* image is 2x4", maps)
