"""The whole configuration: every section, and the runs that override some of them.

Light on purpose (pydantic and YAML only): the Snakefile loads it before it builds the graph.
"""

import re
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from stages.bestie.settings import BestieSettings
from stages.cim.settings import CimSettings
from stages.classifier.settings import ClassifierSettings
from stages.core.config.section import Section
from stages.evaluation.settings import ComparisonSettings, EvaluationSettings
from stages.exports.settings import ExportsSettings
from stages.images.settings import ImagesSettings
from stages.inspection.settings import GallerySettings
from stages.mask_rcnn.settings import MaskRcnnSettings
from stages.prm.settings import PrmSettings
from stages.project.overlays import expanded, merged, unknown_overrides, with_likes, without_null_splits
from stages.project.run import OVERRIDDEN, POINTS, REFINED, Name, Refinement, Run
from stages.proposals.settings import ProposalSettings
from stages.semantics.settings import (
    TRAINING,
    LabelPixelsSettings,
    PngImportSettings,
    SegmentationPredictionSettings,
    SemanticsSettings,
)


class Splits(Section):
    """Which splits of the data set do what."""

    train: Name = Field(description="split whose pictures and tags are trained on")
    evaluate: list[Name] = Field(min_length=1, description="splits that are predicted and measured")


class Project(Section):
    """Everything in config.yaml."""

    device: Literal["auto", "cpu", "cuda"] = Field(description="auto: a GPU where there is one")
    gpus: int = Field(ge=1, description="GPUs of a training job")
    shards: int = Field(ge=1, description="parts in which proposals are made, side by side")
    threads: int = Field(ge=1, description="CPU threads of a job that trains or predicts")
    splits: Splits
    images: ImagesSettings
    proposals: dict[Name, ProposalSettings] = Field(min_length=1, description="sources of proposals by name")
    classifier: dict[Name, ClassifierSettings] = Field(min_length=1, description="classifiers by name")
    semantics: dict[Name, SemanticsSettings] = Field(description="sources of semantic maps by name")
    cim: CimSettings
    prm: PrmSettings
    bestie: BestieSettings
    refinement: Refinement
    mask_rcnn: MaskRcnnSettings
    evaluation: EvaluationSettings
    inspection: GallerySettings
    exports: ExportsSettings
    runs: dict[Name, Run] = Field(min_length=1, description="runs by name")

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        problems = [
            f"splits names {split!r}, which images.{self.images.kind}.splits does not have ({self.images.splits})"
            for split in self.all_splits
            if split not in self.images.splits
        ]
        heads = [*self.classifier, POINTS]
        for name, run in self.runs.items():
            names = {"sources": list(self.proposals), "heads": heads, "semantics": list(self.semantics)}
            problems += [f"runs.{name}{text}" for text in run.problems(**names)]
        problems += self._broken_iterations()
        problems += self._problems_of_semantics()
        if POINTS in self.classifier:
            problems.append("classifier: the name 'points' is taken by point supervision; choose another")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems_of_semantics(self) -> list[str]:
        problems = [
            f"semantics.{name}.cues is {source.cues!r}; there are {list(self.classifier)}"
            for name, source in self.semantics.items()
            if hasattr(source, "cues") and source.cues not in self.classifier
        ]
        for name in self.semantics_in_use:
            source = self.semantics[name]
            problems += [
                f"semantics.{name}.{key} names split {split!r}, which images.{self.images.kind}.splits does not have "
                f"({self.images.splits})"
                for key, names in _splits_named_by(source).items()
                for split in names
                if split not in [*self.images.splits, TRAINING]
            ]
            missing = [split for split in self.all_splits if source.kind == "png" and split not in source.folders]
            problems += [f"semantics.{name}.folders has no folder of split {split!r}; add one" for split in missing]
        return problems

    @property
    def semantics_in_use(self) -> list[str]:
        """Names of the sources of semantic maps that some run is trained on here."""
        return sorted(
            {run.semantics for run in self.runs.values() if run.uses_semantics and run.semantics in self.semantics}
        )

    @property
    def semantic_heads(self) -> list[str]:
        """Names of the classifiers that the sources in use stand on."""
        sources = [self.semantics[name] for name in self.semantics_in_use]
        return sorted({source.cues for source in sources if hasattr(source, "cues")})

    def labelling(self, source: str) -> LabelPixelsSettings:
        """What `label_pixels` reads for a source: labels of a network's training split are of its tagged classes."""
        found = self.semantics[source]
        tagged_on = [TRAINING] if found.kind == "network" else found.tagged_on
        return LabelPixelsSettings(labels=found.labels, tagged_on=self._named(tagged_on))

    def map_prediction(self, source: str) -> SegmentationPredictionSettings:
        """What `predict_semantics` reads for a source, its splits by their names."""
        found = self.semantics[source].predict
        return found.model_copy(update={"tagged_on": self._named(found.tagged_on)})

    def _named(self, splits: list[str]) -> list[str]:
        """The splits, `training` being the one that is trained on."""
        return list(dict.fromkeys(self.splits.train if split == TRAINING else split for split in splits))

    def imported(self, source: str, split: str) -> PngImportSettings:
        """What `import_semantics` reads for a source and a split. Raises ConfigError where it has no folder of it."""
        found = self.semantics[source]
        if split not in found.folders:
            raise ConfigError(f"semantics.{source}.folders has no folder of split {split!r}; add one")
        values = {"folder": found.folders[split], **found.model_dump(include={"class_values", "supervision"})}
        return PngImportSettings(**values)

    def _broken_iterations(self) -> list[str]:
        """Runs that iterate one that is not there, makes no masks of its own, or in the end themselves."""
        problems = []
        for name, run in self.runs.items():
            chain = [name]
            while (before := self.runs[chain[-1]].iterates) is not None:
                if before not in self.runs or not self.runs[before].predicts:
                    possible = [other for other, run in self.runs.items() if run.predicts and other != name]
                    problems.append(f"runs.{chain[-1]}.iterates is {before!r}; there are {possible}")
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
    def refined(self) -> list[str]:
        """Names of the runs that are refined."""
        return [name for name, run in self.runs.items() if run.refinement == REFINED]

    @property
    def refined_here(self) -> list[str]:
        """Names of the runs whose Mask R-CNN is trained here."""
        return [name for name, run in self.runs.items() if run.refines]

    @property
    def measured(self) -> list[str]:
        """Names under which there are instances: each run, and `<run>/mask_rcnn` after it where it is refined."""
        names = []
        for name, run in self.runs.items():
            names += [name] if run.predicts else []
            names += [f"{name}/{REFINED}"] if run.refinement == REFINED else []
        return names

    def stage_of(self, measured: str) -> str:
        """Name of the stage that trains and predicts what is `measured` under this name."""
        name, _, refinement = measured.partition("/")
        return REFINED if refinement else self.runs[name].method

    @property
    def all_splits(self) -> list[str]:
        """The training split and those to evaluate, each once."""
        return list(dict.fromkeys([self.splits.train, *self.splits.evaluate]))

    def comparison(self) -> ComparisonSettings:
        """What the comparison says of the runs: the settings that each reads."""
        runs = {}
        for name, run in self.runs.items():
            sections = {run.method} | ({REFINED} if run.refinement == REFINED else set())
            read = {"method", "proposals", "semantics", "iterates", "cues", "refinement"} | sections
            values = run.model_dump(mode="json", include=read)
            runs[name] = {key: value for key, value in values.items() if value is not None}
        return ComparisonSettings(runs=runs)


class ConfigError(ValueError):
    """The configuration cannot be used; the message lists every problem with the path of its key."""


def load_project(config: dict[str, Any]) -> Project:
    """Check a configuration as Snakemake has merged it.

    Runs are completed: `{method: cim, cim: {...}}` becomes the base `cim` section with the overrides merged in. A run,
    or a split of the data set, that an overlay sets to null is left out. A run, classifier or source that says `like`
    starts from the named one.
    Raises ConfigError with all problems at once.
    """
    problems: list[str] = []
    complete = with_likes(without_null_splits(expanded(config, "", problems)), problems)
    runs = complete.get("runs")
    if isinstance(runs, dict):
        runs = {name: run for name, run in runs.items() if run is not None}
        complete = {**complete, "runs": {name: _completed(name, run, complete, problems) for name, run in runs.items()}}
    try:
        project = TypeAdapter(Project).validate_python(complete)
    except ValidationError as error:
        problems += _readable(error, runs if isinstance(runs, dict) else {})
    if problems:
        lines = "\n".join(f"  {problem}" for problem in dict.fromkeys(problems))
        raise ConfigError(f"the configuration has {len(dict.fromkeys(problems))} problem(s):\n{lines}")
    return project


def load_files(*paths: Path) -> Project:
    """The project of config.yaml with presets over it, merged as Snakemake's --configfile does."""
    config: dict[str, Any] = {}
    for path in paths:
        config = merged(config, yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    return load_project(config)


def _splits_named_by(source: SemanticsSettings) -> dict[str, list[str]]:
    """Splits that a source of semantic maps names, by key."""
    if source.kind == "network":
        return {"predict.tagged_on": source.predict.tagged_on}
    return {key: list(getattr(source, key)) for key in ("tagged_on", "folders") if hasattr(source, key)}


def _completed(name: str, run: Any, config: dict[str, Any], problems: list[str]) -> Any:
    if not isinstance(run, dict):
        return run
    known = {"method", "proposals", "semantics", "iterates", "cues", "refinement", "trained", *OVERRIDDEN}
    problems += [f"runs.{name}.{key}: unknown key; a run has {sorted(known)}" for key in run if key not in known]
    for section in OVERRIDDEN:
        problems += unknown_overrides(f"runs.{name}.{section}", config.get(section), run.get(section))
    base = {key: config.get(key) for key in ("refinement", *OVERRIDDEN)}
    base |= {"proposals": None, "semantics": None, "iterates": None, "trained": {"network": None, "mask_rcnn": None}}
    given = {key: value for key, value in run.items() if key in known and not (key == "trained" and value is None)}
    return merged(base, given)


def _readable(error: ValidationError, runs: dict[str, Any]) -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        keys = [str(key) for key in item["loc"]]
        if len(keys) > 2 and keys[0] == "runs" and not _overridden(runs.get(keys[1]), keys[2:]):
            continue  # the same problem is reported for the base section
        message = item["msg"]
        found = item.get("input")
        if item["type"] == "extra_forbidden":
            message = "unknown key; check its spelling"
        elif item["type"] == "missing":
            message = "missing key; config.yaml has every key"
        elif not isinstance(found, dict | list) and item["type"] != "value_error":
            message = f"{message}, found {found!r}"
            if isinstance(found, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", found):
                message += " (a text for YAML: write 1.0e-4, with a point and a sign)"
        lines.append(f"{'.'.join(keys) or 'config'}: {message}")
    return lines


def _overridden(run: Any, keys: list[str]) -> bool:
    if keys[0] not in ("refinement", *OVERRIDDEN):
        return True
    for key in keys:
        if not isinstance(run, dict) or key not in run:
            return False
        run = run[key]
    return True
