"""Step: the annotated maps as a source of semantic maps, which is supervised by masks and says so."""

import logging
from pathlib import Path

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.semantic_maps import SemanticMaps, check_maps
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.workflow import step

log = logging.getLogger(__name__)
SUPERVISION = "masks"


def take_annotations(*, images: Path, annotations: Path, output: Path, source: str) -> None:
    """Write the annotated map of every image, in the order of `images`.

    Raises ValueError where `annotations` are of other images or classes, or are no annotations.
    """
    with read(images, ImageRecord) as listing, read(annotations, SemanticMaps) as maps:
        check_maps(maps, listing)
        if maps.header["supervision"] != SUPERVISION:
            raise ValueError(
                f"{annotations} has supervision {maps.header['supervision']!r}, expected {SUPERVISION!r}; give what "
                "annotate_semantics wrote"
            )
        header = {"classes": listing.header["classes"], "source": source, "supervision": SUPERVISION}
        made_by = Provenance("take_annotations", None, None, {"images": listing, "annotations": maps})
        with create(output, SemanticMaps, header=header, provenance=made_by) as writer:
            for image in step.progress(listing.ids, total=len(listing), label="images"):
                writer.append(maps.find(image))
    log.warning("source %s are annotated masks: what is made of them is no weak supervision", source)


if __name__ == "__main__":
    step.run(take_annotations)
