"""Step: instances by the peak-to-best-proposal baseline (PRM)."""

import logging
from pathlib import Path

import numpy as np

from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord, check_classes
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals, ranked_by
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.artifacts.supervision import joint_supervision
from stages.core.workflow import step
from stages.prm.retrieval import retrieve_instances
from stages.prm.settings import PrmSettings

log = logging.getLogger(__name__)


def retrieve_prm(*, images: Path, proposals: Path, cues: Path, output: Path, settings: PrmSettings, run: str) -> None:
    """Find in each image the proposals that fit the peaks of its predicted classes; tags are not read.

    Raises ValueError where the cues hold other classes than the images, or are points, which have no responses.
    """
    with read(images, ImageRecord) as listing, read(proposals, Proposals) as candidates, read(cues, Cues) as seen:
        classes = listing.header["classes"]
        check_classes(listing, seen, remedy="remake the cues")
        if "points" in seen.header["supervision"]:
            raise ValueError(f"{seen.path} holds points; the baseline needs a classifier's responses, name such cues")
        header = {
            "classes": classes,
            "category_ids": listing.header["category_ids"],
            "run": run,
            "method": "prm",
            "supervision": joint_supervision(seen.header["supervision"], ranked_by(candidates)),
        }
        inputs = {"images": listing, "proposals": candidates, "cues": seen}
        counts = []
        with create(
            output, Instances, header=header, provenance=Provenance("retrieve_prm", settings, None, inputs)
        ) as out:
            for image in step.progress(listing.ids, total=len(listing), label="images"):
                regions = candidates.find(image).regions
                found = retrieve_instances(regions, seen.find(image), settings=settings)
                out.append(
                    Instances(
                        image=image,
                        classes=found.classes.astype(np.int32),
                        scores=found.scores,
                        **packed_fields(regions.select(found.proposals)),
                    )
                )
                counts.append(len(found.scores))
        log.info("%d instances in %d images, %d without any", sum(counts), len(counts), counts.count(0))


if __name__ == "__main__":
    step.run(retrieve_prm)
