"""Mask R-CNN on top of a run, as the composition root sees it."""

from collections.abc import Iterator

from stages.core.workflow.method import Made, Method
from stages.mask_rcnn.settings import MaskRcnnSettings


def _makes(_: MaskRcnnSettings) -> Iterator[Made]:
    yield Made("{run}/pseudo_masks/{split}.h5", report="masks", measured="train", shown=False, exported=True)


METHOD = Method(
    name="mask_rcnn",
    title="Mask R-CNN (He et al., ICCV 2017)",
    does="is trained on the run's own masks",
    settings=MaskRcnnSettings,
    reads_marks=lambda settings: bool(settings.pseudo_masks.drop_marked),
    named_maps=lambda settings: settings.predict.maps,
    backbone=lambda settings: settings.train.backbone,
    makes=_makes,
    on_top=True,
)
