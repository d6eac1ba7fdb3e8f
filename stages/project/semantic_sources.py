"""Sources of semantic maps in the whole configuration: which are in use, what their steps read, and what cannot be."""

from typing import TYPE_CHECKING, Any

from stages.core.config.spelling import did_you_mean
from stages.semantics.settings import (
    TRAINING,
    LabelPixelsSettings,
    PngImportSettings,
    SegmentationPredictionSettings,
    SemanticsSettings,
)

if TYPE_CHECKING:
    from stages.project.project import ProjectBase


def semantics_in_use(project: "ProjectBase") -> list[str]:
    """Names of the sources that some run is trained on here."""
    named = {run.semantics for run in project.runs.values() if run.uses("semantics")}
    return sorted(named & project.semantics.keys())


def classifiers_of_semantics(project: "ProjectBase") -> list[str]:
    """Names of the classifiers that the sources in use stand on."""
    sources = [project.semantics[name] for name in semantics_in_use(project)]
    return sorted({source.cues for source in sources if hasattr(source, "cues")})


def labelling(project: "ProjectBase", source: str) -> LabelPixelsSettings:
    """What `label_pixels` reads for a source: labels of a network's training split are of its tagged classes."""
    settings = project.semantics[source]
    tagged_on = [TRAINING] if settings.kind == "network" else settings.tagged_on
    return LabelPixelsSettings(labels=settings.labels, tagged_on=_named(project, tagged_on))


def map_prediction(project: "ProjectBase", source: str) -> SegmentationPredictionSettings:
    """What `predict_semantics` reads for a source, its splits by their names."""
    settings = project.semantics[source].predict
    return settings.model_copy(update={"tagged_on": _named(project, settings.tagged_on)})


def imported_maps(project: "ProjectBase", source: str, split: str) -> PngImportSettings:
    """What `import_semantics` reads for a source and a split. Raises ValueError where it has no folder of it."""
    settings = project.semantics[source]
    if split not in settings.folders:
        raise ValueError(f"semantics.{source}.folders has no folder of split {split!r}; add one")
    values = {"folder": settings.folders[split], **settings.model_dump(include={"class_values", "supervision"})}
    return PngImportSettings(**values)


def problems_of_sources(project: "ProjectBase") -> list[str]:
    """Classifiers and splits that the sources name and that are not there, one sentence each."""
    problems = [
        f"semantics.{name}.cues is {source.cues!r}; there are {list(project.classifier)}"
        f"{did_you_mean(source.cues, project.classifier)}"
        for name, source in project.semantics.items()
        if hasattr(source, "cues") and source.cues not in project.classifier
    ]
    for name in semantics_in_use(project):
        source = project.semantics[name]
        problems += [
            f"semantics.{name}.{key} names split {split!r}, which images.{project.images.kind}.splits does not have "
            f"({project.images.splits})"
            for key, names in _splits_named_by(source).items()
            for split in names
            if split not in [*project.images.splits, TRAINING]
        ]
        missing = [split for split in project.worked_splits if source.kind == "png" and split not in source.folders]
        problems += [f"semantics.{name}.folders has no folder of split {split!r}; add one" for split in missing]
    return problems


def _named(project: "ProjectBase", splits: list[str]) -> list[str]:
    """The splits, `training` being the one that is trained on."""
    return list(dict.fromkeys(project.splits.train if split == TRAINING else split for split in splits))


def _splits_named_by(source: SemanticsSettings) -> dict[str, Any]:
    """Splits that a source names, by key."""
    if source.kind == "network":
        return {"predict.tagged_on": source.predict.tagged_on}
    return {key: list(getattr(source, key)) for key in ("tagged_on", "folders") if hasattr(source, key)}
