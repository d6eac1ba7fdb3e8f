"""The whole configuration: every section, and the runs that override some of them.

Light on purpose (pydantic and YAML only): the Snakefile loads it before it builds the graph.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, create_model, model_validator

from stages.borrowing.settings import BorrowSettings
from stages.classifier.settings import ClassifierSettings, FoldsSettings
from stages.core.config.section import Entries, Name, Section
from stages.core.config.spelling import did_you_mean
from stages.core.config.yaml_files import check_extent, load_yaml
from stages.core.workflow.method import SOURCES, Made
from stages.evaluation.settings import ComparisonSettings, EvaluationSettings
from stages.exports.settings import ExportsSettings
from stages.images.settings import TILES, ImagesSettings
from stages.images.settings import Name as SplitName
from stages.inspection.settings import InspectionSettings, SuspectPageSettings
from stages.project.borrowing import own_settings, problems_of_borrowed, with_borrowed
from stages.project.defaults import with_defaults
from stages.project.methods import METHODS, ON_TOP
from stages.project.overlays import empty_mappings, expanded, merged, with_likes
from stages.project.packed import is_packed, problems_of_packed
from stages.project.problems import readable, unknown_key
from stages.project.run import NETWORK, POINTS, POINTS_OR, SECTIONS, Run
from stages.project.sources import problems_of_sources
from stages.project.trainings import undivided_passes
from stages.project.trial import as_trial
from stages.proposals.settings import ProposalSettings
from stages.semantics.settings import SemanticsSettings
from stages.tiles.settings import TilesSettings


class Splits(Section):
    """Which splits of the data set do what."""

    train: SplitName = Field(description="split whose images and tags are trained on")
    evaluate: list[SplitName] = Field(min_length=1, description="splits that are predicted and measured")


class SuspectTagsSettings(Section):
    """The report of suspect tags: the target `suspect_tags`; nothing else needs it."""

    classifier: Name = Field(description="name of the entry of `classifier` whose training judges the tags")
    folds: FoldsSettings = Field(description="trainings that each leave out some images, which they then judge")
    page: SuspectPageSettings


class ProjectBase(Section):
    """Everything in config.yaml but the sections of the methods."""

    device: Literal["auto", "cpu", "cuda"] = Field(description="cpu, cuda, or auto: a GPU where there is one")
    gpus: int = Field(ge=1, description="GPUs of a training job, one process each, with the same effective batch")
    nodes: int = Field(
        ge=1, description="nodes of a training job on Slurm, `gpus` on each, with the same effective batch"
    )
    scratch: str | None = Field(
        min_length=1,
        description="folder on a node's own disk, where trainings keep copies of the images that they read; of $NAME"
        " without braces each job has its own value; null: none",
    )
    shards: int = Field(ge=1, description="parts in which proposals are made, side by side")
    threads: int = Field(ge=1, description="CPU threads of a job that trains or predicts; jobs side by side are faster")
    trial: int | None = Field(
        ge=1,
        le=10**9,
        description="images; a trial of the whole graph on so many images of each split with fewer updates, results in"
        " results/<name>-trial<images>; null: the full run",
    )
    splits: Splits
    images: ImagesSettings
    proposals: Entries[Name, ProposalSettings] = Field(min_length=1, description="sources of proposals by name")
    classifier: Entries[Name, ClassifierSettings] = Field(min_length=1, description="classifiers by name")
    tiles: TilesSettings
    semantics: Entries[Name, SemanticsSettings] = Field(description="sources of semantic maps by name")
    borrow: BorrowSettings = Field(
        description="results folders of other projects, whose artifacts are taken and not made here, by name"
    )
    retrain: Name = Field(description="what is trained on top of the runs that do not say it themselves; none: nothing")
    evaluation: EvaluationSettings
    inspection: InspectionSettings
    exports: ExportsSettings
    suspect_tags: SuspectTagsSettings = Field(description="report of the tags that a classifier contradicts")
    runs: Entries[Name, Run] = Field(min_length=1, description="runs by name")

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        problems = [
            f"splits names {split!r}, which images.{self.images.kind}.splits does not have ({self.images.splits})"
            f"{did_you_mean(split, self.images.splits)}"
            for split in self.all_splits
            if split not in self.images.splits
        ]
        names = {
            "proposals": list(self.proposals), "semantics": list(self.semantics), 
            "cues": [*self.classifier, POINTS, *(f"{POINTS_OR}{name}" for name in self.classifier)],
        }  # fmt: skip
        unknown = [f"runs.{name}{text}" for name, run in self.runs.items() for text in run.unknown()]
        if unknown:
            raise ValueError("\n".join([*problems, *unknown]))
        problems += [f"runs.{name}{text}" for name, run in self.runs.items() for text in run.problems(names)]
        if self.images.classes is not None and len(self.images.classes) == 1:
            problems += [
                f"runs.{name}{text}"
                for name, run in self.runs.items()
                for text in run.described.problems_of_one_class(run)
            ]
        problems += self._broken_iterations()
        problems += problems_of_sources(self)
        problems += problems_of_borrowed(self)
        problems += self._untagged_tiles()
        problems += self._problems_of_inspection()
        if POINTS in self.classifier:
            problems.append("classifier: the name 'points' is taken by point supervision; choose another")
        problems += [
            f"classifier: the name {name!r} begins with {POINTS_OR!r}, which is taken by points of some images"
            for name in self.classifier
            if name.startswith(POINTS_OR)
        ]
        judge = self.suspect_tags.classifier
        if judge not in self.classifier:
            near = did_you_mean(judge, self.classifier)
            problems.append(f"suspect_tags.classifier is {judge!r}; there are {list(self.classifier)}{near}")
        problems = problems or undivided_passes(with_borrowed(self))  # of a configuration whose names are all there
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems_of_inspection(self) -> list[str]:
        """A split that nothing predicts, marks of runs that are not there, and runs that read marks and have none."""
        inspection, problems = self.inspection, []
        if inspection.split is not None and inspection.split not in self.worked_splits:
            problems.append(
                f"inspection.split is {inspection.split!r}; there are {self.worked_splits}"
                f"{did_you_mean(inspection.split, self.worked_splits)}"
            )
        problems += [
            f"inspection.marks has the run {name!r}; there are {list(self.runs)}{did_you_mean(name, self.runs)}"
            for name in inspection.marks
            if name not in self.runs
        ]
        problems += [
            f"runs.{name} leaves out what is marked, but inspection.marks has no file of {name!r}; save the marks from"
            f" its gallery of split {self.splits.train!r}, and name the file there"
            for name, run in self.runs.items()
            if run.retrains
            and METHODS[run.retrain].reads_marks(getattr(run, run.retrain))
            and name not in inspection.marks
        ]
        problems += [
            f"inspection.marks.{name} is {path!r}: Snakemake reads braces as wildcards; rename the file or its folder"
            for name, path in inspection.marks.items()
            if not {"{", "}"}.isdisjoint(path)
        ]
        return problems

    def _untagged_tiles(self) -> list[str]:
        """Tiles that are to be trained on, while nothing says which of them shows what."""
        split = self.splits.train.removesuffix(TILES)
        if self.images.kind != "folder" or self.splits.train != self.images.tiled.get(split):
            return []
        if self.images.folder.splits[split].masks is not None:
            return []
        return [
            f"splits.train is {self.splits.train!r}, but images.folder.splits.{split}.masks is null: tags of"
            f" whole images do not say which tiles show what; train on {split!r}, or give masks"
        ]

    def _broken_iterations(self) -> list[str]:
        """Runs that iterate one that is not there, makes no masks of its own, or in the end themselves."""
        problems = []
        for name, run in self.runs.items():
            chain = [name]
            while (before := self.runs[chain[-1]].iterates) is not None:
                if before not in self.runs or not self.runs[before].predicts:
                    possible = [other for other, run in self.runs.items() if run.predicts and other != name]
                    near = did_you_mean(before, possible)
                    problems.append(f"runs.{chain[-1]}.iterates is {before!r}; there are {possible}{near}")
                    break
                if before in chain:
                    problems.append(f"runs.{name}.iterates leads back to itself: {' -> '.join([*chain, before])}")
                    break
                chain.append(before)
        return problems

    @property
    def dataset(self) -> str:
        """Name of the data set, first part of every result's path."""
        return self.images.name

    @property
    def measured(self) -> list[str]:
        """Names under which there are instances: each run, and `<run>/<part>` after it for each of its parts."""
        return [f"{name}/{part}".rstrip("/") for name, run in self.runs.items() for part in run.parts()]

    @property
    def outcomes(self) -> list[str]:
        """Names, as in `measured`, of the runs and what is on top of them, without parts of methods."""
        return [f"{name}/{part}".rstrip("/") for name, run in self.runs.items() for part in run.outcomes()]

    @property
    def packed(self) -> list[str]:
        """Names, as in `measured`, of the networks that are trained here."""
        names = []
        for name, run in self.runs.items():
            names += [name] if run.trains and run.described.trains else []
            names += [f"{name}/{run.retrain}"] if run.retrains else []
        return names

    def retrained(self, method: str) -> list[str]:
        """Names of the runs with this method on top."""
        return [name for name, run in self.runs.items() if run.retrain == method]

    def retrained_here(self, method: str) -> list[str]:
        """Names of the runs on top of which this method is trained here."""
        return [name for name in self.retrained(method) if self.runs[name].retrains]

    def stage_of(self, measured: str) -> str:
        """Name of the stage that trains and predicts what is `measured` under this name."""
        name, _, part = measured.partition("/")
        return part if part in ON_TOP else self.runs[name].method

    @property
    def predicted_splits(self) -> list[str]:
        """The splits that networks predict: those to evaluate, or their tiles where images are cut."""
        return [self.images.tiled.get(split, split) for split in self.splits.evaluate]

    @property
    def worked_splits(self) -> list[str]:
        """The training split and those that networks predict, each once."""
        return list(dict.fromkeys([self.splits.train, *self.predicted_splits]))

    def measured_splits(self, made: Made) -> list[str]:
        """The splits of an artifact that a run makes on the way which are reported on."""
        return {"train": [self.splits.train], "evaluate": self.predicted_splits, "all": self.worked_splits}[
            made.measured
        ]

    @property
    def all_splits(self) -> list[str]:
        """The training split and those to evaluate, each once."""
        return list(dict.fromkeys([self.splits.train, *self.splits.evaluate]))

    def comparison(self, steps: Iterable[str] = ()) -> ComparisonSettings:
        """What the comparison says of the runs: the settings that each reads; `steps` are all rules, in their order."""
        runs = {}
        for name, run in self.runs.items():
            sections = {run.method} | ({run.retrain} if run.retrained else set())
            read = {"method", "retrain", *SOURCES} | sections
            values = run.model_dump(mode="json", include=read)
            runs[name] = {key: value for key, value in values.items() if value is not None}
        shown = self.evaluation.comparison
        return ComparisonSettings(
            trial=self.trial,
            data=self.images.kind,
            shown=shown,
            steps=list(steps),
            runs=runs,
            borrowed=own_settings(self),
        )


Project = create_model("Project", __base__=ProjectBase, **SECTIONS)


class ConfigError(ValueError):
    """The configuration cannot be used; the message lists every problem with the path of its key."""


def load_project(config: dict[str, Any], *, overlays: Iterable[Path] = ()) -> ProjectBase:
    """Check a configuration as Snakemake has merged it.

    Runs are completed: `{method: cim, cim: {...}}` becomes the base `cim` section with the overrides merged in. A run,
    or another named entry, that an overlay sets to null is left out. A run, classifier or source that says `like`
    starts from the named one, and blocks start from those of their name in `defaults`.

    Args:
        config: the merged configuration.
        overlays: the files over config.yaml. What they say is in the configuration, but for mappings without a key,
            which merging drops: these are problems.

    Raises:
        ConfigError: with all problems at once.
    """
    try:
        check_extent(config, "the configuration")
        overlaid = {path: _mapping(path) for path in overlays}
    except ValueError as error:
        raise ConfigError(str(error)) from error
    problems = [
        f"{path}: {key} is an empty mapping, which changes nothing of what lies below; write null to empty it, null for"
        " an entry to leave that one out, or leave the key out"
        for path, content in overlaid.items()
        for key in empty_mappings(content)
    ]
    for path, content in overlaid.items():
        problems += problems_of_packed(path, content) if is_packed(path) else []
    complete = with_likes(expanded(config, "", problems), problems)
    complete, taken = with_defaults(complete, problems)
    complete = dict.fromkeys(METHODS) | complete
    runs = complete.get("runs")
    if isinstance(runs, dict):
        runs = {name: run for name, run in runs.items() if run is not None}
        complete = {**complete, "runs": {name: _completed(name, run, complete, problems) for name, run in runs.items()}}
    try:
        project = TypeAdapter(Project).validate_python(complete)
    except ValidationError as error:
        entries = runs if isinstance(runs, dict) else {}
        # What a run does not say itself is reported for the base section, where there is one.
        completed = ["retrain", *(name for name in METHODS if complete[name] is not None)]
        problems += readable(error, Project, entries, completed, taken)
    if problems:
        lines = "\n".join(f"  {problem}" for problem in dict.fromkeys(problems))
        raise ConfigError(f"the configuration has {len(dict.fromkeys(problems))} problem(s):\n{lines}")
    return project if project.trial is None else as_trial(project, project.trial)


def load_files(*paths: Path) -> ProjectBase:
    """The project of config.yaml with presets over it, merged as Snakemake's --configfile does."""
    config: dict[str, Any] = {}
    for path in paths:
        config = merged(config, _mapping(path) or {})
    return load_project(config, overlays=paths[1:])


def _mapping(path: Path) -> dict[str, Any] | None:
    """The content of a configuration file. Raises ConfigError where it is none."""
    try:
        content = load_yaml(path)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if content is not None and not isinstance(content, dict):
        raise ConfigError(f"{path} holds no keys but {str(content)[:60]!r}; write `key: value`")
    return content


def _completed(name: str, run: Any, config: dict[str, Any], problems: list[str]) -> Any:
    if not isinstance(run, dict):
        return run
    known = {"method", *SOURCES, "retrain", "trained", *METHODS}
    problems += [unknown_key(f"runs.{name}.{key}", known) for key in run if key not in known]
    base = {key: config.get(key) for key in ("retrain", *METHODS)}
    base |= dict.fromkeys(SOURCES) | {"trained": dict.fromkeys((NETWORK, *ON_TOP))}
    given = {key: value for key, value in run.items() if key in known and not (key == "trained" and value is None)}
    return merged(base, given)
