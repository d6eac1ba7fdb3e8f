"""What galleries and the lens show of cues and of cluster labels, whichever way they draw it."""

import numpy as np

from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.proposals import Proposals
from stages.inspection.wording import counted
from stages.ops.regions import Regions


def shown_classes(cues: Cues, tags: np.ndarray, *, most: int) -> list[int]:
    """The tagged classes, then those that are only predicted, best first; points predict none. At most so many."""
    predicted = np.zeros(0, int) if cues.from_points else np.flatnonzero(~tags & (cues.class_scores > 0))
    predicted = predicted[np.argsort(-cues.class_scores[predicted], kind="stable")]
    return [int(label) for label in (*np.flatnonzero(tags), *predicted)][:most]


def peaks_of(cues: Cues, label: int) -> np.ndarray:
    """Positions of a class's peaks, strongest first."""
    own = np.flatnonzero(cues.peak_classes == label)
    return own[np.argsort(-cues.peak_scores[own], kind="stable")]


def peaks_in_words(cues: Cues, own: np.ndarray) -> str:
    """How many peaks, and the scores of the first."""
    scores = ", ".join(f"{score:.1f}" for score in cues.peak_scores[own][:5])
    return counted(len(own), "peak") + (f": {scores}{', …' if len(own) > 5 else ''}" if len(own) else "")


def clustered_regions(labels: ClusterLabels, proposals: Proposals | None) -> Regions:
    """The regions of the proposals that the labels are of. Raises ValueError where none are given, or others."""
    if proposals is None:
        raise ValueError(f"image {labels.image!r} has cluster labels, but no proposals are given; give them too")
    regions = proposals.regions
    if len(labels.clusters) != len(regions):
        raise ValueError(
            f"image {labels.image!r}: {len(labels.clusters)} cluster labels for {len(regions)} proposals; they "
            "come from different proposals: remake the labels"
        )
    return regions
