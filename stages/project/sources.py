"""Sources of proposals and of semantic maps: which are in use, what their steps read, and what cannot be."""

import re
from typing import TYPE_CHECKING, Any

from stages.core.config.spelling import did_you_mean
from stages.project.methods import METHODS
from stages.semantics.settings import (
    TRAINING,
    LabelPixelsSettings,
    PngImportSettings,
    SegmentationPredictionSettings,
    SemanticsSettings,
)

if TYPE_CHECKING:
    from stages.project.project import ProjectBase


Node = tuple[str, str]  # section of the configuration, name of an entry


def proposals_in_use(project: "ProjectBase") -> list[str]:
    """Names of the sources of proposals that some run, or a source in use, stands on."""
    return _in_use(project, "proposals")


def semantics_in_use(project: "ProjectBase") -> list[str]:
    """Names of the sources of semantic maps that some run, or a source in use, stands on."""
    return _in_use(project, "semantics")


def semantics_of_proposals(project: "ProjectBase", source: str | None) -> str | None:
    """Name of the source of maps that ranks these proposals; None where nothing of that kind does."""
    settings = project.proposals.get(source)
    return settings.semantics if settings is not None and settings.kind == "ranked" else None


def maps_of_prediction(project: "ProjectBase", run: str) -> str | None:
    """Name of the source of maps that prediction of a run, or of what is on top of it, reads; None: it reads none."""
    entry, method = project.runs[run.partition("/")[0]], project.stage_of(run)
    if not METHODS[method].on_top and entry.described.reads_maps(entry.settings):
        return semantics_of_proposals(project, entry.proposals)
    return entry.named_maps().get(method)


def cues_of_semantics(project: "ProjectBase", source: str) -> str | None:
    """Name of the classifier whose response maps or weights a source stands on; None where there is none."""
    return getattr(project.semantics.get(source), "cues", None)


def classifiers_of_semantics(project: "ProjectBase") -> list[str]:
    """Names of the classifiers that the sources in use stand on."""
    found = {cues_of_semantics(project, name) for name in semantics_in_use(project)}
    return sorted(name for name in found if name is not None)


def _in_use(project: "ProjectBase", section: str) -> list[str]:
    found: set[Node] = set()
    waiting = [node for name in project.runs for node in _named_by(project, ("runs", name)).values()]
    waiting += [("semantics", source) for run in project.runs.values() for source in run.named_maps().values()]
    while waiting:
        node = waiting.pop()
        if node not in found and node[1] in getattr(project, node[0]):
            found.add(node)
            waiting += _named_by(project, node).values()
    return sorted(name for kind, name in found if kind == section)


def _named_by(project: "ProjectBase", node: Node) -> dict[str, Node]:
    """The entries that one names and that must be made before it, by its keys; they need not be there."""
    section, name = node
    entry = getattr(project, section)[name]
    if section == "runs":
        named = {key: (key, getattr(entry, key)) for key in ("proposals", "semantics") if entry.uses(key)}
        if entry.iterates is not None:
            named["iterates"] = ("runs", entry.iterates)
        if (read := entry.named_maps().get(entry.method)) is not None:  # what is on top of a run may read more
            named["predict.semantics"] = ("semantics", read)
        return named
    if section == "proposals" and entry.kind == "ranked":
        return {"proposals": ("proposals", entry.proposals), "semantics": ("semantics", entry.semantics)}
    named, agreement = {}, getattr(entry, "agreement", None)
    if getattr(entry, "starts_from", None) is not None:
        named["starts_from"] = ("semantics", entry.starts_from)
    if agreement is not None:
        named |= {"agreement.semantics": ("semantics", agreement.semantics), "agreement.run": ("runs", agreement.run)}
    return named


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
    """Entries and splits that the sources name and that are not there, and loops, one sentence each."""
    problems = [
        f"semantics.{name}.cues is {source.cues!r}; there are {list(project.classifier)}"
        f"{did_you_mean(source.cues, project.classifier)}"
        for name, source in project.semantics.items()
        if hasattr(source, "cues") and source.cues not in project.classifier
    ]
    problems += [
        f"runs.{name}.{method}.predict.semantics is {source!r}; there are {list(project.semantics)}"
        f"{did_you_mean(source, project.semantics)}"
        for name, run in project.runs.items()
        for method, source in run.named_maps().items()
        if source not in project.semantics
    ]
    problems += _names_of_none(project) or _loops(project) or _no_network_to_start_from(project)
    problems += [
        f"semantics.{name}.weights is {source.weights!r}: Snakemake reads braces as wildcards; rename the file or"
        " its folder"
        for name, source in project.semantics.items()
        if source.kind == "weights" and re.search(r"[{}]", source.weights)
    ]
    problems += [
        f"runs.{name} reads semantic maps in prediction, but nothing ranks its proposals {run.proposals!r}; take a"
        " source of kind ranked, or set map_weight and map_power to 0"
        for name, run in project.runs.items()
        if run.predicts
        and run.described.reads_maps(run.settings)
        and semantics_of_proposals(project, run.proposals) is None
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


def _names_of_none(project: "ProjectBase") -> list[str]:
    """Sources that name an entry that is not there, or a run that makes no masks."""
    there = {
        "proposals": list(project.proposals),
        "semantics": list(project.semantics),
        "runs": [name for name, run in project.runs.items() if run.predicts],
    }
    nodes = [(section, name) for section in ("proposals", "semantics") for name in getattr(project, section)]
    named = [
        (f"{section}.{name}", *one) for section, name in nodes for one in _named_by(project, (section, name)).items()
    ]
    problems = [
        f"{path}.{key} is {other!r}; there are {there[kind]}{did_you_mean(other, there[kind])}"
        for path, key, (kind, other) in named
        if other not in there[kind]
    ]
    problems += [
        f"{path}.{key} is {other!r}, which is ranked itself; set {project.proposals[other].proposals!r}"
        for path, key, (_, other) in named
        if key == "proposals" and other in project.proposals and project.proposals[other].kind == "ranked"
    ]
    return problems


def _no_network_to_start_from(project: "ProjectBase") -> list[str]:
    """Sources whose network is to go on from one that is none, or is built otherwise."""
    problems = []
    for name, source in project.semantics.items():
        start = project.semantics.get(getattr(source, "starts_from", None))
        path = f"semantics.{name}.starts_from is {getattr(source, 'starts_from', None)!r}"
        if start is not None and start.kind not in ("network", "weights"):
            problems.append(f"{path}, of kind {start.kind}, which has no network; name one of kind network or weights")
        elif start is not None and start.kind == "network" and start.train.layers != source.train.layers:
            theirs, own = start.train.layers, source.train.layers
            problems.append(f"{path}, whose layers are {theirs}, not {own}; give both the same")
    return problems


def _loops(project: "ProjectBase") -> list[str]:
    """Sources that in the end stand on themselves, each loop once; loops of runs alone are the runs' own problem."""
    problems, done = [], set()

    def follow(node: Node, chain: list[Node]) -> None:
        if node in chain:
            loop = chain[chain.index(node) :]
            if any(section != "runs" for section, _ in loop):
                shown = " -> ".join(f"{section}.{name}" for section, name in [*loop, node])
                problems.append(f"{node[0]}.{node[1]} leads back to itself: {shown}; let one of them stand on another")
            return
        if node in done or node[1] not in getattr(project, node[0]):
            return
        for before in _named_by(project, node).values():
            follow(before, [*chain, node])
        done.add(node)

    for section in ("runs", "proposals", "semantics"):
        for name in getattr(project, section):
            follow((section, name), [])
    return problems


def _named(project: "ProjectBase", splits: list[str]) -> list[str]:
    """The splits, `training` being the one that is trained on."""
    return list(dict.fromkeys(project.splits.train if split == TRAINING else split for split in splits))


def _splits_named_by(source: SemanticsSettings) -> dict[str, Any]:
    """Splits that a source names, by key."""
    if hasattr(source, "predict"):
        return {"predict.tagged_on": source.predict.tagged_on}
    return {key: list(getattr(source, key)) for key in ("tagged_on", "folders") if hasattr(source, key)}
