"""Step `report_suspect_tags`: the tags that classifiers contradict, ranked, so that the worst are mended first."""

import csv
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.files import write_json, write_text
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Artifact, read
from stages.core.images.loading import load_rgb
from stages.core.workflow import step
from stages.core.workflow.pages import render_page
from stages.inspection.judged_tags import Judged, judge
from stages.inspection.settings import SuspectPageSettings
from stages.inspection.suspect_tags import (
    MISSING,
    WRONG,
    confidence_thresholds,
    contradicted,
    ranked,
    tag_quality,
)
from stages.ops.drawing import jpeg_uri
from stages.ops.resize import resize, scaled_size

log = logging.getLogger(__name__)
TEMPLATE = Path(__file__).with_name("suspect_tags.html.jinja")
COLUMNS = ("image", "tag", "suspected", "probability", "rank")


def report_suspect_tags(
    *,
    images: Path,
    scores: list[Path],
    output_report: Path,
    output_list: Path,
    output_page: Path,
    settings: SuspectPageSettings,
) -> None:
    """Rank the tags that the classifiers contradict, both ways: tagged but not seen, seen but not tagged.

    Args:
        images: images.h5 of the training split.
        scores: scores.h5 of each fold; an image is in one of them, by a classifier that has not seen it.
        output_report: JSON: what was judged, thresholds of each class, all suspects.
        output_list: CSV of all suspects, columns image, tag, suspected (wrong, missing), probability (that the image
            shows the class), rank (1: mend it first).
        output_page: the first suspects with their images.
        settings: how much the page shows.

    Raises:
        ValueError: scores of other classes, of an image twice or of a fold too few, or no class has enough images.
    """
    with read(images, ImageRecord) as listing:
        judged = judge(listing, scores)
        suspects = suspects_of(judged, listing)
        report = _report(judged, listing, suspects, folds=len(scores))
        write_json(output_report, report)
        write_text(output_list, as_csv(suspects))
        write_text(output_page, _page(report, listing, settings))
    log.info("%d suspect tags of %d images; look at %s", len(suspects), len(judged.images), output_page)
    if report["not_judged"]:
        names = ", ".join(report["not_judged"])
        log.warning("not judged, as fewer images than folds show them, or do not: %s", names)


def suspects_of(judged: Judged, listing: Artifact[ImageRecord]) -> list[dict[str, Any]]:
    """The suspects as rows of the list, the most suspect first."""
    probabilities, tags = judged.probabilities, judged.tags
    places = ranked(tag_quality(probabilities, tags), contradicted(probabilities, tags))
    names = listing.header["classes"]
    return [
        {
            "image": listing.ids[judged.images[image]],
            "tag": names[judged.classes[label]],
            "suspected": WRONG if tags[image, label] else MISSING,
            "probability": round(float(probabilities[image, label]), 4),
            "rank": rank,
        }
        for rank, (image, label) in enumerate(places.tolist(), start=1)
    ]


def as_csv(suspects: Sequence[dict[str, Any]]) -> str:
    """The list as CSV with a header line."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(suspects)
    return text.getvalue()


def _report(
    judged: Judged, listing: Artifact[ImageRecord], suspects: Sequence[dict[str, Any]], *, folds: int
) -> dict[str, Any]:
    names = listing.header["classes"]
    absent, present = confidence_thresholds(judged.probabilities, judged.tags).tolist()
    known = [names[label] for label in judged.classes]
    return {
        "dataset": listing.header["name"],
        "split": listing.header["split"],
        "folds": folds,
        "images": len(listing),
        "judged": len(judged.images),
        "classes": {
            name: {
                "tagged": int(judged.tags[:, i].sum()),
                "threshold_tagged": present[i],
                "threshold_not_tagged": absent[i],
                WRONG: sum(row["tag"] == name and row["suspected"] == WRONG for row in suspects),
                MISSING: sum(row["tag"] == name and row["suspected"] == MISSING for row in suspects),
            }
            for i, name in enumerate(known)
        },
        "not_judged": [name for name in names if name not in known],
        "suspects": list(suspects),
    }


def _page(report: dict[str, Any], listing: Artifact[ImageRecord], settings: SuspectPageSettings) -> str:
    chosen = report["suspects"][: settings.rows]
    rows = [_row(row, listing, settings) for row in step.progress(chosen, total=len(chosen), label="images drawn")]
    return render_page(TEMPLATE, report=report, rows=rows, wrong=WRONG)


def _row(suspect: dict[str, Any], listing: Artifact[ImageRecord], settings: SuspectPageSettings) -> dict[str, Any]:
    record = listing.find(suspect["image"])
    full = load_rgb(record, listing.header["root"])
    rgb = resize(full, *scaled_size(*full.shape[:2], settings.longer_side))
    tags = [listing.header["classes"][label] for label in np.flatnonzero(record.tags)]
    height, width = rgb.shape[:2]
    uri = jpeg_uri(rgb, quality=settings.jpeg_quality)
    return {**suspect, "tags": tags, "uri": uri, "height": height, "width": width}


if __name__ == "__main__":
    step.run(report_suspect_tags)
