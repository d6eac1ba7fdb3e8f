"""Complete Instances Mining: which proposals become pseudo ground truth, as complete instances of a tagged class.

CIM (Li et al., IJCAI 2023) sections 3.5 and 3.6, algorithm 1; MIST (Ren et al., CVPR 2020) for the ablation of table 4.
For refinement branch k and each tagged class c, from the class scores y and integrity scores t of the branch before:

    seeds  = NMS(the ceil(p_seed N) proposals of highest y_{.,c}, mask IoU < tau_nms + (k - 1) tau_cas)     (step 1)
    M_{ij} = |R_i and R_j| / |R_j|                       how much of R_j lies in R_i
    P_c    = { argmax_i [M_{ij} > tau_con] t_{i,c} : seeds j }                                              (step 2)

Everything works on the device of its inputs, without a loop over proposals or seeds, and without gradient.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.cim.settings import CimMiningSettings
from stages.ops import overlaps as algebra
from stages.ops.nms import greedy


class Overlaps:
    """How an image's N proposals overlap; computed where it is asked for, as few pairs matter.

    Args:
        membership: (N, A) bool, the proposals in atom form.
        atom_sizes: (A,) pixels of each atom, below 2^24 in all.
        half_precision: round as the official code stores its maps (float32, then float16).
    """

    def __init__(self, membership: Tensor, atom_sizes: Tensor, *, half_precision: bool) -> None:
        pixels = algebra.exact(atom_sizes)
        self._members = membership.to(pixels.dtype)
        self._weighted = self._members * pixels
        self._areas = self._weighted.sum(1)
        self._half_precision = half_precision
        self._containing: dict[tuple[float, float], Tensor] = {}

    def __len__(self) -> int:
        return len(self._areas)

    def iou(self, rows: Tensor, columns: Tensor) -> Tensor:
        """|i and j| / |i or j| of proposals i in `rows` and j in `columns`, (rows, columns) float32."""
        return self._rounded(algebra.iou(self._shared(rows, columns), self._areas[rows], self._areas[columns]))

    def containment(self, rows: Tensor, columns: Tensor) -> Tensor:
        """|i and j| / |j|, how much of column j lies in row i, (rows, columns) float32."""
        return self._rounded(algebra.containment(self._shared(rows, columns), self._areas[columns]))

    def threshold(self, value: float) -> float:
        """A threshold as overlaps are compared with it: rounded to 16 bits where they are."""
        return torch.tensor(value, dtype=torch.float16).item() if self._half_precision else value

    def contain_most(self, share: float, *, threshold: float) -> Tensor:
        """Which proposals contain at least `share` of all proposals, themselves included, (N,) bool.

        A proposal is contained where its containment is above `threshold`. The branches ask the same, so it is kept.
        """
        if (share, threshold) not in self._containing:
            self._containing[share, threshold] = self._contain_most(share, threshold)
        return self._containing[share, threshold]

    def _contain_most(self, share: float, threshold: float) -> Tensor:
        most = torch.zeros_like(self._areas, dtype=torch.bool)
        if not len(self):
            return most
        # R_i contains R_j only if area_i > threshold * area_j. So only proposals of at least 0.99 * threshold * area_k
        # can contain k of them, where area_k is the k-th smallest area; skip the rest. 0.99 covers the rounding.
        k = max(1, math.ceil(share * len(self)))
        min_area = 0.99 * threshold * self._areas.sort().values[k - 1]
        large = (self._areas >= min_area).nonzero()[:, 0]
        every = torch.arange(len(self), device=large.device)
        contained = (self.containment(large, every) > self.threshold(threshold)).sum(1)
        most[large] = contained >= share * len(self)
        return most

    def _shared(self, rows: Tensor, columns: Tensor) -> Tensor:
        return algebra.product(self._weighted[rows], self._members[columns].T)

    def _rounded(self, ratios: Tensor) -> Tensor:
        ratios = ratios.float()
        return ratios.half().float() if self._half_precision else ratios


@dataclass(frozen=True)
class PseudoGroundTruth:
    """Proposals taken for instances, ascending: `indices` (G,) int64, `classes` (G,) int64, `weights` (G,) float32."""

    indices: Tensor
    classes: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.indices)


@torch.no_grad()
def mine(
    classification: Tensor, integrity: Tensor, *, tags: Tensor, overlaps: Overlaps,
    settings: CimMiningSettings, branch: int,
) -> PseudoGroundTruth:  # fmt: skip
    """Pseudo ground truth for refinement branch `branch` (0, 1, ...) from the scores of the branch before it.

    `classification` and `integrity` are (N, C) without background, `tags` (C,) bool. A proposal has one class at most:
    the one with the largest product of both scores, of equal ones the first. No proposals or no tags give no pseudo
    ground truth.
    """
    products = classification * integrity
    classes = tags.nonzero()[:, 0]
    if not len(products) or not len(classes):
        return PseudoGroundTruth(classes[:0], classes[:0], products.new_zeros(0))
    ranking = products if settings.strategy == "mist" else classification
    label, proposal = _seeds(ranking[:, classes], overlaps=overlaps, settings=settings, branch=branch)
    if settings.strategy == "cim":
        label, proposal = _complete(label, proposal, integrity[:, classes], overlaps=overlaps, settings=settings)
    mined = torch.zeros_like(products[:, classes], dtype=torch.bool)
    mined[proposal, label] = True
    return _one_class_each(mined, products[:, classes], classes)


def anti_noise_sample(pseudo_gt: PseudoGroundTruth, uniforms: Tensor) -> PseudoGroundTruth:
    """Anti-noise sampling (section 3.6): each class draws as many proposals as it has, with replacement, by weight.

        P(g) = w_g / sum of the weights w of g's class

    Plainly, for one class with n weights: `unique(choice(n, n, replace=True, p=weights / weights.sum()))`.

    `uniforms` (G,) float64 in [0, 1) are used class by class, ascending. Proposals never drawn are left out, so noisy
    ones, whose weights tend to be low, are rarer. The draws are those of `numpy.random.choice` on the same numbers.
    """
    if not len(pseudo_gt):
        return pseudo_gt
    # G pseudo ground truths, sorted by class; K classes
    order = pseudo_gt.classes.argsort(stable=True)  # (G,)
    classes = pseudo_gt.classes[order]
    weights = pseudo_gt.weights[order].double().clamp(min=torch.finfo(torch.float32).tiny)  # all may have vanished
    _, group, counts = classes.unique_consecutive(return_inverse=True, return_counts=True)  # (G,) 0 to K - 1, (K,)
    ends = counts.cumsum(0)
    starts = ends - counts
    totals = torch.zeros(len(counts), dtype=torch.float64, device=weights.device).index_add_(0, group, weights)
    # One running sum over all classes; a class's share of it has length one.
    running = (weights / totals[group]).cumsum(0)
    before = torch.cat([running.new_zeros(1), running])[starts]
    draws = torch.searchsorted(running, before[group] + uniforms, right=True)  # (G,)
    draws = draws.clamp(min=starts[group], max=ends[group] - 1)  # rounding at the border of two classes
    drawn = torch.zeros_like(order, dtype=torch.bool)
    drawn[order[draws]] = True
    kept = drawn.nonzero()[:, 0]  # once: a GPU waits at each mask that is indexed with
    return PseudoGroundTruth(pseudo_gt.indices[kept], pseudo_gt.classes[kept], pseudo_gt.weights[kept])


def _seeds(scores: Tensor, *, overlaps: Overlaps, settings: CimMiningSettings, branch: int) -> tuple[Tensor, Tensor]:
    """Seeds of each class (algorithm 1, step 1): the best share of the proposals, then greedy mask NMS.

    `scores` (N, T) of T classes; gives class (0 to T - 1) and proposal of each seed, both (G,). A proposal survives
    where its IoU with all seeds before it is below the threshold.
    """
    count = math.ceil(settings.seed_share * len(scores))
    threshold = overlaps.threshold(settings.nms_threshold + branch * settings.cascade_step)
    best, order = scores.sort(dim=0, descending=True, stable=True)
    seeds = []
    for values, members in zip(best[:count].T, order[:count].T, strict=True):
        seeds.append(members[greedy(overlaps.iou(members, members) >= threshold, values)])
    label = torch.cat([torch.full_like(members, place) for place, members in enumerate(seeds)])
    return label, torch.cat(seeds)


def _complete(
    label: Tensor, seeds: Tensor, integrity: Tensor, *, overlaps: Overlaps, settings: CimMiningSettings
) -> tuple[Tensor, Tensor]:
    """For each seed the proposal of highest integrity that contains it (algorithm 1, step 2), of equal ones the first.

    `label` and `seeds` (G,), `integrity` (N, T); gives class and proposal, both (at most G,): a seed that nothing
    contains gives nothing.
    Differs from the paper: with `big_share` proposals that contain nearly all others are out (official code).
    Differs from the official code: its rule that makes big proposals background never ran and is not applied.
    """
    every = torch.arange(len(integrity), device=seeds.device)
    threshold = settings.containment_threshold
    contained = overlaps.containment(every, seeds).transpose(0, 1) > overlaps.threshold(threshold)  # (G, N)
    if settings.big_share is not None:
        contained &= ~overlaps.contain_most(settings.big_share, threshold=threshold)
    best = torch.where(contained, integrity.T[label], -1.0).max(dim=1)
    is_contained = (best.values >= 0).nonzero()[:, 0]
    return label[is_contained], best.indices[is_contained]


def _one_class_each(mined: Tensor, products: Tensor, classes: Tensor) -> PseudoGroundTruth:
    """Pseudo ground truth from `mined` (N, T): of several classes the largest product wins, of equal ones the first."""
    indices = mined.any(1).nonzero()[:, 0]
    best = torch.where(mined[indices], products[indices], -1.0).max(dim=1)
    return PseudoGroundTruth(indices, classes[best.indices], best.values)
