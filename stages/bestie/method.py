"""BESTIE as the composition root sees it."""

from collections.abc import Iterator
from typing import Any

from stages.bestie.settings import BestieSettings
from stages.core.workflow.method import Made, Method, Published, without_tags

PAPER = ("voc2012", "voc2012_bestie")  # presets
ACCEPTED = "{run}/pseudo_instances/{split}.h5"


def _problems(run: Any) -> Iterator[str]:
    if run.predicts and run.bestie.predict.use_points and run.cues != "points":
        yield (
            f".bestie.predict.use_points is true, but cues are {run.cues!r}; set cues: points, of all images, or"
            " use_points: false"
        )


def _packed(settings: BestieSettings) -> dict[str, Any]:
    """As `without_tags`, and not limited to points, since new images have none."""
    packed = without_tags(settings)
    return {"predict": {**packed["predict"], "use_points": False}}


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
    named_maps=lambda settings: settings.predict.maps,
    backbone=lambda settings: settings.train.backbone,
    problems=_problems,
    makes=_makes,
    packed=_packed,
    converts=True,
    published=Published(paper=PAPER, official=(*PAPER, "voc2012_bestie_released"), classifier="pam", ours="pam"),
)
