"""Settings of dense conditional random fields."""

from pydantic import Field

from stages.core.config.section import Section


class CrfSettings(Section):
    """A dense conditional random field; see stages/ops/crf.py."""

    iterations: int = Field(ge=0, description="of mean field inference; 0: no field (IRNet, BESTIE: 10)")
    smooth_sxy: float = Field(gt=0, description="standard deviation of the term of position, pixels (3)")
    smooth_compat: float = Field(ge=0, description="weight of the term of position (3)")
    colour_sxy: float = Field(gt=0, description="standard deviation of the term of colour in position, pixels (50)")
    colour_srgb: float = Field(gt=0, description="its standard deviation in colour, grey levels of 0 to 255 (5)")
    colour_compat: float = Field(ge=0, description="weight of the term of colour (10)")
