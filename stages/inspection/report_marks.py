"""Step `report_marks`: what people have said of a run's predictions, by class and by score."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from stages.core.artifacts.files import write_json
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.marks import MARKS, marks_of_instances, read_marks
from stages.core.artifacts.storage import read
from stages.core.workflow import step

log = logging.getLogger(__name__)
BINS = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 0.9])  # scores from which a bin begins


def report_marks(*, images: Path, instances: Path, marks: Path, output: Path) -> None:
    """Count marks of images and of predictions; of the latter by class and by score, with the share that is good.

    Where scores can be trusted the share of good ones grows from bin to bin. It is of what was marked, which nobody
    drew at random.

    Args:
        images: images.h5 of the split.
        instances: the run's predictions on it.
        marks: JSON that the run's gallery has saved.
        output: JSON; counts, and shares in percent, null where nothing was marked.

    Raises:
        ValueError: no marks, marks of another run or split, of images that the split has not, or of predictions that
            were made anew since.
    """
    with read(images, ImageRecord) as listing, read(instances, Instances) as found:
        header = found.header
        marked = read_marks(marks, run=header["run"], split=listing.header["split"])
        strange = sorted(set(marked) - set(listing.ids))
        if strange:
            raise ValueError(f"{marks} marks {len(strange)} images that {images} has not, such as {strange[0]!r}")
        classes = header["classes"]
        rows = []
        for image, one in marked.items():
            record = found.find(image)
            said = marks_of_instances(one, record, classes, marks)
            rows += [(record.classes[i], record.scores[i], said[i]) for i in np.flatnonzero(said != "")]
        of_images = Counter(one.mark for one in marked.values() if one.mark)
    labels = np.array([label for label, _, _ in rows], int)
    scores, said = np.array([score for _, score, _ in rows]), np.array([mark for *_, mark in rows], "U16")
    bins = np.searchsorted(BINS, scores, side="right") - 1
    report = {
        "run": header["run"],
        "split": listing.header["split"],
        "supervision": header["supervision"],
        "units": "percent",
        "images": {mark: of_images[mark] for mark in MARKS},
        "instances": counted(said),
        "classes": {name: counted(said[labels == label]) for label, name in enumerate(classes)},
        "scores": [{"from": float(start), **counted(said[bins == i])} for i, start in enumerate(BINS)],
    }
    write_json(output, report)
    marked_images, share = of_images.total(), report["instances"]["good share"]
    log.info("%d images and %d predictions of %s are marked", marked_images, len(said), header["run"])
    if share is not None:
        log.info("%.1f %% of the marked predictions are good", share)


def counted(said: np.ndarray) -> dict[str, Any]:
    """How often each mark was given, and the share of good ones in percent; None where there is no mark."""
    share = round(100 * float((said == "good").mean()), 1) if len(said) else None
    return {mark: int((said == mark).sum()) for mark in MARKS} | {"good share": share}


if __name__ == "__main__":
    step.run(report_marks)
