"""Settings of retraining: pseudo masks from a run's predictions, and a Mask R-CNN that is trained on them.

Mask R-CNN: He et al., ICCV 2017; with feature pyramids: Lin et al., CVPR 2017; torchvision's implementation.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.config.crf import CrfSettings
from stages.core.config.leaning import LeaningSettings
from stages.core.config.section import Section
from stages.core.networks.settings import PyramidBackboneSettings
from stages.core.training.settings import TrainingSettings

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Side = Annotated[int, Field(ge=32, le=8192)]
Count = Annotated[int, Field(ge=1)]


class PseudoMaskSettings(Section):
    """Which of a run's predictions on its training split become pseudo masks; the rules apply in this order."""

    tagged_only: bool = Field(
        description="only classes that the image is tagged with; images that nobody looked at are left out (CIM: true)"
    )
    score_threshold: float = Field(ge=0, description="least score, in the run's own units (CIM: 0.3)")
    overlap_threshold: Share | None = Field(
        description="mask IoU from which the weaker of two is dropped; null: as predicted (CIM: null)"
    )
    overlap_between: Literal["class", "any"] = Field(
        description="class: masks of one class drop each other; any: those of all classes"
    )
    keep_best: bool = Field(description="a predicted class left without a mask keeps its best (CIM: false)")
    empty: Literal["negative", "drop"] = Field(
        description="images that should have a mask and have none; negative: trained on, without objects; drop: left"
        " out; both counted"
    )
    drop_marked: list[Literal["bad", "wrong class"]] = Field(
        description="marks of inspection.marks that keep a prediction, or all of an image, out; empty: none is read"
    )


class MaskRcnnNetworkSettings(Section):
    """Pyramid, region proposal network, box head and mask head."""

    pyramid_channels: Count = Field(description="channels of each level of the pyramid (paper: 256)")
    anchor_sizes: list[Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]] = Field(
        min_length=2,
        description="pixels; a list for each stage and for a last, halved level (paper: 32, 64, 128, 256, 512)",
    )
    anchor_ratios: list[Annotated[float, Field(gt=0)]] = Field(
        min_length=1, description="height / width of the anchors (paper: 0.5, 1, 2)"
    )
    rpn_nms_threshold: Share = Field(description="box IoU from which the weaker of two regions is dropped (paper: 0.7)")
    canonical_size: Count = Field(description="pixels; side of a region that is pooled at stride 16 (paper: 224)")
    sampling_ratio: int = Field(
        ge=0, le=8, description="RoIAlign samples per bin and axis; 0: one per feature (paper: 2)"
    )
    box_bins: Count = Field(description="bins; side of a region's features for the box head (paper: 7)")
    box_width: Count = Field(description="width of the box head's two fully connected layers (paper: 1024)")
    mask_bins: Count = Field(description="bins; the same for the mask head; masks have twice it (paper: 14)")
    mask_channels: list[Count] = Field(
        min_length=1, description="channels of the mask head's convolutions (paper: 256, 256, 256, 256)"
    )


class MaskRcnnSamplingSettings(Section):
    """Which anchors and regions are learnt from, per image."""

    rpn_foreground: Share = Field(description="box IoU from which an anchor is an object (paper: 0.7)")
    rpn_background: Share = Field(description="box IoU below which an anchor is background (paper: 0.3)")
    rpn_anchors: Count = Field(description="anchors per image (paper: 256)")
    rpn_foreground_share: Share = Field(description="share of these that are objects, at most (paper: 0.5)")
    rpn_before_nms: Count = Field(description="best regions of each level before suppression (torchvision: 2000)")
    rpn_after_nms: Count = Field(description="best regions of an image after suppression (torchvision: 2000)")
    box_foreground: Share = Field(description="box IoU from which a region has a pseudo mask's class (paper: 0.5)")
    box_background: Share = Field(description="box IoU below which a region is background (paper: 0.5)")
    boxes: Count = Field(description="regions per image (paper: 512)")
    box_foreground_share: Share = Field(description="share of these that have a class, at most (paper: 0.25)")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for part in ("rpn", "box"):
            low, high = getattr(self, f"{part}_background"), getattr(self, f"{part}_foreground")
            if low > high:
                raise ValueError(f"{part}_background {low} is above {part}_foreground {high}")
        return self


class MaskRcnnLossSettings(Section):
    """Weights of the loss terms (paper: 1 each)."""

    objectness: Weight = Field(description="weight of the cross-entropy of the region proposal network (paper: 1)")
    rpn_box: Weight = Field(description="weight of its box regression (paper: 1)")
    classifier: Weight = Field(description="weight of the cross-entropy of the box head (paper: 1)")
    box: Weight = Field(description="weight of its box regression (paper: 1)")
    mask: Weight = Field(description="weight of the cross-entropy of the mask head (paper: 1)")


class MaskRcnnDataSettings(Section):
    """What one forward pass sees."""

    shorter_sides: list[Side] = Field(
        min_length=1, description="pixels; shorter side, one of these per image (paper: 800)"
    )
    longest_side: Side = Field(description="pixels; the longer side is kept below (paper: 1333)")
    flip: Share = Field(description="probability that an image is mirrored")
    batch: Count = Field(description="images; number per forward pass; an update sees batch x accumulate")


class MaskRcnnTrainingSettings(Section):
    """Everything that training reads."""

    seed: int = Field(ge=0, description="seed of all that is random: first weights, order of images, sampling")
    loss_weights: Literal["ones", "scores"] = Field(
        description="factor on a region's losses; ones: 1; scores: its pseudo mask's score, in [0, 1]"
    )
    backbone: PyramidBackboneSettings
    network: MaskRcnnNetworkSettings
    sampling: MaskRcnnSamplingSettings = Field(description="what an image's losses are taken from")
    losses: MaskRcnnLossSettings = Field(description="weights of the terms")
    data: MaskRcnnDataSettings
    training: TrainingSettings = Field(description="paper: SGD, decay 1e-4")

    @model_validator(mode="after")
    def _anchors_fit_levels(self) -> Self:
        levels, given = len(self.backbone.stages) + 1, len(self.network.anchor_sizes)
        if given != levels:
            raise ValueError(
                f"network.anchor_sizes has {given} lists; backbone.stages {self.backbone.stages} and the last, halved "
                f"level need {levels}"
            )
        return self


class MaskRcnnPredictionSettings(LeaningSettings):
    """Test-time augmentation and the choice of instances."""

    shorter_side: Side = Field(description="pixels; length of the shorter side (paper: 800)")
    longest_side: Side = Field(description="pixels; the longer side is kept below (paper: 1333)")
    flip: bool = Field(description="join the regions of the mirrored image, and average its answers")
    rpn_before_nms: Count = Field(description="best regions of each level before suppression (torchvision: 1000)")
    rpn_after_nms: Count = Field(description="best regions of an image after suppression (torchvision: 1000)")
    score_threshold: Share = Field(description="only higher scores are kept (torchvision: 0.05)")
    nms_threshold: Share = Field(description="box IoU above which the weaker of two of a class is dropped (paper: 0.5)")
    top_k: Count = Field(description="instances kept per image, the best (paper: 100)")
    mask_threshold: Share = Field(description="probability from which a pixel belongs to the mask (paper: 0.5)")
    maskness_power: Annotated[float, Field(ge=0)] = Field(
        description="power of the mean probability of a mask's cells, by which its score is multiplied: masks that are"
        " unsure of themselves lose; 0: off (paper: 0, SOLO: 1)"
    )
    crf: CrfSettings = Field(description="on the masks of the best instances; 0 iterations: off (paper: off)")
    crf_instances: Count = Field(description="best instances of an image whose masks the CRF refines")


class MaskRcnnSettings(Section):
    """The three steps of retraining."""

    pseudo_masks: PseudoMaskSettings = Field(
        description="which predictions are trained on; the rules apply in this order"
    )
    train: MaskRcnnTrainingSettings
    predict: MaskRcnnPredictionSettings
