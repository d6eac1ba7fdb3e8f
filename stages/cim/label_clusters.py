"""Step: cluster labels of proposals from cues (AGPL)."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np

from stages.cim.agpl import assign_clusters, cast_votes, choose_peaks
from stages.cim.settings import AgplSettings
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord, check_classes
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.workflow import step

log = logging.getLogger(__name__)


def label_clusters(*, images: Path, proposals: Path, cues: Path, output: Path, settings: AgplSettings) -> None:
    """Label each image's proposals with clusters that peaks of tagged classes vote for.

    Of cues from points all points of tagged classes count, in the file's order. Where some images have points and
    others a classifier's peaks, proposals of the former vote alike (`votes: equal`), as points have no response maps.
    In an image without tags all proposals are background. Images without tags, proposals or peaks get what
    `assign_clusters` says and are counted in the log.
    Raises ValueError where the artifacts do not hold the same classes, KeyError where one lacks an image.
    """
    with read(images, ImageRecord) as listing, read(proposals, Proposals) as candidates, read(cues, Cues) as peaks:
        check_classes(listing, peaks, remedy="remake the cues")
        inputs = {"images": listing, "proposals": candidates, "cues": peaks}
        header = {"classes": listing.header["classes"], "supervision": peaks.header["supervision"]}
        provenance = Provenance("label_clusters", settings, None, inputs)
        counts: Counter[str] = Counter()
        with create(output, ClusterLabels, header=header, provenance=provenance) as labels:
            for image in step.progress(listing.ids, total=len(listing), label="images"):
                tags, seen = listing.field(listing.index(image), "tags"), peaks.find(image)
                how = voting_of(seen, peaks.header["supervision"], settings)
                record = label_image(candidates.find(image), seen, tags=tags, settings=how)
                labels.append(record)
                counts.update(_summary(record, tags))
        remarks = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
        log.info("of %d images %s", len(listing), remarks or "all have clusters")


def label_image(proposals: Proposals, cues: Cues, *, tags: np.ndarray, settings: AgplSettings) -> ClusterLabels:
    """The cluster labels of one image's proposals; points are in an order of their own."""
    peaks = choose_peaks(cues.peak_classes, cues.peak_scores, tags=tags, ordered=cues.from_points)
    regions, classes = proposals.regions, cues.peak_classes[peaks]
    votes = cast_votes(regions, cues.peaks[peaks], classes, responses=cues.responses, settings=settings)
    clusters, cluster_classes = assign_clusters(regions, votes, classes, tagged=bool(tags.any()), settings=settings)
    return ClusterLabels(image=proposals.image, clusters=clusters, cluster_classes=cluster_classes)


def voting_of(cues: Cues, supervision: str, settings: AgplSettings) -> AgplSettings:
    """How proposals vote in an image, whose cues are of an artifact of that supervision."""
    alike = cues.from_points and supervision != "points"
    return settings.model_copy(update={"votes": "equal"}) if alike else settings


def _summary(record: ClusterLabels, tags: np.ndarray) -> list[str]:
    """What is remarkable about an image."""
    notes = [] if tags.any() else ["without tags"]
    if not len(record.clusters):
        notes.append("without proposals")
    elif tags.any() and not (record.cluster_classes >= 0).any():
        notes.append("with tags but without a cluster")
    return notes


if __name__ == "__main__":
    step.run(label_clusters)
