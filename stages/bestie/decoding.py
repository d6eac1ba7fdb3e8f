"""From an image to scored instances: the network's maps, grouping, scores (official code's test)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.bestie.components import class_components, stacked, values_at
from stages.bestie.grouping import Groups, group
from stages.bestie.network import BestieNetwork
from stages.bestie.refinement import mean_probability
from stages.bestie.settings import BestiePredictionSettings, MapSettings
from stages.ops.regions import Regions


class Maps(NamedTuple):
    """What the network says of one image, at the image's size; all float32.

    Attributes:
        probabilities: (C + 1, H, W), background first.
        centers: (C, H, W), center heatmap.
        offsets: (2, H, W), (dy, dx).
    """

    probabilities: Tensor
    centers: Tensor
    offsets: Tensor


class Found(NamedTuple):
    """Instances of one image, best first, NumPy: N regions, classes (N,) int32, scores (N,) float32."""

    regions: Regions
    classes: np.ndarray
    scores: np.ndarray


@torch.no_grad()
def predict_maps(network: BestieNetwork, image: Tensor, *, size: tuple[int, int], settings: MapSettings) -> Maps:
    """Maps of one image (3, h, w), normalised, enlarged to its own size (H, W); the network is in evaluation mode.

    With `flip` probabilities and heatmap are means with those of the mirrored image; offsets are not (official code).
    Offsets count pixels of the input; with `rescale_offsets` they are made to count the image's.
    """
    outputs = network(image[None], size=size)
    probabilities, centers, offsets = outputs.semantic.softmax(1), outputs.centers, outputs.offsets
    if settings.flip:
        mirrored = network(image[None].flip(-1), size=size)
        probabilities = (probabilities + mirrored.semantic.softmax(1).flip(-1)) / 2
        centers = (centers + mirrored.centers.flip(-1)) / 2
    if settings.rescale_offsets:
        factors = [size[axis] / image.shape[1 + axis] for axis in (0, 1)]
        offsets = offsets * offsets.new_tensor(factors)[:, None, None]
    return Maps(probabilities[0], centers[0], offsets[0])


@torch.no_grad()
def decode(maps: Maps, *, tags: np.ndarray | None, settings: BestiePredictionSettings) -> Found:
    """Instances of one image; they never overlap. There may be none.

    Each pixel has its most probable class; the 8-connected parts of each class fall into instances by equation 1. An
    instance's score is the highest score inside it times the mean probability of its class; where that score is a
    clustered center's, the mean probability squared (official code). The center heatmap has no limits, so a score may
    be above 1 and, of a component without a center, below 0. Equal scores: the lower class, then the first component.

    Args:
        maps: of the image.
        tags: (C,) bool: only these classes; None: all.
        settings: see `BestiePredictionSettings`.

    Raises:
        ValueError: maps that hold anything but numbers.
    """
    for name, values in zip(Maps._fields, maps, strict=True):
        if not bool(values.isfinite().all()):
            raise ValueError(
                f"the network's {name} are not all finite numbers; its training went astray, train it anew"
            )
    wanted = np.ones(len(maps.centers), bool) if tags is None else tags
    allowed = torch.from_numpy(np.append(True, wanted)).to(maps.probabilities.device)
    labels = (maps.probabilities * allowed[:, None, None]).argmax(0)
    parts = class_components(labels.byte().cpu().numpy(), wanted=wanted, min_area=settings.min_area)
    components = stacked([parts]).to(labels.device)
    groups = group(
        maps.centers[None], maps.offsets[None], components, settings=settings.grouping, whole=settings.whole_components
    )
    scores = _scores(maps, groups, components.classes, settings)
    order = scores.sort(descending=True, stable=True).indices[: settings.top_k]
    # Atoms: what belongs to no chosen instance, then one instance each.
    ids = groups.ids(components.ids.shape)[0].cpu().numpy()
    order = order.cpu().numpy()
    indicator = np.zeros((len(order), 1 + len(scores)), bool)
    indicator[np.arange(len(order)), 1 + order] = True
    return Found(
        regions=Regions.from_superpixels(ids, indicator),
        classes=groups.classes.cpu().numpy().astype(np.int32)[order],
        scores=scores.cpu().numpy()[order],
    )


def _scores(maps: Maps, groups: Groups, classes: Tensor, settings: BestiePredictionSettings) -> Tensor:
    mean = mean_probability(
        values_at(maps.probabilities[None], classes + 1, groups.pixels), groups.owners, groups.areas
    )
    if settings.score == "class":
        return mean
    return torch.where(groups.clustered, mean, groups.center_scores) * mean
