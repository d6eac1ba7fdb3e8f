"""Step: proposals of the built-in generator for one shard of the images."""

from pathlib import Path

import cv2

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.images.loading import load_rgb
from stages.core.workflow import step
from stages.ops.regions import Regions
from stages.proposals.settings import HegSettings
from stages.proposals.shards import in_shard


def generate_proposals(*, images: Path, output: Path, settings: HegSettings, source: str, shard: str) -> None:
    """Write the proposals of every image of a shard.

    Args:
        images: images.h5.
        output: proposals artifact of this shard.
        settings: of the generator.
        source: name of the source in the config, for the header.
        shard: which part of the images, such as "2-of-4".
    """
    from stages.proposals.heg import propose  # compiles its loops, which takes memory even for --help

    cv2.setNumThreads(1)  # shards run side by side, one core each
    with read(images, ImageRecord) as listing:
        mine = in_shard(len(listing), shard)
        provenance = Provenance(step="generate_proposals", settings=settings, seed=None, inputs={"images": listing})
        header = {"source": source, "supervision": "label-free"}
        with create(output, Proposals, header=header, provenance=provenance) as writer:
            for i in step.progress(mine, total=len(mine), label="images"):
                image = listing[i]
                found = propose(load_rgb(image, listing.header["root"]), settings)
                regions = Regions.from_superpixels(found.labels, found.regions)
                writer.append(Proposals(image=image.image, scores=found.scores, **packed_fields(regions)))


if __name__ == "__main__":
    step.run(generate_proposals)
