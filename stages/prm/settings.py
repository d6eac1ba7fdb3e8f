"""Settings of the baseline: each peak takes the proposal that fits its response best (PRM, CVPR 2018)."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from stages.core.config.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class PrmSettings(Section):
    """Which peaks count and how a proposal is scored against a peak's response (PRM equation 5)."""

    class_threshold: float = Field(
        ge=0,
        description="score (logit) above which a class counts; below 0 cues hold tagged classes alone (official"
        " code: 0)",
    )
    peak_share: Share = Field(
        description="a peak counts from this share of its class's best peak in the image; 0: any above 0"
    )
    grid: int = Field(ge=16, le=1024, description="pixels; longer side of the grid on which responses are compared")
    contour_width: int = Field(
        ge=3, le=31, description="grid pixels; odd width of a proposal's contour (official code: 5 on 448)"
    )
    response_weight: float = Field(
        ge=0, description="weight alpha of the response inside a proposal (official code: 0.8)"
    )
    contour_weight: float = Field(
        ge=0, description="weight of the response on its contour, for responses that outline objects (paper: 1)"
    )
    background_weight: float = Field(
        ge=0,
        description="weight beta of the share of the image that is background in a proposal (official code: 2, as"
        " 1e-5 per pixel of 448 x 448)",
    )
    background_factor: float = Field(
        ge=0, description="factor of a response's mean below which it is background (official code: 0.95)"
    )
    min_area: Share = Field(description="share of the image below which proposals are left out (official code: 2e-5)")
    max_area: Share = Field(description="share of the image from which on proposals are left out (official code: 0.85)")
    nms_threshold: Share = Field(
        description="mask IoU from which the weaker of two of a class is dropped (official code: 0.3)"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.min_area >= self.max_area:
            raise ValueError(f"min_area {self.min_area} is not below max_area {self.max_area}")
        if self.contour_width % 2 == 0:
            raise ValueError(f"contour_width is {self.contour_width}; it must be odd")
        return self
