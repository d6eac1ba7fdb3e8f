"""Label-PEnet as the composition root sees it."""

from collections.abc import Iterator
from typing import Any

from stages.core.workflow.method import Made, Method, without_tags
from stages.label_penet.settings import MODULES, LabelPenetSettings


def _makes(settings: LabelPenetSettings) -> Iterator[Made]:
    for module in MODULES[:-1]:
        yield Made(f"{{run}}/{module}_labels/{{split}}.h5", report="masks")
    if settings.finetune.snapshots:
        for module in MODULES:
            yield Made(f"{{run}}/{module}_followed/{{split}}.h5", report="masks", measured="evaluate")


def _problems_of_one_class(run: Any) -> Iterator[str]:
    mil = run.label_penet.train.losses.mil
    if run.trains and mil != "binary":
        yield (
            f".label_penet.train.losses.mil is {mil!r}, which compares classes, but images.classes names a single one:"
            " nothing would be learned; set it to binary"
        )


def _parts(run: Any) -> Iterator[str]:
    """Each module before fine-tuning, where they are trained here, and after it; the last one's is the run itself."""
    if run.trains:
        yield from MODULES
    yield from (f"{module}_finetuned" for module in MODULES[:-1])


METHOD = Method(
    name="label_penet",
    title="Label-PEnet (Ge et al., ICCV 2019)",
    does="finds boxes with a region proposal network, and a mask in each",
    settings=LabelPenetSettings,
    takes=("proposals",),
    named_maps=lambda settings: settings.predict.maps,
    backbone=lambda settings: settings.train.network.backbone,
    problems_of_one_class=_problems_of_one_class,
    parts=_parts,
    makes=_makes,
    packed=without_tags,
)
