"""Mask R-CNN on a feature pyramid over any backbone, from torchvision's parts."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from stages.core.networks.backbones import build_backbone
from stages.core.networks.families import TransformerBackbone
from stages.core.networks.levels import level_channels, levels
from stages.core.networks.weighted_rcnn import WeightedRoIHeads
from stages.mask_rcnn.settings import (
    MaskRcnnPredictionSettings,
    MaskRcnnTrainingSettings,
)

DIVISOR = 32  # of the sides of a batch, so that anchors lie on a regular grid
BOX_CODER = (10.0, 10.0, 5.0, 5.0)  # of Fast R-CNN's regression targets (torchvision, Detectron)
Target = dict[str, Tensor]


class MaskRcnn(nn.Module):
    """Mask R-CNN (He et al., 2017) on a feature pyramid (Lin et al., 2017).

    Differs from the paper: as torchvision's, nothing but the backbone has normalisation layers, regions may be pooled
    from every level of the backbone but not from the last, halved one.

    Attributes:
        backbone, pyramid: give the features of each level.
        rpn: proposes regions; heads: class, box and mask of regions.
    """

    def __init__(
        self, settings: MaskRcnnTrainingSettings, *, class_count: int, classifier: Path | None = None,
        prediction: MaskRcnnPredictionSettings | None = None,
    ) -> None:  # fmt: skip
        """Build the network; without `prediction` for training, with it for weights that are loaded afterwards.

        Raises ValueError as `build_backbone` does, and for stages that the backbone does not have.
        """
        super().__init__()
        stages = settings.backbone.stages
        self.backbone = build_backbone(settings.backbone.plain, classifier=classifier, load=prediction is None)
        if isinstance(self.backbone, TransformerBackbone):
            raise ValueError(
                f"backbone.name is {settings.backbone.name}, whose stages all have stride {self.backbone.stride}; a "
                "feature pyramid needs a finer one with each stage: set a convolutional network such as convnext_tiny"
            )
        self.stages = stages
        channels = settings.network.pyramid_channels
        widths = level_channels(self.backbone, stages)
        self.pyramid = FeaturePyramidNetwork(widths, channels, extra_blocks=LastLevelMaxPool())
        self.rpn = _proposal_network(settings, prediction)
        self.heads = _heads(settings, prediction, class_count=class_count)

    def forward(self, images: Sequence[Tensor], targets: list[Target]) -> dict[str, Tensor]:
        """The losses of some images (3, H, W), normalised; only in training.

        Args:
            images: may differ in size.
            targets: for each image `boxes` (N, 4) float32 in its pixels, `labels` (N,) int64 from 1 on, `masks`
                (N, H, W) uint8 and `weights` (N,) float32; N may be 0.

        Returns:
            loss_objectness, loss_rpn_box_reg, loss_classifier, loss_box_reg and loss_mask.
        """
        image_list, features = self.features(images)
        proposals, losses = self.rpn(image_list, features, targets)
        return losses | self.heads(features, proposals, image_list.image_sizes, targets)[1]

    def features(self, images: Sequence[Tensor]) -> tuple[ImageList, dict[str, Tensor]]:
        """The images as a batch, and the features of each level."""
        image_list = batched(images)
        bottom_up = levels(self.backbone, image_list.tensors, self.stages)
        return image_list, self.pyramid(OrderedDict(bottom_up))


def batched(images: Sequence[Tensor]) -> ImageList:
    """Images (3, H, W) of any size as one batch, zeros on the right and below, sides divisible by 32."""
    sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
    height, width = (-(-max(size[axis] for size in sizes) // DIVISOR) * DIVISOR for axis in (0, 1))
    batch = images[0].new_zeros((len(images), 3, height, width))
    for place, image, (h, w) in zip(batch, images, sizes, strict=True):
        place[:, :h, :w] = image
    return ImageList(batch, sizes)


def _proposal_network(
    settings: MaskRcnnTrainingSettings, prediction: MaskRcnnPredictionSettings | None
) -> RegionProposalNetwork:
    network, sampling = settings.network, settings.sampling
    ratios = tuple(network.anchor_ratios)
    sizes = tuple(tuple(level) for level in network.anchor_sizes)
    anchors = AnchorGenerator(sizes, (ratios,) * len(sizes))
    counts = set(anchors.num_anchors_per_location())
    if len(counts) > 1:
        raise ValueError(f"anchor_sizes {network.anchor_sizes} has lists of different length; give all levels as many")
    testing = sampling if prediction is None else prediction
    return RegionProposalNetwork(
        anchors,
        RPNHead(network.pyramid_channels, counts.pop()),
        fg_iou_thresh=sampling.rpn_foreground,
        bg_iou_thresh=sampling.rpn_background,
        batch_size_per_image=sampling.rpn_anchors,
        positive_fraction=sampling.rpn_foreground_share,
        pre_nms_top_n={"training": sampling.rpn_before_nms, "testing": testing.rpn_before_nms},
        post_nms_top_n={"training": sampling.rpn_after_nms, "testing": testing.rpn_after_nms},
        nms_thresh=network.rpn_nms_threshold,
    )


def _heads(
    settings: MaskRcnnTrainingSettings, prediction: MaskRcnnPredictionSettings | None, *, class_count: int
) -> WeightedRoIHeads:
    network, sampling = settings.network, settings.sampling
    names = [str(stage) for stage in settings.backbone.stages]

    def pool(bins: int) -> MultiScaleRoIAlign:
        return MultiScaleRoIAlign(names, bins, network.sampling_ratio, canonical_scale=network.canonical_size)

    return WeightedRoIHeads(
        pool(network.box_bins),
        TwoMLPHead(network.pyramid_channels * network.box_bins**2, network.box_width),
        FastRCNNPredictor(network.box_width, 1 + class_count),
        fg_iou_thresh=sampling.box_foreground,
        bg_iou_thresh=sampling.box_background,
        batch_size_per_image=sampling.boxes,
        positive_fraction=sampling.box_foreground_share,
        bbox_reg_weights=BOX_CODER,
        score_thresh=0.0 if prediction is None else prediction.score_threshold,
        nms_thresh=1.0 if prediction is None else prediction.nms_threshold,
        detections_per_img=1 if prediction is None else prediction.top_k,
        mask_roi_pool=pool(network.mask_bins),
        mask_head=MaskRCNNHeads(network.pyramid_channels, network.mask_channels, dilation=1),
        mask_predictor=MaskRCNNPredictor(network.mask_channels[-1], network.mask_channels[-1], 1 + class_count),
    )
