"""Scores of all folds put together: what classifiers say of images that they have not seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from stages.core.artifacts.images import ImageRecord, all_tags
from stages.core.artifacts.storage import Artifact, read
from stages.core.artifacts.tag_scores import TagScores
from stages.inspection.suspect_tags import calibrated, judged_classes


class Judged(NamedTuple):
    """The images that were judged, and what of them.

    Attributes:
        images: (N,) positions in the listing.
        classes: (C,) positions of the classes that are judged.
        tags: (N, C) bool.
        probabilities: (N, C) of the tags, calibrated.
    """

    images: np.ndarray
    classes: np.ndarray
    tags: np.ndarray
    probabilities: np.ndarray


def judge(listing: Artifact[ImageRecord], scores: Sequence[Path]) -> Judged:
    """Put the folds together and calibrate their scores.

    Raises:
        ValueError: scores of other classes, of an image twice or of a fold too few, or no class has enough images.
    """
    found = scores_by_image(listing, scores)
    positions = sorted(listing.index(image) for image in found)
    values = np.stack([found[listing.ids[i]] for i in positions])
    tags = all_tags(listing)[positions]
    enough = np.flatnonzero(judged_classes(tags, len(scores)))
    if not len(enough):
        raise ValueError(
            f"{listing.path}: of no class {len(scores)} images show it and as many do not; tag more images, or lower"
            " suspect_tags.folds.count"
        )
    tags = tags[:, enough]
    return Judged(np.array(positions), enough, tags, calibrated(values[:, enough], tags))


def scores_by_image(listing: Artifact[ImageRecord], scores: Sequence[Path]) -> dict[str, np.ndarray]:
    """Scores (classes,) of each image whose tags are known. Raises ValueError as `judge`."""
    classes = listing.header["classes"]
    found: dict[str, np.ndarray] = {}
    for path in scores:
        with read(path, TagScores) as fold:
            if fold.header["classes"] != classes:
                raise ValueError(
                    f"{path} scores classes {fold.header['classes']}, {listing.path} has {classes}; make all again"
                )
            twice = sorted(found.keys() & set(fold.ids))
            if twice:
                raise ValueError(f"{path} scores image {twice[0]!r}, which another fold scores, too; make all again")
            found |= {record.image: record.scores for record in fold}
    known = {listing.ids[i] for i in np.flatnonzero(listing.column("looked_at"))}
    if found.keys() != known:
        raise ValueError(
            f"{len(scores)} folds score {len(found)} images, but the tags of {len(known)} images of {listing.path} are"
            " known, or of others; make all folds again"
        )
    return found
