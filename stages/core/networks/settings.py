"""Settings of a feature extractor."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.config.section import Section


class BackboneSettings(Section):
    """Which network gives the features, how much of it is trained and what it starts from."""

    name: str = Field(min_length=1, description="as timm knows it, e.g. resnet50")
    output_stride: Literal[8, 16, 32] = Field(description="pixels per feature; strides beyond it become dilation")
    stage: int = Field(ge=0, description="last stage that is used (timm's index of features); later ones are left out")
    weights: str = Field(
        min_length=1,
        description="timm (its download), classifier (of this data set), none (noise) or a safetensors file",
    )
    frozen_stages: int = Field(ge=0, description="number of first stages that are not trained, the stem included")
    norm: Literal["frozen", "train"] = Field(
        description="frozen: batch norms keep their statistics; their affine weights are trained where the stage is"
    )
    dilated_pool: Literal["drop", "stride_1"] = Field(
        description="vgg only: what becomes of a pooling layer beyond the output stride: left out, or 3x3 with stride 1"
    )

    @model_validator(mode="after")
    def _frozen_stages_exist(self) -> Self:
        if self.frozen_stages > self.stage + 1:
            raise ValueError(f"frozen_stages is {self.frozen_stages}, but stages 0 to {self.stage} are used")
        return self


class PyramidBackboneSettings(Section):
    """The feature extractor below the pyramid."""

    name: str = Field(min_length=1, description="as timm knows it, e.g. resnet50")
    stages: list[Annotated[int, Field(ge=0)]] = Field(
        min_length=1, description="stages (timm's index of features) that enter the pyramid, ascending (paper: 1 to 4)"
    )
    weights: str = Field(
        min_length=1,
        description="timm (its download), classifier (that of the run's cues), none (noise) or a safetensors file",
    )
    frozen_stages: int = Field(ge=0, description="number of first stages that are not trained, the stem included")
    norm: Literal["frozen", "train"] = Field(description="frozen: batch norms keep their statistics (paper)")

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
