"""Proposal calibration (Label-PEnet section 3.2): from scored regions to masks, boxes and weights of objects.

For a class c of the image, with class probabilities q_i of the regions R_i and attention maps A_i (see `excitation`):

    R^c = the region of the highest q_{i,c} that suppression leaves
    A^c = sum of A_i over R^c and the regions that it suppresses and whose class is c, each at its place in the image
    A_0 = max(0, 1 - sum_c y^c A^c)                                                    the background

A dense CRF makes masks of A_0 and the A^c; a mask's weight is q of its candidate.

Differs from the paper with `proposal_overlap` t: of the proposals with box IoU >= t to the candidate, the one with the
highest IoU times its own score of the class gives mask and box.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from stages.core.config.crf import CrfSettings
from stages.label_penet.settings import CalibrationSettings
from stages.ops import boxes as box_algebra
from stages.ops.components import label_components
from stages.ops.crf import dense_crf
from stages.ops.nms import box_nms
from stages.ops.regions import Regions

NONE_NEAR = -1  # in the place of a proposal's index


class Candidates(NamedTuple):
    """K object candidates, by class, the best of a class first.

    Attributes:
        regions: (K,) int64, index of the region of each.
        classes: (K,) int64.
        weights: (K,) float32, class probability of the region.
        affiliated: (K, R) bool, the regions whose attention is summed: the candidate and those that it suppresses.
    """

    regions: np.ndarray
    classes: np.ndarray
    weights: np.ndarray
    affiliated: np.ndarray


class Shapes(NamedTuple):
    """N proposals of an image, whose masks and boxes objects may have.

    Attributes:
        regions: their masks.
        scores: (N, C) float32, their own scores of classes; None: their source gives none, and all count the same.
    """

    regions: Regions
    scores: np.ndarray | None


class Objects(NamedTuple):
    """K calibrated objects of an image.

    Attributes:
        masks: (K, H, W) bool; empty ones have been replaced by their box.
        boxes: (K, 4) float32, (x0, y0, x1, y1), pixels.
        classes: (K,) int64.
        weights: (K,) float32.
        attention: (K, H, W) float32, A^c before the CRF, each from 0 to 1.
        replaced: how many masks the CRF left empty, too small or too large, so that the candidate's box stands.
        proposed: how many have mask and box of a proposal.
    """

    masks: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    weights: np.ndarray
    attention: np.ndarray
    replaced: int
    proposed: int


def choose_candidates(
    boxes: np.ndarray,
    probabilities: np.ndarray,
    ranks: np.ndarray,
    own_classes: np.ndarray,
    *,
    tags: np.ndarray,
    settings: CalibrationSettings,
) -> Candidates:
    """Candidates of the classes of an image; a class whose regions all score 0 has none.

    Args:
        boxes: (R, 4) float32 of the regions; or (R, C, 4), a box of each class.
        probabilities: (R, C) float32 q, without background.
        ranks: (R, C) float32, by which suppression goes; q itself, or q times the region's share w.
        own_classes: (R,) int64, the most probable class of each region; -1 background.
        tags: (C,) bool, classes that are looked for.
        settings: see `CalibrationSettings`.
    """
    count = len(boxes)
    found: list[tuple[int, int, np.ndarray]] = []
    for label in tags.nonzero()[0] if count else ():
        own = boxes_of(boxes, label)
        scores = ranks[:, label]
        if not scores.max() > 0:
            continue
        kept = box_nms(own, scores, settings.nms_threshold)
        order = np.flatnonzero(kept)
        order = order[np.argsort(-scores[order], kind="stable")]
        enough = scores[order] >= max(settings.score_threshold, settings.candidate_share * scores[order[0]])
        enough[0] = True
        chosen = order[enough][: settings.max_per_class]
        overlap = box_algebra.iou(own[chosen], own)
        mine = overlap.argmax(0)[None] == np.arange(len(chosen))[:, None]  # a region counts for its nearest candidate
        suppressed = (overlap >= settings.nms_threshold) & (own_classes == label) & mine
        suppressed[np.arange(len(chosen)), chosen] = True
        found += [(int(index), int(label), row) for index, row in zip(chosen, suppressed, strict=True)]
    regions, classes = (np.array([one[place] for one in found], np.int64) for place in (0, 1))
    affiliated = np.array([one[2] for one in found], bool).reshape(len(found), count)
    weights = probabilities[regions, classes] if found else np.zeros(0)
    return Candidates(regions, classes, weights.astype(np.float32), affiliated)


def boxes_of(boxes: np.ndarray, label: int) -> np.ndarray:
    """Boxes (R, 4) of regions for a class, from one box (R, 4) or a box of each class (R, C, 4)."""
    return boxes if boxes.ndim == 2 else boxes[:, label]


def sum_maps(maps: np.ndarray, boxes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Sum (H, W) float32 of maps (R, s, s), each laid into its box (R, 4); bilinear between the middles of cells.

    Pixels are in a box by their centers.
    """
    total = np.zeros(shape, np.float32)
    height, width = shape
    side = maps.shape[1]
    for cells, (x0, y0, x1, y1) in zip(maps, boxes.tolist(), strict=True):
        left, right = max(0, int(np.ceil(x0 - 0.5))), min(width, int(np.ceil(x1 - 0.5)))
        top, bottom = max(0, int(np.ceil(y0 - 0.5))), min(height, int(np.ceil(y1 - 0.5)))
        if left >= right or top >= bottom:
            continue
        rows = _between(np.arange(top, bottom), y0, y1, side)
        columns = _between(np.arange(left, right), x0, x1, side)
        total[top:bottom, left:right] += rows @ cells @ columns.T
    return total


def _between(pixels: np.ndarray, start: float, end: float, side: int) -> np.ndarray:
    """Weights (pixels, side) float32 of the cells of a span in each pixel."""
    place = ((pixels + 0.5 - start) / (end - start) * side - 0.5).clip(0, side - 1)
    return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(side))).astype(np.float32)


def calibrate(
    rgb: np.ndarray,
    boxes: np.ndarray,
    candidates: Candidates,
    attend: Callable[[np.ndarray, int], np.ndarray],
    *,
    settings: CalibrationSettings,
    shapes: Shapes | None = None,
) -> Objects:
    """Masks, boxes and weights of the candidates. There may be none.

    Args:
        rgb: (H, W, 3) uint8.
        boxes: (R, 4) float32 of the regions; or (R, C, 4), a box of each class.
        candidates: see `choose_candidates`.
        attend: gives the maps (n, s, s) of n regions, by index, for a class; each is laid into its region's box.
        settings: see `CalibrationSettings`.
        shapes: proposals, in masks as large as `rgb`, read where `settings.proposal_overlap` is set; None: none.
    """
    shape = rgb.shape[:2]
    attention = np.zeros((len(candidates.classes), *shape), np.float32)
    for place, (members, label) in enumerate(zip(candidates.affiliated, candidates.classes, strict=True)):
        index = members.nonzero()[0]
        attention[place] = sum_maps(attend(index, int(label)), boxes_of(boxes, label)[index], shape)
    highest = attention.max((1, 2), keepdims=True, initial=0)
    attention /= np.where(highest > 0, highest, 1)
    own = [boxes_of(boxes, label)[region] for region, label in zip(candidates.regions, candidates.classes, strict=True)]
    places = np.array(own, np.float32).reshape(-1, 4)
    nearest = nearest_proposals(places, candidates.classes, shapes, least=settings.proposal_overlap)
    left = nearest == NONE_NEAR
    masks = crf_masks(rgb, attention, settings=settings.crf) if left.any() else np.zeros(attention.shape, bool)
    masks[left], tight, replaced = finished(masks[left], places[left], settings)
    boxes = places.copy()
    boxes[left] = tight
    if shapes is not None and not left.all():
        masks[~left] = shapes.regions.masks(nearest[~left])
        boxes[~left] = shapes.regions.boxes()[nearest[~left]]
    return Objects(
        masks, boxes, candidates.classes, candidates.weights, attention, replaced, proposed=len(left) - int(left.sum())
    )


def nearest_proposals(
    boxes: np.ndarray, classes: np.ndarray, shapes: Shapes | None, *, least: float | None
) -> np.ndarray:
    """Index (K,) int64 of the proposal that fits each box (K, 4) of a class (K,) best; `NONE_NEAR`: none is near.

    Those with IoU >= `least` are near; the best of them has the highest IoU times its score of the class, the first of
    equal ones. None is near where `least` or `shapes` is None.
    """
    if least is None or shapes is None or not len(shapes.regions):
        return np.full(len(boxes), NONE_NEAR)
    overlap = box_algebra.iou(boxes, shapes.regions.boxes().astype(np.float32))
    near = overlap >= np.float32(least)
    fit = overlap if shapes.scores is None else overlap * shapes.scores[:, classes].T
    return np.where(near.any(1), np.where(near, fit, -1.0).argmax(1), NONE_NEAR)


def crf_masks(rgb: np.ndarray, attention: np.ndarray, *, settings: CrfSettings) -> np.ndarray:
    """Masks (K, H, W) bool that a dense CRF makes of K attention maps in [0, 1] and of the background A_0.

    Every map is a label of its own, so that objects compete for pixels.
    """
    if not len(attention):
        return np.zeros(attention.shape, bool)
    labels = np.concatenate([np.maximum(0, 1 - attention.sum(0, keepdims=True)), attention])
    labels = labels / np.maximum(labels.sum(0), 1e-12)
    best = dense_crf(rgb, labels, **settings.model_dump()).argmax(0)
    return best == np.arange(1, len(labels))[:, None, None]


def finished(masks: np.ndarray, boxes: np.ndarray, settings: CalibrationSettings) -> tuple[np.ndarray, np.ndarray, int]:
    """Each mask (K, H, W) within its enlarged box (K, 4), its largest component, and its tight box.

    A mask that says nothing is its candidate's box; the last value counts these.
    """
    height, width = masks.shape[1:]
    final, tight, replaced = np.zeros(masks.shape, bool), boxes.astype(np.float32).copy(), 0
    for place, (mask, box) in enumerate(zip(masks, boxes, strict=True)):
        inside = _filled(_enlarged(box, settings.box_margin), (height, width))
        own = _filled(box, (height, width))
        component = _largest(mask & inside)
        share = component.sum() / max(1, own.sum())
        if not component.any() or not settings.least_share <= share <= settings.most_share:
            final[place], replaced = own, replaced + 1
            continue
        final[place] = component
        ys, xs = (component.any(axis).nonzero()[0] for axis in (1, 0))
        tight[place] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
    return final, tight, replaced


def _enlarged(box: np.ndarray, factor: float) -> np.ndarray:
    middle, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * factor
    return np.concatenate([middle - half, middle + half])


def _filled(box: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Pixels (H, W) bool whose centers a box holds, at least the one at its middle."""
    x0, y0, x1, y1 = box
    ys, xs = np.arange(shape[0]) + 0.5, np.arange(shape[1]) + 0.5
    rows, columns = (ys >= y0) & (ys < y1), (xs >= x0) & (xs < x1)
    if not rows.any():
        rows[int(np.clip((y0 + y1) / 2, 0, shape[0] - 1))] = True
    if not columns.any():
        columns[int(np.clip((x0 + x1) / 2, 0, shape[1] - 1))] = True
    return rows[:, None] & columns


def _largest(mask: np.ndarray) -> np.ndarray:
    ids, count = label_components(mask, connectivity=8, min_area=1)
    if not count:
        return mask
    return ids == 1 + np.bincount(ids[ids > 0] - 1).argmax()


def density(maps: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Attention maps (R, s, s) per pixel of their boxes (R, 4), so that their masses compare between sizes."""
    areas = np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1.0)
    return maps * (maps.shape[1] ** 2 / areas)[:, None, None].astype(np.float32)
