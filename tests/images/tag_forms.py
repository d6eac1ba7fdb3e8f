"""The same tags of three images in every form that readers know: a has both classes, b a dent, day1/c none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Write = Callable[[Path], Path]
CLASSES = ["scratch", "dent"]
PIXELS = np.full((4, 6, 3), 90, np.uint8)
NAMES = ["a.jpg", "b.jpg", "day1/c.jpg"]


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
