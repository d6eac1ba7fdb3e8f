"""Settings of the stage `inspection`."""

from typing import Annotated, Literal

from pydantic import Field

from stages.core.config.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class GallerySettings(Section):
    """What the gallery of a run shows."""

    images: int = Field(ge=1, le=1000, description="rows of the page, of 0.2 to 0.4 MB each")
    choice: Literal["even", "worst", "best"] = Field(
        description="images: evenly over the split; those predicted worst or best, of known masks"
    )
    longer_side: int = Field(ge=64, le=2048, description="pixels; size of each image on the page")
    jpeg_quality: int = Field(ge=10, le=100, description="quality of the images; larger is better and heavier")
    opacity: Share = Field(description="opacity of painted regions; their outlines are solid")
    proposals: int = Field(ge=1, description="most proposals painted, best first")
    responses: int = Field(ge=1, description="most class response maps of an image, tagged classes first")
    predictions: int = Field(ge=1, description="most predictions painted, best first")
    score_threshold: float = Field(ge=0, description="score from which a prediction is painted")


class SuspectPageSettings(Section):
    """What the page of suspect tags shows; the list beside it has all."""

    rows: int = Field(ge=1, le=5000, description="suspects on the page, the most suspect, of about 15 kB each")
    longer_side: int = Field(ge=64, le=2048, description="pixels; size of each image on the page")
    jpeg_quality: int = Field(ge=10, le=100, description="quality of the images; larger is better and heavier")
