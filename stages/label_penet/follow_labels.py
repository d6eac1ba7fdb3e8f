"""Step: the labels that a module makes of whole images after some updates of the fine-tuning (section 3.3)."""

import copy
import logging
from pathlib import Path

import numpy as np

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.proposals import Proposals, ranked_by
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.artifacts.supervision import joint_supervision
from stages.core.images.loading import load_rgb
from stages.core.networks.weights import weights_digest
from stages.core.training.snapshots import load_snapshot
from stages.core.workflow import step
from stages.label_penet.calibration import Objects
from stages.label_penet.labelling import label_objects, scored, shapes_of
from stages.label_penet.settings import MODULES, FinetuningSettings, LabellingSettings
from stages.label_penet.weights import load_cascade
from stages.ops.regions import Regions

log = logging.getLogger(__name__)


def follow_labels(
    *,
    images: Path,
    proposals: Path,
    weights: Path,
    snapshots: Path,
    output: Path,
    settings: LabellingSettings,
    run: str,
    device: str,
) -> None:
    """Write the labels of one module by the network after each update that was kept, and by the trained one.

    They are those that fine-tuning makes as it goes, but of whole images: what the module hands to the next one going
    forward, and from the second on to the one before going backward. Nothing learns from them: they are made to be
    looked at, also for splits that are not trained on, whose tags are read for it.

    Raises ValueError where the weights were not fine-tuned, are of other classes, or the snapshots of another network.
    """
    with read(images, ImageRecord) as listing, read(proposals, Proposals) as candidates:
        classes = listing.header["classes"]
        last, metadata = load_cascade(
            weights, module=settings.module, classes=classes, listed=listing.path, device=device
        )
        if list(last.stages) != list(MODULES):
            raise ValueError(f"{weights} holds the modules {list(last.stages)}; give the weights of all, fine-tuned")
        training = metadata.section(FinetuningSettings)
        networks = {}
        for update in training.snapshots:
            networks[update] = copy.deepcopy(last)
            load_snapshot(snapshots, update, networks[update])
        networks[training.training.steps] = last
        header = {
            "classes": classes,
            "run": run,
            "module": settings.module,
            "supervision": joint_supervision(metadata["supervision"], ranked_by(candidates)),
            "updates": list(networks),
            "weights": weights_digest(weights),
        }
        counts = dict.fromkeys(networks, 0)
        made_by = Provenance("follow_labels", settings, None, {"images": listing, "proposals": candidates})
        with create(output, RefinedLabels, header=header, provenance=made_by) as labels:
            for image in step.progress(listing, total=len(listing), label="images"):
                rgb = load_rgb(image, listing.header["root"])
                own = candidates.find(image.image)
                shapes = shapes_of(own, settings.calibration, count=settings.view.max_proposals)
                found = {}
                for update, network in networks.items():
                    seen = scored(
                        network,
                        settings.module,
                        rgb,
                        own,
                        view=settings.view,
                        attention=settings.calibration.attention,
                    )
                    found[update] = label_objects(
                        rgb, seen, tags=image.tags, settings=settings.calibration, shapes=shapes
                    )
                    counts[update] += len(found[update].classes)
                labels.append(_record(image.image, found))
    for update, count in counts.items():
        log.info("after %d updates: %d objects in %d images", update, count, len(listing))


def _record(image: str, found: dict[int, Objects]) -> RefinedLabels:
    """The objects of each update, best first."""
    picked = [(update, objects, np.argsort(-objects.weights, kind="stable")) for update, objects in found.items()]
    return RefinedLabels(
        image=image,
        classes=np.concatenate([objects.classes[order] for _, objects, order in picked]).astype(np.int32),
        scores=np.concatenate([objects.weights[order] for _, objects, order in picked]).astype(np.float32),
        updates=np.concatenate([np.full(len(order), update, np.int32) for update, _, order in picked]),
        **packed_fields(Regions.from_masks(np.concatenate([objects.masks[order] for _, objects, order in picked]))),
    )


if __name__ == "__main__":
    step.run(follow_labels)
