"""CIM as the composition root sees it."""

from collections.abc import Iterator
from typing import Any

from stages.cim.settings import CimSettings
from stages.core.workflow.method import Made, Method, Published, without_tags


def _problems(run: Any) -> Iterator[str]:
    if run.cues == "points" and run.trains and run.cim.agpl.votes == "response":
        yield ": cues are points, which have no response maps; set cim.agpl.votes: equal"


def _makes(settings: CimSettings) -> Iterator[Made]:
    if settings.train.pseudo_labels == "agpl":
        yield Made("{run}/cluster_labels/{split}.h5", report="cluster_labels")


METHOD = Method(
    name="cim",
    title="CIM (Complete Instances Mining, Li et al., IJCAI 2023)",
    does="scores proposals",
    settings=CimSettings,
    takes=("proposals", "cues"),
    predicts_from=("proposals",),
    reads_maps=lambda settings: settings.predict.reads_maps,
    backbone=lambda settings: settings.train.backbone,
    problems=_problems,
    makes=_makes,
    packed=without_tags,
    converts=True,
    published=Published(paper=("voc2012",), official=("voc2012", "voc2012_released"), classifier="prm", ours="cam"),
)
