"""Step: scores the images of a fold with the classifier that has not seen them."""

from pathlib import Path

import torch

from stages.classifier.find_cues import build_classifier, respond
from stages.classifier.network import Classifier
from stages.classifier.settings import CuesSettings
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.artifacts.tag_scores import TagScores
from stages.core.images.loading import load_rgb
from stages.core.networks.devices import torch_device
from stages.core.networks.weights import read_metadata, weights_digest
from stages.core.workflow import step


def score_fold(*, images: Path, weights: Path, output: Path, settings: CuesSettings, device: str) -> None:
    """Write the class scores of the images that the weights' metadata name as held out, at the sizes of the cues.

    Raises ValueError where the classifier knows other classes, or was trained on all images.
    """
    place = torch_device(device)
    with read(images, ImageRecord) as listing:
        classes = listing.header["classes"]
        network = build_classifier(weights, classes=classes, images=images, trained_by="train_fold")
        network = network.to(place).eval()
        metadata = read_metadata(weights)
        ids = metadata["held_out"]
        header = {"classes": classes, "fold": metadata.setting("fold"), "weights": weights_digest(weights)}
        made_by = Provenance("score_fold", settings, None, {"images": listing})
        with create(output, TagScores, header=header, provenance=made_by) as writer:
            batches = [ids[first : first + settings.batch] for first in range(0, len(ids), settings.batch)]
            for names in step.progress(batches, total=len(batches), label="batches scored"):
                batch = [listing.find(image) for image in names]
                for record in _scored(batch, listing, network, settings, place):
                    writer.append(record)


def _scored(
    batch: list[ImageRecord],
    listing: Artifact[ImageRecord],
    network: Classifier,
    settings: CuesSettings,
    place: torch.device,
) -> list[TagScores]:
    loaded = [load_rgb(record, listing.header["root"]) for record in batch]
    scores = respond(network, loaded, settings, place)[1].cpu().numpy()
    return [TagScores(image=record.image, scores=row) for record, row in zip(batch, scores, strict=True)]


if __name__ == "__main__":
    step.run(score_fold)
