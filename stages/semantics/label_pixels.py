"""Step: labels of pixels from a classifier's response maps."""

import logging
from pathlib import Path

import numpy as np

from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord, check_classes
from stages.core.artifacts.semantic_maps import UNCERTAIN, SemanticMaps
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.images.loading import load_rgb
from stages.core.workflow import step
from stages.semantics.labels import pixel_labels
from stages.semantics.maps import check_class_count, report_labels
from stages.semantics.settings import LabelPixelsSettings

log = logging.getLogger(__name__)


def label_pixels(*, images: Path, cues: Path, output: Path, settings: LabelPixelsSettings, source: str) -> None:
    """Write the labels of every image, in the order of `images`.

    On the splits of `tagged_on` an image holds the classes that it is tagged with; one that shows none of the classes
    is background, and one that nobody looked at is uncertain everywhere. Such images are counted in the log. On the
    other splits it holds the classes that the classifier predicts (score above 0), and one without any is background.

    Args:
        images: images.h5 of a split.
        cues: response maps of the same images.
        output: semantic maps.
        settings: see `LabelPixelsSettings`.
        source: name of the source in the config, for the header.

    Raises:
        ValueError: cues of other classes, or without response maps (points).
        MissingImage: cues that lack an image.
    """
    with read(images, ImageRecord) as listing, read(cues, Cues) as found:
        check_class_count(listing.header["classes"], listing.path)
        _check(listing, found)
        tagged = listing.header["split"] in settings.tagged_on
        header = {
            "classes": listing.header["classes"],
            "source": source,
            "supervision": found.header["supervision"],
        }
        made_by = Provenance("label_pixels", settings, None, {"images": listing, "cues": found})
        shares, negatives = [], 0
        with create(output, SemanticMaps, header=header, provenance=made_by) as writer:
            for image in step.progress(listing, total=len(listing), label="images labelled"):
                labels = labels_of(image, found.find(image.image), listing.header["root"], settings, tagged)
                writer.append(SemanticMaps(image=image.image, labels=labels))
                shares.append([(labels == 0).mean(), (labels == UNCERTAIN).mean()])
                negatives += tagged and image.is_negative
        if negatives:
            log.info("%d images show none of the classes and are background", negatives)
        report_labels(listing.ids, shares)


def labels_of(image: ImageRecord, cues: Cues, root: str, settings: LabelPixelsSettings, tagged: bool) -> np.ndarray:
    """Labels (H, W) uint8 of one image; see `label_pixels`."""
    rgb = load_rgb(image, root)
    classes = np.flatnonzero(image.tags if tagged else cues.class_scores > 0)
    if not len(classes) and (image.is_negative or not tagged):
        return np.zeros(rgb.shape[:2], np.uint8)
    return pixel_labels(rgb, cues.responses, classes, settings.labels)


def _check(images: Artifact[ImageRecord], cues: Artifact[Cues]) -> None:
    check_classes(images, cues, remedy="remake the cues")
    if len(cues) and not cues.field(0, "responses").size:
        raise ValueError(f"{cues.path} has no response maps (head {cues.header['head']!r}); give a classifier's cues")


if __name__ == "__main__":
    step.run(label_pixels)
