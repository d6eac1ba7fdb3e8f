"""Step: finds instances in images with a trained network of BESTIE."""

import logging
from pathlib import Path

from stages.bestie.decoding import decode
from stages.bestie.maps import load_network, maps_of, small_maps, with_crf
from stages.bestie.settings import BestiePredictionSettings
from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.images.loading import load_rgb
from stages.core.networks.weights import weights_digest
from stages.core.workflow import step

log = logging.getLogger(__name__)


def predict_bestie(
    *,
    images: Path,
    weights: Path,
    output: Path,
    output_maps: Path,
    settings: BestiePredictionSettings,
    run: str,
    device: str,
) -> None:
    """Find the instances of each image; they never overlap, and an image may have none.

    `output_maps` gets the center and offset maps that they come from, made small, to look at.
    The network is rebuilt from the settings inside the weights file. Tags are not read unless `use_tags` is set.
    Raises ValueError where the weights are not of `train_bestie` or of other classes.
    """
    with read(images, ImageRecord) as listing:
        network, metadata = load_network(weights, listing, device=device)
        header = {
            "classes": listing.header["classes"],
            "category_ids": listing.header["category_ids"],
            "run": run,
            "method": "bestie",
            "supervision": metadata["supervision"],
            "weights": weights_digest(weights),
        }
        counts = []
        provenance = Provenance("predict_bestie", settings, None, {"images": listing})
        with (
            create(output, Instances, header=header, provenance=provenance) as instances,
            create(output_maps, CenterMaps, header=header, provenance=provenance) as maps_out,
        ):
            for image in step.progress(listing, total=len(listing), label="images"):
                rgb = load_rgb(image, listing.header["root"])
                maps = with_crf(maps_of(network, rgb, settings=settings), rgb, settings=settings.crf)
                decoded = decode(maps, tags=image.tags if settings.use_tags else None, settings=settings)
                maps_out.append(small_maps(maps, image.image, longer_side=settings.kept_side))
                counts.append(len(decoded.scores))
                instances.append(
                    Instances(
                        image=image.image,
                        classes=decoded.classes,
                        scores=decoded.scores,
                        **packed_fields(decoded.regions),
                    )
                )
        log.info("%d instances in %d images, %d without any", sum(counts), len(counts), counts.count(0))


if __name__ == "__main__":
    step.run(predict_bestie)
