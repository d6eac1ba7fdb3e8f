"""Settings of a feature extractor."""

from typing import Literal, Self

from pydantic import Field, model_validator

from stages.core.config.section import Section


class BackboneSettings(Section):
    """Which network gives the features, how much of it is trained and what it starts from."""

    name: str = Field(min_length=1, description="as timm knows it, e.g. resnet50")
    output_stride: Literal[8, 16, 32] = Field(description="pixels a feature; strides beyond it become dilation")
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
