"""BESTIE's grouping, refinement and labels written plainly: one component after the other, on full-size maps.

The opponent of tests and of `benchmarks/refinement.py`; nothing here is shared with `stages/bestie`.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch.nn import functional


@dataclass
class Instance:
    """One instance of one component: its pixels (H, W) bool, centre (y, x), number from 1 on, and its heat."""

    picture: int
    component: int
    category: int
    number: int
    mask: torch.Tensor
    centre: tuple[int, int]
    heat: float
    top: tuple[int, int]
    clustered: bool


def components_of(labels, category, minimum_area):
    """8-connected components (H, W) bool of a class in a semantic map, by first pixel."""
    count, found = cv2.connectedComponents((labels == category + 1).astype(np.uint8), connectivity=8)
    masks = [found == number for number in range(1, count)]
    masks = [mask for mask in masks if mask.sum() >= minimum_area]
    return sorted(masks, key=lambda mask: int(mask.reshape(-1).argmax()))


def centroid(mask):
    ys, xs = np.nonzero(mask)
    return int(ys.sum() / len(ys)), int(xs.sum() / len(xs))


def gaussian_map(centres, size, sigma):
    """Maximum of Gaussians at (y, x) on one map, drawn on a square and cut at the border."""
    height, width = size
    drawn, reach = np.zeros(size, np.float32), int(3 * sigma) + 1
    steps = np.arange(-reach, reach + 1)
    kernel = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * sigma**2))
    for y, x in centres:
        if not (0 <= y < height and 0 <= x < width):
            continue
        top, left, bottom, right = (
            max(y - reach, 0),
            max(x - reach, 0),
            min(y + reach + 1, height),
            min(x + reach + 1, width),
        )
        cut = kernel[top - y + reach : bottom - y + reach, left - x + reach : right - x + reach]
        drawn[top:bottom, left:right] = np.maximum(drawn[top:bottom, left:right], cut)
    return drawn


def clustered_centres(heat, offsets, mask, peaks, settings):
    """Centroids of small sets of short offsets inside a component that pass all checks."""
    short = (offsets.square().sum(0).sqrt() < settings.cluster_magnitude) & mask
    count, found = cv2.connectedComponents(short.numpy().astype(np.uint8), connectivity=4)
    sets = [found == number for number in range(1, count)]
    added = []
    for part in sorted(sets, key=lambda part: int(part.reshape(-1).argmax())):
        misfit = abs(int(part.sum()) - settings.cluster_area)
        if misfit > settings.cluster_tolerance or (misfit == settings.cluster_tolerance and settings.cluster_exclusive):
            continue
        y, x = centroid(part)
        if not (mask[y, x] and heat[y, x] > settings.cluster_heat):
            continue
        distances = [float(np.hypot(y - peak[0], x - peak[1])) for peak in peaks]
        limit = 0.0 if settings.cluster_distance is None else settings.cluster_distance
        if all(distance > limit for distance in distances):
            added.append((y, x))
    return added


def split(centre_map, offsets, mask, settings, whole):
    """(id map (H, W) from 1 on, centres, heat map, clustered centres) of one component; see B7a's description."""
    mask = torch.as_tensor(mask)
    heat = centre_map * mask
    warm = torch.where(heat > settings.centre_threshold, heat, -1.0)
    highest = functional.max_pool2d(warm[None], settings.window, stride=1, padding=settings.window // 2)[0]
    peaks = [tuple(place) for place in ((warm > 0) & (warm == highest)).nonzero().tolist()]
    added = clustered_centres(heat, offsets, mask, peaks, settings) if settings.clustering else []
    heat = heat.clone()
    for y, x in added:
        heat[y, x] = 1.0
    centres = peaks + added
    if not centres:
        centres = [centroid(mask.numpy())] if whole else []
    if not centres:
        return torch.zeros(mask.shape, dtype=torch.long), [], heat, []
    height, width = mask.shape
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ends = torch.stack([ys, xs]).float() + offsets
    distances = torch.stack([(torch.tensor(c)[:, None, None] - ends).square().sum(0).sqrt() for c in centres])
    return (distances.argmin(0) + 1) * mask, centres, heat, added


def group(centre_maps, offsets, labels, tags, *, minimum_area, settings, whole):
    """All instances of a batch, one component after the other."""
    instances, component = [], 0
    for picture in range(len(labels)):
        for category in np.flatnonzero(tags[picture]):
            for mask in components_of(labels[picture], category, minimum_area):
                ids, centres, heat, added = split(
                    centre_maps[picture, category], offsets[picture], mask, settings, whole
                )
                for number, centre in enumerate(centres, start=1):
                    own = ids == number
                    if not own.any():
                        continue
                    inside = torch.where(own, heat, -torch.inf)
                    top = divmod(int(inside.argmax()), mask.shape[1])
                    instances.append(
                        Instance(
                            picture,
                            component,
                            int(category),
                            number,
                            own,
                            centre,
                            float(inside.max()),
                            top,
                            top in added,
                        )
                    )
                component += 1
    return instances


def refine(semantic, centre_maps, offsets, labels, tags, *, sigma, settings):
    """Centres (B, C, H, W), offsets (B, 2, H, W) and weights (B, H, W) of refined labels, as NumPy arrays."""
    batch, class_count, height, width = centre_maps.shape
    centres = np.zeros((batch, class_count, height, width), np.float32)
    steps, weights = np.zeros((batch, 2, height, width), np.float32), np.zeros((batch, height, width), np.float32)
    probabilities = semantic.softmax(1)
    for picture in range(batch):
        for category in np.flatnonzero(tags[picture]):
            for mask in components_of(labels[picture], category, settings.minimum_area):
                ids, _, heat, _ = split(
                    centre_maps[picture, category], offsets[picture], mask, settings.grouping, whole=False
                )
                if settings.most_instances is not None and int(ids.max()) > settings.most_instances:
                    continue
                for number in range(1, int(ids.max()) + 1):
                    own = ids == number
                    if not own.any():
                        continue
                    inside = torch.where(own, heat, -torch.inf)
                    highest, mean = float(inside.max()), float(probabilities[picture, category + 1][own].mean())
                    if highest < settings.grouping.centre_threshold:
                        y, x = centroid(mask)
                        confidence = mean
                    else:
                        y, x = divmod(int(inside.argmax()), width)
                        confidence = highest * mean
                    if settings.weight == "centre":
                        confidence = highest
                    rows, columns = np.nonzero(own.numpy())
                    steps[picture, 0, rows, columns] = y - rows
                    steps[picture, 1, rows, columns] = x - columns
                    weights[picture, rows, columns] = min(max(confidence, 0.0), 1.0)
                    one = gaussian_map([(y, x)], (height, width), sigma)
                    centres[picture, category] = np.maximum(centres[picture, category], one)
    return centres, steps, weights
