"""Which files of the graph a run takes and makes, read from the descriptions of the methods."""

from stages.core.workflow.method import Made
from stages.project.project import ProjectBase
from stages.project.sources import classifiers_of_semantics, cues_of_semantics, semantics_of_proposals


def made_of(project: ProjectBase) -> list[tuple[str, Made]]:
    """All artifacts that the runs make on the way: name of the run or of its part, and the artifact."""
    return [(f"{name}/{part}".rstrip("/"), made) for name, run in project.runs.items() for part, made in run.makes()]


def runs_that_make(project: ProjectBase, path: str) -> list[str]:
    """Names of the runs, or of their parts, that make the artifact with this pattern of a path."""
    return [name for name, made in made_of(project) if made.path == path]


def reports_of_runs(project: ProjectBase) -> list[str]:
    """Reports on what the runs make on the way, below the data set's results."""
    return [
        made.path.format(run=name, split=split).removesuffix(".h5") + ".report.json"
        for name, made in made_of(project)
        if made.report is not None
        for split in project.measured_splits(made)
    ]


def reported_by(project: ProjectBase, report: str) -> tuple[list[str], list[str]]:
    """Runs or parts whose artifacts `report_<report>` reports on, and the names of the folders of these artifacts."""
    found = [(name, made.path.split("/")[1]) for name, made in made_of(project) if made.report == report]
    return sorted({name for name, _ in found}), sorted({folder for _, folder in found})


def labels_before(project: ProjectBase, run: str, folder: str) -> str | None:
    """Path pattern of the labels that those in `folder` of a run continue; None where they begin."""
    return next(
        (made.after for name, made in made_of(project) if name == run and made.path.split("/")[1] == folder), None
    )


def exported_labels(project: ProjectBase) -> list[tuple[str, str]]:
    """Labels that are exported: name of the run or of its part, and the name of their folder."""
    return [(name, made.path.split("/")[1]) for name, made in made_of(project) if made.exported]


def shown_of_run(project: ProjectBase, run: str, split: str) -> list[str]:
    """Artifacts of a split that a run's gallery shows, in the order of the graph, below the data set's results.

    What the run takes from upstream, what it makes on the way, its own instances, and those of its parts.
    """
    settings = project.runs[run]
    upstream = []
    maps = [settings.semantics] if settings.uses("semantics") else []
    if settings.uses("proposals"):
        upstream.append(f"{split}/proposals/{settings.proposals}.h5")
        maps = [semantics_of_proposals(project, settings.proposals), *maps]
    maps += settings.named_maps().values()
    for source in dict.fromkeys(name for name in maps if name is not None):
        upstream.append(f"{split}/semantics/{source}.h5")
        before = cues_of_semantics(project, source)
        upstream += [] if before in (settings.cues, None) else [f"{split}/cues/{before}.h5"]
    upstream = list(dict.fromkeys(upstream))
    if settings.cues is not None:
        upstream.append(f"{split}/cues/{settings.cues}.h5")
    made = [
        one.path.format(run=f"{run}/{part}".rstrip("/"), split=split) for part, one in settings.makes() if one.shown
    ]
    instances = [f"{run}/{part}".rstrip("/") + f"/{split}/instances.h5" for part in settings.parts()]
    return [*upstream, *made, *instances]


def classifiers_in_use(project: ProjectBase) -> list[str]:
    """Names of the classifiers behind `cues_in_use`."""
    own = {run.classifier for run in project.runs.values() if run.trains and run.classifier is not None}
    return sorted(own | set(classifiers_of_semantics(project)))


def cues_in_use(project: ProjectBase) -> list[str]:
    """Names of the cues of the runs that bring no weights, and of the sources of semantic maps in use."""
    own = {run.cues for run in project.runs.values() if run.trains and run.cues is not None}
    return sorted(own | set(classifiers_of_semantics(project)))
