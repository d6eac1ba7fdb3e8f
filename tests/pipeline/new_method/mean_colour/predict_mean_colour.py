"""Step: one instance per class, its pixels near the class's colour; and, as a part, those twice as far."""

import contextlib
from pathlib import Path

import numpy as np

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.images.loading import load_rgb
from stages.core.networks.weights import read_trained, read_weights
from stages.core.workflow import step
from stages.mean_colour.settings import MeanColourPredictionSettings
from stages.ops.regions import Regions


def predict_mean_colour(
    *, images: Path, weights: Path, output: Path, output_wide: Path, settings: MeanColourPredictionSettings, run: str
) -> None:
    """Write the instances of the run, and those of its part `wide`."""
    with read(images, ImageRecord) as listing, contextlib.ExitStack() as stack:
        classes = listing.header["classes"]
        metadata = read_trained(weights, step="train_mean_colour", classes=classes, listed=images)
        colours = read_weights(weights)["colours"].numpy()
        header = {
            "classes": classes,
            "category_ids": listing.header["category_ids"],
            "method": "mean_colour",
            "supervision": metadata["supervision"],
        }
        made_by = Provenance("predict_mean_colour", settings, None, {"images": listing})
        outputs = [
            stack.enter_context(create(path, Instances, header=header | {"run": name}, provenance=made_by))
            for path, name in ((output, run), (output_wide, f"{run}/wide"))
        ]
        for image in step.progress(listing, total=len(listing), label="images"):
            rgb = load_rgb(image, listing.header["root"]).astype(np.float32)
            far = np.linalg.norm(rgb[None] - colours[:, None, None], axis=-1)
            for factor, out in enumerate(outputs, start=1):
                out.append(_instances(image, far < factor * settings.distance, settings))


def _instances(image: ImageRecord, masks: np.ndarray, settings: MeanColourPredictionSettings) -> Instances:
    wanted = masks.any(axis=(1, 2)) & (image.tags | (not settings.use_tags))
    scores = masks[wanted].mean(axis=(1, 2)).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    return Instances(
        image=image.image,
        classes=np.flatnonzero(wanted)[order].astype(np.int32),
        scores=scores[order],
        **packed_fields(Regions.from_masks(masks[wanted][order])),
    )


if __name__ == "__main__":
    step.run(predict_mean_colour)
