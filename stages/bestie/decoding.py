"""From a network's maps of an image to scored instances: grouping and scores (official code's test)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.bestie.components import batched, values_at
from stages.bestie.grouping import Groups, group
from stages.bestie.maps import Maps
from stages.bestie.probabilities import mean_probability
from stages.bestie.settings import BestiePredictionSettings
from stages.bestie.transfer import class_components
from stages.ops.regions import Regions


class InstanceMap(NamedTuple):
    """N instances of one image, best first, that never overlap; NumPy.

    Attributes:
        ids: (H, W) int32; 0: none, 1 + n: instance n.
        classes: (N,) int32.
        scores: (N,) float32.
    """

    ids: np.ndarray
    classes: np.ndarray
    scores: np.ndarray

    @property
    def regions(self) -> Regions:
        """The N instances' masks."""
        count = len(self.scores)
        return Regions.from_superpixels(self.ids, np.eye(count, count + 1, 1, dtype=bool))


@torch.no_grad()
def decode(maps: Maps, *, tags: np.ndarray | None, settings: BestiePredictionSettings) -> InstanceMap:
    """Instances of one image. There may be none.

    Each pixel has its most probable class; the 8-connected components of each class fall into instances by equation 1
    (see `group`). The score of instance n, with its center c_n, center heatmap C of its class and mean probability s_n
    of the class inside it, is

        C(c_n) s_n    or, where c_n is a clustered center,    s_n s_n

    (official code). C has no limits, so a score may be above 1 and, of a component without a center, below 0. Equal
    scores: the lower class, then the first component.

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
    classes = np.ones(len(maps.heatmap), bool) if tags is None else tags
    allowed = torch.from_numpy(np.append(True, classes)).to(maps.probabilities.device)
    labels = (maps.probabilities * allowed[:, None, None]).argmax(0).byte().cpu().numpy()
    components = batched([class_components(labels, classes=classes, min_area=settings.min_area)])
    components = components.to(maps.probabilities.device)
    groups = group(
        maps.heatmap[None],
        maps.offsets[None],
        components,
        settings=settings.grouping,
        keep_without_center=settings.keep_without_center,
    )
    scores = _scores(maps, groups, components.classes, settings)
    best_first = scores.sort(descending=True, stable=True).indices[: settings.top_k]
    return instance_map(groups.ids(components.ids.shape)[0], groups.centers.classes, scores, chosen=best_first)


def instance_map(ids: Tensor, classes: Tensor, scores: Tensor, *, chosen: Tensor) -> InstanceMap:
    """Chosen ones of M instances, in the order of `chosen` (N,); `ids` (H, W) int: 0 none, 1 + i instance i."""
    new_id = ids.new_zeros(1 + len(scores), dtype=torch.int32)
    new_id[1 + chosen] = torch.arange(1, len(chosen) + 1, dtype=torch.int32, device=ids.device)
    return InstanceMap(
        ids=new_id[ids.long()].cpu().numpy(),
        classes=classes[chosen].cpu().numpy().astype(np.int32),
        scores=scores[chosen].cpu().numpy(),
    )


def _scores(maps: Maps, groups: Groups, classes: Tensor, settings: BestiePredictionSettings) -> Tensor:
    probabilities = values_at(maps.probabilities[None], classes + 1, groups.pixels)  # (P,)
    mean = mean_probability(probabilities, groups.instance_id, groups.areas)  # (M,)
    if settings.score == "class":
        return mean
    return torch.where(groups.clustered, mean, groups.scores) * mean
