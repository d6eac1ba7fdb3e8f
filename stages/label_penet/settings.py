"""Settings of Label-PEnet (Ge et al., ICCV 2019): four cascaded modules, their calibration, fine-tuning, prediction.

The paper leaves much open. Where two readings are sensible there is a setting; docs/label_penet.md lists them.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.config.crf import CrfSettings
from stages.core.config.leaning import LeaningSettings
from stages.core.config.section import Section
from stages.core.networks.settings import BackboneSettings
from stages.core.training.settings import TrainingSettings, check_snapshots

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0)]
Sides = Annotated[list[Annotated[int, Field(ge=32, le=4096)]], Field(min_length=1)]
Module = Literal["classification", "detection", "refinement", "segmentation"]
MODULES: tuple[Module, ...] = (
    "classification",
    "detection",
    "refinement",
    "segmentation",
)  # in the order of the cascade


class PenetNetworkSettings(Section):
    """The backbone that all modules share, and what each has of its own (section 4.1)."""

    backbone: BackboneSettings = Field(description="shared by all modules, frozen in pre-training (VGG-16 to relu4_3)")
    tail: Literal["stage", "convolution"] = Field(
        description="each module's own features; stage: the backbone's next stage (conv5, dilation 2), its weights"
        " copied; convolution: one 3x3 layer"
    )
    tail_channels: Count = Field(description="channels of that layer; tail: convolution only")
    box_features: Literal["pool4", "tail"] = Field(
        description="what boxes of the modules with masks are found on; pool4: the shared features, pooled"
        " (section 4.1); tail: the module's own, as in the module before"
    )
    bins: int = Field(ge=1, le=32, description="bins; side of a region's features for the box heads (section 4.2: 7)")
    fc_widths: list[Count] = Field(
        min_length=1, description="widths of the fully connected layers (VGG-16: 4096, 4096)"
    )
    dropout: Share = Field(lt=1, description="share of their features dropped in training (Fast R-CNN: 0.5)")
    anchor_sizes: list[Count] = Field(
        min_length=1, description="pixels; sides of the anchors (Faster R-CNN: 128, 256, 512)"
    )
    anchor_ratios: list[Annotated[float, Field(gt=0)]] = Field(
        min_length=1, description="height / width of the anchors (Faster R-CNN: 0.5, 1, 2)"
    )
    mask_bins: int = Field(
        ge=2,
        le=64,
        description="bins; side of a region's features for the mask head; masks have twice it (section 4.2: 14)",
    )
    aspp_channels: Count = Field(description="channels of the mask head's pyramid pooling (DeepLab-v3: 256)")
    aspp_rates: list[Count] = Field(min_length=1, description="its dilations (section 4.1: 1, 2, 4, 6)")


class PenetDataSettings(Section):
    """What one forward pass sees: one image."""

    shorter_sides: Sides = Field(
        description="pixels; shorter side, one of these per pass (section 4.2: 480, 576, 688, 864, 1024)"
    )
    longest_side: int = Field(ge=32, description="pixels; the longer side is kept below (section 4.2: 1200)")
    flip: Share = Field(description="probability that an image is mirrored (section 4.2: 0.5)")
    max_proposals: Count = Field(description="best proposals of an image (section 4.2: about 1600)")
    cache_features: bool = Field(description="keep outputs of the backbone in memory while it is frozen, 16 bit")
    memory_gb: Weight = Field(description="GB; memory that kept features may use; what is over is made again")


class PenetLossSettings(Section):
    """Forms and samples of the losses (equations 2 to 4)."""

    mil: Literal["paper", "wsddn", "binary"] = Field(
        description="paper: softmax over the classes of the image's scores (equation 2), learns nothing from images"
        " without a class; wsddn: cross-entropy of each class, scores are products of two softmaxes (WSDDN); binary:"
        " cross-entropy of each class's sigmoid, also suits a single class"
    )
    objectness: Literal["soft", "weighted"] = Field(
        description="soft: an object's anchors aim at its weight (equation 3: w*); weighted: they aim at 1 and count"
        " by it"
    )
    probability_floor: float = Field(
        gt=0, lt=0.5, description="probabilities are clamped to [floor, 1 - floor] before a logarithm; wsddn only"
    )
    rpn_foreground: Share = Field(description="box IoU from which an anchor is an object (Faster R-CNN: 0.7)")
    rpn_background: Share = Field(description="box IoU below which an anchor is background (Faster R-CNN: 0.3)")
    rpn_anchors: Count = Field(description="anchors per image (Faster R-CNN: 256)")
    rpn_before_nms: Count = Field(description="best regions before suppression (torchvision: 2000)")
    rpn_after_nms: Count = Field(description="best regions after it (torchvision: 2000)")
    box_foreground: Share = Field(description="box IoU from which a region has an object's class (Faster R-CNN: 0.5)")
    boxes: Count = Field(description="regions per image (Faster R-CNN: 128)")
    box_foreground_share: Share = Field(description="share of these that have a class, at most (Faster R-CNN: 0.25)")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.rpn_background > self.rpn_foreground:
            raise ValueError(f"rpn_background {self.rpn_background} is above rpn_foreground {self.rpn_foreground}")
        return self


class ModuleTrainingSettings(Section):
    """Pre-training of one module."""

    training: TrainingSettings = Field(
        description="paper: SGD, 1e-3, after 40,000 updates 1e-4, momentum 0.9, decay 5e-4"
    )


class CalibrationSettings(Section):
    """From scored regions to the objects that the next module learns (section 3.2: proposal calibration)."""

    attention: Literal["ebp", "gradcam"] = Field(
        description="where a head looks; ebp: excitation back-propagation (section 3.2); gradcam: Grad-CAM"
    )
    nms_threshold: Share = Field(description="box IoU from which a region is suppressed by a candidate (PRM, CIM: 0.3)")
    score_threshold: Share = Field(description="least score of a candidate but for the best of a tagged class")
    candidate_share: Share = Field(description="least score of a candidate as a share of the best of its class")
    max_per_class: Count = Field(description="most candidates of a class (section 3.2: 1 in the classification module)")
    box_margin: float = Field(ge=1, description="times the candidate's box within which its mask may lie")
    least_share: Share = Field(
        description="area of a mask as a share of its candidate's box below which the box stands"
    )
    most_share: float = Field(gt=0, description="the same, above which the box stands")
    proposal_overlap: Share | None = Field(
        description="box IoU from which a proposal's mask and box may stand in place of those of attention: those of"
        " the highest IoU times own score of the class; null: never (section 3.2)"
    )
    crf: CrfSettings = Field(description="on attention and background")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least_share >= self.most_share:
            raise ValueError(f"least_share {self.least_share} is not below most_share {self.most_share}")
        return self


class PenetViewSettings(Section):
    """How a trained module sees an image."""

    shorter_side: int | None = Field(ge=32, le=4096, description="pixels; null: the image's own (section 4.2: null)")
    longest_side: int = Field(ge=32, description="pixels; the longer side is kept below")
    max_proposals: Count = Field(description="best proposals of an image that the first module scores")
    prior_share: Share = Field(
        description="weight of the proposals' own scores of classes, which ranked sources have, in the geometric mean"
        " by which the first module ranks them (paper: 0)"
    )
    rpn_before_nms: Count = Field(description="best regions before suppression (torchvision: 1000)")
    rpn_after_nms: Count = Field(description="best regions after it (Faster R-CNN: 300)")


class PenetLabelSettings(Section):
    """How each module makes labels for the next one."""

    view: PenetViewSettings
    classification: CalibrationSettings
    detection: CalibrationSettings
    refinement: CalibrationSettings = Field(
        description="of the masks of detections that a kept one suppresses, in place of attention"
    )
    kept_side: Count = Field(description="pixels; longer side of the attention maps that are kept to look at")

    def of(self, module: Module) -> "LabellingSettings":
        """What labels of one module are made by; those of the last, in fine-tuning, as those of refinement."""
        calibration = self.refinement if module == "segmentation" else getattr(self, module)
        return LabellingSettings(module=module, view=self.view, calibration=calibration, kept_side=self.kept_side)


class LabellingSettings(Section):
    """What labels of one module are made by."""

    module: Module
    view: PenetViewSettings
    calibration: CalibrationSettings
    kept_side: Count


class PenetPredictionSettings(LeaningSettings):
    """From an image to the instances of each module."""

    view: PenetViewSettings
    score_threshold: Share = Field(description="only higher scores are kept (Faster R-CNN: 0.05)")
    nms_threshold: Share = Field(description="box IoU from which the weaker of two of a class is dropped (CIM: 0.3)")
    top_k: Count = Field(description="instances kept per image, the best (Mask R-CNN: 100)")
    mask_threshold: Share = Field(description="probability from which a pixel belongs to the mask (Mask R-CNN: 0.5)")
    use_tags: bool = Field(description="keep only classes that the image is tagged with; false: a test")
    attention: Literal["ebp", "gradcam"] = Field(
        description="attention of the detection module's masks: ebp or gradcam"
    )
    crf: CrfSettings = Field(
        description="on the masks (figure 3); of the detection module all together, of mask heads one by one"
    )
    crf_score: Share = Field(description="score from which a mask of a mask head passes the CRF; weaker ones are cut")

    @property
    def calibration(self) -> CalibrationSettings:
        """How the detection module's masks are made: each detection is a candidate."""
        return CalibrationSettings(
            attention=self.attention, nms_threshold=self.nms_threshold, score_threshold=self.score_threshold,
            candidate_share=0.0, max_per_class=self.top_k, box_margin=1.2, least_share=0.0, most_share=10.0,
            proposal_overlap=None, crf=self.crf,
        )  # fmt: skip


class PenetTrainingSettings(Section):
    """Everything that pre-training reads, of all modules."""

    seed: int = Field(ge=0, description="seed of all that is random: first weights, order of images, sampling")
    network: PenetNetworkSettings
    data: PenetDataSettings
    losses: PenetLossSettings
    classification: ModuleTrainingSettings
    detection: ModuleTrainingSettings
    refinement: ModuleTrainingSettings
    segmentation: ModuleTrainingSettings

    @model_validator(mode="after")
    def _frozen(self) -> Self:
        backbone = self.network.backbone
        if backbone.frozen_stages != backbone.stage + 1:
            raise ValueError(
                f"network.backbone.frozen_stages is {backbone.frozen_stages}, but pre-training leaves the backbone as"
                f" it is; set {backbone.stage + 1}, all stages, and finetune.frozen_stages for afterwards"
            )
        return self

    def of(self, module: Module) -> "ModuleSettings":
        """What one module's pre-training reads."""
        shared = {name: getattr(self, name) for name in ("seed", "network", "data", "losses")}
        return ModuleSettings(**shared, module=module, training=getattr(self, module).training)


class ModuleSettings(Section):
    """What one module's pre-training reads."""

    module: Module = Field(description="one of the four")
    seed: int = Field(ge=0, description="as above")
    network: PenetNetworkSettings
    data: PenetDataSettings
    losses: PenetLossSettings
    training: TrainingSettings


class FinetuneSettings(Section):
    """Recurrent mixed fine-tuning: an iteration of the paper is two updates, one forward and one backward."""

    overlap: Share = Field(description="box IoU beta above which a proposal has an object's class (section 3.3: 0.5)")
    frozen_stages: int = Field(ge=0, description="first stages of the backbone that stay as they are (section 4.2: 0)")
    training: TrainingSettings = Field(description="paper: SGD, 1e-4, 80,000 iterations")
    snapshots: list[Count] = Field(
        description="updates; after these weights are kept, to look at the labels that the modules make over time"
    )

    @model_validator(mode="after")
    def _snapshots_fit(self) -> Self:
        check_snapshots(self.snapshots, self.training)
        return self


class FinetuningSettings(Section):
    """What fine-tuning reads."""

    seed: int = Field(ge=0, description="as above")
    network: PenetNetworkSettings
    data: PenetDataSettings
    losses: PenetLossSettings
    labels: PenetLabelSettings
    overlap: Share
    training: TrainingSettings
    snapshots: list[Count]


class LabelPenetSettings(Section):
    """The steps of Label-PEnet."""

    train: PenetTrainingSettings
    labels: PenetLabelSettings = Field(description="what a module's output on the training split becomes (section 3.2)")
    finetune: FinetuneSettings
    predict: PenetPredictionSettings

    @property
    def finetuning(self) -> FinetuningSettings:
        """What fine-tuning reads."""
        network = self.train.network
        backbone = network.backbone.model_copy(update={"frozen_stages": self.finetune.frozen_stages})
        return FinetuningSettings(
            seed=self.train.seed,
            network=network.model_copy(update={"backbone": backbone}),
            data=self.train.data,
            losses=self.train.losses,
            labels=self.labels,
            overlap=self.finetune.overlap,
            training=self.finetune.training,
            snapshots=self.finetune.snapshots,
        )
