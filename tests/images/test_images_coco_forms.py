"""COCO JSON as programs write it: ids, forms of masks, boxes without masks, shares, and masks that are something else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.storage import read
from stages.images.list_boxes import list_boxes
from tests.images.conftest import make_settings, run_listing

Save = Callable[..., None]
HEIGHT, WIDTH = 24, 32
BOXES = {"a.jpg": (18, 4, 26, 12), "b.jpg": (20, 14, 30, 21), "c.jpg": (2, 14, 12, 20)}  # x0, y0, x1, y1


def outline(box: tuple[int, int, int, int]) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def bitmap(box: tuple[int, int, int, int]) -> list[list[int]]:
    mask = np.zeros((HEIGHT, WIDTH), int)
    mask[box[1] : box[3], box[0] : box[2]] = 1
    return mask.tolist()


def content() -> dict[str, Any]:
    images = [
        {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}
        for number, name in enumerate(BOXES, start=1)
    ]
    annotations = [
        {
            "id": number, "image_id": number, "category_id": 1 + number % 2, "segmentation": [outline(box)],
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "area": (box[2] - box[0]) * (box[3] - box[1]), "iscrowd": 0,
        }
        for number, box in enumerate(BOXES.values(), start=1)
    ]  # fmt: skip
    categories = [{"id": 1, "name": "disc"}, {"id": 2, "name": "square"}]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.fixture
def root(tmp_path: Path, save: Save) -> Path:
    for name in BOXES:
        save(tmp_path / "coco" / "train" / name, np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    return tmp_path / "coco"


Edit = Callable[[dict[str, Any]], Any]


def of_all(key: str, change: Callable[[dict[str, Any]], Any], entries: str = "annotations") -> Edit:
    """Replaces a key of all entries; `change` gets the entry as it was."""

    def edit(data: dict[str, Any]) -> None:
        for entry in data[entries]:
            entry[key] = change(entry)

    return edit


def without(key: str, entries: str = "annotations") -> Edit:
    return lambda data: [entry.pop(key) for entry in data[entries]]


def write(root: Path, *edits: Edit) -> None:
    data = content()
    for edit in edits:
        edit(data)
    (root / "train.json").write_text(json.dumps(data))


def box_of(annotation: dict[str, Any]) -> tuple[int, int, int, int]:
    x, y, width, height = annotation["bbox"]
    return x, y, x + width, y + height


def in_shares(numbers: list[float]) -> list[float]:
    return [number / (HEIGHT if i % 2 else WIDTH) for i, number in enumerate(numbers)]


def swapped(numbers: list[float]) -> list[float]:
    return [number for pair in zip(numbers[1::2], numbers[::2], strict=True) for number in pair]


@pytest.mark.parametrize(
    "edits",
    [
        pytest.param([without("id")], id="no ids"),
        pytest.param([of_all("id", lambda a: f"uuid-{a['id']}")], id="ids that are text"),
        pytest.param([of_all("id", lambda a: 1)], id="one id for all"),
        pytest.param([of_all("segmentation", lambda a: a["segmentation"][0])], id="flat polygons"),
        pytest.param([of_all("segmentation", lambda a: bitmap(box_of(a)))], id="bitmaps"),
        pytest.param([of_all("segmentation", lambda a: bitmap(box_of(a))), without("bbox")], id="bitmaps by area"),
        pytest.param([of_all("segmentation", lambda a: [[str(n) for n in a["segmentation"][0]]])], id="text"),
        pytest.param([of_all("iscrowd", lambda a: "0")], id="flags that are text"),
        pytest.param([without("iscrowd"), without("area"), without("bbox")], id="nothing but the mask"),
        pytest.param([of_all("image_id", lambda a: str(a["image_id"]))], id="ids of images as text"),
        pytest.param([of_all("category_id", lambda a: float(a["category_id"]))], id="categories as 1.0"),
        pytest.param([of_all("height", lambda a: None, "images"), without("width", "images")], id="no sizes"),
        pytest.param([of_all("height", lambda a: str(HEIGHT), "images")], id="sizes as text"),
        pytest.param([of_all("file_name", lambda a: f".\\{a['file_name']}", "images")], id="backslashes"),
        pytest.param([of_all("segmentation", lambda a: [in_shares(a["segmentation"][0])])], id="shares"),
        pytest.param(
            [
                of_all("segmentation", lambda a: [in_shares(a["segmentation"][0])]),
                of_all("bbox", lambda a: in_shares(a["bbox"])),
                of_all("area", lambda a: a["area"] / HEIGHT / WIDTH),
            ],
            id="shares, with boxes in shares",
        ),
        pytest.param([of_all("area", lambda a: 0)], id="areas of zero"),
        pytest.param([lambda data: data["images"][0].update(license=None, flickr_url=7)], id="other keys"),
    ],
)
def test_all_these_give_the_same_masks_and_boxes(root: Path, edits: list[Edit], listing: Any, tmp_path: Path) -> None:
    write(root, *edits)
    with listing("coco", root=root) as made:
        assert made.images.ids == ["1", "2", "3"]
        assert [image.path for image in made.images] == [f"train/{name}" for name in BOXES]
        assert [image.tags.tolist() for image in made.images] == [[False, True], [True, False], [False, True]]
        for ground_truth, box in zip(made.ground_truth, BOXES.values(), strict=True):
            assert ground_truth.annotated
            assert not ground_truth.crowd.any()
            np.testing.assert_array_equal(ground_truth.regions.masks(), [np.array(bitmap(box), bool)])
        assert sorted(number for g in made.ground_truth for number in g.annotation_ids) == [1, 2, 3]


def test_what_the_reader_had_to_do_is_logged(root: Path, listing: Any, caplog: Any) -> None:
    write(root, without("id"), of_all("segmentation", lambda a: [in_shares(a["segmentation"][0])]))
    with listing("coco", root=root):
        assert "train.json: annotations lack ids" in caplog.text
        assert "numbered from 1 on" in caplog.text
        assert "train.json: the polygons of all 3 annotations lie within 0 to 1" in caplog.text


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        pytest.param(
            [of_all("segmentation", lambda a: [swapped(a["segmentation"][0])])],
            "3 of 3 masks .*annotation 1: .*x and y seem to be swapped", id="x and y swapped",
        ),
        pytest.param(
            [of_all("segmentation", lambda a: bitmap((0, 0, 6, 7)))],
            "annotation 2: .*may be of another entry or image", id="other masks",
        ),
        pytest.param(
            [of_all("bbox", lambda a: list(box_of(a)))],
            "annotation 2: .*bbox seems to be x0, y0, x1, y1", id="boxes as corners",
        ),
        pytest.param(
            [of_all("segmentation", lambda a: [in_shares(a["segmentation"][0])]),
             lambda data: data["annotations"][0].update(segmentation=[outline(BOXES["a.jpg"])])],
            "2 of 3 masks .*annotation 2: its mask has 0 pixels .*shares of the sides", id="most in shares",
        ),
        pytest.param(
            [of_all("segmentation", lambda a: [[0.0, 0, 0, 1, 1, 1]]), without("bbox")],
            "annotation 1: its mask has 1 pixel, but area says 64", id="pixels by area",
        ),
        pytest.param(
            [of_all("segmentation", lambda a: [[0.0, 0, 0, 1, 1, 1]]), without("bbox"), without("area")],
            "3 of 3 .*annotation 1: its mask has 1 pixel", id="pixels",
        ),
        pytest.param(
            [of_all("segmentation", lambda a: [[60, 60, 70, 60, 70, 70]])],
            "annotation 1: its mask has 0 pixels", id="outside",
        ),
    ],
)  # fmt: skip
def test_masks_that_are_not_what_the_entries_say_stop(
    root: Path, edits: list[Edit], message: str, refused: Any
) -> None:
    write(root, *edits)
    said = refused(f"(?s){message}", "coco", root=root)
    assert f"masks of {root / 'train.json'} are not what their entries say; mend the masks, or what the entries" in said


def test_one_odd_mask_is_kept_with_a_warning(root: Path, listing: Any, caplog: Any) -> None:
    write(root, lambda data: data["annotations"][1].update(segmentation=[[60, 60, 70, 60, 70, 70]]))
    with listing("coco", root=root) as made:
        assert [ground_truth.annotated for ground_truth in made.ground_truth] == [True] * 3
        assert made.ground_truth[1].regions.areas().tolist() == [0]
    assert "1 of 3 masks of" in caplog.text
    assert "annotation 2: its mask has 0 pixels" in caplog.text


@pytest.mark.parametrize("nothing", [[], [[]], None, {}], ids=str)
def test_boxes_without_masks_are_tags_and_boxes_and_not_empty_masks(
    root: Path, nothing: Any, caplog: Any, tmp_path: Path
) -> None:
    write(root, of_all("segmentation", lambda a: nothing))
    images, ground_truth, _ = run_listing(tmp_path / "made", "coco", root=root)
    with read(ground_truth, GroundTruth) as truth:
        assert not truth.column("annotated").any()
    assert "3 images have entries without a mask; their masks count as not known" in caplog.text
    settings = make_settings("coco", root=root).chosen("train")
    output = tmp_path / "made" / "boxes.h5"
    list_boxes(images=images, ground_truth=ground_truth, output=output, settings=settings, split="train")
    with read(output, AnnotatedBoxes) as boxes:
        assert [record.boxes.tolist() for record in boxes] == [[list(box)] for box in BOXES.values()]


def test_an_image_of_which_one_entry_has_no_mask_is_not_annotated(root: Path, listing: Any, caplog: Any) -> None:
    write(root, lambda data: data["annotations"][1].update(segmentation=[]))
    with listing("coco", root=root) as made:
        assert [ground_truth.annotated for ground_truth in made.ground_truth] == [True, False, True]
        assert made.images[1].tags.any()
    assert "1 images have entries without a mask" in caplog.text


def test_boxes_in_shares_are_boxes_in_pixels(root: Path, tmp_path: Path) -> None:
    write(root, without("segmentation"), of_all("bbox", lambda a: in_shares(a["bbox"])))
    images, ground_truth, _ = run_listing(tmp_path / "made", "coco", root=root)
    settings, output = make_settings("coco", root=root).chosen("train"), tmp_path / "made" / "boxes.h5"
    list_boxes(images=images, ground_truth=ground_truth, output=output, settings=settings, split="train")
    with read(output, AnnotatedBoxes) as boxes:
        np.testing.assert_allclose([record.boxes[0] for record in boxes], list(BOXES.values()), rtol=1e-6)


def test_ids_of_images_may_be_text(root: Path, listing: Any) -> None:
    names = {1: "left", 2: "right", 3: "3"}
    write(
        root,
        of_all("id", lambda image: names[image["id"]], "images"),
        of_all("image_id", lambda a: names[a["image_id"]]),
    )
    with listing("coco", root=root) as made:
        assert made.images.ids == ["left", "right", "3"]
        assert made.ground_truth.find("right").annotation_ids.tolist() == [2]


def test_ids_that_differ_in_zeros_alone_stay_apart(root: Path, listing: Any) -> None:
    names = {1: "1", 2: "01", 3: "001"}
    write(
        root,
        of_all("id", lambda image: names[image["id"]], "images"),
        of_all("image_id", lambda a: names[a["image_id"]]),
    )
    with listing("coco", root=root) as made:
        assert made.images.ids == ["1", "01", "001"]
        assert [g.annotation_ids.tolist() for g in made.ground_truth] == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        pytest.param(
            lambda data: data["images"].append({"id": "../x", "file_name": "x.jpg"}), "as an id, names the image '../x'",
            id="escape",
        ),
        pytest.param(of_all("file_name", lambda e: "." , "images"), "names the image '.', which is not a path", id="dot"),
        pytest.param(of_all("file_name", lambda e: f"C:\\{e['file_name']}", "images"), "not a path inside", id="drive"),
        pytest.param(of_all("file_name", lambda e: f"..\\{e['file_name']}", "images"), "not a path inside", id="up"),
        pytest.param(
            lambda data: data["images"][1].update(file_name=".\\a.jpg"), "file_name names a.jpg more than once", id="twice"
        ),
        pytest.param(lambda data: data.update(images={}), "images is {}, expected a list", id="images is an object"),
        pytest.param(lambda data: data.update(annotations=None), "annotations is null, expected a list", id="null"),
        pytest.param(of_all("id", lambda image: None, "images"), "entry 0 of images: id is null", id="image id null"),
        pytest.param(lambda data: data["categories"][0].update(id="x"), "'disc' has the id 'x', while", id="mixed ids"),
        pytest.param(of_all("height", lambda image: 7, "images"), "is 7x32 pixels .* image is 24x32", id="other size"),
    ],
)  # fmt: skip
def test_hostile_and_broken_entries_are_named(root: Path, edit: Edit, message: str, refused: Any) -> None:
    write(root, edit)
    refused(rf"(?s)train\.json.*{message}|{message}", "coco", root=root)


def test_deeply_nested_json_is_named(root: Path, refused: Any) -> None:
    for text in ("[" * 3000 + "]" * 3000, '{"images": ' * 3000):
        (root / "train.json").write_text(text)
        refused(r"train\.json is nested too deeply", "coco", root=root)
