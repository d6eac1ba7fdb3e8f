"""Describes an artifact: kind, what made it, fields with their sizes and ranges, classes, and one image's entry."""

import dataclasses
import difflib
import inspect
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from stages.core.artifacts.files import read_json
from stages.core.artifacts.kinds import RECORDS, read_any
from stages.core.artifacts.records import MissingImage, Record
from stages.core.artifacts.storage import Artifact
from stages.inspection.lens.numbers import in_short, value_range

NOTE = ".borrowed.json"  # behind the name of an artifact that another project has made
OBJECTS = 20  # rows of an image's table
NEAR = 3  # ids that an unknown one is answered with
COLUMNS = ("classes", "peak_classes", "point_classes", "cluster_classes")  # fields of class numbers; below 0: none


@contextmanager
def opened(path: Path) -> Iterator[Artifact[Any]]:
    """Open an artifact of any kind. Raises ValueError, too, where one is damaged inside, on opening or later."""
    try:
        with read_any(path) as artifact:
            yield artifact
    except (MissingImage, FileNotFoundError):
        raise
    except (OSError, KeyError, IndexError, json.JSONDecodeError) as error:
        what = " ".join(str(error).split())
        raise ValueError(f"{path} is damaged: a part of it cannot be read ({what}); remove it and run again") from error


def position_of(artifact: Artifact[Any], image: str | None) -> int:
    """Where an image is; the first without a name. Raises ValueError with the nearest ids, or where there is none."""
    if not len(artifact):
        raise ValueError(f"{artifact.path} holds no images")
    if image is None:
        return 0
    if image in artifact.ids:
        return artifact.index(image)
    near = difflib.get_close_matches(image, artifact.ids, n=NEAR, cutoff=0.4)
    nearest = "; the nearest are " + ", ".join(map(repr, near)) if near else f"; the first is {artifact.ids[0]!r}"
    raise ValueError(f"{artifact.path} has no image {image!r} among its {len(artifact)}{nearest}")


def describe_artifact(artifact: Artifact[Any], image: str | None) -> dict[str, Any]:
    """All that the lens says of an open artifact, as JSON has it; `image` (or the first) is the sample."""
    record = RECORDS[artifact.kind]
    file = h5py.File(artifact.path, "r", locking=False)
    with file:
        fields = [_field(file, field) for field in dataclasses.fields(record) if artifact.has(field.name)]
    return {
        "what": "artifact",
        "path": str(artifact.path),
        "bytes": artifact.path.stat().st_size,
        "kind": artifact.kind,
        "schema": record.SCHEMA,
        "about": (inspect.getdoc(record) or "").partition("\n")[0],
        "images": len(artifact),
        "header": artifact.header,
        "made_by": artifact.provenance,
        "borrowed_from": _borrowed_from(artifact.path),
        "fingerprint": artifact.fingerprint,
        "fields": fields,
        "by_class": _by_class(artifact),
        "sample": describe_image(artifact, position_of(artifact, image)) if len(artifact) else None,
    }


def _borrowed_from(path: Path) -> str | None:
    """Where the note beside an artifact says that it comes from; None where it has none."""
    note = path.with_name(f"{path.name}{NOTE}")
    found = read_json(note) if note.is_file() else None
    return str(found.get("from")) if isinstance(found, dict) else None


def _field(file: h5py.File, field: dataclasses.Field) -> dict[str, Any]:
    """Type, axes, meaning, bytes on disk, lengths over the images, and range of a field."""
    group, axes = file[field.name], list(field.metadata["axes"])
    values = group["values"]
    text = h5py.check_string_dtype(values.dtype) is not None
    found: dict[str, Any] = {
        "name": field.name,
        "dtype": "text" if text else str(values.dtype),
        "axes": axes,
        "about": group.attrs.get("about", field.metadata["about"]),
        "values": len(values),
        "bytes": sum(part.id.get_storage_size() for part in group.values()),
    }
    if axes and len(group["shapes"]):
        shapes = group["shapes"][:]
        found["lengths"] = [
            {"least": int(axis.min()), "median": float(np.median(axis)), "largest": int(axis.max())}
            for axis in shapes.T
        ]
        found["empty_images"] = int((shapes == 0).any(axis=1).sum())
    packed = any(str(axis).endswith("bytes") for axis in axes)  # bits or an encoded file: no numbers
    if values.dtype == bool:
        found["true"] = int(sum(int(values[i : i + (1 << 22)].sum()) for i in range(0, len(values), 1 << 22)))
    elif not text and not packed:
        found["range"] = value_range(values)
    return found


def _by_class(artifact: Artifact[Any]) -> dict[str, dict[str, int]]:
    """How often each class occurs in a field that numbers classes, or is tagged; by field."""
    names, record = artifact.header.get("classes"), RECORDS[artifact.kind]
    if not names or not len(artifact):
        return {}
    counted = {}
    fields = {field.name: field for field in dataclasses.fields(record) if artifact.has(field.name)}
    for name in fields.keys() & {"tags", *COLUMNS}:
        counts = np.zeros(len(names), np.int64)
        for i in range(len(artifact)):
            value = artifact.field(i, name)
            counts += value if name == "tags" else np.bincount(value[value >= 0], minlength=len(names))[: len(names)]
        counted[name] = dict(zip(names, counts.tolist(), strict=True))
    return dict(sorted(counted.items()))


def describe_image(artifact: Artifact[Any], position: int) -> dict[str, Any]:
    """One image's entry: each field in short, and its objects (regions, boxes, points) as a table."""
    record = artifact[position]
    fields = {field.name: in_short(getattr(record, field.name)) for field in dataclasses.fields(record)}
    rows = list(_objects(record, artifact.header.get("classes", [])))
    return {
        "image": record.image,
        "position": position,
        "fields": {name: value for name, value in fields.items() if name != "image"},
        "objects": rows[:OBJECTS],
        "more_objects": max(len(rows) - OBJECTS, 0),
    }


def _objects(record: Record, names: list[str]) -> Iterator[dict[str, Any]]:
    """Rows of the image's objects, in the order of the record."""
    classes = next((getattr(record, name) for name in COLUMNS if hasattr(record, name)), None)
    scores = next(
        (
            getattr(record, name)
            for name in ("scores", "weights", "peak_scores", "point_scores")
            if hasattr(record, name)
        ),
        None,
    )
    places = _places(record)
    count = len(next(iter(places.values()))) if places else 0
    for i in range(count):
        row: dict[str, Any] = {"object": i + 1}
        if classes is not None and len(classes) == count:
            row["class"] = names[classes[i]] if 0 <= classes[i] < len(names) else "none"
        if scores is not None and np.ndim(scores) == 1 and len(scores) == count:
            row["score"] = round(float(scores[i]), 4)
        yield {**row, **{name: np.asarray(values[i]).tolist() for name, values in places.items()}}


def _places(record: Record) -> dict[str, np.ndarray]:
    """Where a record's objects are: area and box of regions, boxes, or points."""
    boxes = getattr(record, "boxes", None)
    regions = getattr(record, "regions", None)
    if regions is not None:
        found = {"area": regions.areas().astype(int), "box": regions.boxes().astype(int)}
        return found if boxes is None else {**found, "predicted_box": boxes.round(1)}
    if boxes is not None:
        return {"box": boxes.round(1)}
    for name in ("points", "peaks"):
        if hasattr(record, name):
            return {"point": getattr(record, name)}
    return {}
