"""Step: proposals of another source, ranked anew by how well they fit a semantic map."""

import logging
from pathlib import Path

import numpy as np

from stages.core.artifacts.images import ImageRecord, check_classes
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.workflow import step
from stages.proposals.fit import ranking, semantic_fit
from stages.proposals.settings import RankedSettings

log = logging.getLogger(__name__)


def rank_proposals(
    *, images: Path, proposals: Path, semantics: Path, output: Path, settings: RankedSettings, source: str
) -> None:
    """Write the best proposals of every image in their new order, in the order of `images`.

    An image whose map shows no class keeps the order of the source; such images are counted in the log.
    The header names the supervision of both inputs: of the regions, and of what has ranked them.

    Args:
        images: images.h5 of a split.
        proposals: of another source, of the same images.
        semantics: semantic maps of the same images.
        output: proposals artifact.
        settings: how rank and fit count, and how many are kept.
        source: name of the source in the config, for the header.

    Raises:
        MissingImage: proposals or maps that lack an image.
        ValueError: maps of other classes than the images, or of another size than its image.
    """
    with (
        read(images, ImageRecord) as listing,
        read(proposals, Proposals) as candidates,
        read(semantics, SemanticMaps) as maps,
    ):
        classes = listing.header["classes"]
        check_classes(listing, maps, remedy="remake the maps")
        header = {
            "source": source,
            "supervision": candidates.header["supervision"],
            "ranked_by": maps.header["supervision"],
            "classes": classes,
        }
        inputs = {"images": listing, "proposals": candidates, "semantics": maps}
        provenance = Provenance(step="rank_proposals", settings=settings, seed=None, inputs=inputs)
        unmoved = 0
        with create(output, Proposals, header=header, provenance=provenance) as writer:
            for image in step.progress(listing.ids, total=len(listing), label="images"):
                record, found = _ranked(candidates.find(image), maps.find(image), len(classes), settings)
                writer.append(record)
                unmoved += not found
    log.info("%d of %d images have maps that fit no proposal; theirs keep their order", unmoved, len(listing))


def _ranked(
    proposals: Proposals, semantics: SemanticMaps, class_count: int, settings: RankedSettings
) -> tuple[Proposals, bool]:
    """The proposals in their new order, and whether the map fits any."""
    regions = proposals.regions
    try:
        fit = semantic_fit(regions, semantics.labels, class_count=class_count, min_area=settings.min_area)
    except ValueError as error:
        raise ValueError(f"image {proposals.image!r}: {error}; remake both from one list of images") from error
    scores = ranking(fit, rank_scale=settings.rank_scale, power=settings.power)
    best = scores.max(axis=1, initial=0)
    order = np.argsort(-best, kind="stable")[: settings.count]
    record = Proposals(
        image=proposals.image, scores=best[order], class_scores=scores[order], **packed_fields(regions.select(order))
    )
    return record, bool(fit.any())


if __name__ == "__main__":
    step.run(rank_proposals)
