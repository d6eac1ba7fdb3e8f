"""One run of the project: a method with its settings, what it takes from upstream, and what is trained on top of it."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, create_model

from stages.core.config.section import Name, Section
from stages.core.config.spelling import did_you_mean
from stages.core.workflow.method import SOURCES, Made, Method, Source, is_checkpoint
from stages.project.methods import ALONE, METHODS, ON_TOP

POINTS = "points"  # cues that people have clicked, in place of a classifier's
POINTS_OR = "points_or_"  # before a classifier's name: points of the images that have them, else its cues
NETWORK = "network"  # key of `trained` for the run's own network, and the folder of its weights
NOTHING = "none"  # `retrain` of a run with nothing on top

File = Annotated[str | None, Field(min_length=1)]
# The section of each method; one that no run uses may be left out.
SECTIONS: dict[str, Any] = {name: (method.settings | None, ...) for name, method in METHODS.items()}

TrainedWeights = create_model(
    "TrainedWeights",
    __base__=Section,
    __doc__="Weights that a run brings in place of training: safetensors files that the training steps wrote.",
    **{name: (File, ...) for name in (NETWORK, *ON_TOP)},
)


class RunBase(Section):
    """One run: a method, what it takes from upstream, and the settings of all methods after its overrides."""

    method: Name = Field(description="how instances are found, one of the methods in stages/project/methods.py")
    proposals: Name | None = Field(description="name of a source in `proposals`; null: none are used")
    semantics: Name | None = Field(description="name of a source in `semantics`; null: none are used")
    iterates: Name | None = Field(
        description="name of a run whose predictions on the training split are the pseudo instances, in place of"
        " semantic knowledge transfer (BESTIE table 5); null: none"
    )
    cues: Name | None = Field(
        description="name of an entry of `classifier`; points (point supervision); or points_or_<classifier>: points of"
        " the images that have them, that classifier's cues of the others"
    )
    retrain: Name = Field(description="what is trained on top, on the run's own masks; none: nothing")
    trained: TrainedWeights  # type: ignore[valid-type]

    @property
    def described(self) -> Method:
        """The run's method."""
        return METHODS[self.method]

    @property
    def partly(self) -> bool:
        """Whether images with points take these as cues, and the others a classifier's."""
        return self.cues is not None and self.cues.startswith(POINTS_OR)

    @property
    def classifier(self) -> str | None:
        """Name of the classifier that cues come from; None where there is none."""
        return None if self.cues in (None, POINTS) else self.cues.removeprefix(POINTS_OR)

    @property
    def settings(self) -> Any:
        """The section of the run's method."""
        return getattr(self, self.method)

    @property
    def trains(self) -> bool:
        """Whether the run's network is trained here: it brings no weights."""
        return all(getattr(self.trained, name) is None for name in (NETWORK, *ON_TOP))

    @property
    def retrained(self) -> bool:
        """Whether there is a network on top of the run, trained here or brought."""
        return self.retrain != NOTHING

    @property
    def retrains(self) -> bool:
        """Whether a network is trained here on the run's own masks."""
        return self.retrained and getattr(self.trained, self.retrain) is None

    @property
    def predicts(self) -> bool:
        """Whether the run's own instances are made: a brought network on top needs neither them nor their sources."""
        return self.trains or self.brought(NETWORK)

    def brought(self, part: str) -> bool:
        """Whether the run brings the weights of a part."""
        return getattr(self.trained, part) is not None

    def converts(self, part: str = NETWORK) -> bool:
        """Whether the weights that the run brings for a part are a checkpoint of an official code."""
        return is_checkpoint(getattr(self.trained, part))

    def uses(self, source: Source) -> bool:
        """Whether something that is made here stands on the source that the run names."""
        method = self.described
        if source == "cues" and any(_starts_from_classifier(one, self) for one in self._trained_here()):
            return True
        return (source in method.takes and self.trains) or (source in method.predicts_from and self.predicts)

    def _could_use(self, source: Source) -> bool:
        """As `uses`, also where the run brings its network."""
        return self.uses(source) or (source == "cues" and _starts_from_classifier(self.described, self))

    def makes(self) -> list[tuple[str, Made]]:
        """What the run and what is on top of it make where they are trained: part ("" for the run's own), artifact."""
        made = [("", one) for one in self.described.makes(self.settings)] if self.trains else []
        if self.retrains:
            made += [(self.retrain, one) for one in METHODS[self.retrain].makes(getattr(self, self.retrain))]
        return made

    def parts(self) -> list[str]:
        """Names of what has instances of its own: "" for the run itself, its method's parts, what is on top."""
        own = ["", *self.described.parts(self)] if self.predicts else []
        return own + ([self.retrain] if self.retrained else [])

    def outcomes(self) -> list[str]:
        """Those of `parts` that people want of new images: the run itself and what is on top."""
        return [part for part in self.parts() if part in ("", self.retrain)]

    def named_maps(self) -> dict[str, str]:
        """Sources of semantic maps that predictions of the run, or on top of it, name themselves: method, source."""
        methods = ([self.described] if self.predicts else []) + ([METHODS[self.retrain]] if self.retrained else [])
        named = {method.name: method.named_maps(getattr(self, method.name)) for method in methods}
        return {method: source for method, source in named.items() if source is not None}

    def problems(self, names: Mapping[Source, list[str]]) -> Iterator[str]:
        """What cannot be, without the `runs.<name>` in front; `names` are those that there are of each source."""
        method = self.described
        for source in SOURCES:
            name = getattr(self, source)
            if source in names and self.uses(source) and name not in names[source]:
                yield f".{source} is {name!r}; there are {names[source]}{did_you_mean(name, names[source])}"
            elif name is not None and source not in method.takes and not self._could_use(source):
                yield f".{source} is set, but method {self.method} takes none; leave it out"
        if not method.trains and self.brought(NETWORK):
            yield f".trained.{NETWORK}: method {self.method} has no network of its own; leave it out"
        for name in ON_TOP:
            if self.brought(name) and self.retrain != name:
                yield f".trained.{name} is set, but retrain is not {name}; set both"
        for part in (NETWORK, *ON_TOP):
            if re.search(r"[{}]", getattr(self.trained, part) or ""):
                path = getattr(self.trained, part)
                yield f".trained.{part} is {path!r}: Snakemake reads braces as wildcards; rename the file or its folder"
            one = method if part == NETWORK else METHODS[part]
            if self.converts(part) and not one.converts:
                yield (
                    f".trained.{part} is {getattr(self.trained, part)!r}: of {one.name} no official checkpoints are"
                    f" read; give what train_{one.name} wrote, a safetensors file"
                )
        for one in self._trained_here():
            if self.cues == POINTS and _starts_from_classifier(one, self):
                yield f": cues are points, so {one.name}.train.backbone.weights cannot be 'classifier'"
        if self.partly and "cues" not in method.takes:
            yield f".cues is {self.cues!r}, but method {self.method} reads no points; set {self.classifier!r}"
        if self.partly and self.converts():
            yield f".cues is {self.cues!r}, but no official code learns from points of some images; set points or tags"
        yield from method.problems(self)

    def _trained_here(self) -> Iterator[Method]:
        """The methods whose networks are trained here."""
        if self.trains:
            yield self.described
        if self.retrains:
            yield METHODS[self.retrain]

    def unknown(self) -> Iterator[str]:
        """Names that stand for no method, as `problems` says them; asked first, since the rest needs them."""
        if self.method not in ALONE:
            yield f".method is {self.method!r}; there are {list(ALONE)}{did_you_mean(self.method, ALONE)}"
        elif self.settings is None:
            yield f" is of method {self.method}, but the configuration has no section {self.method!r}; add it"
        if self.retrain not in (NOTHING, *ON_TOP):
            near = did_you_mean(self.retrain, [NOTHING, *ON_TOP])
            yield f".retrain: expected one of {[NOTHING, *ON_TOP]}, found {self.retrain!r}{near}"
        elif self.retrained and getattr(self, self.retrain) is None:
            yield f" has {self.retrain} on top, but the configuration has no section {self.retrain!r}; add it"


def _starts_from_classifier(method: Method, run: RunBase) -> bool:
    if method.backbone is None:
        return False
    return method.backbone(getattr(run, method.name)).weights == "classifier"


Run = create_model("Run", __base__=RunBase, **SECTIONS)
