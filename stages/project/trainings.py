"""The trainings of a configuration, and whether their passes divide among the processes that share them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stages.core.config.section import Section
from stages.core.training.settings import TrainingSettings
from stages.project.methods import METHODS
from stages.project.sources import classifiers_of_semantics, semantics_in_use

if TYPE_CHECKING:
    from stages.project.project import ProjectBase
    from stages.project.run import RunBase


def trainings_in_use(project: "ProjectBase") -> dict[str, TrainingSettings]:
    """Path of the key -> settings of each training that the runs stand on and that is done here.

    A run's training has the path of the base section where the run changes nothing of it.
    """
    found: dict[str, TrainingSettings] = {}
    runs = project.runs.values()
    classifiers = {run.classifier for run in runs if run.classifier and (run.trains or run.uses("cues"))}
    for name in sorted(classifiers | set(classifiers_of_semantics(project))):
        settings = project.classifier.get(name)
        if settings is not None and settings.trained is None:
            found |= _trainings(settings.train, f"classifier.{name}.train")
    for name in semantics_in_use(project):
        if project.semantics[name].kind == "network":
            found |= _trainings(project.semantics[name].train, f"semantics.{name}.train")
    for name, run in project.runs.items():
        for section in _trained_sections(run):
            settings = getattr(run, section)
            path = section if settings == getattr(project, section) else f"runs.{name}.{section}"
            found |= _trainings(settings, path)
    return found


def undivided_passes(project: "ProjectBase") -> list[str]:
    """Trainings whose `accumulate` does not divide among the processes, one sentence each; none without GPUs."""
    if project.device == "cpu":
        return []
    processes, on = project.gpus * project.nodes, f"gpus: {project.gpus}"
    if project.nodes > 1:
        on += f" on each of nodes: {project.nodes}, {processes} in all"
    fewer = "gpus" if project.nodes == 1 else "gpus times nodes"
    return [
        f"{path}.accumulate is {training.accumulate}, which does not divide among {on}; set it to a multiple of"
        f" {processes} (and divide its section's `batch`, if it has one: an update then sees as many images as before),"
        f" or set {fewer} to a number that divides {training.accumulate}"
        for path, training in trainings_in_use(project).items()
        if training.accumulate % processes
    ]


def _trained_sections(run: "RunBase") -> Iterator[str]:
    if run.trains and run.described.trains:
        yield run.method
    if run.retrains and METHODS[run.retrain].trains:
        yield run.retrain


def _trainings(settings: Any, path: str) -> dict[str, TrainingSettings]:
    if isinstance(settings, TrainingSettings):
        return {path: settings}
    found: dict[str, TrainingSettings] = {}
    if isinstance(settings, Section):
        for name in type(settings).model_fields:
            found |= _trainings(getattr(settings, name), f"{path}.{name}")
    return found
