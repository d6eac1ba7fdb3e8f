"""Settings of CIM (Complete Instances Mining, IJCAI 2023): cluster labels, training, prediction.

The presets `paper` and `released` differ in these settings alone. Tau, p and alpha are the paper's symbols.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.config.crf import CrfSettings
from stages.core.config.section import Section
from stages.core.networks.settings import BackboneSettings
from stages.core.training.settings import TrainingSettings

Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
LongerSides = Annotated[list[Annotated[int, Field(ge=32, le=4096)]], Field(min_length=1)]


class AgplSettings(Section):
    """Attention-guided pseudo labelling: proposals at a peak vote for a support mask, which labels (section 3.2)."""

    votes: Literal["equal", "response"] = Field(
        description="equal: one per proposal at a peak (equation 1); response: its IoU with where the classifier"
        " sees the class, for proposals that nothing has ranked"
    )
    response_share: Share = Field(description="share of its maximum from which a response counts; response votes only")
    response_power: float = Field(gt=0, le=16, description="power of that IoU; response votes only")

    support_threshold: Share = Field(
        description="share of the votes at a peak that a pixel of its mask must have (equation 1: 0.7)"
    )
    iou_threshold: Share = Field(
        description="IoU with a support mask above which a proposal joins its cluster (equation 2: 0.5)"
    )


class CimInputSettings(Section):
    """How images and proposals' boxes are brought to the network; the same in training and prediction."""

    interpolation: Literal["area", "bicubic", "opencv"] = Field(
        description="area: area averages where the image shrinks; bicubic: Pillow's bicubic, timm's for most networks;"
        " opencv: two neighbours per axis, by the factor, cut to whole grey values (official code: opencv)"
    )
    inclusive_clip: bool = Field(
        description="clip boxes to [0, W-1] x [0, H-1], though half-open (official code: true)"
    )
    inclusive_flip: bool = Field(
        description="mirror boxes by x -> W - 1 - x, one pixel too far left (official code: true)"
    )


class CimNetworkSettings(Section):
    """MaskFuse and the branches (sections 3.3 to 3.6)."""

    crop_size: int = Field(ge=1, le=32, description="bins; side of a region's feature and mask crop (official code: 7)")
    sampling_ratio: int = Field(
        ge=0, le=8, description="RoIAlign samples per bin and axis; 0: one per feature (official code: 0)"
    )
    reduced_channels: int | None = Field(
        ge=1, description="channels after a 1x1 convolution on the backbone; null: none (paper: null)"
    )
    fc_widths: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, description="widths of the fully connected layers (official code: 4096, 4096)"
    )
    branches: int = Field(ge=1, le=10, description="refinement branches K (equation 8: 3)")
    integrity_heads: bool = Field(description="MaskIoU heads; false: every integrity is 1 (table 4: ablation)")


class CimMiningSettings(Section):
    """Which proposals become pseudo ground truth, and what the others learn from them (sections 3.5 and 3.6)."""

    strategy: Literal["cim", "mist"] = Field(
        description="cim: complete instances mining; mist: MIST (table 4: ablation)"
    )
    seed_share: float = Field(
        gt=0, le=1, description="share p_seed of the proposals that may become seeds (section 4.2: 0.1)"
    )
    nms_threshold: Share = Field(
        description="mask IoU tau_nms from which a seed is dropped, first branch (section 4.2: 0.25)"
    )
    class_threshold: Share = Field(
        description="mask IoU tau_cls that makes a proposal foreground, first branch (equation 4: 0.25)"
    )
    integrity_threshold: Share = Field(
        description="mask IoU tau_iou that makes a proposal complete, first branch (equation 5: 0.5)"
    )
    cascade_step: Share = Field(description="tau_cas, added to these three per further branch (section 3.5: 0.1)")
    containment_threshold: Share = Field(
        description="share tau_con of a seed that its pseudo ground truth holds (algorithm 1: 0.85)"
    )
    big_share: float | None = Field(
        gt=0,
        le=1,
        description="what contains this share of all proposals is no instance; null: off (official code: 0.9)",
    )
    sampling: bool = Field(
        description="anti-noise sampling of the pseudo ground truth by its weight (section 3.6: true)"
    )
    foreground_at_threshold: bool = Field(
        description="an IoU of exactly tau_cls is foreground (equation 4: false, official code: true)"
    )
    one_class: bool = Field(
        description="a proposal has the class of its best pseudo ground truth alone; false: each class decides for"
        " itself (equation 4: false, official code: true)"
    )
    half_precision_maps: bool = Field(
        description="round IoU, containment and thresholds to 16 bits (official code: true)"
    )


class CimLossSettings(Section):
    """Weights and forms of the loss terms (equations 3, 7 and 8)."""

    mil: Weight = Field(description="weight of the image-level term of the anti-noise branch (equation 7: 1)")
    cluster: Weight = Field(description="weight alpha of the cluster term (equation 7: 12)")
    classification: Weight = Field(description="weight of the class term of the refinement branches (equation 3: 1)")
    integrity: Weight = Field(
        description="weight of the integrity term of the refinement branches (paper: 1, official code: 3)"
    )
    refinement_mil: Weight = Field(
        description="weight of an image-level term of each refinement branch (paper: 0, official code: 1)"
    )
    first_branch: Weight = Field(
        description="factor on the first refinement branch's label weights (paper: 1, official code: 3)"
    )
    cluster_form: Literal["full_bce", "positive_log"] = Field(
        description="full_bce: over all classes and background (official code); positive_log: over the cluster's"
        " own class alone (equation 7)"
    )
    probability_floor: float = Field(
        gt=0,
        lt=0.5,
        description="probabilities are clamped to [floor, 1 - floor] before a logarithm (official code: 1e-6)",
    )


class CimDataSettings(Section):
    """What one forward pass sees."""

    longer_sides: LongerSides = Field(
        description="pixels; longer side, one of these per pass (paper: 480, 576, 688, 864, 1200)"
    )
    flip: bool = Field(description="each image also occurs mirrored, as an entry of its own")
    max_proposals: int | None = Field(
        ge=1, description="proposals per pass, the others are left out; null: all (paper: null)"
    )
    proposal_choice: Literal["best", "random"] = Field(
        description="which proposals stay: best, or random: another set each pass"
    )
    cache_features: bool = Field(description="keep outputs of the backbone's frozen part in memory, 16 bit")
    memory_gb: Weight = Field(description="GB; memory that kept features and proposals may use; what is over is remade")


class CimTrainingSettings(Section):
    """Everything that training reads."""

    seed: int = Field(ge=0, description="seed of all that is random: first weights, order of images, sampling")
    pseudo_labels: Literal["agpl", "none"] = Field(
        description="agpl: pre-computed labels; none: no cluster term (table 4: ablation)"
    )
    backbone: BackboneSettings
    network: CimNetworkSettings
    inputs: CimInputSettings = Field(description="quirks of the official code; the same in training and prediction")
    mining: CimMiningSettings
    losses: CimLossSettings
    data: CimDataSettings
    training: TrainingSettings = Field(description="paper: SGD; official code: warm-up of 500 updates from 1/3")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.network.integrity_heads and self.losses.integrity > 0:
            raise ValueError("losses.integrity is above 0 but network.integrity_heads is false; set it to 0")
        return self


class CimPredictionSettings(Section):
    """Test-time augmentation and the choice of instances."""

    longer_sides: LongerSides = Field(
        description="pixels; longer sides, scores of all are averaged (paper: 480, 576, 688, 864, 1200)"
    )
    flip: bool = Field(description="average with the mirrored image's scores at each length")
    prior_share: Share = Field(
        description="share of the proposals' own class scores (kind ranked) in the weighted geometric mean with the"
        " network's; 0: off (paper: 0)"
    )
    rank_scale: float | None = Field(
        gt=0, description="scores times exp(-rank / this), rank 0 the source's best proposal; null: off (paper: null)"
    )
    score_threshold: Share = Field(description="only higher scores take part (official code: 1e-5)")
    nms: Literal["boxes", "masks"] = Field(
        description="what is compared in suppression: boxes or masks (official code: boxes)"
    )
    nms_threshold: Share = Field(
        description="IoU from which the weaker of two instances of a class is dropped (official code: 0.3)"
    )
    nms_inclusive: bool = Field(
        description="count box sides as x1 - x0 + 1; the boxes are the network's, see train.inputs; masks ignore it"
        " (official code: true)"
    )
    vote_overlap: Share | None = Field(
        description="an instance's mask is where most of the proposals that overlap it by this mask IoU agree, each"
        " weighing as much as its score; null: its own proposal (paper: null)"
    )
    crf: CrfSettings = Field(description="on the masks of the best instances; 0 iterations: off (paper: off)")
    crf_instances: int = Field(ge=1, description="best instances of an image whose masks the CRF refines")
    map_weight: Weight = Field(
        description="log-odds that the semantic map behind ranked proposals adds to a pixel of the instance's class and"
        " takes off elsewhere, before the CRF; 0: the map is not read (paper: 0)"
    )
    map_power: Weight = Field(
        description="power of the share of an instance's mask that has its class in the semantic map behind ranked"
        " proposals, by which its score is multiplied; 0: the map says nothing of scores (paper: 0)"
    )
    best_power: Weight = Field(
        description="power of an instance's score over the best of its image, by which it is multiplied; 0: off"
        " (paper: 0)"
    )
    top_k: int = Field(
        ge=1, description="instances kept per image; all that tie with the last one stay, too (official code: 100)"
    )
    max_proposals: int | None = Field(
        ge=1, description="the source's best proposals that are scored; null: all (paper: null)"
    )
    proposal_chunk: int = Field(ge=1, description="proposals that pass the network's head at once; bounds memory")
    use_tags: bool = Field(description="keep only classes that the image is tagged with; false: a test")

    @property
    def reads_maps(self) -> bool:
        """Whether prediction needs the semantic maps that have ranked the proposals."""
        return self.map_power > 0 or (self.map_weight > 0 and self.crf.iterations > 0)


class CimSettings(Section):
    """The three steps of CIM."""

    agpl: AgplSettings = Field(description="pre-computed labels: peaks vote for support masks (CIM: section 3.2)")
    train: CimTrainingSettings
    predict: CimPredictionSettings
