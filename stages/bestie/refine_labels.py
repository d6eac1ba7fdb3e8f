"""Step: the labels that self-refinement makes of whole images after some updates of a training (BESTIE, figure 6)."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from stages.bestie.components import batched, id_map
from stages.bestie.decoding import InstanceMap, instance_map
from stages.bestie.inputs import check_classes, check_size
from stages.bestie.maps import Maps, load_network, maps_of
from stages.bestie.network import BestieNetwork, Outputs
from stages.bestie.refinement import instances_at_points, refined_instances
from stages.bestie.settings import BestieTrainingSettings, MapSettings, RefinementSettings
from stages.bestie.targets import Points
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.map_components import class_components, class_regions
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
    """Write the refined labels of each image by the network after some updates, and by the trained one.

    They are made of whole images, not augmented, in place of the training's crops; otherwise by the rules and
    settings of training: from the semantic map (and the cues, with point supervision) in `pseudo_instances`, of tagged
    classes only. Nothing learns from them: they are made to be looked at, also for splits that are not trained on,
    whose tags are read for it.

    Raises ValueError where the files are of other classes or sizes, or the snapshots of another network; KeyError
    where the pseudo instances lack an image.
    """
    with read(images, ImageRecord) as listing, read(pseudo_instances, PseudoInstances) as pseudo:
        check_classes(listing, pseudo)
        networks, metadata = load_networks(weights, snapshots, listing, device=device)
        training = metadata.section(BestieTrainingSettings)
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
                refined = {}
                for update, network in networks.items():
                    maps = maps_of(network, rgb, settings=settings)
                    refined[update] = labels_of(maps, record, tags=image.tags, settings=training.refinement)
                    counts[update] += len(refined[update].scores)
                writer.append(_record(image.image, refined))
    for update, count in counts.items():
        log.info("after %d updates: %d instances in %d images", update, count, len(listing.ids))


def labels_of(maps: Maps, record: PseudoInstances, *, tags: np.ndarray, settings: RefinementSettings) -> InstanceMap:
    """Refined instances of one image.

    Args:
        maps: of the network, at the image's size.
        record: semantic map and cues; where these are points, every pixel of a class goes to one of them.
        tags: (C,) bool.
        settings: those of the training.
    """
    # The logarithms of probabilities are logits of the same probabilities.
    logits = maps.probabilities.clamp(min=torch.finfo(torch.float32).tiny).log()
    outputs = Outputs(logits[None], maps.heatmap[None], maps.offsets[None])
    device = logits.device
    if record.by_points:
        regions = batched([class_regions(record.labels, classes=tags)]).to(device)
        points = Points.of_image(record.points, record.point_classes).to(device)
        refined = instances_at_points(outputs, regions, points)
    else:
        components = class_components(record.labels, classes=tags, min_area=settings.min_area)
        refined = refined_instances(outputs, batched([components]).to(device), settings=settings)
    size = torch.Size((1, *record.labels.shape))
    ids = id_map(refined.pixels, refined.instance_id, count=len(refined.weights), size=size)[0]
    best_first = refined.weights.sort(descending=True, stable=True).indices
    return instance_map(ids, refined.centers.classes, refined.weights, chosen=best_first)


def load_networks(
    weights: Path, snapshots: Path, images: Artifact[ImageRecord], *, device: str
) -> tuple[dict[int, BestieNetwork], dict]:
    """The network after each update that was kept and at the end, in evaluation mode, and the weights' metadata."""
    last, metadata = load_network(weights, images, device=device)
    training = metadata.section(BestieTrainingSettings)
    networks = {}
    for update in training.snapshots:
        network = BestieNetwork(training, class_count=len(metadata["classes"]), load=False)
        load_snapshot(snapshots, update, network)
        networks[update] = network.to(torch_device(device)).eval()
    return {**networks, training.training.steps: last}, metadata


def joined(maps: Sequence[np.ndarray], counts: Sequence[int]) -> Regions:
    """Instances of several maps (H, W) of ids as regions of one image, map by map.

    In map k 0 is none and 1 + n instance n of `counts[k]`.
    """
    pieces = np.zeros(maps[0].size, np.int64)
    for ids, count in zip(maps, counts, strict=True):
        # Numbered anew each time, so that the ids stay small.
        pieces = np.unique(pieces * (count + 1) + ids.reshape(-1), return_inverse=True)[1].reshape(-1)
    first = np.unique(pieces, return_index=True)[1]
    indicator = [
        ids.reshape(-1)[first] == np.arange(1, count + 1)[:, None] for ids, count in zip(maps, counts, strict=True)
    ]
    return Regions.from_superpixels(pieces.reshape(maps[0].shape), np.concatenate(indicator))


def _record(image: str, refined: dict[int, InstanceMap]) -> RefinedLabels:
    counts = [len(instances.scores) for instances in refined.values()]
    return RefinedLabels(
        image=image,
        classes=np.concatenate([instances.classes for instances in refined.values()]),
        scores=np.concatenate([instances.scores for instances in refined.values()]),
        updates=np.repeat(np.array(list(refined), np.int32), counts),
        **packed_fields(joined([instances.ids for instances in refined.values()], counts)),
    )


if __name__ == "__main__":
    step.run(refine_labels)
