"""Settings of BESTIE (CVPR 2022): semantic knowledge transfer, training with self-refinement, prediction.

The presets `paper` and `released` differ in these settings alone.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.config.crf import CrfSettings
from stages.core.config.section import Section
from stages.core.networks.settings import PyramidBackboneSettings
from stages.core.training.settings import TrainingSettings

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Counts = Annotated[list[Count], Field(min_length=1)]
Window = Annotated[int, Field(ge=3, le=1023)]


class TransferSettings(Section):
    """Semantic knowledge transfer: components of the semantic map with exactly one cue are instances (section 3.3)."""

    cue_threshold: Share = Field(
        description="least score of a cue of a classifier (paper, appendix: 0.5; official code: above 0.7)"
    )
    min_area: Count = Field(description="pixels; smaller components of a class are no candidates (official: 50)")


class IterationSettings(Section):
    """Pseudo instances from an earlier run's predictions on the training split (table 5)."""

    score_threshold: Share = Field(description="least score of a prediction that becomes a pseudo instance")
    min_area: Count = Field(description="pixels that it keeps after better ones have taken theirs")


class GroupingSettings(Section):
    """From a center map and an offset map to instances (equation 1, and the appendix on center clustering)."""

    center_threshold: Share = Field(
        description="least score of a center (official: 0.3 in refinement, 0.1 in the test)"
    )
    window: Window = Field(description="odd side of the neighbourhood in which a center is highest, pixels (41)")
    clustering: bool = Field(description="add centers where offsets vanish (center clustering, table 3)")
    cluster_magnitude: float = Field(gt=0, description="length of an offset below which it vanishes, pixels (2.5)")
    cluster_area: Count = Field(description="area that such pixels have around a center, pixels (21)")
    cluster_tolerance: Annotated[int, Field(ge=0)] = Field(description="how much that area may differ, pixels (3)")
    cluster_exclusive: bool = Field(
        description="an area that differs by the whole tolerance is left out (official); false: it counts (paper)"
    )
    cluster_threshold: Share = Field(description="score above which a clustered center counts (official: 0.05)")
    cluster_distance: float | None = Field(
        ge=0, description="pixels that it is further than from every other center; null: any (paper; official: 100)"
    )

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.window % 2 == 0:
            raise ValueError(f"window is {self.window}, expected an odd number, so that it has a middle")
        return self


class RefinementSettings(Section):
    """Self-refinement: labels from the network's own centers and offsets, at every update (section 3.5)."""

    enabled: bool = Field(description="false: the pseudo labels alone (ablation, table 3)")
    first_step: int = Field(ge=0, description="update from which refined labels are learnt from (official: 0)")
    min_area: Count = Field(description="pixels; smaller components of the semantic map are left out (50)")
    max_instances: Count | None = Field(
        description="a component that falls apart into more instances is left out (official: 5); null: none is"
    )
    weight: Literal["center", "center_and_class"] = Field(
        description="weight of an instance's pixels: its center's score (equation 2), or times its class's mean"
        " probability, with the mean probability alone where no score reaches the threshold (official)"
    )
    grouping: GroupingSettings


class BestieNetworkSettings(Section):
    """Heads for semantic map, class-wise center map and offsets, on a backbone. All keys always stand."""

    kind: Literal["panoptic_deeplab", "high_resolution"] = Field(
        description="panoptic_deeplab: two decoders on all stages of the backbone (appendix: ResNet-50);"
        " high_resolution: three heads on its one, finest stage (paper: HRNet-W48)"
    )
    head_channels: Counts = Field(
        min_length=3, max_length=3, description="of the 3x3 convolutions before semantic, center and offset outputs"
        " (HRNet: 256 each; Panoptic-DeepLab: 256, 128, 32)",
    )  # fmt: skip
    decoder_channels: Counts = Field(
        min_length=2, max_length=2, description="of the semantic and the instance decoder; panoptic_deeplab only"
        " (256, 128)",
    )  # fmt: skip
    aspp_channels: Counts = Field(
        min_length=2, max_length=2, description="of the two decoders' pyramid pooling; panoptic_deeplab only (256, 256)"
    )
    aspp_rates: Counts = Field(description="dilations of the pyramid pooling; panoptic_deeplab only (3, 6, 9)")
    aspp_dropout: Share = Field(lt=1, description="after the pyramid pooling; panoptic_deeplab only (0.5)")
    semantic_low_channels: list[Count] = Field(
        description="to which the earlier stages are reduced, deepest first; panoptic_deeplab only (128, 64, 32)"
    )
    instance_low_channels: list[Count] = Field(description="likewise, instance decoder (64, 32, 16)")
    initial_std: float = Field(
        gt=0, description="standard deviation of the first weights of decoders and heads (official: 0.001)"
    )
    norm_momentum: float = Field(gt=0, le=1, description="of the decoders' batch norms (official: 0.01)")


class BestieLossSettings(Section):
    """Loss terms (equations 3 to 6)."""

    semantic: Weight = Field(description="weight of the cross-entropy of the semantic map (1)")
    center: Weight = Field(description="weight of the squared error of the center map (200)")
    offset: Weight = Field(description="weight of the absolute error of the offsets (0.01)")
    pseudo_share: Weight = Field(
        description="factor on center and offset terms of pseudo labels (paper: 1; official: 0.5)"
    )
    refined_share: Weight = Field(description="likewise of refined labels (paper: 1; official: 0.5)")
    hard_pixel_share: float = Field(
        gt=0, le=1, description="share of the batch's pixels, the hardest, that the cross-entropy averages"
        " (paper: 1; official: 0.2)",
    )  # fmt: skip
    guidance: bool = Field(
        description="instance-aware guidance: centers and offsets are learnt inside labelled instances alone"
        " (section 3.4); false: everywhere, as background where nothing is labelled (ablation, table 3)"
    )


class BestieDataSettings(Section):
    """What one forward pass sees. The augmentations apply in this order."""

    brightness: float = Field(ge=0, le=255, description="largest shift of the grey values, probability 1/2 (16)")
    contrast: float = Field(ge=0, lt=1, description="factor 1 - x to 1 + x, probability 1/2 (0.5)")
    hue: float = Field(ge=0, le=180, description="largest turn of the hue, degrees, probability 1/2 (36)")
    longer_side: int = Field(ge=32, le=4096, description="pixels that the longer side is scaled to (official: 449)")
    side_step: Count = Field(
        description="the other side is rounded up to a multiple of this plus 1; 1: just rounded (official: 32)"
    )
    scales: list[Annotated[float, Field(gt=0, le=8)]] = Field(
        min_length=1, description="one is drawn and multiplies the size (official: 0.7, 0.8, ..., 1.3)"
    )
    crop: int = Field(ge=32, le=2048, description="side of the random crop, pixels; a multiple of 32 (416)")
    flip: Share = Field(description="probability that the crop is mirrored (0.5)")
    accepted_on: Literal["crop", "image"] = Field(
        description="components with exactly one cue are sought in each crop (official), or once in the whole image"
    )
    sigma: float = Field(gt=0, description="standard deviation of a center's Gaussian, pixels of the crop (6)")
    batch: Count = Field(description="images per forward pass; an update sees batch x accumulate (paper: 32)")

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop % 32:
            raise ValueError(f"crop is {self.crop}, expected a multiple of 32")
        return self


class BestieTrainingSettings(Section):
    """Everything that training reads."""

    seed: int = Field(ge=0, description="of all that is random: first weights, order of images, augmentation")
    backbone: PyramidBackboneSettings
    network: BestieNetworkSettings
    min_area: Count = Field(description="pixels; as `transfer.min_area`, where accepted_on is crop (50)")
    refinement: RefinementSettings
    losses: BestieLossSettings
    data: BestieDataSettings
    training: TrainingSettings
    snapshots: list[Count] = Field(
        description="updates after which the weights are kept, to look at refined labels over time (figure 6)"
    )

    @model_validator(mode="after")
    def _snapshots_fit(self) -> Self:
        if self.snapshots != sorted(set(self.snapshots)) or max(self.snapshots, default=0) >= self.training.steps:
            raise ValueError(
                f"snapshots are {self.snapshots}; list them once each, in ascending order, below training.steps"
                f" ({self.training.steps}), after which the weights are written anyway"
            )
        return self

    @model_validator(mode="after")
    def _decoders_fit_stages(self) -> Self:
        stages = len(self.backbone.stages)
        if self.network.kind == "high_resolution":
            if stages != 1:
                raise ValueError(f"network.kind high_resolution needs one stage; backbone.stages lists {stages}")
            return self
        for name in ("semantic_low_channels", "instance_low_channels"):
            given = len(getattr(self.network, name))
            if given != stages - 1:
                raise ValueError(
                    f"network.{name} has {given} entries; backbone.stages {self.backbone.stages} need {stages - 1}, one"
                    " for each stage but the last"
                )
        return self


class MapSettings(Section):
    """From an image to the network's maps of it."""

    longer_side: int | None = Field(ge=32, le=4096, description="pixels; null: the image's own size (paper)")
    side_step: int = Field(ge=32, multiple_of=32, description="sides are enlarged to multiples of this (official: 32)")
    rescale_offsets: bool = Field(
        description="multiply offsets by the factor between network input and image; false: leave them (official)"
    )
    flip: bool = Field(description="average semantic and center maps with the mirrored image's (official: points only)")


class BestiePredictionSettings(MapSettings):
    """From the network's outputs to scored instances."""

    min_area: Count = Field(description="pixels; smaller components of a class are left out (50)")
    whole_components: bool = Field(
        description="a component without a center is one instance (official); false: it is left out"
    )
    score: Literal["center_and_class", "class"] = Field(
        description="center's score times the class's mean probability in the instance (official), or that alone"
    )
    use_tags: bool = Field(description="only classes that the image is tagged with; false: a test")
    crf: CrfSettings = Field(description="on the probabilities of the semantic map (paper, official code: none)")
    top_k: Count | None = Field(description="instances kept per image, the best; null: all (official)")
    grouping: GroupingSettings
    kept_side: Count = Field(description="longer side of the center and offset maps that are kept to look at, pixels")


class BestieSettings(Section):
    """The steps of BESTIE: a run has either transfer or iteration, then training and prediction."""

    transfer: TransferSettings
    iteration: IterationSettings
    train: BestieTrainingSettings
    predict: BestiePredictionSettings

    @property
    def refined_maps(self) -> MapSettings:
        """Input of the network where refined labels are looked at: prediction's scale, not mirrored, as in training."""
        return MapSettings(**self.predict.model_dump(include=set(MapSettings.model_fields)) | {"flip": False})
