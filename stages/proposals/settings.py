"""Settings of the proposals stage: the built-in generator and the imports."""

from typing import Annotated, Literal

from pydantic import Field

from stages.core.config.section import Section

Count = Annotated[int, Field(ge=1, description="regions kept per image, best first")]
Supervision = Annotated[
    Literal["label-free", "class-agnostic boundaries", "class-agnostic masks"],
    Field(description="what annotation the source was trained on; recorded in the artifact and shown with the metrics"),
]


class RankingWeights(Section):
    """Weights of the label-free score that ranks the pool; the terms are explained in stages/proposals/ranking.py."""

    agreement: float = Field(
        description="weight of log(1 + sum of IoU above 0.6 over the pool): found by several groupings"
    )
    contour: float = Field(description="weight of the mean edge strength along the contour")
    inside: float = Field(description="weight of the mean edge strength inside, subtracted")
    border: float = Field(description="weight of the share of the contour on the border of the image, subtracted")
    area: float = Field(description="weight of log(area share): larger regions first")
    area_enough: float = Field(gt=0, le=1, description="area share from which on larger is not better")
    roundness: float = Field(description="weight of log(4 pi area / contour^2 + 0.02)")


class HegSettings(Section):
    """Built-in generator: hierarchy ensemble and geodesic level sets. It sees no labels and no learned weights."""

    kind: Literal["heg"] = Field(description="built-in generator: no labels, no learned weights")
    count: Count = Field(description="regions kept per image, best first; 1000 suit photographs")
    longer_side: int = Field(ge=16, description="pixels; larger images are worked on at this size")
    base_scale: float = Field(gt=0, description="Felzenszwalb's k; the larger, the larger superpixels are")
    base_sigma: float = Field(ge=0, description="pixels; smoothing before superpixels")
    base_min_size: int = Field(ge=1, description="pixels; area of the smallest superpixel")
    edge_sigmas: list[Annotated[float, Field(gt=0)]] = Field(min_length=1, description="pixels; scales of the edge map")
    spaces: list[Literal["lab", "hsv"]] = Field(min_length=1, description="colour spaces of the merge trees: lab, hsv")
    criteria: list[Literal["contrast", "compact", "colour_size_fill", "size_fill"]] = Field(
        min_length=1, description="merge criteria: one tree for each, in each space"
    )
    seeds: int = Field(ge=0, description="superpixels around which geodesic level sets are cut")
    levels: int = Field(ge=1, description="level sets per seed and field")
    border_pull: float = Field(
        ge=0, lt=1, description="share of the distance to the border that the second field takes off"
    )
    order_power: float = Field(gt=0, description="exponent of the merging order in a geodesic step")
    order_share: float = Field(
        ge=0, le=1, description="weight of the merging order in a geodesic step; the rest is edge^2"
    )
    step_cost: float = Field(gt=0, description="constant cost of each geodesic step")
    min_area: float = Field(ge=0, lt=1, description="area share of the smallest region")
    max_area: float = Field(gt=0, le=1, description="area share of the largest region")
    overlap: float = Field(
        gt=0, le=1, description="IoU above which the lower-ranked of two regions is dropped (0.8 from 1000 regions on)"
    )
    ranking: RankingWeights = Field(description="weights of the label-free score, see stages/proposals/ranking.py")


class ImportSettings(Section):
    """Import of regions that another program has made."""

    kind: Literal["mat", "coco_json"]
    path: str = Field(min_length=1, description="folder of one file per image, or one JSON file for all (coco_json)")
    prefixes: list[str] = Field(
        min_length=1,
        description="what may stand before the image id in a file name, such as COCO_val2014_; '' = nothing",
    )
    count: Count
    supervision: Supervision


class MatSettings(ImportSettings):
    """MATLAB files as COB, MCG and the repacks for weakly supervised work are published: <prefix><image id>.mat."""

    kind: Literal["mat"] = Field(description="import of MATLAB files, as COB and MCG are published")


class CocoJsonSettings(ImportSettings):
    """COCO run-length masks: SAM's automatic masks, SA-1B, CutLER's results, COCO data sets."""

    kind: Literal["coco_json"] = Field(description="import of COCO run-length masks, as SAM and CutLER write them")


class RankedSettings(Section):
    """Another source's proposals, ranked anew by how well they fit a semantic map; stages/proposals/fit.py.

    Which of many overlapping regions is the whole thing and nothing but it is what a network over proposals knows
    least; a segmentation network that has learnt from the same tags knows it better.
    """

    kind: Literal["ranked"] = Field(description="another source's proposals, ranked anew by a semantic map")
    proposals: str = Field(min_length=1, description="name of the source whose proposals are ranked")
    semantics: str = Field(min_length=1, description="name of the source of semantic maps that they are to fit")
    count: Count
    rank_scale: float | None = Field(
        gt=0, description="the source's own rank counts as exp(-rank / this), 0 its best; null: it does not count"
    )
    power: float = Field(ge=0, le=16, description="power of the IoU with the best component of a class; 0: off")
    min_area: int = Field(ge=1, description="pixels; smaller components of a map do not count")


ProposalSettings = Annotated[HegSettings | MatSettings | CocoJsonSettings | RankedSettings, Field(discriminator="kind")]
