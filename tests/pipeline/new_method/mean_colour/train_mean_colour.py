"""Step: the mean colour of the images with each tag."""

from pathlib import Path

import numpy as np
import torch

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import read
from stages.core.images.loading import load_rgb
from stages.core.networks.weights import save_tensors
from stages.core.workflow import step
from stages.mean_colour.settings import MeanColourTrainingSettings


def train_mean_colour(*, images: Path, output_weights: Path, settings: MeanColourTrainingSettings) -> None:
    """Write the colours (classes, 3), float32, in grey levels."""
    with read(images, ImageRecord) as listing:
        tags = np.stack([listing[i].tags for i in range(len(listing))]).astype(np.float32)
        means = np.stack([load_rgb(image, listing.header["root"]).mean(axis=(0, 1)) for image in listing])
        metadata = {
            "step": "train_mean_colour",
            "settings": settings.model_dump(mode="json"),
            "inputs": {"images": listing.fingerprint},
            "classes": listing.header["classes"],
            "supervision": "image tags",
        }
    colours = tags.T @ means.astype(np.float32) / np.maximum(tags.sum(axis=0), 1)[:, None]
    save_tensors(output_weights, {"colours": torch.from_numpy(colours)}, metadata)


if __name__ == "__main__":
    step.run(train_mean_colour)
