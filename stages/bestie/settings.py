"""Settings of BESTIE (CVPR 2022): semantic knowledge transfer, training with self-refinement, prediction.

The presets `paper` and `released` differ in these settings alone.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.config.crf import CrfSettings
from stages.core.config.leaning import LeaningSettings
from stages.core.config.section import Section
from stages.core.networks.settings import PyramidBackboneSettings
from stages.core.training.settings import TrainingSettings, check_snapshots

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Counts = Annotated[list[Count], Field(min_length=1)]
Window = Annotated[int, Field(ge=3, le=1023)]


class TransferSettings(Section):
    """Semantic knowledge transfer: components of the semantic map with exactly one cue are instances (section 3.3)."""

    cue_threshold: Share = Field(description="least score of a cue of a classifier (paper: 0.5, official code: 0.7)")
    written_scores: bool = Field(
        description="compare scores as a text file holds them: three decimals, above the threshold and not at it"
        " (official code: true)"
    )
    min_area: Count = Field(description="pixels; smaller components of a class are no candidates (official code: 50)")


class IterationSettings(Section):
    """Pseudo instances from an earlier run's predictions on the training split (table 5)."""

    score_threshold: Share = Field(description="least score of a prediction that becomes a pseudo instance")
    min_area: Count = Field(description="pixels; least area that remains of it where better ones overlap it")


class GroupingSettings(Section):
    """From a center map and an offset map to instances (equation 1, and the appendix on center clustering)."""

    center_threshold: Share = Field(
        description="least heatmap score of a center (official code: 0.3 in refinement, 0.1 in the test)"
    )
    window: Window = Field(
        description="pixels; odd side of the neighbourhood in which a center is highest (official code: 41)"
    )
    clustering: bool = Field(description="add centers where offsets vanish: center clustering (appendix, table 3)")
    cluster_magnitude: float = Field(
        gt=0, description="pixels; length of an offset below which it vanishes (appendix: 2.5)"
    )
    cluster_area: Count = Field(description="pixels; area of vanishing offsets around a center (appendix: 21)")
    cluster_tolerance: Annotated[int, Field(ge=0)] = Field(
        description="pixels; how much that area may differ (appendix: 3)"
    )
    cluster_exclusive: bool = Field(
        description="leave out areas that differ by the whole tolerance (paper: false, official code: true)"
    )
    cluster_threshold: Share = Field(
        description="heatmap score above which a clustered center counts (official code: 0.05)"
    )
    cluster_distance: float | None = Field(
        ge=0,
        description="pixels; least distance of a clustered center to others; null: any (paper: null, official code:"
        " 100)",
    )

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.window % 2 == 0:
            raise ValueError(f"window is {self.window}, expected an odd number, so that it has a middle")
        return self


class RefinementSettings(Section):
    """Self-refinement: labels from the network's own centers and offsets, at every update (section 3.5)."""

    enabled: bool = Field(description="learn from refined labels; false: from pseudo labels alone (table 3: ablation)")
    first_step: int = Field(
        ge=0, description="updates; how many come before refined labels are learnt from (official code: 0)"
    )
    min_area: Count = Field(
        description="pixels; smaller components of the semantic map are left out (official code: 50)"
    )
    max_instances: Count | None = Field(
        description="components of more instances are left out; null: none is (official code: 5)"
    )
    weight: Literal["center", "center_and_class"] = Field(
        description="weight of an instance's pixels; center: its center's score (equation 2); center_and_class:"
        " times its class's mean probability, which stands alone below the threshold (official code)"
    )
    grouping: GroupingSettings = Field(description="from centers and offsets to instances (equation 1)")


class BestieNetworkSettings(Section):
    """Heads for semantic map, class-wise center map and offsets, on a backbone. All keys always stand."""

    kind: Literal["panoptic_deeplab", "high_resolution"] = Field(
        description="panoptic_deeplab: two decoders on all stages (appendix: ResNet-50); high_resolution: heads on"
        " one, finest stage (paper: HRNet-W48)"
    )
    head_channels: Counts = Field(
        min_length=3,
        max_length=3,
        description="channels of the 3x3 convolutions before semantic map, centers and offsets (HRNet: 256 each,"
        " Panoptic-DeepLab: 256, 128, 32)",
    )
    decoder_channels: Counts = Field(
        min_length=2,
        max_length=2,
        description="semantic, instance decoder; panoptic_deeplab only (Panoptic-DeepLab: 256, 128)",
    )
    aspp_channels: Counts = Field(
        min_length=2,
        max_length=2,
        description="pyramid pooling of the two; panoptic_deeplab only (Panoptic-DeepLab: 256, 256)",
    )
    aspp_rates: Counts = Field(description="its dilations; panoptic_deeplab only (Panoptic-DeepLab: 3, 6, 9)")
    aspp_dropout: Share = Field(
        lt=1, description="share of features dropped after it; panoptic_deeplab only (Panoptic-DeepLab: 0.5)"
    )
    semantic_low_channels: list[Count] = Field(
        description="channels of the earlier stages in the semantic decoder, deepest first; panoptic_deeplab only"
        " (Panoptic-DeepLab: 128, 64, 32)"
    )
    instance_low_channels: list[Count] = Field(
        description="likewise in the instance decoder (Panoptic-DeepLab: 64, 32, 16)"
    )
    initial_std: float = Field(
        gt=0, description="standard deviation of the first weights of decoders and heads (official code: 0.001)"
    )
    norm_momentum: float = Field(
        gt=0, le=1, description="momentum of all batch norms (official code: 0.1 on HRNet, 0.01 on ResNet)"
    )


class BestieLossSettings(Section):
    """Loss terms (equations 3 to 6)."""

    semantic: Weight = Field(description="weight of the semantic map's cross-entropy (equation 6: 1)")
    center: Weight = Field(description="weight of the center heatmap's squared error (equation 6: 200)")
    offset: Weight = Field(description="weight of the offsets' absolute error (equation 6: 0.01)")
    pseudo_share: Weight = Field(
        description="factor on center and offset terms of pseudo labels (paper: 1, official code: 0.5)"
    )
    refined_share: Weight = Field(description="the same of refined labels (paper: 1, official code: 0.5)")
    hard_pixel_share: float = Field(
        gt=0,
        le=1,
        description="share of a batch's pixels, the hardest, in the cross-entropy (paper: 1, official code: 0.2)",
    )
    guidance: bool = Field(
        description="learn centers and offsets inside labelled instances alone (section 3.4: instance-aware"
        " guidance); false: everywhere, as background where nothing is labelled (table 3: ablation)"
    )


class BestieDataSettings(Section):
    """What one forward pass sees. The augmentations apply in this order."""

    brightness: float = Field(
        ge=0, le=255, description="grey levels; largest shift, with probability 1/2 (official code: 16)"
    )
    contrast: float = Field(
        ge=0, lt=1, description="factor drawn from 1 - x to 1 + x, with probability 1/2 (official code: 0.5)"
    )
    hue: float = Field(
        ge=0, le=180, description="degrees; largest turn of the hue, with probability 1/2 (official code: 36)"
    )
    longer_side: int = Field(
        ge=32, le=4096, description="pixels; length that the longer side is scaled to first (official code: 449)"
    )
    side_step: Count = Field(
        description="the other side becomes a multiple of this plus 1; 1: rounded (official code: 32)"
    )
    interpolation: Literal["area", "bicubic", "opencv"] = Field(
        description="area: image and maps are resampled once, by area averages and pixel centers; bicubic: so, but the"
        " image by Pillow's bicubic (timm's for most networks); opencv: once to the longer side and once to the scale,"
        " by two neighbours per axis and by corners (official code: opencv)"
    )
    scales: list[Annotated[float, Field(gt=0, le=8)]] = Field(
        min_length=1, description="factors on the size, of which one is drawn (official code: 0.7, 0.8, ..., 1.3)"
    )
    crop: int = Field(ge=32, le=2048, description="pixels; side of a random crop, a multiple of 32 (paper: 416)")
    flip: Share = Field(description="probability that the crop is mirrored (official code: 0.5)")
    accepted_on: Literal["crop", "image"] = Field(
        description="where a component holds exactly one cue: in each crop or in the whole image (official code: crop)"
    )
    sigma: float = Field(gt=0, description="pixels; standard deviation of a center's Gaussian, in the crop (paper: 6)")
    batch: Count = Field(description="images; number per forward pass; an update sees batch x accumulate (paper: 32)")

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop % 32:
            raise ValueError(f"crop is {self.crop}, expected a multiple of 32")
        return self


class BestieTrainingSettings(Section):
    """Everything that training reads."""

    seed: int = Field(ge=0, description="seed of all that is random: first weights, order of images, augmentation")
    backbone: PyramidBackboneSettings
    network: BestieNetworkSettings
    min_area: Count = Field(description="pixels; as `transfer.min_area`, where accepted_on is crop (official code: 50)")
    refinement: RefinementSettings = Field(description="self-refinement (BESTIE: section 3.5)")
    losses: BestieLossSettings
    data: BestieDataSettings
    training: TrainingSettings = Field(
        description="paper: Adam, 5e-5, no decay; official code: warm-up of 2000 updates from 0.001"
    )
    snapshots: list[Count] = Field(
        description="updates; after these weights are kept, to look at refined labels over time (figure 6)"
    )

    @model_validator(mode="after")
    def _snapshots_fit(self) -> Self:
        check_snapshots(self.snapshots, self.training)
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

    longer_side: int | None = Field(
        ge=32, le=4096, description="pixels; length of the longer side; null: the image's own (paper: null)"
    )
    scales: list[Annotated[float, Field(gt=0, le=8)]] = Field(
        min_length=1,
        description="factors on the size; the maps of all are averaged at the image's size (paper, official code: 1"
        " alone)",
    )
    side_step: int = Field(
        ge=32, multiple_of=32, description="pixels; sides are enlarged to multiples of this (official code: 32)"
    )
    interpolation: Literal["area", "pillow", "bicubic"] = Field(
        description="area: area averages where both sides shrink; pillow: Pillow's bilinear; bicubic: Pillow's bicubic,"
        " timm's for most networks (official code: pillow)"
    )
    rescale_offsets: bool = Field(description="offsets grow with the map; false: they stay (official code: false)")
    flip: bool = Field(
        description="average semantic and center maps with the mirrored image's (official code: for points only)"
    )

    @model_validator(mode="after")
    def _offsets_have_one_unit(self) -> Self:
        if len(self.scales) > 1 and not self.rescale_offsets:
            raise ValueError(
                f"scales has {len(self.scales)} entries, but rescale_offsets is false; offsets of several sizes have a"
                " mean only in pixels of the image: set rescale_offsets: true"
            )
        return self


class BestiePredictionSettings(MapSettings, LeaningSettings):
    """From the network's outputs to scored instances."""

    min_area: Count = Field(description="pixels; smaller components of a class are left out (official code: 50)")
    keep_without_center: bool = Field(
        description="a component without a center is one instance; false: none (official code: true)"
    )
    score: Literal["center_and_class", "class"] = Field(
        description="center_and_class: center's score times class's mean probability; class: that alone (official"
        " code: center_and_class)"
    )
    use_tags: bool = Field(description="keep only classes that the image is tagged with; false: a test")
    use_points: bool = Field(
        description="all pixels of a class go to its given points, with its mean probability as score; min_area,"
        " keep_without_center, score and grouping do nothing; needs use_tags and cues: points; false: a test (official"
        " code: val_clean with points)"
    )
    crf: CrfSettings = Field(
        description="on the probabilities of the semantic map: half a second per photograph, 5 points of mAP50 on"
        " voc_animals (paper, official code: none)"
    )
    map_weight: Weight = Field(
        description="before the CRF, what is added to a pixel's logit of the class that the map has there; 0: the map"
        " says nothing of masks"
    )
    top_k: Count | None = Field(description="instances kept per image, the best; null: all (official code: null)")
    grouping: GroupingSettings
    kept_side: Count = Field(description="pixels; longer side of the center and offset maps that are kept to look at")

    @model_validator(mode="after")
    def _points_and_tags(self) -> Self:
        if self.use_points and not self.use_tags:
            raise ValueError("use_points is true, but use_tags is false; points tell the classes, too: set both")
        return self


class BestieSettings(Section):
    """The steps of BESTIE: a run has either transfer or iteration, then training and prediction."""

    transfer: TransferSettings = Field(description="semantic knowledge transfer (BESTIE: section 3.3)")
    iteration: IterationSettings = Field(description="of runs that iterate another one (BESTIE: table 5)")
    train: BestieTrainingSettings
    predict: BestiePredictionSettings

    @property
    def refined_maps(self) -> MapSettings:
        """Input of the network where refined labels are looked at: one size, not mirrored, as in training."""
        once = {"scales": [1.0], "flip": False}
        return MapSettings(**self.predict.model_dump(include=set(MapSettings.model_fields)) | once)
