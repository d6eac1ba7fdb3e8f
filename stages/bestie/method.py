"""BESTIE as the composition root sees it."""

from collections.abc import Iterator

from stages.bestie.settings import BestieSettings
from stages.core.workflow.method import Made, Method, without_tags

ACCEPTED = "{run}/pseudo_instances/{split}.h5"


def _makes(settings: BestieSettings) -> Iterator[Made]:
    yield Made(ACCEPTED, report="masks")
    if settings.train.refinement.enabled:
        yield Made("{run}/refined_labels/{split}.h5", report="masks", measured="evaluate", after=ACCEPTED)
    yield Made("{run}/{split}/maps.h5")


METHOD = Method(
    name="bestie",
    title="BESTIE (Kim et al., CVPR 2022)",
    does="finds centers of instances and each pixel's offset to its own",
    settings=BestieSettings,
    takes=("semantics", "cues", "iterates"),
    backbone=lambda settings: settings.train.backbone,
    makes=_makes,
    packed=without_tags,
)
