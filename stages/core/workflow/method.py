"""How a method describes itself: what it takes, what it makes, what cannot be, and what its packed model needs.

A method's folder has a module `method` with one constant, METHOD. The composition root, the Snakefile and the shared
rules read it and know no method by name. Descriptions stay light: settings and this module, no network.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from stages.core.config.section import Section

# Endings of files that torch.save wrote: checkpoints of official codes, which a step converts.
CHECKPOINTS = (".pth", ".pt", ".tar", ".ckpt")
Source = Literal["proposals", "semantics", "cues", "iterates"]
SOURCES: tuple[Source, ...] = ("proposals", "semantics", "cues", "iterates")  # keys of a run that name what it takes


@dataclass(frozen=True)
class Made:
    """An artifact that a run makes on the way to its masks.

    Attributes:
        path: below the data set's results, with {run} and {split}, such as "{run}/cluster_labels/{split}.h5".
        report: what reports on it: `report_<this>` writes a .report.json beside it; None: nothing does.
        measured: the splits that are reported on.
        shown: whether the gallery has a panel of it.
        after: labels of the run that it continues; the report on it begins with them.
        exported: whether the exports write its masks, of the training split.
    """

    path: str
    report: str | None = None
    measured: Literal["train", "evaluate", "all"] = "all"
    shown: bool = True
    after: str | None = None
    exported: bool = False


@dataclass(frozen=True)
class Published:
    """Presets with the settings of a method's paper and of its official code, which docs/reproducing.md compares.

    Attributes:
        paper: presets of the paper, each on the ones before.
        official: presets of its official code.
        classifier: name of the classifier from which the paper's run takes cues.
        ours: name of the classifier from which ours, for photographs, takes them.
    """

    paper: tuple[str, ...]
    official: tuple[str, ...]
    classifier: str
    ours: str


def _nothing(*_: Any) -> tuple[()]:
    return ()


@dataclass(frozen=True)
class Method:
    """A way to find instances, or a network that is trained on top of any run's masks.

    Attributes:
        name: of its folder in `stages`, its rule file, its section of the configuration, and its target.
        title: what it is and who published it, for people.
        does: how it finds instances, as the end of a sentence about its network.
        settings: its section.
        takes: what a run of it learns from.
        predicts_from: what of it prediction needs, besides images.
        reads_maps: whether prediction reads the semantic maps that have ranked its proposals, from its section.
        named_maps: name of the source of semantic maps that prediction reads, from its section, which has it as
            `predict.semantics`; None: it names none.
        reads_marks: whether it leaves out what people have marked in the gallery of the run's training split, from its
            section.
        trains: whether it has a network of its own: `train_<name>`, `predict_<name>`, weights, a packed model.
        backbone: its backbone's settings, from its section; None: it has none.
        problems: what cannot be, as ends of sentences that begin with the path of a run, from that run.
        problems_of_one_class: as `problems`, where the data set has a single class.
        parts: names of the parts of a run that have instances and metrics of their own under <run>/<part>, from it.
        makes: artifacts that a run makes where it is trained, in the order in which they are made.
        packed: what of its section a packed model brings, from the section.
        converts: whether `convert_<name>` reads checkpoints of an official code.
        published: what its settings are compared with; None: nothing.
        on_top: whether it is trained on any run's own masks (`runs.<run>.retrain`) in place of being one.
    """

    name: str
    title: str
    does: str
    settings: type[Section]
    takes: tuple[Source, ...] = ()
    predicts_from: tuple[Source, ...] = ()
    reads_maps: Callable[[Any], bool] = lambda settings: False
    named_maps: Callable[[Any], str | None] = lambda settings: None
    reads_marks: Callable[[Any], bool] = lambda settings: False
    trains: bool = True
    backbone: Callable[[Any], Any] | None = None
    problems: Callable[[Any], Iterable[str]] = _nothing
    problems_of_one_class: Callable[[Any], Iterable[str]] = _nothing
    parts: Callable[[Any], Iterable[str]] = _nothing
    makes: Callable[[Any], Iterable[Made]] = _nothing
    packed: Callable[[Any], dict[str, Any]] = lambda settings: {"predict": settings.predict.model_dump(mode="json")}
    converts: bool = False
    published: Published | None = None
    on_top: bool = False


def is_checkpoint(path: str | None) -> bool:
    """Whether a path of weights is one of a checkpoint that is to be converted."""
    return path is not None and path.endswith(CHECKPOINTS)


def without_tags(settings: Any) -> dict[str, Any]:
    """A packed model's settings: those of prediction, not limited to tags, since new images have none."""
    return {"predict": {**settings.predict.model_dump(mode="json"), "use_tags": False}}
