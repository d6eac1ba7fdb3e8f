"""Settings of how instances of tiles become instances of whole images."""

from pydantic import Field

from stages.core.config.section import Section


class TilesSettings(Section):
    """What `merge_tiles` reads. How images are cut stands with the data set, in `images`."""

    join_iou: float = Field(
        ge=0,
        lt=1,
        description="IoU within what two tiles share above which masks of one class are one object; best pairs first",
    )
    absorb_share: float = Field(
        gt=0,
        le=1,
        description="least share of a mask cut by its tile's border that a larger one of the neighbouring tile"
        " holds for it to be dropped",
    )
    max_instances: int = Field(ge=1, description="most instances of a whole image, best first; bounds the memory")
