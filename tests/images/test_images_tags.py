"""Tags from where people keep them: each form gives the same images and tags, and says what is wrong with it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Save = Callable[..., None]
Write = Callable[[Path], Path]
CLASSES = ["scratch", "dent"]
PIXELS = np.full((4, 6, 3), 90, np.uint8)
NAMES = ["a.jpg", "b.jpg", "day1/c.jpg"]  # a: both, b: dent, c: none of the classes
EXPECTED = [[True, True], [False, True], [False, False]]


@pytest.fixture
def images(tmp_path: Path, save: Save) -> Path:
    for name in NAMES:
        save(tmp_path / "images" / name, PIXELS)
    return tmp_path / "images"


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def split(images: Path, tags: Path) -> dict[str, Any]:
    return {"train": {"images": str(images), "tags": str(tags), "masks": None, "points": None}}


def choice(*labels: str) -> dict[str, Any]:
    value = {"choices": list(labels)}
    return {
        "id": "x7",
        "from_name": "choice",
        "to_name": "image",
        "type": "choices",
        "origin": "manual",
        "value": value,
    }


def task(number: int, image: str, *results: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A task of Label Studio; one annotation for each list of results."""
    made = [
        {"id": 10 * number + i, "completed_by": 1, "result": r, "was_cancelled": False} for i, r in enumerate(results)
    ]
    return {
        "id": number,
        "annotations": made,
        "data": {"image": image},
        "predictions": [],
        "total_annotations": 1,
    } | more


REGION = {"x": 1.5, "y": 2, "width": 9, "height": 9, "rotation": 0, "rectanglelabels": ["dent"]}
RECTANGLE = {"id": "r1", "from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": REGION}


def label_studio_json(folder: Path) -> Path:
    tasks = [
        task(1, "/data/upload/4/0a1b2c3d-a.jpg", [choice("scratch")], [choice("dent", "scratch")]),
        task(2, "/data/local-files/?d=b.jpg", [RECTANGLE]),
        task(3, "s3://bucket/day1/c.jpg", []),
    ]
    return put(folder / "export.json", json.dumps(tasks))


def record(number: int, image: str, answer: Any) -> dict[str, Any]:
    about = {"annotator": 1, "annotation_id": 7 + number, "created_at": "2024-05-01T10:00:00Z", "lead_time": 2.5}
    answers = {} if answer is None else {"choice": answer}
    return {"image": image, "id": number, "place": "hall 1", **answers, **about}


def label_studio_min(folder: Path) -> Path:
    records = [
        record(1, "/data/upload/4/0a1b2c3d-a.jpg", {"choices": ["scratch", "dent"]}),
        record(2, "/data/upload/4/99999999-b.jpg", "dent"),
        record(3, "http://host:8080/data/upload/4/day1/c.jpg", None),
    ]
    return put(folder / "export.json", json.dumps(records))


def label_studio_csv(folder: Path) -> Path:
    return put(
        folder / "export.csv",
        "annotation_id,annotator,choice,created_at,id,image,lead_time,updated_at\n"
        '8,1,"{""choices"": [""scratch"", ""dent""]}",2024-05-01,1,/data/upload/4/0a1b2c3d-a.jpg,2.5,2024-05-01\n'
        "9,1,dent,2024-05-01,2,/data/upload/4/99999999-b.jpg,1.1,2024-05-01\n"
        "10,1,,2024-05-01,3,day1/c.jpg,1.1,2024-05-01\n",
    )


def cvat(folder: Path) -> Path:
    labels = "".join(f"<label><name>{name}</name><type>any</type></label>" for name in (*CLASSES, "dust"))
    return put(
        folder / "annotations.xml",
        f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version><meta><task><labels>{labels}</labels>'
        '</task></meta><image id="0" name="a.jpg" width="6" height="4"><tag label="scratch" source="manual"></tag>'
        '<tag label="dent" source="manual"></tag></image><image id="1" name="b.jpg" width="6" height="4">'
        '<box label="dent" occluded="0" xtl="1" ytl="1" xbr="3" ybr="3" z_order="0"></box><tag label="dust"></tag></image>'
        '<image id="2" name="day1/c.jpg" width="6" height="4"></image></annotations>',
    )


def coco(folder: Path) -> Path:
    data = {
        "images": [{"id": i, "file_name": name, "height": 4, "width": 6} for i, name in enumerate(NAMES)],
        "categories": [{"id": 5, "name": "dent"}, {"id": 2, "name": "scratch"}, {"id": 9, "name": "dust"}],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": [0, 0, 2, 2], "area": 4, "iscrowd": 0}
            for i, (image, category) in enumerate([(0, 2), (0, 5), (0, 5), (1, 5), (2, 9)])
        ],
    }
    return put(folder / "instances.json", json.dumps(data))


def voc(folder: Path) -> Path:
    def annotation(filename: str, *names: str) -> str:
        box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"
        objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in names)
        return f"<annotation><folder>x</folder><filename>{filename}</filename>{objects}</annotation>"

    put(folder / "xml" / "a.xml", annotation("renamed_since.jpg", "dent", "scratch", "dent"))
    put(folder / "xml" / "b.xml", annotation("b.jpg", "dent"))
    put(folder / "xml" / "c.xml", annotation("day1/c.jpg", "dust"))
    return folder / "xml"


def yolo(folder: Path, names: str = "names: {0: scratch, 1: dent}\n") -> Path:
    put(folder / "data.yaml", names)
    put(folder / "labels" / "train" / "a.txt", "1 0.5 0.5 0.1 0.1\n0 0.2 0.2 0.3 0.1 0.3 0.3\n")
    put(folder / "labels" / "train" / "b.txt", "1 .5 .5 1e-1 0.1 0.9\r\n\r\n")
    put(folder / "labels" / "train" / "day1" / "c.txt", "")
    return folder / "labels" / "train"


FORMS: dict[str, Write] = {
    "label_studio": label_studio_json,
    "label_studio, JSON-MIN": label_studio_min,
    "label_studio, CSV": label_studio_csv,
    "cvat": cvat,
    "coco": coco,
    "voc": voc,
    "yolo": yolo,
    "json": lambda folder: put(folder / "t.json", json.dumps({"a": CLASSES, "b": ["dent"], "day1\\c.jpg": []})),
}


@pytest.mark.parametrize("named", [False, True], ids=["auto", "named"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_images_and_tags(
    tmp_path: Path, images: Path, listing: Any, form: str, named: bool
) -> None:
    tags = FORMS[form](tmp_path)
    chosen = form.split(",")[0] if named else "auto"
    with listing("folder", classes=CLASSES, splits=split(images, tags), tags_format=chosen) as made:
        found = {image.image: image.tags.tolist() for image in made.images}
        assert found == {"a": EXPECTED[0], "b": EXPECTED[1], "day1/c": EXPECTED[2]}
        assert all(image.looked_at for image in made.images)
        assert made.images.header["negatives"] == 1


@pytest.mark.parametrize("form", ["cvat", "coco", "voc"])
def test_labels_of_no_class_are_left_out_with_a_warning(
    tmp_path: Path, images: Path, listing: Any, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    with listing("folder", classes=CLASSES, splits=split(images, FORMS[form](tmp_path))):
        assert "has labels that are not among the classes scratch, dent; they are left out: dust 1" in caplog.text


@pytest.mark.parametrize(("form", "word"), [("coco", "annotations"), ("voc", "objects"), ("yolo", "boxes")])
def test_the_log_says_that_boxes_are_not_used(
    tmp_path: Path, images: Path, listing: Any, form: str, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with listing("folder", classes=CLASSES, splits=split(images, FORMS[form](tmp_path))):
        assert f"the {word} of 3 images are read as tags; where they lie is not used" in caplog.text


def test_a_list_of_names_gives_its_only_class(tmp_path: Path, images: Path, listing: Any, refused: Any) -> None:
    names = put(tmp_path / "scratched.txt", "a.jpg\n\n  day1\\c.jpg \n")
    with listing("folder", classes=["scratch"], splits=split(images, names)) as made:
        assert made.images.ids == ["a", "day1/c"]
        assert all(image.tags.all() for image in made.images)
    refused("is a list of names, which all have the one class; images.classes has 2", "folder", classes=CLASSES,
            splits=split(images, names))  # fmt: skip
    table = put(tmp_path / "table.txt", "image\ttags\na.jpg\tscratch\n")
    with listing("folder", classes=["scratch"], splits=split(images, table)) as made:
        assert made.images.ids == ["a"]


def class_folders(tmp_path: Path, save: Save) -> Path:
    for name in ("scratch/1.jpg", "scratch/night/1.jpg", "dent/1.jpg", "good/2.jpg", "top.jpg"):
        save(tmp_path / "parts" / name, PIXELS)
    return tmp_path / "parts"


def test_a_folder_for_each_class_gives_its_tag_and_good_ones_give_none(
    tmp_path: Path, save: Save, listing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    root = class_folders(tmp_path, save)
    put(root / "notes.txt", "lamp changed on Monday\n")
    with listing("folder", classes=CLASSES, splits=split(root, root)) as made:
        found = {image.image: (image.tags.tolist(), bool(image.looked_at)) for image in made.images}
    assert found == {
        "dent/1": ([False, True], True),
        "good/2": ([False, False], True),
        "scratch/1": ([True, False], True),
        "scratch/night/1": ([True, False], True),
    }
    assert "1 images in" in caplog.text  # top.jpg is in no folder
    with listing("folder", classes=["good", *CLASSES], splits=split(root, root)) as made:
        assert made.images.find("good/2").tags.tolist() == [True, False, False]


def test_class_folders_may_lie_in_a_folder_of_the_images(
    tmp_path: Path, save: Save, listing: Any, refused: Any
) -> None:
    root = class_folders(tmp_path, save)
    with listing("folder", classes=CLASSES, splits=split(tmp_path, root)) as made:
        assert made.images.ids == ["parts/dent/1", "parts/good/2", "parts/scratch/1", "parts/scratch/night/1"]
    (tmp_path / "other" / "dent").mkdir(parents=True)
    refused("other is not in the folder of images .*parts", "folder", classes=CLASSES,
            splits=split(root, tmp_path / "other"))  # fmt: skip


def test_a_folder_that_is_no_class_is_named_with_the_nearest(tmp_path: Path, save: Save, refused: Any) -> None:
    root = class_folders(tmp_path, save)
    save(root / "Scratches" / "1.jpg", PIXELS)
    message = refused("has folders that are no classes: Scratches", "folder", classes=CLASSES, splits=split(root, root))
    assert "did you mean `scratch`?" in message
    assert "images.folder.negative_folders" in message


def test_a_folder_that_may_be_several_things_is_not_guessed(
    tmp_path: Path, save: Save, listing: Any, refused: Any
) -> None:
    root = class_folders(tmp_path, save)
    put(root / "scratch" / "1.txt", "0 0.5 0.5 0.1 0.1\n")
    refused("may be class_folders or yolo .*set images.folder.tags_format", "folder", classes=CLASSES,
            splits=split(root, root))  # fmt: skip
    with listing("folder", classes=CLASSES, splits=split(root, root), tags_format="class_folders") as made:
        assert len(made.images) == 4
    (tmp_path / "empty").mkdir()
    refused("may be none of the folders of tags", "folder", classes=CLASSES, splits=split(root, tmp_path / "empty"))


def test_a_task_that_nobody_annotated_is_no_negative(
    tmp_path: Path, images: Path, listing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    skipped = task(3, "day1/c.jpg", [choice("dent")])
    skipped["annotations"][0]["was_cancelled"] = True
    tasks = [task(1, "a.jpg", [choice("scratch"), choice("dent")]), task(2, "b.jpg"), skipped]
    tags = put(tmp_path / "e.json", json.dumps(tasks))
    with listing("folder", classes=CLASSES, splits=split(images, tags)) as made:
        assert made.images.ids == ["a"]
        assert made.images[0].tags.all()
    assert "2 tasks of" in caplog.text


def test_a_name_is_found_before_the_one_without_the_mark_of_its_upload(
    tmp_path: Path, images: Path, save: Save, listing: Any
) -> None:
    save(images / "0a1b2c3d-a.jpg", PIXELS)
    tags = put(tmp_path / "e.json", json.dumps([task(1, "/data/upload/1/0a1b2c3d-a.jpg", [choice("dent")])]))
    with listing("folder", classes=CLASSES, splits=split(images, tags)) as made:
        assert made.images.ids == ["0a1b2c3d-a"]


def test_images_of_several_folders_are_not_folded_together(tmp_path: Path, images: Path, refused: Any) -> None:
    tasks = [task(1, "/data/local-files/?d=mon/a.jpg", [choice("dent")]), task(2, "/data/local-files/?d=tue/b.jpg", [])]
    tags = put(tmp_path / "e.json", json.dumps(tasks))
    refused("has images in several folders, mon/, tue/", "folder", classes=CLASSES, splits=split(images, tags))


def test_names_of_yolo_are_found_near_the_files(tmp_path: Path, images: Path, listing: Any, refused: Any) -> None:
    labels = yolo(tmp_path, "names: [scratch, dent]\n")
    put(labels / "classes.txt", "scratch\ndent\n")
    with listing("folder", classes=CLASSES, splits=split(images, labels)) as made:
        assert len(made.images) == 3
    put(labels / "obj.names", "dent\nscratch\n")
    refused("classes.txt and .*obj.names name other classes", "folder", classes=CLASSES, splits=split(images, labels))


BAD: dict[str, tuple[Write, str]] = {
    "no image": (lambda f: put(f / "t.csv", "image,tags\na,dent\n,dent\n"), r"t\.csv line 3 has no image"),
    "LS record": (lambda f: put(f / "e.json", '[{"image": "a.jpg", "choice": "rust"}]'), "has no field with one of the classes"),
    "LS task": (lambda f: put(f / "e.json", '[{"id": 4, "annotations": [], "data": 3}]'), "task 4 has no data"),
    "LS two images": (
        lambda f: put(f / "e.json", json.dumps([task(7, "a.jpg", [], data={"one": "a.jpg", "two": "b.jpg"})])),
        "task 7 refers to 2 images",
    ),
    "LS spelling": (
        lambda f: put(f / "e.json", json.dumps([task(1, "a.jpg", [choice("Scratch ", "dent")])])),
        "writes 'Scratch ' for 'scratch'; write the label and the class in images.classes alike",
    ),
    "LS other labels": (
        lambda f: put(f / "e.json", json.dumps([task(1, "a.jpg", [choice("scratche")])])),
        "has no label scratch, dent of images.classes; its labels are scratche; did you mean",
    ),
    "JSON of text": (lambda f: put(f / "e.json", '"a"'), "must be an object of lists"),
    "JSON of numbers": (lambda f: put(f / "e.json", '{"a": [1]}'), "'a' has .1., but must be an object of lists"),
    "JSON nested": (lambda f: put(f / "e.json", "[" * 100_000), "nested too deeply"),
    "CVAT of video": (
        lambda f: put(f / "a.xml", "<annotations><track id='0' label='dent'/></annotations>"), "holds tracks of a video",
    ),
    "CVAT without name": (
        lambda f: put(f / "a.xml", "<annotations><image id='3'/></annotations>"), "image 3 has no name",
    ),
    "one VOC file": (lambda f: put(f / "a.xml", "<annotation/>"), "is the annotation of one image; set tags to the folder"),
    "other XML": (lambda f: put(f / "a.xml", "<html/>"), "holds <html>, expected <annotations>"),
    "CVAT without the class": (
        lambda f: put(f / "a.xml", "<annotations><meta><task><labels><label><name>dent</name></label></labels></task></meta>"
                      "<image id='0' name='a.jpg'/></annotations>"),
        "has no label scratch of images.classes; its labels are dent",
    ),
    "VOC object": (
        lambda f: put(f / "x" / "a.xml", "<annotation><object/></annotation>").parent, r"a\.xml: object 1 has no name",
    ),
    "no VOC": (lambda f: put(f / "x" / "a.xml", "<annotations/>").parent, r"a\.xml holds <annotations>, expected <annotation>"),
    "YOLO class": (
        lambda f: put(yolo(f) / "b.txt", "1 .1 .1 .1 .1\n\n7 .1 .1 .1 .1\n").parent, r"b\.txt line 3 has class 7, which has no",
    ),
    "YOLO line": (lambda f: put(yolo(f) / "b.txt", "scratch .1 .1 .1 .1\n").parent, r"b\.txt line 1 is 'scratch"),
    "YOLO numbers": (lambda f: put(yolo(f) / "b.txt", "1 .1\n").parent, r"b\.txt line 1 has 2 numbers"),
    "YOLO names": (lambda f: yolo(f, "nc: 2\n"), r"data\.yaml has no key `names`"),
    "YOLO YAML": (lambda f: yolo(f, "names: [a\n"), r"data\.yaml is not YAML"),
    "YOLO name": (lambda f: yolo(f, "names: [3]\n"), r"data\.yaml has the names .*expected a list of names"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_sources_are_named_with_their_place(tmp_path: Path, images: Path, refused: Any, case: str) -> None:
    write, message = BAD[case]
    refused(message, "folder", classes=CLASSES, splits=split(images, write(tmp_path)))


def test_yolo_without_names_says_where_they_were_sought(tmp_path: Path, images: Path, refused: Any) -> None:
    labels = yolo(tmp_path)
    (tmp_path / "data.yaml").unlink()
    refused("no names of the classes of .*put the names there", "folder", classes=CLASSES, splits=split(images, labels))


@pytest.mark.parametrize(
    ("form", "wrong", "message"),
    [
        ("coco", "voc", "is a file, but images.folder.tags_format voc is read from a folder"),
        ("voc", "coco", "is a folder, but images.folder.tags_format coco is read from a file"),
        ("coco", "label_studio", "is no export of Label Studio"),
        ("coco", "table", "is JSON, but images.folder.tags_format is table"),
        ("cvat", "json", "is XML, but images.folder.tags_format is json"),
        ("label_studio", "coco", "export.json"),
        ("json", "cvat", "is not XML"),
    ],
)
def test_a_form_that_the_content_is_not_is_refused(
    tmp_path: Path, images: Path, refused: Any, form: str, wrong: str, message: str
) -> None:
    refused(message, "folder", classes=CLASSES, splits=split(images, FORMS[form](tmp_path)), tags_format=wrong)
