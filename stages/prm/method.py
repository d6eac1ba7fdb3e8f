"""The PRM baseline as the composition root sees it."""

from collections.abc import Iterator
from typing import Any

from stages.core.workflow.method import Method
from stages.prm.settings import PrmSettings


def _problems(run: Any) -> Iterator[str]:
    if run.cues == "points" or run.partly:
        yield ": method prm needs a classifier's response maps, not points"


METHOD = Method(
    name="prm",
    title="PRM (Zhou et al., CVPR 2018)",
    does="gives each peak of the classifier the proposal that fits its response best",
    settings=PrmSettings,
    takes=("proposals", "cues"),
    predicts_from=("proposals", "cues"),
    trains=False,
    problems=_problems,
)
