"""What each module says of an image, and the objects that it hands to the next one."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stages.core.artifacts.proposals import Proposals
from stages.label_penet.calibration import Objects, Shapes, boxes_of, calibrate, choose_candidates, density, sum_maps
from stages.label_penet.cascade import Cascade
from stages.label_penet.excitation import ATTENTION
from stages.label_penet.network import Image
from stages.label_penet.passes import Detected, mask_probabilities, score_regions
from stages.label_penet.samples import scaled_boxes, scaled_image, scaled_size
from stages.label_penet.settings import CalibrationSettings, PenetViewSettings
from stages.ops.rescoring import with_prior

Attend = Callable[[np.ndarray, int], np.ndarray]


class Scored(NamedTuple):
    """R regions of an image as a module sees them; NumPy.

    Attributes:
        boxes: (R, 4) float32, or (R, C, 4), a box of each class.
        probabilities: (R, C) float32 q.
        ranks: (R, C) float32, by which they are suppressed and ranked.
        own_classes: (R,) int64, the most probable class; -1 background.
        attend: gives the maps (n, s, s) of regions, by index, for a class.
        shared: (1, D, h, w), the features of the image that the module read, a tensor.
    """

    boxes: np.ndarray
    probabilities: np.ndarray
    ranks: np.ndarray
    own_classes: np.ndarray
    attend: Attend
    shared: Tensor


@torch.no_grad()
def scored(
    network: Cascade, module: str, rgb: np.ndarray, proposals: Proposals | None, *, view: PenetViewSettings,
    attention: str,
) -> Scored:  # fmt: skip
    """What a module of the network, in evaluation mode, says of an image; boxes in pixels of the image.

    Args:
        network: has the module.
        module: which one.
        rgb: (H, W, 3) uint8.
        proposals: of the image, which the first module scores; the others propose their own and need none.
        view: size of the image that the network sees, and numbers of regions.
        attention: see `CalibrationSettings`; modules with masks give these instead.
    """
    shape = rgb.shape[:2]
    size = scaled_size(*shape, shorter_side=view.shorter_side, longest_side=view.longest_side)
    device = next(network.parameters()).device
    image = scaled_image(rgb, size, flip=False)
    image = image._replace(inputs=image.inputs.to(device))
    boxes, prior = (np.zeros((0, 4)), None) if proposals is None else first(proposals, view.max_proposals)
    places = scaled_boxes(boxes, shape, size, flip=False).to(device)
    found = score(network, module, network.shared(image), image, places, prior=prior, view=view, attention=attention)
    back = np.array([shape[1] / size[1], shape[0] / size[0]] * 2, np.float32)
    return found._replace(boxes=found.boxes * back)


def first(proposals: Proposals, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Boxes (R, 4) of the best proposals of an image, and their scores of classes (R, C); None: the source has none."""
    scores = proposals.class_scores
    return proposals.regions.boxes()[:count], None if scores is None else scores[:count]


@torch.no_grad()
def score(
    network: Cascade, module: str, shared: Tensor, image: Image, proposals: Tensor, *, prior: np.ndarray | None,
    view: PenetViewSettings, attention: str,
) -> Scored:  # fmt: skip
    """As `scored`, of an image as the network sees it; `proposals` (R, 4) and the answer's boxes in its pixels.

    `prior` (R, C) are the proposals' own scores of classes, in the ranks of the first module by `view.prior_share`.
    """
    stage = network.stages[module]
    if module == "classification":
        scores = stage(shared, proposals)
        probabilities = stage.probabilities(scores)
        boxes = _numpy(proposals)
        ranks = with_prior(_numpy(probabilities * scores.shares), prior, share=view.prior_share)
        own = stage.own_classes(probabilities)
        attend = _attend(probabilities, scores.regions, stage.chain, attention, first=0, boxes=boxes)
        return Scored(boxes, _numpy(probabilities), ranks, _numpy(own), attend, shared)
    found = score_regions(
        stage, shared, size=image.size, padded=image.padded, before=view.rpn_before_nms, after=view.rpn_after_nms
    )
    boxes, probabilities = _numpy(found.boxes), _numpy(found.probabilities[:, 1:])
    own = found.probabilities.argmax(1) - 1 if len(boxes) else torch.zeros(0, dtype=torch.int64)
    if module == "detection":
        attend = _attend(found.probabilities, found.features, stage.heads.chain, attention, first=1, boxes=boxes)
    else:
        attend = _masks(stage, shared, found)
    return Scored(boxes, probabilities, probabilities, _numpy(own), attend, shared)


def _masks(stage: torch.nn.Module, shared: Tensor, found: Detected) -> Attend:
    """Mask probabilities of regions, times their probability of the class."""

    def masks(index: np.ndarray, label: int) -> np.ndarray:
        chosen = torch.from_numpy(index).to(found.boxes.device)
        shapes = mask_probabilities(stage, shared, found.boxes[chosen, label], torch.full_like(chosen, label))
        return _numpy(shapes * found.probabilities[chosen, 1 + label][:, None, None])

    return masks


def _attend(
    probabilities: Tensor,
    features: Tensor,
    chain: list[torch.nn.Linear],
    attention: str,
    *,
    first: int,
    boxes: np.ndarray,
) -> Attend:
    """Attention maps of regions, seeded with their probability of the class; `first`: column of class 0."""

    def attend(index: np.ndarray, label: int) -> np.ndarray:
        chosen = torch.from_numpy(index).to(features.device)
        seeds = torch.zeros_like(probabilities[chosen])
        seeds[:, first + label] = probabilities[chosen, first + label]
        with torch.no_grad():
            maps = ATTENTION[attention](seeds, features[chosen], chain)
        return density(_numpy(maps), boxes_of(boxes, label)[index])

    return attend


def label_objects(
    rgb: np.ndarray, found: Scored, *, tags: np.ndarray, settings: CalibrationSettings, shapes: Shapes | None
) -> Objects:
    """The objects of the classes `tags` (C,) bool that the next module learns. There may be none.

    `shapes`: see `calibrate`.
    """
    candidates = choose_candidates(
        found.boxes, found.probabilities, found.ranks, found.own_classes, tags=tags, settings=settings
    )
    return calibrate(rgb, found.boxes, candidates, found.attend, settings=settings, shapes=shapes)


def shapes_of(proposals: Proposals, settings: CalibrationSettings, *, count: int) -> Shapes | None:
    """The `count` best proposals of an image where the settings read their masks."""
    if settings.proposal_overlap is None:
        return None
    scores = proposals.class_scores
    return Shapes(proposals.regions.select(slice(count)), None if scores is None else scores[:count])


def soft_masks(
    network: Cascade,
    module: str,
    shared: Tensor,
    boxes: np.ndarray,
    classes: np.ndarray,
    *,
    shape: tuple[int, int],
    view: PenetViewSettings,
) -> np.ndarray:
    """Mask probabilities (K, H, W) float32 for boxes (K, 4), in pixels of an image of `shape`, of classes (K,).

    `shared`: of `Scored`, with the same view.
    """
    size = scaled_size(*shape, shorter_side=view.shorter_side, longest_side=view.longest_side)
    seen = scaled_boxes(boxes, shape, size, flip=False).to(shared.device)
    chosen = torch.from_numpy(classes).to(shared.device)
    grids = _numpy(mask_probabilities(network.stages[module], shared, seen, chosen))
    masks = [sum_maps(grids[[k]], boxes[[k]], shape) for k in range(len(boxes))]
    return np.stack(masks) if masks else np.zeros((0, *shape), np.float32)


def _numpy(values: Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()
