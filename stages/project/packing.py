"""What a packed model needs elsewhere: an overlay for --configfile that segments new images with a run's weights."""

from collections.abc import Iterable, Mapping
from typing import Any

from stages.core.workflow.method import SOURCES, Method
from stages.exports.settings import PackSettings
from stages.project.methods import METHODS
from stages.project.packed import IMAGES, PROPOSALS
from stages.project.project import ProjectBase
from stages.project.run import NETWORK, NOTHING, RunBase
from stages.project.sources import maps_of_prediction, semantics_of_proposals

SPLIT = "new"
DATASET = "new_images"
WEIGHTS = "${TAGMASK_MODEL}/weights.safetensors"
MAPS = "${TAGMASK_MODEL}/semantics.safetensors"  # of the network whose maps rank the proposals, or are read
MAPS_NAME = "maps_of_the_model"  # source of these maps; a name that no configuration is likely to have


def pack_settings(
    project: ProjectBase, run: str, *, code: Mapping[str, str], runs: Iterable[str], splits: Iterable[str]
) -> PackSettings:
    """What `pack_model` reads for a run.

    Args:
        project: the whole configuration.
        run: name of a run, or of what is trained on top of it (`<run>/mask_rcnn`).
        code: digests of the code that trained the network and that predicts with it.
        runs: names of all runs of the configuration, null ones too; the others are set to null.
        splits: names of the splits of `images.folder`, which are set to null.
    """
    base, method = run.partition("/")[0], METHODS[project.stage_of(run)]
    part = method.name if method.on_top else NETWORK
    used = project.runs[base]
    overlay = {
        "splits": {"train": SPLIT, "evaluate": [SPLIT]},
        "runs": {**{name: None for name in sorted(runs) if name != base}, base: _run(used, method, part)},
        "images": _images(project, splits),
    }
    if _chooses(method):
        overlay["proposals"] = _proposals(project, used.proposals)
    if packed_maps(project, run) is not None:
        overlay["semantics"] = _maps(project, maps_to_pack(project, run))
    if project.images.tiling is not None:
        overlay["tiles"] = project.tiles.model_dump(mode="json")
    return PackSettings(
        dataset=project.dataset,
        run=run,
        part=part,
        method=f"{method.title} {method.does}" if method.on_top else f"{method.title}: {method.does}",
        trained_by=f"train_{method.name}",
        semantics=used.semantics,
        train_split=project.splits.train,
        splits=project.splits.evaluate,
        code=dict(code),
        overlay=overlay,
    )


def _run(run: RunBase, method: Method, part: str) -> dict[str, Any]:
    # What only training takes is null: a run of the same name may have it in the configuration that this is laid over.
    entry: dict[str, Any] = {"method": run.method, **dict.fromkeys(SOURCES), "cues": run.cues}
    entry |= {source: getattr(run, source) for source in method.predicts_from}
    entry |= {"trained": {part: WEIGHTS}, "retrain": part if method.on_top else NOTHING}
    section = method.packed(getattr(run, method.name))
    if method.named_maps(getattr(run, method.name)) is not None:
        section["predict"]["semantics"] = MAPS_NAME
    return {**entry, method.name: section}


def _images(project: ProjectBase, splits: Iterable[str]) -> dict[str, Any]:
    new = {"images": IMAGES, "tags": None, "masks": None, "points": None}
    listed = {**{name: None for name in sorted(splits) if name != SPLIT}, SPLIT: new}
    images = {"name": DATASET, "kind": "folder", "verify": project.images.verify, "folder": {"splits": listed}}
    if project.images.tiling is not None:  # new images are cut as those were that the network was measured on
        images["max_pixels"] = project.images.max_pixels
        images["folder"]["tiling"] = project.images.tiling.model_dump(mode="json")
    return images


def packed_maps(project: ProjectBase, run: str) -> str | None:
    """Name of the source of maps that a packed run brings the network of; None: it needs none.

    They rank the proposals among which the run chooses, or its prediction reads them.
    """
    entry, method = project.runs[run.partition("/")[0]], METHODS[project.stage_of(run)]
    ranking = semantics_of_proposals(project, entry.proposals) if _chooses(method) else None
    return ranking or maps_of_prediction(project, run)


def maps_to_pack(project: ProjectBase, run: str) -> str:
    """The same where there are some. Raises ValueError where they have no network, which new images need."""
    maps = packed_maps(project, run)
    if not hasattr(project.semantics[maps], "predict"):
        raise ValueError(
            f"run {run!r} predicts with maps of semantics.{maps}; that is of kind {project.semantics[maps].kind},"
            " and has no network that a packed model could bring"
        )
    return maps


def _chooses(method: Method) -> bool:
    """Whether a packed network of the method chooses among proposals."""
    return not method.on_top and "proposals" in method.predicts_from


def _proposals(project: ProjectBase, name: str) -> dict[str, Any]:
    """A source of proposals; of a ranked one also the source that it stands on."""
    ranked = project.proposals[name]
    if semantics_of_proposals(project, name) is None:
        return {name: _source(project, name)}
    return {
        ranked.proposals: _source(project, ranked.proposals),
        name: {**ranked.model_dump(mode="json"), "semantics": MAPS_NAME},
    }


def _maps(project: ProjectBase, source: str) -> dict[str, Any]:
    """The source of maps, of weights in the model's folder."""
    predict = {**project.semantics[source].predict.model_dump(mode="json"), "tagged_on": []}  # new images have no tags
    return {MAPS_NAME: {"kind": "weights", "weights": MAPS, "predict": predict}}


def _source(project: ProjectBase, name: str) -> dict[str, Any]:
    """The source's settings; imported proposals of new images are the user's to bring."""
    settings = project.proposals[name].model_dump(mode="json")
    return {**settings, "path": PROPOSALS} if "path" in settings else settings
