"""Step: the annotated maps as a source of semantic maps, which is supervised by masks and says so."""

import logging
from pathlib import Path

from stages.core.artifacts.images import Picture
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.workflow import step
from stages.semantics.maps import check_maps

log = logging.getLogger(__name__)
SUPERVISION = "masks"


def take_annotations(*, images: Path, annotations: Path, output: Path, source: str) -> None:
    """Write the annotated map of every picture, in the order of `images`.

    Raises ValueError where `annotations` are of other pictures or classes, or are no annotations.
    """
    with read(images, Picture) as pictures, read(annotations, SemanticMaps) as maps:
        check_maps(maps, pictures)
        if maps.header["supervision"] != SUPERVISION:
            raise ValueError(
                f"{annotations} has supervision {maps.header['supervision']!r}, expected {SUPERVISION!r}; give what "
                "annotate_semantics wrote"
            )
        header = {"classes": pictures.header["classes"], "source": source, "supervision": SUPERVISION}
        made_by = Provenance("take_annotations", None, None, {"images": pictures, "annotations": maps})
        with create(output, SemanticMaps, header=header, provenance=made_by) as writer:
            for picture in step.progress(pictures.ids, total=len(pictures), label="pictures"):
                writer.append(maps.find(picture))
    log.warning("source %s are annotated masks: what is made of them is no weak supervision", source)


if __name__ == "__main__":
    step.run(take_annotations)
