"""Masks as polygons in COCO's sense: corners of pixels, one closed outline a part, holes cut in from the outline."""

import cv2
import numpy as np

NO_PARENT = -1  # in the hierarchy of cv2.findContours: an outline that is no hole
LEAST_CORNERS = 3


def polygons(mask: np.ndarray, *, tolerance: float) -> list[list[float]]:
    """Polygons [x0, y0, x1, y1, ...] whose union is the mask (H, W) bool, in pixels; corners lie on corners of pixels.

    Parts that touch in a corner alone are one polygon. COCO has no holes: the outline goes to the hole, around it, and
    back the same way, which any filling rule leaves out. With `tolerance` 0, COCO's own rasteriser gives back the same
    pixels; else corners are left out while the outline stays within `tolerance` pixels (Douglas-Peucker).
    An empty mask gives none.
    """
    found, hierarchy = _outlines(mask)
    holes: dict[int, list[np.ndarray]] = {}
    for ring, (_, _, _, parent) in zip(found, hierarchy, strict=True):
        if parent != NO_PARENT:
            holes.setdefault(int(parent), []).append(_simplified(ring, tolerance))
    parts = []
    for i, (ring, (_, _, _, parent)) in enumerate(zip(found, hierarchy, strict=True)):
        if parent == NO_PARENT:
            outline = _simplified(ring, tolerance)
            parts.append(_with_holes(outline, holes.get(i, [])).reshape(-1).astype(float).tolist())
    return parts


def _outlines(mask: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Rings (n, 2) int (x, y) around parts and holes, and OpenCV's hierarchy (rings, 4).

    OpenCV's contours pass through centers of pixels. On the mask at twice its size, where pixel x covers 2x and
    2x + 1, a center c at a left or right border says which corner is meant: (c + 1) // 2.
    """
    double = cv2.resize(mask.astype(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, hierarchy = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return [], np.zeros((0, 4), int)
    return [_without_repeats((contour[:, 0] + 1) // 2) for contour in contours], hierarchy[0]


def _without_repeats(ring: np.ndarray) -> np.ndarray:
    """The ring without corners that equal the one before or lie on a straight line between their neighbours."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    straight = before[:, 0] * after[:, 1] == before[:, 1] * after[:, 0]
    forward = (before * after).sum(axis=1) > 0
    return ring[~(straight & forward)]


def _simplified(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """Douglas-Peucker; a ring that would vanish stays as it is."""
    if tolerance == 0:
        return ring
    simple = cv2.approxPolyDP(ring.astype(np.int32)[:, None], tolerance, closed=True)[:, 0]
    return simple if len(simple) >= LEAST_CORNERS else ring


def _with_holes(ring: np.ndarray, holes: list[np.ndarray]) -> np.ndarray:
    """One ring that goes around the holes too, each entered from the nearest corner of the outline."""
    if not holes:
        return ring
    from scipy.spatial import cKDTree

    corners = cKDTree(ring)
    detours: dict[int, list[np.ndarray]] = {}
    for hole in holes:
        distances, nearest = corners.query(hole)
        start = int(distances.argmin())
        around = np.roll(hole, -start, axis=0)
        at = int(nearest[start])
        detours.setdefault(at, []).extend([around, around[:1], ring[at : at + 1]])
    pieces = [[ring[i : i + 1], *detours.get(i, [])] for i in range(len(ring))]
    return np.concatenate([piece for parts in pieces for piece in parts])
