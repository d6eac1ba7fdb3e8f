"""Step: the instances that one module of Label-PEnet finds."""

import contextlib
import logging
from pathlib import Path

import numpy as np

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.leaning import leaning_instances
from stages.core.artifacts.proposals import Proposals, ranked_by
from stages.core.artifacts.semantic_maps import SemanticMaps, check_given, labels_of
from stages.core.artifacts.storage import Provenance, create, read, read_optional
from stages.core.artifacts.supervision import joint_supervision
from stages.core.images.loading import load_rgb
from stages.core.networks.weights import weights_digest
from stages.core.workflow import step
from stages.label_penet.calibration import Candidates, boxes_of, calibrate
from stages.label_penet.cascade import Cascade
from stages.label_penet.labelling import Scored, scored, soft_masks
from stages.label_penet.settings import PenetPredictionSettings
from stages.label_penet.weights import load_cascade
from stages.ops import boxes as box_algebra
from stages.ops.crf import leaning, object_crf
from stages.ops.nms import greedy
from stages.ops.regions import Regions

log = logging.getLogger(__name__)

WIDENING = 2.0  # sides of what the CRF sees of an image, times those of the box


def predict_label_penet(
    *,
    images: Path,
    proposals: Path | None,
    weights: Path,
    output: Path,
    settings: PenetPredictionSettings,
    module: str,
    run: str,
    device: str,
    semantics: Path | None = None,
) -> None:
    """Find the instances of each image; an image may have none. Tags are not read unless `use_tags` is set.

    The first module scores proposals, whose masks its instances have; the second gives its boxes masks by proposal
    calibration; the others have mask heads. `semantics` are the maps that scores and the masks of mask heads lean on,
    needed where `map_weight` or `map_power` is above 0.
    Raises ValueError where the weights are of another module or of other classes, or where proposals or maps are
    missing, or maps are of other images or classes.
    """
    with contextlib.ExitStack() as stack:
        listing = stack.enter_context(read(images, ImageRecord))
        candidates = None if proposals is None else stack.enter_context(read(proposals, Proposals))
        maps = stack.enter_context(read_optional(semantics, SemanticMaps))
        check_given(maps, listing, settings)
        classes = listing.header["classes"]
        network, metadata = load_cascade(weights, module=module, classes=classes, listed=listing.path, device=device)
        if (module == "classification") != (candidates is not None):
            raise ValueError(f"module {module}: proposals are for the module classification, which needs them")
        seen = [] if candidates is None else [ranked_by(candidates)]
        seen += [] if maps is None else [maps.header["supervision"]]
        header = {
            "classes": classes,
            "category_ids": listing.header["category_ids"],
            "run": run,
            "method": "label_penet",
            "supervision": joint_supervision(metadata["supervision"], *seen),
            "weights": weights_digest(weights),
        }
        given = {"images": listing, "proposals": candidates, "semantics": maps}
        inputs = {name: one for name, one in given.items() if one is not None}
        counts = []
        made_by = Provenance("predict_label_penet", settings, None, inputs)
        with create(output, Instances, header=header, provenance=made_by) as instances:
            for image in step.progress(listing, total=len(listing), label="images"):
                own = None if candidates is None else candidates.find(image.image)
                labels = None if maps is None else labels_of(maps, image.image, (int(image.height), int(image.width)))
                record = find_instances(
                    network, module, image, own, root=listing.header["root"], settings=settings, labels=labels
                )
                instances.append(record)
                counts.append(len(record.scores))
        log.info("%d instances in %d images, %d without any", sum(counts), len(counts), counts.count(0))


def find_instances(
    network: Cascade, module: str, image: ImageRecord, proposals: Proposals | None, *, root: str,
    settings: PenetPredictionSettings, labels: np.ndarray | None = None,
) -> Instances:  # fmt: skip
    """The instances of one image, best first; masks without a pixel are left out.

    `labels` (H, W) uint8 is its semantic map, where one is read: in the CRF as `leaning` says, in the scores as
    `leaning_instances` does.
    """
    rgb = load_rgb(image, root)
    found = scored(network, module, rgb, proposals, view=settings.view, attention=settings.attention)
    index, classes = choose(found, tags=image.tags if settings.use_tags else None, module=module, settings=settings)
    scores = found.ranks[index, classes]
    own = [boxes_of(found.boxes, label)[i] for i, label in zip(index, classes, strict=True)]
    places = np.array(own, np.float32).reshape(-1, 4)
    if proposals is not None:
        masks = proposals.regions.select(index)
    elif module == "detection":
        masks = Regions.from_masks(_calibrated(rgb, found, index, classes, settings))
    else:
        soft = soft_masks(network, module, found.shared, places, classes, shape=rgb.shape[:2], view=settings.view)
        wanted = scores >= settings.crf_score
        if labels is not None and settings.masks_lean:
            for place in np.flatnonzero(wanted):
                agrees = labels == 1 + classes[place]
                soft[place] = leaning(soft[place], agrees, weight=settings.map_weight)
        refined = object_crf(
            rgb, soft, places, wanted=wanted, threshold=settings.mask_threshold,
            widening=WIDENING, crf=settings.crf.model_dump(),
        )  # fmt: skip
        masks = Regions.from_masks(refined)
    return leaning_instances(
        image.image, masks, classes=classes, scores=scores, boxes=places, labels=labels, settings=settings
    )


def choose(
    found: Scored, *, tags: np.ndarray | None, module: str, settings: PenetPredictionSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Region and class of each instance, both (K,) int64, best first: suppression by boxes within a class, then top k.

    Scores of the first module are q times the share of the proposal, which no threshold suits; they must be above 0.
    """
    least = 0.0 if module == "classification" else settings.score_threshold
    wanted = found.ranks > least
    if tags is not None:
        wanted &= tags
    kept = np.zeros_like(wanted)
    for label in np.flatnonzero(wanted.any(0)) if len(wanted) else ():
        overlap = box_algebra.iou(boxes_of(found.boxes, label)) >= np.float32(settings.nms_threshold)
        kept[:, label] = greedy(overlap, found.ranks[:, label], candidates=wanted[:, label])
    index, classes = kept.nonzero()
    order = np.argsort(-found.ranks[index, classes], kind="stable")[: settings.top_k]
    return index[order], classes[order]


def _calibrated(
    rgb: np.ndarray, found: Scored, index: np.ndarray, classes: np.ndarray, settings: PenetPredictionSettings
) -> np.ndarray:
    """Masks (K, H, W) bool of detections by proposal calibration."""
    affiliated = np.zeros((len(index), len(found.boxes)), bool)
    for row, region, label in zip(affiliated, index, classes, strict=True):
        own = boxes_of(found.boxes, label)
        row[:] = (box_algebra.iou(own[[region]], own)[0] >= settings.nms_threshold) & (found.own_classes == label)
        row[region] = True
    candidates = Candidates(index, classes, found.ranks[index, classes], affiliated)
    return calibrate(rgb, found.boxes, candidates, found.attend, settings=settings.calibration).masks


if __name__ == "__main__":
    step.run(predict_label_penet)
