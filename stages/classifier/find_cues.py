"""Step: reads response maps and peaks from a trained classifier."""

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from stages.classifier.network import Classifier, Response
from stages.classifier.peak_rules import Peaks, find_pooled_peaks, find_window_peaks
from stages.classifier.settings import ClassifierTrainingSettings, CuesSettings, FoldTrainingSettings
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.images.loading import load_rgb, normalise
from stages.core.networks.backbones import build_backbone
from stages.core.networks.devices import torch_device
from stages.core.networks.weights import load_weights, read_metadata, weights_digest
from stages.core.workflow import step
from stages.ops.resize import resize_as

log = logging.getLogger(__name__)


def find_cues(*, images: Path, weights: Path, output: Path, settings: CuesSettings, device: str) -> None:
    """Write the cues of every image, in the order of `images`.

    Peaks are sought for the classes that an image is tagged with or predicted to have (score above 0).
    Raises ValueError where the classifier knows other classes.
    """
    place = torch_device(device)
    with read(images, ImageRecord) as listing:
        network = build_classifier(weights, classes=listing.header["classes"], images=images).to(place).eval()
        header = {
            "classes": listing.header["classes"],
            "head": network.kind,
            "supervision": "image tags",
            "weights": weights_digest(weights),
        }
        made_by = Provenance("find_cues", settings, None, {"images": listing})
        with create(output, Cues, header=header, provenance=made_by) as writer:
            records = cues_of(listing, network, settings, place)
            for record in step.progress(records, total=len(listing), label="cues"):
                writer.append(record)


def build_classifier(
    weights: Path, *, classes: list[str], images: Path, trained_by: str = "train_classifier"
) -> Classifier:
    """The network that the step `trained_by` wrote, made from the settings in the file's metadata."""
    metadata = read_metadata(weights)
    if metadata.get("step") != trained_by:
        raise ValueError(f"{weights} are not the weights of a classifier; give what {trained_by} wrote")
    if metadata["classes"] != classes:
        raise ValueError(
            f"{weights} knows classes {metadata['classes']}, {images} has {classes}; train the classifier again"
        )
    kind = FoldTrainingSettings if trained_by == "train_fold" else ClassifierTrainingSettings
    settings = metadata.section(kind)
    network = Classifier(build_backbone(settings.backbone, load=False), class_count=len(classes), settings=settings)
    load_weights(weights, network)
    return network


def cues_of(
    images: Artifact[ImageRecord], network: Classifier, settings: CuesSettings, device: torch.device
) -> Iterator[Cues]:
    """The cues of each image."""
    for first in range(0, len(images), settings.batch):
        records = [images[i] for i in range(first, min(first + settings.batch, len(images)))]
        loaded = [load_rgb(record, images.header["root"]) for record in records]
        passes, scores = respond(network, loaded, settings, device)
        responses = mean_responses(passes)
        for i, record in enumerate(records):
            yield _record(record, [maps[i] for maps in passes], responses[i], scores[i], settings)


def _record(
    record: ImageRecord, passes: list[Tensor], responses: Tensor, scores: Tensor, settings: CuesSettings
) -> Cues:
    wanted = np.flatnonzero(record.tags | (scores.cpu().numpy() > 0))
    size = (int(record.height), int(record.width))
    peaks = find_peaks(passes, responses, wanted, size=size, settings=settings)
    return Cues(
        image=record.image,
        responses=responses.cpu().numpy(),
        class_scores=scores.cpu().numpy(),
        peaks=peaks.points,
        peak_classes=peaks.classes,
        peak_scores=peaks.scores,
    )


def find_peaks(
    passes: list[Tensor], responses: Tensor, wanted: np.ndarray, *, size: tuple[int, int], settings: CuesSettings
) -> Peaks:
    """Peaks of one image by the rule of the settings; none where no class is wanted."""
    if not len(wanted):
        return Peaks(np.zeros((0, 2), np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))
    if settings.peaks.kind == "window":
        return find_window_peaks(responses, wanted, size, settings.peaks)
    return find_pooled_peaks(passes, wanted, size, settings.peaks)


@torch.inference_mode()
def respond(
    network: Classifier, loaded: list[np.ndarray], settings: CuesSettings, device: torch.device
) -> tuple[list[Tensor], Tensor]:
    """Maps (B, C, h, w) of each pass, mirrored back, and the mean of their scores (B, C).

    Args:
        network: on the device, in evaluation mode.
        loaded: B images, uint8 (H, W, 3).
        settings: input sizes and whether to add mirror images.
        device: where the network is.
    """
    maps, scores = [], []
    for side in settings.input_sizes:
        squashed = [resize_as(rgb, side, side, interpolation=settings.interpolation) for rgb in loaded]
        inputs = torch.from_numpy(np.stack([normalise(rgb) for rgb in squashed])).to(device)
        for mirrored in (False, True) if settings.flip else (False,):
            response: Response = network(inputs.flip(3) if mirrored else inputs)
            maps.append(response.maps.flip(3) if mirrored else response.maps)
            scores.append(response.scores)
    return maps, torch.stack(scores).mean(0)


def mean_responses(passes: list[Tensor]) -> Tensor:
    """Mean of maps (B, C, h, w) of several sizes, at the largest of them."""
    size = max((tuple(maps.shape[2:]) for maps in passes), key=lambda shape: shape[0])
    same = [
        maps if tuple(maps.shape[2:]) == size
        else functional.interpolate(maps, size=size, mode="bilinear", align_corners=True)
        for maps in passes
    ]  # fmt: skip
    return torch.stack(same).mean(0)


if __name__ == "__main__":
    step.run(find_cues)
