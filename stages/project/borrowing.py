"""What is borrowed from other projects: which files, what they must be, and what is then not made here.

`borrow` names results folders of other projects. A borrowed artifact has the path here that it has there, so that
whoever reads it knows nothing of where it comes from; `borrow_artifact` makes it in place of its own rule.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.borrowing.settings import BorrowedSettings, BorrowSettings, Kind
from stages.core.config.spelling import did_you_mean
from stages.project.run import NETWORK, POINTS, POINTS_OR
from stages.semantics.settings import WeightsSource

if TYPE_CHECKING:
    from stages.project.project import ProjectBase

WEIGHTS = "weights.safetensors"
SECTIONS = tuple(BorrowSettings.model_fields)


class Borrowed(NamedTuple):
    """A file that is taken from another project.

    Attributes:
        folder: results of the other project, as the configuration names them.
        path: of the file below its results and below ours.
        split: the split that it is of; None: weights, which are of none.
        settings: what `borrow_artifact` checks.
    """

    folder: str
    path: str
    split: str | None
    settings: BorrowedSettings

    @property
    def source(self) -> str:
        """The file in the other project."""
        return f"{self.folder.rstrip('/')}/{self.path}"

    @property
    def listed(self) -> str | None:
        """The list of images that lies beside it."""
        return None if self.split is None else f"{self.folder.rstrip('/')}/{self.split}/images.h5"


def note_of(path: str) -> str:
    """The note that lies beside a borrowed file."""
    return f"{path}.borrowed.json"


def borrowed_files(project: "ProjectBase") -> dict[str, Borrowed]:
    """All files that are borrowed, by their path below the data set's results."""
    return {one.path: one for section in SECTIONS for one in _files(project, section)}


def _files(project: "ProjectBase", section: str) -> Iterator[Borrowed]:
    for name, folder in getattr(project.borrow, section).items():
        for path, split, kind, made_by in _paths(project, section, name):
            settings = BorrowedSettings(name=f"{section}.{name}", kind=kind, made_by=made_by)
            yield Borrowed(folder, path, split, settings)


def _paths(project: "ProjectBase", section: str, name: str) -> Iterator[tuple[str, str | None, Kind, str | None]]:
    """Path, split, kind and step of each file of an entry."""
    match section:
        case "proposals" | "cues" | "semantics":
            for split in project.worked_splits:
                yield f"{split}/{section}/{name}.h5", split, section, None
            if section == "semantics" and any(
                getattr(source, "starts_from", None) == name for source in project.semantics.values()
            ):
                yield f"semantics/{name}/{WEIGHTS}", None, "weights", "train_semantics"
        case "classifier":
            yield f"classifier/{name}/{WEIGHTS}", None, "weights", "train_classifier"
        case "networks":
            yield f"{name}/{NETWORK}/{WEIGHTS}", None, "weights", f"train_{project.stage_of(name)}"
        case "labels":
            for path, split in labels_of_runs(project).get(name, ()):
                yield path, split, "labels", None
        case "instances":
            run = project.runs.get(name)
            parts = [] if run is None else run.described.parts(run)
            for part in ("", *parts):
                for split in dict.fromkeys([*project.all_splits, *project.worked_splits]):
                    yield f"{name}/{part}/{split}/instances.h5".replace("//", "/"), split, "instances", None


def labels_of_runs(project: "ProjectBase") -> dict[str, list[tuple[str, str]]]:
    """Labels that runs are trained on here: by <run>/<their folder> the path and split of each file."""
    found: dict[str, list[tuple[str, str]]] = {}
    for name, run in project.runs.items():
        for part, made in run.makes():
            owner = f"{name}/{part}".rstrip("/")
            folder, _, file = made.path.removeprefix("{run}/").partition("/")
            if file == "{split}.h5":
                files = [(made.path.format(run=owner, split=split), split) for split in project.measured_splits(made)]
                found.setdefault(f"{owner}/{folder}", []).extend(files)
    return found


def problems_of_borrowed(project: "ProjectBase") -> list[str]:
    """Entries of `borrow` that name nothing that is made here, one sentence each."""
    there: dict[str, list[str]] = {
        "proposals": list(project.proposals),
        "classifier": list(project.classifier),
        "cues": [*project.classifier, POINTS, *(f"{POINTS_OR}{name}" for name in project.classifier)],
        "semantics": list(project.semantics),
        "labels": list(labels_of_runs(project)),
        "networks": project.packed,
        "instances": project.outcomes,
    }
    problems = [
        f"borrow.{section} has {name!r}, which is not made here; there are {names}{did_you_mean(name, names)}"
        for section, names in there.items()
        for name in getattr(project.borrow, section)
        if name not in names
    ]
    return problems + [
        f"borrow.classifier has {name!r}, but classifier.{name}.trained is {project.classifier[name].trained!r}; leave"
        " one of both out"
        for name in project.borrow.classifier
        if name in project.classifier and project.classifier[name].trained is not None
    ]


def problems_of_lenders(files: dict[str, Borrowed], dataset: str) -> list[str]:
    """Folders that are none, or are our own, and files that are missing there, one sentence each."""
    problems: dict[str, None] = {}
    own = Path("results", dataset).resolve()
    for one in files.values():
        folder, named = Path(one.folder), f"borrow.{one.settings.name} is {one.folder!r}"
        if not folder.is_dir():
            problems[f"{named}, which is no folder; name the results of another project, results/<data set> in it"] = (
                None
            )
        elif folder.resolve() == own:
            problems[f"{named}, the results of this project; name those of another, or leave it out"] = None
        else:
            missing = [path for path in (one.source, one.listed) if path is not None and not Path(path).is_file()]
            problems |= {f"{named}, which has no {_missing(one, path)}": None for path in missing}
    return list(problems)


def _missing(one: Borrowed, path: str) -> str:
    inside = path.removeprefix(one.folder.rstrip("/")).lstrip("/")
    beside = sorted(found.name for found in Path(path).parent.glob(f"*{Path(path).suffix}"))
    return f"{inside}; in that place are {beside}; make it in that project, or name another"


def with_borrowed(project: "ProjectBase") -> "ProjectBase":
    """The checked project, whose borrowed networks and classifiers are brought: nothing that they replace is made."""
    results = f"results/{project.dataset}"
    classifier = dict(project.classifier)
    for name in project.borrow.classifier:
        trained = f"{results}/classifier/{name}/{WEIGHTS}"
        classifier[name] = classifier[name].model_copy(update={"trained": trained})
    runs = dict(project.runs)
    for name in [*project.borrow.networks, *project.borrow.instances]:
        run, _, part = name.partition("/")
        brought = {part or NETWORK: f"{results}/{name}/{NETWORK}/{WEIGHTS}"}
        trained = runs[run].trained.model_copy(update=brought)
        runs[run] = runs[run].model_copy(update={"trained": trained})
    semantics = dict(project.semantics)
    for name in project.borrow.semantics:
        source = semantics[name]
        if source.kind == "network":
            weights = f"{results}/semantics/{name}/{WEIGHTS}"
            semantics[name] = WeightsSource(kind="weights", weights=weights, predict=source.predict)
    return project.model_copy(update={"classifier": classifier, "runs": runs, "semantics": semantics})


def own_settings(project: "ProjectBase") -> dict[str, dict[str, Any]]:
    """What the configuration says of how borrowed artifacts would be made here, by their section and name.

    Of those whose step reads one section; the comparison shows in what the other project's differ.
    """
    of = {
        "proposals": lambda name: project.proposals[name],
        "classifier": lambda name: project.classifier[name].train,
        "cues": lambda name: getattr(project.classifier.get(name), "cues", None),
        "networks": lambda name: _of_stage(project, name, "train"),
        "instances": lambda name: _of_stage(project, name, "predict"),
    }
    found = {
        f"{section}.{name}": settings(name)
        for section, settings in of.items()
        for name in getattr(project.borrow, section)
    }
    return {name: one.model_dump(mode="json") for name, one in found.items() if one is not None}


def _of_stage(project: "ProjectBase", name: str, key: str) -> Any:
    section = getattr(project.runs[name.partition("/")[0]], project.stage_of(name))
    return getattr(section, key, None)
