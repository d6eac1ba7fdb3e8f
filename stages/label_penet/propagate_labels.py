"""Step: the objects that a trained module hands to the next one (section 3.2: proposal calibration)."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.proposals import Proposals, ranked_by
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.artifacts.supervision import joint_supervision
from stages.core.images.loading import load_rgb
from stages.core.workflow import step
from stages.label_penet.calibration import Objects
from stages.label_penet.labelling import label_objects, scored, shapes_of
from stages.label_penet.settings import LabellingSettings
from stages.label_penet.weights import load_cascade
from stages.ops.regions import Regions
from stages.ops.resize import scaled_size

log = logging.getLogger(__name__)


def propagate_labels(
    *,
    images: Path,
    proposals: Path,
    weights: Path,
    output: Path,
    settings: LabellingSettings,
    run: str,
    device: str,
) -> None:
    """Write the objects of each image's tagged classes; an image without tags, or in which nothing is found, has none.

    Proposals are scored by the first module alone; with `proposal_overlap` objects of all may have their masks.
    Raises ValueError where the weights are of another module or classes.
    """
    with read(images, ImageRecord) as listing, read(proposals, Proposals) as candidates:
        classes = listing.header["classes"]
        network, metadata = load_cascade(
            weights, module=settings.module, classes=classes, listed=listing.path, device=device
        )
        header = {
            "classes": classes,
            "run": run,
            "module": settings.module,
            "supervision": joint_supervision(metadata["supervision"], ranked_by(candidates)),
        }
        made_by = Provenance("propagate_labels", settings, None, {"images": listing, "proposals": candidates})
        counts: Counter[str] = Counter()
        with create(output, ModuleLabels, header=header, provenance=made_by) as labels:
            for image in step.progress(listing, total=len(listing), label="images"):
                rgb = load_rgb(image, listing.header["root"])
                own = candidates.find(image.image)
                found = scored(
                    network,
                    settings.module,
                    rgb,
                    own,
                    view=settings.view,
                    attention=settings.calibration.attention,
                )
                objects = label_objects(
                    rgb,
                    found,
                    tags=image.tags,
                    settings=settings.calibration,
                    shapes=shapes_of(own, settings.calibration, count=settings.view.max_proposals),
                )
                counts.update(_summary(objects, image.tags))
                labels.append(as_record(image.image, objects, kept_side=settings.kept_side))
    log.info(
        "%d objects in %d images, %d as proposals; %d masks replaced by their boxes; %d tagged images without"
        " an object; %d tags without one",
        counts["objects"], len(listing), counts["proposed"], counts["replaced"], counts["empty"], counts["missing"],
    )  # fmt: skip


def as_record(image: str, objects: Objects, *, kept_side: int) -> ModuleLabels:
    """The objects of an image as a record; attention is kept small."""
    height, width = objects.attention.shape[1:]
    rows, columns = scaled_size(height, width, min(kept_side, max(height, width)))
    ys, xs = (np.arange(count) * side // count for count, side in ((rows, height), (columns, width)))
    return ModuleLabels(
        image=image,
        boxes=objects.boxes,
        classes=objects.classes.astype(np.int32),
        weights=objects.weights,
        attention=objects.attention[:, ys[:, None], xs].astype(np.float16),
        **packed_fields(Regions.from_masks(objects.masks)),
    )


def _summary(objects: Objects, tags: np.ndarray) -> dict[str, int]:
    return {
        "objects": len(objects.classes),
        "proposed": objects.proposed,
        "replaced": objects.replaced,
        "empty": int(tags.any() and not len(objects.classes)),
        "missing": int(tags.sum()) - len(np.unique(objects.classes)),
    }


if __name__ == "__main__":
    step.run(propagate_labels)
