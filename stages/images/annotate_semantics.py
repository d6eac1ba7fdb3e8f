"""Step: annotated instances as semantic maps, in an artifact of their own that only a source of kind oracle reads."""

import logging
from pathlib import Path

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.semantic_maps import MAX_CLASSES, SemanticMaps
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.workflow import step

log = logging.getLogger(__name__)


def annotate_semantics(*, ground_truth: Path, output: Path) -> None:
    """Write the class of every pixel of every image; see `GroundTruth.semantic_map`.

    Images without known masks are void everywhere; they are counted in the log. The supervision of the maps, and of
    all that is made of them, is "masks".
    Raises ValueError where the classes do not fit one byte.
    """
    with read(ground_truth, GroundTruth) as annotations:
        classes = annotations.header["classes"]
        if len(classes) > MAX_CLASSES:
            raise ValueError(
                f"{ground_truth} has {len(classes)} classes; semantic maps hold at most {MAX_CLASSES}: list fewer"
            )
        header = {"classes": classes, "source": "annotations", "supervision": "masks"}
        made_by = Provenance("annotate_semantics", None, None, {"ground_truth": annotations})
        with create(output, SemanticMaps, header=header, provenance=made_by) as writer:
            for record in step.progress(annotations, total=len(annotations), label="images"):
                writer.append(SemanticMaps(image=record.image, labels=record.semantic_map))
        unknown = len(annotations) - int(annotations.column("annotated").sum())
    if unknown:
        log.warning(
            "%d of %d images have no known masks; their maps are uncertain everywhere", unknown, len(annotations)
        )


if __name__ == "__main__":
    step.run(annotate_semantics)
