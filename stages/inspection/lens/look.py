"""Looks into any file that a run makes: an artifact, weights, or JSON."""

import json
from pathlib import Path
from typing import Any

from stages.inspection.lens.artifacts import describe_artifact, opened, position_of
from stages.inspection.lens.drawing import panels_of
from stages.inspection.lens.panels import Brush
from stages.inspection.lens.reports import describe_json
from stages.inspection.lens.sheet import write_sheet
from stages.inspection.lens.weights import describe_weights
from stages.inspection.lens.words import lines_of, plain, print_lines

SORTS = {".h5": "artifact", ".hdf5": "artifact", ".safetensors": "weights", ".json": "JSON"}


def look(
    path: Path,
    *,
    image: str | None = None,
    draw: Path | None = None,
    images: Path | None = None,
    as_json: bool = False,
    longer_side: int = 480,
    most: int = 20,
    least_score: float = 0.0,
    opacity: float = 0.45,
) -> dict[str, Any]:
    """Print what a file holds, and draw one image of it; returns what was found.

    Args:
        path: an artifact (.h5), weights (.safetensors), or metrics, a report or curves (.json).
        image: id of the image to show as the sample and to draw; None: the first.
        draw: PNG to write with the image's content: masks, maps, peaks, boxes, points or tags on the image.
        images: images.h5 to draw on; None: it is found in the artifact's results folder.
        as_json: print JSON for programs in place of lines for people.
        longer_side: pixels of each drawn panel's longer side.
        most: most proposals, predictions, responses or scores that are drawn, best first.
        least_score: score from which a prediction is drawn.
        opacity: of painted regions, 0 to 1.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is none of these, damaged, or has no such image, which the nearest ids answer.
        MissingImage: the list of images lacks the image.
    """
    sort = _sort(path)
    if sort != "artifact":
        if image is not None or draw is not None:
            raise ValueError(f"{path} is {sort}, which has no images to show or draw; leave out --image and --draw")
        found = describe_weights(path) if sort == "weights" else describe_json(path)
        _report(found, as_json=as_json)
        return found
    if draw is not None and draw.suffix.lower() != ".png":
        raise ValueError(f"{draw} is to be a PNG; give a name that ends with .png")
    with opened(path) as artifact:
        found = describe_artifact(artifact, image)
        if draw is not None:
            position = position_of(artifact, image)
            brush = Brush(opacity, proposals=most, responses=most, predictions=most, score_threshold=least_score)
            panels = panels_of(artifact, position, images=images, brush=brush, longer_side=longer_side)
            write_sheet(draw, f"{artifact.kind}: {plain(artifact.ids[position])}", panels)
            found["drawn"] = str(draw)
    _report(found, as_json=as_json)
    return found


def _report(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(found, indent=2, allow_nan=False))
        return
    print_lines([*lines_of(found), *([f"drawn: {plain(found['drawn'])}"] if "drawn" in found else [])])


def _sort(path: Path) -> str:
    """Which sort of file it is, by its ending. Raises FileNotFoundError or ValueError."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a file in it, such as images.h5")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; run `snakemake {path}` to make it")
    if path.suffix.lower() not in SORTS:
        raise ValueError(f"{path} is none of the files that can be shown: {', '.join(SORTS)}")
    return SORTS[path.suffix.lower()]
