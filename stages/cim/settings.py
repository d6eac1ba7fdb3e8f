"""Settings of CIM (Complete Instances Mining, IJCAI 2023): cluster labels, training, prediction.

The presets `paper` and `released` differ in these settings alone. Tau, p and alpha are the paper's symbols.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.config.section import Section
from stages.core.networks.settings import BackboneSettings
from stages.core.training.settings import TrainingSettings

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
LongerSides = Annotated[list[Annotated[int, Field(ge=32, le=4096)]], Field(min_length=1)]


class AgplSettings(Section):
    """Attention-guided pseudo labelling: proposals at a peak vote for a support mask, which labels (section 3.2)."""

    votes: Literal["equal", "response"] = Field(
        description="weight of a proposal at a peak: one each (equation 1), or its overlap with the class's response"
    )
    response_share: Share = Field(
        description="response votes only: share of its largest value from which a response counts as seeing its class"
    )
    response_power: float = Field(
        gt=0, le=16, description="response votes only: power of the IoU of proposal and response that is the weight"
    )

    support_threshold: Share = Field(
        description="share of the votes at a peak that must hold a pixel of its support mask (equation 1: 0.7)"
    )
    iou_threshold: Share = Field(
        description="IoU with a support mask above which a proposal joins its cluster (equation 2: 0.5)"
    )


class CimInputSettings(Section):
    """How images and proposals' boxes are brought to the network; the same in training and prediction."""

    truncated_resize: bool = Field(
        description="resize bilinearly and cut to whole grey values (official code); false: area averages, rounded"
    )
    inclusive_clip: bool = Field(
        description="clip boxes to [0, W-1] x [0, H-1] although they are half-open (official code); false: no clipping"
    )
    inclusive_flip: bool = Field(
        description="mirror boxes by x -> W - 1 - x although they are half-open, so they sit one pixel too far left"
        " (official code); false: exact"
    )


class CimNetworkSettings(Section):
    """MaskFuse and the branches (sections 3.3 to 3.6)."""

    crop_size: int = Field(ge=1, le=32, description="side of a region's feature and mask crop, bins (official code: 7)")
    sampling_ratio: int = Field(
        ge=0,
        le=8,
        description="RoIAlign samples per bin and axis; 0: one per feature (official code)",
    )
    reduced_channels: int | None = Field(
        ge=1, description="channels that a 1x1 convolution reduces the backbone's to; null: none (paper)"
    )
    fc_widths: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, description="widths of the fully connected layers (official code: 4096, 4096)"
    )
    branches: int = Field(ge=1, le=10, description="refinement branches K (equation 8: 3)")
    integrity_heads: bool = Field(
        description="MaskIoU heads in the refinement branches; false: every integrity is 1 (ablation, table 4)"
    )


class CimMiningSettings(Section):
    """Which proposals become pseudo ground truth, and what the others learn from them (sections 3.5 and 3.6)."""

    strategy: Literal["cim", "mist"] = Field(description="complete instances mining, or MIST (ablation, table 4)")
    seed_share: float = Field(gt=0, le=1, description="share p_seed of the proposals that may become seeds (0.1)")
    nms_threshold: Share = Field(description="mask IoU tau_nms from which a seed is dropped, first branch (0.25)")
    class_threshold: Share = Field(description="mask IoU tau_cls that makes a proposal foreground, first branch (0.25)")
    integrity_threshold: Share = Field(description="mask IoU tau_iou that makes a proposal whole, first branch (0.5)")
    cascade_step: Share = Field(description="tau_cas, added to these three per further branch (0.1)")
    containment_threshold: Share = Field(
        description="share tau_con of a seed that its pseudo ground truth holds (0.85)"
    )
    big_share: float | None = Field(
        gt=0, le=1, description="a proposal that contains this share of all proposals is never pseudo ground truth"
        " (official code: 0.9); null: off (paper)",
    )  # fmt: skip
    sampling: bool = Field(description="anti-noise sampling of the pseudo ground truth by its weight (section 3.6)")
    foreground_at_threshold: bool = Field(
        description="an IoU of exactly tau_cls is foreground (official code); false: only above (equation 4)"
    )
    one_class: bool = Field(
        description="a proposal has the class of its best pseudo ground truth alone (official code); false: each class"
        " decides for itself (equations 4, 5)"
    )
    half_precision_maps: bool = Field(
        description="round IoU, containment and thresholds to 16 bits before comparing (official code)"
    )


class CimLossSettings(Section):
    """Weights and forms of the loss terms (equations 3, 7 and 8)."""

    bag: Weight = Field(description="weight of the image-level term of the anti-noise branch (1)")
    cluster: Weight = Field(description="weight alpha of the cluster term (12); without pseudo labels there is no term")
    classification: Weight = Field(description="weight of the refinement branches' class term (1)")
    integrity: Weight = Field(
        description="weight of the refinement branches' integrity term (paper 1, official code 3)"
    )
    refinement_bag: Weight = Field(
        description="weight of an image-level term of each refinement branch (paper 0, official code 1)"
    )
    first_branch: Weight = Field(
        description="factor on the first refinement branch's label weights (paper 1, official code 3)"
    )
    cluster_form: Literal["full_bce", "positive_log"] = Field(
        description="cross-entropy over all classes and background, averaged (official code), or the cluster's own"
        " class alone (equation 7)"
    )
    probability_floor: float = Field(
        gt=0, lt=0.5, description="probabilities are clamped to [floor, 1 - floor] before a logarithm (1e-6)"
    )


class CimDataSettings(Section):
    """What one forward pass sees."""

    longer_sides: LongerSides = Field(
        description="lengths of the longer side of the image, pixels; one is drawn per pass (480, 576, 688, 864, 1200)"
    )
    flip: bool = Field(description="each image also occurs mirrored, as an entry of its own")
    max_proposals: int | None = Field(
        ge=1, description="proposals per pass, the others are left out; null: all (paper)"
    )
    proposal_choice: Literal["best", "random"] = Field(
        description="which proposals stay: the source's best, or another random set each pass"
    )
    cache_features: bool = Field(
        description="keep the outputs of the backbone's frozen part in memory (16 bit) and do not compute them again"
    )
    memory_gb: Weight = Field(description="memory that kept features and proposals may use, GB; what is over is remade")


class CimTrainingSettings(Section):
    """Everything that training reads."""

    seed: int = Field(ge=0, description="of all that is random: first weights, order of images, sampling")
    pseudo_labels: Literal["agpl", "none"] = Field(
        description="pre-computed labels for the anti-noise branch; none: no cluster term (ablation, table 4)"
    )
    backbone: BackboneSettings
    network: CimNetworkSettings
    inputs: CimInputSettings
    mining: CimMiningSettings
    losses: CimLossSettings
    data: CimDataSettings
    training: TrainingSettings

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.network.integrity_heads and self.losses.integrity > 0:
            raise ValueError("losses.integrity is above 0 but network.integrity_heads is false; set it to 0")
        return self


class CimPredictionSettings(Section):
    """Test-time augmentation and the choice of instances."""

    longer_sides: LongerSides = Field(description="lengths of the longer side, pixels; scores of all are averaged")
    flip: bool = Field(description="average with the scores of the mirrored image at each length")
    rank_scale: float | None = Field(
        gt=0, description="scores are multiplied by exp(-rank / this), rank 0 being what the source of proposals thinks"
        " best; null: off (paper)",
    )  # fmt: skip
    score_threshold: Share = Field(description="only higher scores take part (official code: 1e-5)")
    nms: Literal["boxes", "masks"] = Field(
        description="suppress by overlap of bounding boxes (official code: 0.3) or of masks"
    )
    nms_threshold: Share = Field(description="IoU from which the weaker of two instances of a class is dropped")
    nms_inclusive: bool = Field(
        description="count box sides as x1 - x0 + 1 (official code); false: half-open as they are; masks ignore it"
    )
    top_k: int = Field(ge=1, description="instances kept per image; all that tie with the last one stay too (100)")
    max_proposals: int | None = Field(
        ge=1, description="the source's best proposals that are scored; null: all (paper)"
    )
    proposal_chunk: int = Field(ge=1, description="proposals that pass the network's head at once; bounds memory")
    use_tags: bool = Field(
        description="keep only classes that the image is tagged with (pseudo masks of a training split); false: a test"
    )


class CimSettings(Section):
    """The three steps of CIM."""

    agpl: AgplSettings
    train: CimTrainingSettings
    predict: CimPredictionSettings
