"""Label-PEnet as the composition root sees it."""

from collections.abc import Iterator

from stages.core.workflow.method import Made, Method, without_tags
from stages.label_penet.settings import MODULES, LabelPenetSettings


def _makes(_: LabelPenetSettings) -> Iterator[Made]:
    for module in MODULES[:-1]:
        yield Made(f"{{run}}/{module}_labels/{{split}}.h5", report="masks")


METHOD = Method(
    name="label_penet",
    title="Label-PEnet (Ge et al., ICCV 2019)",
    does="finds boxes with a region proposal network, and a mask in each",
    settings=LabelPenetSettings,
    takes=("proposals",),
    backbone=lambda settings: settings.train.network.backbone,
    parts=lambda _: (*MODULES, *(f"{module}_finetuned" for module in MODULES[:-1])),
    makes=_makes,
    packed=without_tags,
)
