"""The networks of the official codes, each tensor by its official name: plain functions, apart from our networks.

A pass asks for tensors by name and shape; what it asked for is the list of keys that a checkpoint of it has.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align


class Checkpoint(dict):
    """Tensors by official name, made where they are first asked for, each filled from its own name.

    With `meta` they have a shape alone.
    """

    def __init__(self, *, meta: bool = False) -> None:
        super().__init__()
        self.device = "meta" if meta else "cpu"

    def tensor(self, name: str, shape: Sequence[int], *, middle: float = 0.0, spread: float = 1.0) -> Tensor:
        if name not in self:
            generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
            values = torch.empty(tuple(shape), device=self.device)
            self[name] = values if self.device == "meta" else values.normal_(middle, spread, generator=generator)
        assert self[name].shape == tuple(shape), name
        return self[name]


def convolution(net, x, name, out, side=1, *, stride=1, padding=None, dilation=1, bias=False, groups=1):
    inputs = x.shape[1] // groups
    weight = net.tensor(f"{name}.weight", (out, inputs, side, side), spread=(2 / (inputs * side**2)) ** 0.5)
    added = net.tensor(f"{name}.bias", (out,), spread=0.1) if bias else None
    padding = dilation * (side // 2) if padding is None else padding
    return functional.conv2d(x, weight, added, stride, padding, dilation, groups)


def norm(net, x, name):
    count = (x.shape[1],)
    weight, bias = (
        net.tensor(f"{name}.weight", count, middle=1, spread=0.1),
        net.tensor(f"{name}.bias", count, spread=0.1),
    )
    mean = net.tensor(f"{name}.running_mean", count, spread=0.1)
    variance = net.tensor(f"{name}.running_var", count, middle=1.5, spread=0.1)
    if f"{name}.num_batches_tracked" not in net:
        net[f"{name}.num_batches_tracked"] = torch.tensor(7, device=net.device)
    return (x - mean[:, None, None]) * (weight / (variance + 1e-5).sqrt())[:, None, None] + bias[:, None, None]


def linear(net, x, name, out):
    weight = net.tensor(f"{name}.weight", (out, x.shape[1]), spread=(2 / x.shape[1]) ** 0.5)
    return x @ weight.T + net.tensor(f"{name}.bias", (out,), spread=0.1)


def bottleneck(net, x, name, width, stride=1):
    inner = norm(net, convolution(net, x, f"{name}.conv1", width), f"{name}.bn1").relu()
    inner = norm(net, convolution(net, inner, f"{name}.conv2", width, 3, stride=stride), f"{name}.bn2").relu()
    inner = norm(net, convolution(net, inner, f"{name}.conv3", 4 * width), f"{name}.bn3")
    if stride > 1 or x.shape[1] != 4 * width:
        x = norm(net, convolution(net, x, f"{name}.downsample.0", 4 * width, stride=stride), f"{name}.downsample.1")
    return (inner + x).relu()


def basic(net, x, name):
    width = x.shape[1]
    inner = norm(net, convolution(net, x, f"{name}.conv1", width, 3), f"{name}.bn1").relu()
    return (norm(net, convolution(net, inner, f"{name}.conv2", width, 3), f"{name}.bn2") + x).relu()


def resnet50(net, x, *, stem, stages):
    """Features of the stages; `stem`: names of the first convolution and its norm; `stages`: names of the stages."""
    x = norm(net, convolution(net, x, stem[0], 64, 7, stride=2), stem[1]).relu()
    x, features = functional.max_pool2d(x, 3, 2, 1), []
    for number, (name, count) in enumerate(zip(stages, (3, 4, 6, 3), strict=False)):
        for block in range(count):
            x = bottleneck(net, x, f"{name}.{block}", 64 * 2**number, 2 if number and not block else 1)
        features.append(x)
    return features


def vgg16(net, x, name, *, stride_1_pool):
    """relu5_3 at stride 8; `name`: of a convolution, from its block and its place in it, both counted from 1."""
    for block, count in enumerate((2, 2, 3, 3, 3), 1):
        for place in range(1, count + 1):
            dilation, width = 2 if block == 5 else 1, min(512, 32 * 2**block)
            x = convolution(net, x, name(block, place), width, 3, dilation=dilation, bias=True).relu()
        if block < 4:
            x = functional.max_pool2d(x, 2)
        elif block == 4 and stride_1_pool:
            x = functional.max_pool2d(x, 3, 1, 1)
    return x


class HighResolution(NamedTuple):
    """Sizes of HRNet: blocks and width of layer1, channels of the finest branch, modules of stages 2 to 4, blocks."""

    first: int
    first_width: int
    channels: int
    modules: tuple[int, int, int]
    blocks: int


W18_SMALL = HighResolution(1, 32, 16, (1, 1, 1), 2)
W32 = HighResolution(4, 64, 32, (1, 4, 3), 4)
W48 = HighResolution(4, 64, 48, (1, 4, 3), 4)


def hrnet(net, x, size, *, start="", finest=False):
    """Its four branches; with `finest` the last fusion makes the first one alone."""
    for number in (1, 2):
        x = norm(net, convolution(net, x, f"{start}conv{number}", 64, 3, stride=2), f"{start}bn{number}").relu()
    for block in range(size.first):
        x = bottleneck(net, x, f"{start}layer1.{block}", size.first_width)
    branches = [x]
    for stage, modules in zip((2, 3, 4), size.modules, strict=True):
        branches = transition(net, branches, f"{start}transition{stage - 1}", size.channels, stage)
        for module in range(modules):
            only_first = finest and (stage, module) == (4, modules - 1)
            branches = fusion_module(net, branches, f"{start}stage{stage}.{module}", size, only_first=only_first)
    return branches


def transition(net, branches, name, channels, count):
    found = []
    for i in range(count):
        width = channels * 2**i
        if i >= len(branches):
            place, stride, x = f"{name}.{i}.0", 2, branches[-1]
        elif branches[i].shape[1] != width:
            place, stride, x = f"{name}.{i}", 1, branches[i]
        else:
            found.append(branches[i])
            continue
        found.append(norm(net, convolution(net, x, f"{place}.0", width, 3, stride=stride), f"{place}.1").relu())
    return found


def fusion_module(net, branches, name, size, *, only_first):
    for i in range(len(branches)):
        for block in range(size.blocks):
            branches[i] = basic(net, branches[i], f"{name}.branches.{i}.{block}")
    fused = []
    for i in range(1 if only_first else len(branches)):
        total = 0
        for j, x in enumerate(branches):
            place, width = f"{name}.fuse_layers.{i}.{j}", size.channels * 2**i
            if j > i:
                x = norm(net, convolution(net, x, f"{place}.0", width), f"{place}.1")
                x = functional.interpolate(x, scale_factor=2 ** (j - i), mode="nearest")
            for k in range(i - j):
                out = width if k == i - j - 1 else x.shape[1]
                x = norm(net, convolution(net, x, f"{place}.{k}.0", out, 3, stride=2), f"{place}.{k}.1")
                x = x if k == i - j - 1 else x.relu()
            total = total + x
        fused.append(total.relu())
    return fused


def hrnet_for_classification(net, x, size, *, start):
    """2048 channels at stride 32."""
    branches = hrnet(net, x, size, start=start)
    wide = [bottleneck(net, x, f"{start}incre_modules.{i}.0", 32 * 2**i) for i, x in enumerate(branches)]
    y = wide[0]
    for i in range(3):
        place = f"{start}downsamp_modules.{i}"
        lower = convolution(net, y, f"{place}.0", 256 * 2**i, 3, stride=2, bias=True)
        y = wide[i + 1] + norm(net, lower, f"{place}.1").relu()
    net.tensor(f"{start}classifier.weight", (1000, 2048))
    net.tensor(f"{start}classifier.bias", (1000,))
    return norm(net, convolution(net, y, f"{start}final_layer.0", 2048, bias=True), f"{start}final_layer.1").relu()


def cim(net, image, boxes, crops, *, backbone, widths, columns, branches=3):
    """Probabilities: classifier, detector, and (classes, integrity) of each branch."""
    if backbone == "resnet50":
        stem = ("Conv_Body.res1.0", "Conv_Body.res1.1")
        features, scale = resnet50(net, image, stem=stem, stages=[f"Conv_Body.res{i}" for i in (2, 3, 4)])[-1], 1 / 16
    elif backbone == "vgg16":
        features = vgg16(net, image, lambda block, place: f"Conv_Body.conv{block}.{2 * place - 2}", stride_1_pool=False)
        scale = 1 / 8
    else:
        features, scale = hrnet_for_classification(net, image, backbone, start="Conv_Body."), 1 / 32
    depth = features.shape[1]
    if net.device == "meta":
        box = torch.empty(len(boxes), depth, 7, 7, device="meta")
    else:
        box = roi_align(features, [boxes], 7, scale, sampling_ratio=0, aligned=True)
    x = torch.cat([box, box * crops[:, None]], 1)
    x = convolution(net, x, "Box_Head.mask_branch.0", depth, 3, bias=True).relu().flatten(1)
    for place, width in zip((0, 2), widths, strict=True):
        x = linear(net, x, f"Box_Head.seg_fc.{place}", width).relu()
    heads = {
        name: linear(net, x, f"cls_iou_model.{name}", columns)
        for name in ("classifier", "inner_detection", "outer_detection")
    }
    refined = [
        (
            linear(net, x, f"cls_iou_model.ref_cls.{k}", columns).softmax(1),
            linear(net, x, f"cls_iou_model.ref_iou.{k}", columns).sigmoid(),
        )
        for k in range(branches)
    ]
    return heads["classifier"].softmax(1), heads["inner_detection"].softmax(0), refined


def prm(net, image, classes):
    """Class response maps."""
    x = resnet50(net, image, stem=("0.features.0", "0.features.1"), stages=[f"0.features.{i}" for i in (4, 5, 6, 7)])[
        -1
    ]
    return convolution(net, x, "0.classifier.0", classes, bias=True)


def pam(net, image, classes, *, alpha=0.7):
    """Class response maps, with peak attention after each of the three extra layers."""
    place = iter([0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28])
    x = vgg16(net, image, lambda block, number: f"features.{next(place)}", stride_1_pool=True)
    for name, tensor in list(net.items()):  # the code lists each of VGG's layers twice
        number = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28].index(int(name.split(".")[1]))
        block = next(b for b, last in enumerate((2, 4, 7, 10, 13), 1) if number < last)
        within = number - (0, 0, 2, 4, 7, 10)[block]
        net[f"layer{block}_conv{within + 1}.{name.split('.')[2]}"] = tensor
    for number in (1, 2, 3):
        x = convolution(net, x, f"extra_conv{number}", 512, 3, bias=True).relu()
        x = torch.where(x < alpha * x.amax((2, 3), keepdim=True), 0.0, x)
    return convolution(net, x, "extra_conv4", classes, bias=True)


def bestie_hrnet(net, image, classes, size):
    """Semantic logits, centers and offsets at the image's size."""
    x, found = hrnet(net, image, size, finest=True)[0], []
    for name, channels in (("seg", classes + 1), ("center", classes), ("offset", 2)):
        head = convolution(net, x, f"{name}.0", 256, 3, bias=True).relu()
        head = convolution(net, head, f"{name}.2", channels, bias=True)
        found.append(functional.interpolate(head, image.shape[-2:], mode="bilinear", align_corners=False))
    return found


def bestie_resnet50(net, image, classes):
    """Panoptic-DeepLab's semantic logits, centers and offsets at the image's size."""
    names = [f"backbone.layer{i}" for i in (1, 2, 3, 4)]
    features = resnet50(net, image, stem=("backbone.conv1", "backbone.bn1"), stages=names)
    semantic = decoder(net, features, "decoder.semantic_decoder", 256, (128, 64, 32))
    instance = decoder(net, features, "decoder.instance_decoder", 128, (64, 32, 16))
    found = []
    for kind, name, x, hidden, channels in (
        ("semantic", "seg", semantic, 256, classes + 1), ("instance", "center", instance, 128, classes),
        ("instance", "offset", instance, 32, 2),
    ):  # fmt: skip
        place = f"decoder.{kind}_head.classifier.{name}"
        x = convolution(net, separable(net, x, f"{place}.0.0", hidden), f"{place}.1", channels, bias=True)
        found.append(functional.interpolate(x, image.shape[-2:], mode="bilinear", align_corners=True))
    return found


def separable(net, x, name, width):
    x = convolution(net, x, f"{name}.0.0", x.shape[1], 5, groups=x.shape[1])
    x = norm(net, x, f"{name}.0.1").relu()
    return norm(net, convolution(net, x, f"{name}.1", width), f"{name}.2").relu()


def decoder(net, features, name, width, lows):
    x, place = features[-1], f"{name}.aspp.convs"
    pooled = [norm(net, convolution(net, x, f"{place}.0.0", 256), f"{place}.0.1").relu()]
    for i, rate in enumerate((3, 6, 9), 1):
        branch = convolution(net, x, f"{place}.{i}.0", 256, 3, dilation=rate)
        pooled.append(norm(net, branch, f"{place}.{i}.1").relu())
    mean = convolution(net, x.mean((2, 3), keepdim=True), f"{place}.4.aspp_pooling.1", 256).relu()
    pooled.append(mean.expand(-1, -1, *x.shape[-2:]))
    x = convolution(net, torch.cat(pooled, 1), f"{name}.aspp.project.0", 256)
    x = norm(net, x, f"{name}.aspp.project.1").relu()
    for i, (low, channels) in enumerate(zip(reversed(features[:-1]), lows, strict=True)):
        low = norm(net, convolution(net, low, f"{name}.project.{i}.0", channels), f"{name}.project.{i}.1").relu()
        x = functional.interpolate(x, low.shape[-2:], mode="bilinear", align_corners=True)
        x = separable(net, torch.cat([x, low], 1), f"{name}.fuse.{i}.0", width)
    return x
