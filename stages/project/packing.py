"""What a packed model needs elsewhere: an overlay for --configfile that segments new images with a run's weights."""

from collections.abc import Iterable, Mapping
from typing import Any

from stages.core.workflow.method import SOURCES, Method
from stages.exports.settings import PackSettings
from stages.project.methods import METHODS
from stages.project.packed import IMAGES, PROPOSALS
from stages.project.project import ProjectBase
from stages.project.run import NETWORK, NOTHING, RunBase
from stages.project.sources import semantics_of_proposals

SPLIT = "new"
DATASET = "new_images"
WEIGHTS = "${TAGMASK_MODEL}/weights.safetensors"
MAPS = "${TAGMASK_MODEL}/semantics.safetensors"  # of the network whose maps rank the proposals
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
    sources = [] if method.on_top else method.predicts_from
    overlay = {
        "splits": {"train": SPLIT, "evaluate": [SPLIT]},
        "runs": {**{name: None for name in sorted(runs) if name != base}, base: _run(used, method, part)},
        "images": _images(project, splits),
    }
    if "proposals" in sources:
        overlay |= _sources(project, run, used.proposals)
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
    return {**entry, method.name: method.packed(getattr(run, method.name))}


def _images(project: ProjectBase, splits: Iterable[str]) -> dict[str, Any]:
    new = {"images": IMAGES, "tags": None, "masks": None, "points": None}
    listed = {**{name: None for name in sorted(splits) if name != SPLIT}, SPLIT: new}
    images = {"name": DATASET, "kind": "folder", "verify": project.images.verify, "folder": {"splits": listed}}
    if project.images.tiling is not None:  # new images are cut as those were that the network was measured on
        images["max_pixels"] = project.images.max_pixels
        images["folder"]["tiling"] = project.images.tiling.model_dump(mode="json")
    return images


def ranking_maps(project: ProjectBase, run: str) -> str | None:
    """Name of the source of maps that ranks the proposals among which a packed run chooses; None: nothing does."""
    method = METHODS[project.stage_of(run)]
    if method.on_top or "proposals" not in method.predicts_from:
        return None
    return semantics_of_proposals(project, project.runs[run.partition("/")[0]].proposals)


def maps_to_pack(project: ProjectBase, run: str) -> str:
    """The same where something does. Raises ValueError where it has no network, which new images need."""
    maps = ranking_maps(project, run)
    if not hasattr(project.semantics[maps], "predict"):
        raise ValueError(
            f"run {run!r} chooses among proposals that semantics.{maps} ranks; that is of kind"
            f" {project.semantics[maps].kind}, and has no network that a packed model could bring"
        )
    return maps


def _sources(project: ProjectBase, run: str, proposals: str) -> dict[str, Any]:
    """The source of proposals, and what it stands on: another source, and the network whose maps rank it."""
    if ranking_maps(project, run) is None:
        return {"proposals": {proposals: _source(project, proposals)}}
    ranked, maps = project.proposals[proposals], project.semantics[maps_to_pack(project, run)]
    predict = {**maps.predict.model_dump(mode="json"), "tagged_on": []}  # new images have no tags
    return {
        "proposals": {
            ranked.proposals: _source(project, ranked.proposals),
            proposals: {**ranked.model_dump(mode="json"), "semantics": MAPS_NAME},
        },
        "semantics": {MAPS_NAME: {"kind": "weights", "weights": MAPS, "predict": predict}},
    }


def _source(project: ProjectBase, name: str) -> dict[str, Any]:
    """The source's settings; imported proposals of new images are the user's to bring."""
    settings = project.proposals[name].model_dump(mode="json")
    return {**settings, "path": PROPOSALS} if "path" in settings else settings
