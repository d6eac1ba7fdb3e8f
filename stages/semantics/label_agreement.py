"""Step: labels of pixels on which a source of semantic maps and a run's instances agree."""

from pathlib import Path

import numpy as np

from stages.core.artifacts.images import ImageRecord, check_classes
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.semantic_maps import UNCERTAIN, SemanticMaps, check_maps
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.artifacts.supervision import joint_supervision
from stages.core.workflow import step
from stages.semantics.agreement import agreed_labels
from stages.semantics.maps import report_labels
from stages.semantics.settings import AgreementSettings


def label_agreement(
    *, images: Path, semantics: Path, instances: Path, output: Path, settings: AgreementSettings, source: str
) -> None:
    """Write the labels of every image of the training split, in the order of `images`.

    Tags are those of the images: an image that shows none of the classes is background, one that nobody looked at is
    uncertain everywhere.

    Args:
        images: images.h5 of the training split.
        semantics: semantic maps of it.
        instances: a run's predictions on it.
        output: semantic maps, uncertain where the two differ.
        settings: which instances count.
        source: name of the source in the config, for the header.

    Raises:
        ValueError: artifacts of other classes, or masks of another size than the maps.
        MissingImage: maps or predictions that lack an image.
    """
    with (
        read(images, ImageRecord) as listing,
        read(semantics, SemanticMaps) as maps,
        read(instances, Instances) as found,
    ):
        check_maps(maps, listing)
        check_classes(listing, found, remedy="predict again")
        header = {
            "classes": listing.header["classes"],
            "source": source,
            "supervision": joint_supervision(maps.header["supervision"], found.header["supervision"]),
        }
        inputs = {"images": listing, "semantics": maps, "instances": found}
        made_by = Provenance("label_agreement", settings, None, inputs)
        shares = []
        with create(output, SemanticMaps, header=header, provenance=made_by) as writer:
            for i, image in enumerate(step.progress(listing.ids, total=len(listing), label="images labelled")):
                labels = maps.find(image).labels
                if not listing.field(i, "looked_at"):
                    labels = np.full_like(labels, UNCERTAIN)
                else:
                    tags = listing.field(i, "tags")
                    labels = agreed_labels(labels, found.find(image), tags=tags, score_share=settings.score_share)
                writer.append(SemanticMaps(image=image, labels=labels))
                shares.append([(labels == 0).mean(), (labels == UNCERTAIN).mean()])
        report_labels(listing.ids, shares)


if __name__ == "__main__":
    step.run(label_agreement)
