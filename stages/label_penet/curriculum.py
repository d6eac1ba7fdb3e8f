"""Recurrent mixed fine-tuning (section 3.3): forward curriculum and backward validation, in turns.

Forward: each module learns what its predecessor says of the image now.

    tags -> M1 -> calibration -> M2 -> calibration -> M3 -> masks and CRF -> M4

Backward: the last module only says; each module before it learns what its successor says, fully supervised.

    M4 -> M3 -> M2 -> M1: a proposal with IoU > beta with an object of M2 has its class, the others are background

No gradient passes through labels. A module whose neighbour finds nothing in a tagged image has no loss from it in this
pass, but learns from the tags where it is the first. In an image that shows none of the classes nobody has to look: all
of it is background for every module.
"""

import contextlib
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stages.label_penet import boxes as box_parts
from stages.label_penet.calibration import Objects, Shapes
from stages.label_penet.cascade import Cascade
from stages.label_penet.labelling import label_objects, score
from stages.label_penet.network import Image
from stages.label_penet.passes import detection_losses, multi_label_loss, single_label_loss
from stages.label_penet.settings import MODULES, Module, PenetLabelSettings
from stages.ops.regions import Regions


class MixedBatch(NamedTuple):
    """One image of the fine-tuning.

    Attributes:
        image: as the network sees it.
        rgb: (h, w, 3) uint8, the same without the zeros.
        boxes: (R, 4) float32 proposals, in its pixels.
        regions: their masks, in its pixels; None: no labels are made with them.
        prior: (R, C) float32, their own scores of classes; None: their source gives none.
        tags: (C,) bool.
        forward: whether this pass goes forward, or validates backward.
    """

    image: Image
    rgb: Tensor
    boxes: Tensor
    regions: Regions | None
    prior: Tensor | None
    tags: Tensor
    forward: bool


def mixed_losses(
    network: Cascade, shared: Tensor, batch: MixedBatch, *, labels: PenetLabelSettings, overlap: float
) -> dict[str, Tensor]:
    """The terms of one pass, by module."""
    turn = forward_curriculum if batch.forward else backward_validation
    return turn(network, shared, batch, labels=labels, overlap=overlap)


def forward_curriculum(
    network: Cascade, shared: Tensor, batch: MixedBatch, *, labels: PenetLabelSettings, overlap: float
) -> dict[str, Tensor]:
    """Every module on the labels of its predecessor; the first on the tags."""
    scores = network.stages["classification"](shared, batch.boxes)
    terms = {"classification.mil": multi_label_loss(scores, batch.tags, network.settings)}
    for before, module in itertools.pairwise(MODULES):
        objects = _objects(network, before, shared, batch, labels)
        terms |= _terms(network, module, shared, batch, objects, weighted=module != "segmentation")
    return terms


def backward_validation(
    network: Cascade, shared: Tensor, batch: MixedBatch, *, labels: PenetLabelSettings, overlap: float
) -> dict[str, Tensor]:
    """Every module but the last on the labels of its successor."""
    terms: dict[str, Tensor] = {}
    for after, module in (("segmentation", "refinement"), ("refinement", "detection")):
        objects = _objects(network, after, shared, batch, labels)
        terms |= _terms(network, module, shared, batch, objects, weighted=False)
    objects = _objects(network, "detection", shared, batch, labels)
    scores = network.stages["classification"](shared, batch.boxes)
    terms["classification.mil"] = multi_label_loss(scores, batch.tags, network.settings)
    terms["classification.single"] = single_label_loss(
        scores, batch.boxes, _as_targets(objects, batch, weighted=False), overlap=overlap
    )
    return terms


def _objects(
    network: Cascade, module: Module, shared: Tensor, batch: MixedBatch, labels: PenetLabelSettings
) -> Objects:  # fmt: skip
    """What a module says of the image now."""
    settings = labels.of(module).calibration
    with torch.no_grad(), evaluating(network.stages[module]):
        prior = None if batch.prior is None else batch.prior.cpu().numpy()
        found = score(
            network, module, shared.detach(), batch.image, batch.boxes, prior=prior, view=labels.view,
            attention=settings.attention,
        )  # fmt: skip
        shapes = None if batch.regions is None else Shapes(batch.regions.numpy(), prior)
        return label_objects(
            batch.rgb.cpu().numpy(), found, tags=batch.tags.cpu().numpy(), settings=settings, shapes=shapes
        )


def _terms(
    network: Cascade, module: Module, shared: Tensor, batch: MixedBatch, objects: Objects, *, weighted: bool
) -> dict[str, Tensor]:
    if not len(objects.classes) and batch.tags.any():
        return {}
    losses = detection_losses(
        network.stages[module], shared, _as_targets(objects, batch, weighted=weighted), size=batch.image.size,
        padded=batch.image.padded, settings=network.settings,
    )  # fmt: skip
    return {f"{module}.{name}": value for name, value in losses.items()}


def _as_targets(objects: Objects, batch: MixedBatch, *, weighted: bool) -> box_parts.Objects:
    device = batch.boxes.device
    weights = objects.weights if weighted else np.ones_like(objects.weights)
    return box_parts.Objects(
        boxes=torch.from_numpy(objects.boxes).to(device),
        labels=torch.from_numpy(objects.classes + 1).to(device),
        weights=torch.from_numpy(weights).to(device),
        masks=torch.from_numpy(objects.masks.astype(np.uint8)).to(device),
    )


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, then as it was."""
    modes = {one: one.training for one in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for one, mode in modes.items():
            one.training = mode
