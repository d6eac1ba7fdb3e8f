"""From a network's maps of an image to scored instances: grouping and scores (official code's test)."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.bestie.components import batched, id_map, values_at
from stages.bestie.grouping import Groups, group, group_at_points
from stages.bestie.maps import Maps
from stages.bestie.probabilities import mean_probability
from stages.bestie.settings import BestiePredictionSettings
from stages.bestie.targets import Points
from stages.core.artifacts.map_components import class_components, class_regions
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
    classes = np.ones(len(maps.heatmap), bool) if tags is None else tags
    labels = semantic_map(maps, classes)
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


class Lost(NamedTuple):
    """What became no instance of one image under `use_points`.

    Attributes:
        points: that no pixel went to: of a class without a predicted pixel, or with another point nearer to them all.
        classes: tagged and predicted, but without a point.
    """

    points: int
    classes: int


@torch.no_grad()
def decode_at_points(
    maps: Maps, points: Points, *, tags: np.ndarray, settings: BestiePredictionSettings
) -> tuple[InstanceMap, Lost]:
    """Instances of one image at its given points (official code: val_clean with points). There may be none.

    Each pixel has its most probable class among the tagged ones; all pixels of a class, connected or not and however
    few, go to its points (`group_at_points`). The score of an instance is the mean probability of its class. Equal
    scores: the lower class, then the first point. Plain form: `decode_at_points` in tests/bestie/reference.py.

    Args:
        maps: of the image.
        points: given for it, in any order of classes.
        tags: (C,) bool.
        settings: of which `top_k` counts alone.

    Raises:
        ValueError: maps that hold anything but numbers.
    """
    labels = semantic_map(maps, tags)
    device = maps.probabilities.device
    regions = batched([class_regions(labels, classes=tags)]).to(device)
    pixels, point_id, own = group_at_points(
        maps.offsets[None], regions, points.to(device), class_count=len(maps.heatmap)
    )
    count = len(own.yx)
    areas = torch.bincount(point_id, minlength=count + 1)[:-1]
    found = areas.nonzero()[:, 0]
    scores = mean_probability(values_at(maps.probabilities[None], regions.classes + 1, pixels), point_id, areas)
    best_first = found[scores[found].sort(descending=True, stable=True).indices[: settings.top_k]]
    ids = id_map(pixels, point_id, count=count, size=regions.ids.shape)[0]
    lost = Lost(
        points=len(points.yx) - len(found),
        classes=len(regions.classes) - len(own.classes.unique()),
    )
    return instance_map(ids, own.classes, scores, chosen=best_first), lost


def semantic_map(maps: Maps, classes: np.ndarray) -> np.ndarray:
    """The most probable of background and of these classes (C,) bool at each pixel, (H, W) uint8; 1 + k: class k.

    Raises ValueError for maps that hold anything but numbers.
    """
    for name, values in zip(Maps._fields, maps, strict=True):
        if not bool(values.isfinite().all()):
            raise ValueError(
                f"the network's {name} are not all finite numbers; its training went astray, train it anew"
            )
    allowed = torch.from_numpy(np.append(True, classes)).to(maps.probabilities.device)
    return (maps.probabilities * allowed[:, None, None]).argmax(0).byte().cpu().numpy()


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
