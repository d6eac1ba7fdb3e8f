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
    """One instance of one component: its pixels (H, W) bool, center (y, x), number from 1 on, and its highest score."""

    image: int
    component: int
    category: int
    number: int
    mask: torch.Tensor
    center: tuple[int, int]
    score: float
    argmax: tuple[int, int]
    clustered: bool


def components_of(labels, category, min_area):
    """8-connected components (H, W) bool of a class in a semantic map, by first pixel."""
    count, found = cv2.connectedComponents((labels == category + 1).astype(np.uint8), connectivity=8)
    masks = [found == number for number in range(1, count)]
    masks = [mask for mask in masks if mask.sum() >= min_area]
    return sorted(masks, key=lambda mask: int(mask.reshape(-1).argmax()))


def centroid(mask):
    ys, xs = np.nonzero(mask)
    return int(ys.sum() / len(ys)), int(xs.sum() / len(xs))


def gaussian_map(centers, size, sigma):
    """Maximum of Gaussians at (y, x) on one map, drawn on a square and cut at the border."""
    height, width = size
    drawn, reach = np.zeros(size, np.float32), int(3 * sigma) + 1
    steps = np.arange(-reach, reach + 1)
    kernel = np.exp(-(steps[:, None] ** 2 + steps**2) / (2 * sigma**2))
    for y, x in centers:
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


def clustered_centers(heatmap, offsets, mask, peaks, settings):
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
        if not (mask[y, x] and heatmap[y, x] > settings.cluster_threshold):
            continue
        distances = [float(np.hypot(y - peak[0], x - peak[1])) for peak in peaks]
        limit = 0.0 if settings.cluster_distance is None else settings.cluster_distance
        if all(distance > limit for distance in distances):
            added.append((y, x))
    return added


def split(heatmap, offsets, mask, settings, keep_without_center):
    """(id map (H, W) from 1 on, centers, heatmap, clustered centers) of one component."""
    mask = torch.as_tensor(mask)
    heatmap = heatmap * mask
    above = torch.where(heatmap > settings.center_threshold, heatmap, -1.0)
    highest = functional.max_pool2d(above[None], settings.window, stride=1, padding=settings.window // 2)[0]
    peaks = [tuple(yx) for yx in ((above > 0) & (above == highest)).nonzero().tolist()]
    added = clustered_centers(heatmap, offsets, mask, peaks, settings) if settings.clustering else []
    heatmap = heatmap.clone()
    for y, x in added:
        heatmap[y, x] = 1.0
    centers = peaks + added
    if not centers:
        centers = [centroid(mask.numpy())] if keep_without_center else []
    if not centers:
        return torch.zeros(mask.shape, dtype=torch.long), [], heatmap, []
    height, width = mask.shape
    ys, xs = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ends = torch.stack([ys, xs]).float() + offsets
    distances = torch.stack([(torch.tensor(c)[:, None, None] - ends).square().sum(0).sqrt() for c in centers])
    return (distances.argmin(0) + 1) * mask, centers, heatmap, added


def group(heatmaps, offsets, labels, tags, *, min_area, settings, keep_without_center):
    """All instances of a batch, one component after the other."""
    instances, component = [], 0
    for image in range(len(labels)):
        for category in np.flatnonzero(tags[image]):
            for mask in components_of(labels[image], category, min_area):
                ids, centers, heatmap, added = split(
                    heatmaps[image, category], offsets[image], mask, settings, keep_without_center
                )
                for number, center in enumerate(centers, start=1):
                    own = ids == number
                    if not own.any():
                        continue
                    inside = torch.where(own, heatmap, -torch.inf)
                    argmax = divmod(int(inside.argmax()), mask.shape[1])
                    instances.append(
                        Instance(
                            image,
                            component,
                            int(category),
                            number,
                            own,
                            center,
                            float(inside.max()),
                            argmax,
                            argmax in added,
                        )
                    )
                component += 1
    return instances


def group_at_points(offsets, mask, points):
    """The point (y, x) of `points` that each pixel of a mask (H, W) goes to, as a map: 0 none, 1 + n the n-th point."""
    ids = np.zeros(mask.shape, np.int64)
    for y, x in zip(*np.nonzero(mask), strict=True) if points else ():
        end_y, end_x = y + offsets[0, y, x], x + offsets[1, y, x]
        ids[y, x] = 1 + int(np.argmin([(end_y - py) ** 2 + (end_x - px) ** 2 for py, px in points]))
    return ids


def decode_at_points(probabilities, offsets, points, tags):
    """Instances (class, mean probability, mask (H, W)) of one image at its points (class, y, x), best first.

    All maps are NumPy arrays, with (C + 1, H, W) probabilities; points without a pixel have no instance.
    """
    tagged = np.concatenate([[True], tags])
    labels = np.where(tagged[:, None, None], probabilities, 0).argmax(0)
    instances = []
    for category in np.flatnonzero(tags):
        own = [(y, x) for label, y, x in points if label == category]
        ids = group_at_points(offsets, labels == category + 1, own)
        for number in range(1, 1 + len(own)):
            mask = ids == number
            if mask.any():
                instances.append((int(category), float(probabilities[category + 1][mask].mean()), mask))
    return sorted(instances, key=lambda instance: -instance[1])


def refine(semantic, heatmaps, offsets, labels, tags, *, sigma, settings):
    """Center heatmaps (B, C, H, W), offsets (B, 2, H, W) and weights (B, H, W) of refined labels, as NumPy arrays."""
    batch, class_count, height, width = heatmaps.shape
    centers = np.zeros((batch, class_count, height, width), np.float32)
    steps, weights = np.zeros((batch, 2, height, width), np.float32), np.zeros((batch, height, width), np.float32)
    probabilities = semantic.softmax(1)
    for image in range(batch):
        for category in np.flatnonzero(tags[image]):
            for mask in components_of(labels[image], category, settings.min_area):
                ids, _, heatmap, _ = split(
                    heatmaps[image, category], offsets[image], mask, settings.grouping, keep_without_center=False
                )
                if settings.max_instances is not None and int(ids.max()) > settings.max_instances:
                    continue
                for number in range(1, int(ids.max()) + 1):
                    own = ids == number
                    if not own.any():
                        continue
                    inside = torch.where(own, heatmap, -torch.inf)
                    highest, mean = float(inside.max()), float(probabilities[image, category + 1][own].mean())
                    if highest < settings.grouping.center_threshold:
                        y, x = centroid(mask)
                        confidence = mean
                    else:
                        y, x = divmod(int(inside.argmax()), width)
                        confidence = highest * mean
                    if settings.weight == "center":
                        confidence = highest
                    rows, columns = np.nonzero(own.numpy())
                    steps[image, 0, rows, columns] = y - rows
                    steps[image, 1, rows, columns] = x - columns
                    weights[image, rows, columns] = min(max(confidence, 0.0), 1.0)
                    one = gaussian_map([(y, x)], (height, width), sigma)
                    centers[image, category] = np.maximum(centers[image, category], one)
    return centers, steps, weights
