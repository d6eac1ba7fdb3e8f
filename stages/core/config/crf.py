"""Settings of dense conditional random fields."""

from pydantic import Field

from stages.core.config.section import Section


class CrfSettings(Section):
    """A dense conditional random field; see stages/ops/crf.py."""

    iterations: int = Field(ge=0, description="iterations of mean field inference; 0: no CRF (IRNet, BESTIE: 10)")
    smooth_sxy: float = Field(gt=0, description="pixels; standard deviation of the term of position (IRNet, BESTIE: 3)")
    smooth_compat: float = Field(ge=0, description="weight of the term of position (IRNet, BESTIE: 3)")
    colour_sxy: float = Field(
        gt=0, description="pixels; standard deviation in position of the term of colour (IRNet, BESTIE: 50)"
    )
    colour_srgb: float = Field(
        gt=0, description="grey levels; standard deviation in colour of the term of colour (IRNet, BESTIE: 5)"
    )
    colour_compat: float = Field(ge=0, description="weight of the term of colour (IRNet, BESTIE: 10)")
