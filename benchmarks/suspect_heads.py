"""Suspect tags over many seeds in minutes: heads on features that are computed once, in place of whole trainings.

    .venv/bin/snakemake -c2 --configfile presets/voc_animals.yaml -- results/voc_animals/train/images.h5
    .venv/bin/python -m benchmarks.suspect_heads results/voc_animals/train/images.h5 --preset presets/voc_animals.yaml

For a classifier of kind cam whose backbone is frozen. Its score is a linear function of the mean feature of an image,
so that the head of a fold learns on stored features what the step learns, but for the augmentation. Planted errors,
folds, calibration and ranking are those of the report.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.suspect_tags import area_under_curve, chosen_errors
from stages.classifier.folds import folds_of
from stages.classifier.network import tag_loss
from stages.classifier.settings import ClassifierTrainingSettings
from stages.core.artifacts.images import ImageRecord, all_tags
from stages.core.artifacts.storage import read
from stages.core.images.loading import load_rgb, normalise
from stages.core.networks.backbones import build_backbone
from stages.core.training.order import EpochOrder
from stages.core.training.schedules import lr_factor
from stages.inspection.suspect_tags import calibrated, confidence_thresholds, contradicted, ranked, tag_quality
from stages.ops.resize import resize_as
from stages.project.project import load_files

FOLDS = 5
SHARE = 0.05  # planted errors, of the tags
COLUMNS = ("suspects", "first n planted", "found in 5 %", "found in 10 %", "found", "of wrong", "of missing", "area")


@torch.inference_mode()
def mean_features(images: Path, settings: ClassifierTrainingSettings) -> tuple[Tensor, np.ndarray]:
    """Mean features (images, channels) at the size of the training's squares, and tags (images, classes) bool."""
    backbone = build_backbone(settings.backbone).eval()
    side = settings.augmentation.input_size
    rows = []
    with read(images, ImageRecord) as listing:
        for record in listing:
            rgb = resize_as(load_rgb(record, listing.header["root"]), side, side, interpolation="area")
            rows.append(backbone(torch.from_numpy(normalise(rgb))[None]).mean((2, 3))[0])
        return torch.stack(rows), all_tags(listing)


def held_out_scores(
    features: Tensor, tags: np.ndarray, folds: np.ndarray, settings: ClassifierTrainingSettings
) -> np.ndarray:
    """Scores (images, classes) of each image by the head that has not seen its fold."""
    scores = np.zeros(tags.shape)
    for fold in range(FOLDS):
        head = trained_head(features[folds != fold], tags[folds != fold], settings)
        scores[folds == fold] = head(features[folds == fold]).detach().numpy()
    return scores


def trained_head(features: Tensor, tags: np.ndarray, settings: ClassifierTrainingSettings) -> nn.Linear:
    """A head after the updates of the settings, by stochastic gradient descent with their rates."""
    torch.manual_seed(settings.seed)
    how, labels, order = settings.training, torch.from_numpy(tags), EpochOrder(len(tags), seed=settings.seed)
    head = nn.Linear(features.shape[1], tags.shape[1])
    optimizer = torch.optim.SGD(
        head.parameters(),
        how.learning_rate,
        momentum=how.momentum,
        nesterov=how.nesterov,
        weight_decay=how.weight_decay,
    )
    for step in range(how.steps):
        chosen = [order(step * settings.batch + i) for i in range(settings.batch)]
        optimizer.param_groups[0]["lr"] = how.learning_rate * lr_factor(step, how)
        optimizer.zero_grad()
        tag_loss(head(features[chosen]), labels[chosen]).backward()
        optimizer.step()
    return head


def outcomes(scores: np.ndarray, tags: np.ndarray, planted: np.ndarray) -> dict[str, list[float]]:
    """The columns for each way to rank: by the share of the threshold, by the difference to it, by neither."""
    probabilities = calibrated(scores, tags)
    absent, present = confidence_thresholds(probabilities, tags)
    given = np.where(tags, probabilities, 1 - probabilities)
    ways = {
        "share of the threshold": tag_quality(probabilities, tags),
        "difference to it": given - np.where(tags, present, absent),
        "probability alone": given,
    }
    suspects = contradicted(probabilities, tags)
    return {name: _columns(quality, suspects, tags, planted) for name, quality in ways.items()}


def _columns(quality: np.ndarray, suspects: np.ndarray, tags: np.ndarray, planted: np.ndarray) -> list[float]:
    hits, count = planted[tuple(ranked(quality, suspects).T)], planted.sum()
    first = [hits[: round(part * len(tags))].sum() / count for part in (0.05, 0.1)]
    kinds = [(suspects & planted & kind).sum() / (planted & kind).sum() for kind in (tags, ~tags)]
    area = area_under_curve(-quality.ravel(), planted.ravel())
    return [len(hits), hits[:count].mean(), *first, hits.sum() / count, *kinds, area]


def main() -> None:
    """Print means over the seeds, and the least and largest, as a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="images.h5 of a split with right tags")
    parser.add_argument("--preset", type=Path, required=True, help="preset with the classifier")
    parser.add_argument("--classifier", default="cam", help="its name")
    parser.add_argument("--seeds", type=int, default=10, help="sets of planted errors")
    arguments = parser.parse_args()
    project = load_files(Path(__file__).parents[1] / "config.yaml", arguments.preset)
    settings = project.classifier[arguments.classifier].train
    features, right = mean_features(arguments.images, settings)
    found: dict[str, list[list[float]]] = {}
    for seed in range(arguments.seeds):
        tags = right.copy()
        tags[tuple(chosen_errors(right, SHARE, seed).T)] ^= True
        folds = folds_of(tags, np.ones(len(tags), bool), count=FOLDS, seed=0)
        scores = held_out_scores(features, tags, folds, settings)
        for name, row in outcomes(scores, tags, tags != right).items():
            found.setdefault(name, []).append(row)
    print(f"{len(right)} images, {right.sum()} tags, {round(SHARE * right.sum())} planted, {arguments.seeds} seeds\n")
    print(f"| ranked by | {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * len(COLUMNS)}")
    for name, rows in found.items():
        cells = [f"{np.mean(one):.3g} ({min(one):.3g} to {max(one):.3g})" for one in zip(*rows, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
