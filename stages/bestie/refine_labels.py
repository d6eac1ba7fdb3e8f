"""Step: the labels that self-refinement makes of whole images after some updates of a training (BESTIE, figure 6)."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from stages.bestie.components import class_components, class_regions, stacked
from stages.bestie.decoding import Maps
from stages.bestie.inputs import POINTS, check_classes, check_size
from stages.bestie.network import BestieNetwork, Outputs
from stages.bestie.predict_bestie import load_network, maps_of
from stages.bestie.refinement import instances_at_points, refined_instances
from stages.bestie.settings import BestieTrainingSettings, MapSettings, RefinementSettings
from stages.bestie.targets import Points
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.images.loading import load_rgb
from stages.core.networks.devices import torch_device
from stages.core.networks.weights import weights_digest
from stages.core.training.snapshots import load_snapshot
from stages.core.workflow import step
from stages.ops.regions import Regions

log = logging.getLogger(__name__)


class Labels(NamedTuple):
    """N refined instances of one image at one update, best first, NumPy.

    Attributes:
        ids: (H, W) int32; 0: none, 1 + n: instance n.
        classes: (N,) int32.
        scores: (N,) float32.
    """

    ids: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def refine_labels(
    *,
    images: Path,
    pseudo_instances: Path,
    weights: Path,
    snapshots: Path,
    output: Path,
    settings: MapSettings,
    device: str,
) -> None:
    """Write what a network would teach itself about each image after some updates and at the end.

    Whole images, not augmented, in place of the training's crops; otherwise by the rules and settings of training:
    from the semantic map (and the cues, with point supervision) that stands in `pseudo_instances`, of tagged classes
    alone. Nothing learns from this: it is made to be looked at, also for splits that are not trained on, whose tags are
    read for it.

    Raises ValueError where the files are of other classes or sizes, or the snapshots of another network; KeyError
    where the pseudo instances lack an image.
    """
    with read(images, ImageRecord) as listing, read(pseudo_instances, PseudoInstances) as pseudo:
        check_classes(listing, pseudo)
        networks, metadata = load_networks(weights, snapshots, listing, device=device)
        training = BestieTrainingSettings.model_validate(metadata["settings"])
        header = {
            "classes": listing.header["classes"],
            "run": pseudo.header["run"],
            "supervision": metadata["supervision"],
            "updates": list(networks),
            "weights": weights_digest(weights),
        }
        counts = dict.fromkeys(networks, 0)
        provenance = Provenance("refine_labels", settings, None, {"images": listing, "pseudo_instances": pseudo})
        with create(output, RefinedLabels, header=header, provenance=provenance) as writer:
            for image in step.progress(listing, total=len(listing), label="images"):
                record = pseudo.find(image.image)
                check_size(record, (int(image.height), int(image.width)), pseudo)
                rgb = load_rgb(image, listing.header["root"])
                found = {}
                for update, network in networks.items():
                    maps = maps_of(network, rgb, settings=settings)
                    by_points = pseudo.header["cues"] == POINTS
                    found[update] = labels_of(
                        maps, record, tags=image.tags, by_points=by_points, settings=training.refinement
                    )
                    counts[update] += len(found[update].scores)
                writer.append(_record(image.image, found))
    for update, count in counts.items():
        log.info("after %d updates: %d instances in %d images", update, count, len(listing.ids))


def labels_of(
    maps: Maps, record: PseudoInstances, *, tags: np.ndarray, by_points: bool, settings: RefinementSettings
) -> Labels:
    """Refined instances of one image.

    Args:
        maps: of the network, at the image's size.
        record: semantic map and cues.
        tags: (C,) bool.
        by_points: the cues are points: every pixel of a class goes to one of them.
        settings: those of the training.
    """
    # The logarithms of probabilities are logits of the same probabilities.
    logits = maps.probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()
    outputs = Outputs(logits[None], maps.centers[None], maps.offsets[None])
    device = logits.device
    if by_points:
        regions = stacked([class_regions(record.labels, wanted=tags)]).to(device)
        points = Points(
            places=torch.from_numpy(np.floor(record.points).astype(np.int64)),
            images=torch.zeros(len(record.points), dtype=torch.int64),
            classes=torch.from_numpy(record.point_classes.astype(np.int64)),
        )
        found = instances_at_points(outputs, regions, points.to(device))
    else:
        parts = class_components(record.labels, wanted=tags, min_area=settings.min_area)
        found = refined_instances(outputs, stacked([parts]).to(device), settings=settings)
    best_first = found.weights.sort(descending=True, stable=True).indices
    numbers = torch.zeros(len(best_first) + 1, dtype=torch.int32, device=device)
    numbers[best_first] = torch.arange(1, len(best_first) + 1, dtype=torch.int32, device=device)
    ids = torch.zeros(record.labels.size, dtype=torch.int32, device=device)
    ids[found.pixels.places] = numbers[found.owners]
    return Labels(
        ids=ids.reshape(record.labels.shape).cpu().numpy(),
        classes=found.classes[best_first].cpu().numpy().astype(np.int32),
        scores=found.weights[best_first].cpu().numpy(),
    )


def load_networks(
    weights: Path, snapshots: Path, images: Artifact[ImageRecord], *, device: str
) -> tuple[dict[int, BestieNetwork], dict]:
    """The network after each update that was kept and at the end, in evaluation mode, and the weights' metadata."""
    last, metadata = load_network(weights, images, device=device)
    training = BestieTrainingSettings.model_validate(metadata["settings"])
    networks = {}
    for update in training.snapshots:
        network = BestieNetwork(training, class_count=len(metadata["classes"]), load=False)
        load_snapshot(snapshots, update, network)
        networks[update] = network.to(torch_device(device)).eval()
    return {**networks, training.training.steps: last}, metadata


def joined(maps: Sequence[np.ndarray], counts: Sequence[int]) -> Regions:
    """Instances of several maps (H, W) of numbers as regions of one image, map by map.

    In map k 0 is none and 1 + n instance n of `counts[k]`.
    """
    pieces = np.zeros(maps[0].size, np.int64)
    for ids, count in zip(maps, counts, strict=True):
        # Renumbered each time, so that the numbers stay small.
        pieces = np.unique(pieces * (count + 1) + ids.reshape(-1), return_inverse=True)[1].reshape(-1)
    first = np.unique(pieces, return_index=True)[1]
    indicator = [
        ids.reshape(-1)[first] == np.arange(1, count + 1)[:, None] for ids, count in zip(maps, counts, strict=True)
    ]
    return Regions.from_superpixels(pieces.reshape(maps[0].shape), np.concatenate(indicator))


def _record(image: str, found: dict[int, Labels]) -> RefinedLabels:
    counts = [len(labels.scores) for labels in found.values()]
    return RefinedLabels(
        image=image,
        classes=np.concatenate([labels.classes for labels in found.values()]),
        scores=np.concatenate([labels.scores for labels in found.values()]),
        updates=np.repeat(np.array(list(found), np.int32), counts),
        **packed_fields(joined([labels.ids for labels in found.values()], counts)),
    )


if __name__ == "__main__":
    step.run(refine_labels)
