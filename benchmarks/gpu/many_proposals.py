"""CIM with 2,000 proposals on an image of 1,200 pixels: memory of prediction in chunks and of an update."""

import time
from typing import Any

import torch

from benchmarks.gpu import quick as smallest
from benchmarks.gpu.memory import LiveBytes
from benchmarks.gpu.results import Part
from benchmarks.gpu.trainers import BACKBONES, RESNET, TRAINERS, VGG
from benchmarks.timing import wait_for
from stages.cim.network import CimNetwork
from stages.core.networks.backbones import build_backbone

PROPOSALS, HEIGHT, WIDTH, CLASSES = 2000, 900, 1200, 20
CHUNKS = (2000, 1000, 500, 250)
LIMIT_GB = 11.0
LIMITED = (RESNET, VGG)  # an update with HRNet-W48 needs 14 GB, 10 of them whatever the proposals
CLOSE = 1e-5  # a matrix product of fewer rows may sum in another order


def run(part: Part, *, device: torch.device, quick: bool) -> None:
    """Predict in chunks of each size and compare with one chunk; do two updates."""
    proposals = 40 if quick else PROPOSALS
    size = (72, 96) if quick else (HEIGHT, WIDTH)
    chunks = (40, 16, 7) if quick else CHUNKS
    for backbone in BACKBONES[:1] if quick else BACKBONES:
        torch.manual_seed(0)
        network = network_of(backbone, quick=quick).to(device)
        inputs = inputs_of(network, proposals, size, device)
        whole = None
        for chunk in chunks:
            start = time.perf_counter()
            with Peak(network, device) as peak:
                found = predicted(network, inputs, chunk)
            wait_for(device)
            whole = found if whole is None else whole
            difference = float((found - whole).abs().max())
            part.add(
                what=f"prediction, chunks of {chunk}", backbone=backbone, peak_GB=peak.gigabytes,
                seconds=time.perf_counter() - start, limit=LIMIT_GB, difference=difference,
                bitwise=bool(torch.equal(found, whole)),
                held=peak.gigabytes < LIMIT_GB and difference <= CLOSE,
            )  # fmt: skip
        start = time.perf_counter()
        with Peak(network, device) as peak:
            updates(network, inputs)
        wait_for(device)
        part.add(
            what="update", backbone=backbone, peak_GB=peak.gigabytes, seconds=time.perf_counter() - start,
            **({"limit": LIMIT_GB, "held": peak.gigabytes < LIMIT_GB} if backbone in LIMITED else {}),
        )  # fmt: skip
        del network, inputs, found, whole


def network_of(backbone: str, *, quick: bool = False) -> CimNetwork:
    """CIM's network at its published settings, on random weights."""
    settings = TRAINERS["cim"].settings_of(backbone, smallest.QUICK["cim"] if quick else {})
    return CimNetwork(build_backbone(settings.backbone, load=False), class_count=CLASSES, settings=settings.network)


Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def inputs_of(network: CimNetwork, proposals: int, size: tuple[int, int], device: torch.device) -> Inputs:
    """An image, boxes and crops."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *size, generator=generator)
    ends = torch.rand(proposals, 2, 2, generator=generator).sort(1).values * torch.tensor(size[::-1])
    side = network.mask_fuse.size
    crops = torch.rand(proposals, side, side, generator=generator) < 0.5
    return image.to(device), ends.flatten(1).to(device), crops.to(device)


def predicted(network: CimNetwork, inputs: Inputs, chunk: int) -> torch.Tensor:
    """Scores (N, C + 1), a mean over the branches, as `Predictor` finds them."""
    image, boxes, crops = inputs
    network.eval()
    with torch.no_grad():
        features = network.features(image)
        parts = []
        for start in range(0, len(boxes), chunk):
            rows = slice(start, start + chunk)
            refined = network.score(features, boxes[rows], crops[rows]).refined
            parts.append(torch.stack([classes * integrity for classes, integrity in refined]).mean(0))
        return torch.cat(parts)


def updates(network: CimNetwork, inputs: Inputs) -> None:
    """Two, as the first makes the optimizer's state. Mining is left out: its largest map is of N x N numbers, 16 MB."""
    network.train()
    optimizer = torch.optim.SGD(
        [parameter for parameter in network.parameters() if parameter.requires_grad], lr=1e-6, momentum=0.9,
        weight_decay=5e-4,
    )  # fmt: skip
    for _ in range(2):
        scores = network(*inputs)
        total = scores.classifier.square().sum() + scores.detector.square().sum()
        (total + sum((first * second).sum() for first, second in scores.refined)).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


class Peak:
    """Most memory of tensors in a block, with the network's own: asked of CUDA, elsewhere counted."""

    def __init__(self, network: torch.nn.Module, device: torch.device) -> None:
        self._network, self._device = network, device
        self._counted = None if device.type == "cuda" else LiveBytes()
        self.gigabytes = 0.0

    def __enter__(self) -> "Peak":
        if self._counted is None:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._counted.__enter__()
            self._counted.count(self._network.state_dict())
        return self

    def __exit__(self, *error: Any) -> None:
        if self._counted is None:
            self.gigabytes = torch.cuda.max_memory_allocated(self._device) / 1e9
        else:
            self._counted.__exit__(*error)
            self.gigabytes = self._counted.peak / 1e9
