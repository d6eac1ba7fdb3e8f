"""What a packed model needs elsewhere: an overlay for --configfile that segments new pictures with a run's weights."""

from collections.abc import Iterable, Mapping
from typing import Any

from stages.exports.settings import PackSettings
from stages.project.project import Project
from stages.project.run import REFINED

SPLIT = "new"
DATASET = "new_pictures"
WEIGHTS = "${TAGMASK_MODEL}/weights.safetensors"
PICTURES = "${TAGMASK_PICTURES}"
PROPOSALS = "${TAGMASK_PROPOSALS}"


def pack_settings(
    project: Project, run: str, *, code: Mapping[str, str], runs: Iterable[str], splits: Iterable[str]
) -> PackSettings:
    """What `pack_model` reads for a run.

    Args:
        project: the whole configuration.
        run: name of a run, or of its Mask R-CNN (`<run>/mask_rcnn`).
        code: digests of the code that trained the network and that predicts with it.
        runs: names of all runs of the configuration, null ones too; the others are set to null.
        splits: names of the splits of `images.folder`, which are set to null.
    """
    base, stage = run.partition("/")[0], project.stage_of(run)
    part = REFINED if stage == REFINED else "network"
    used = project.runs[base]
    overlay = {
        "splits": {"train": SPLIT, "evaluate": [SPLIT]},
        "runs": {**{name: None for name in sorted(runs) if name != base}, base: _run(project, base, part)},
        "images": _images(project, splits),
    }
    if part == "network" and used.uses_proposals:
        overlay["proposals"] = {used.proposals: _source(project, used.proposals)}
    return PackSettings(
        dataset=project.dataset,
        run=run,
        part=part,
        trained_by=f"train_{stage}",
        semantics=used.semantics,
        train_split=project.splits.train,
        splits=project.splits.evaluate,
        code=dict(code),
        overlay=overlay,
    )


def _run(project: Project, name: str, part: str) -> dict[str, Any]:
    run = project.runs[name]
    # What only training takes is null: a run of the same name may have it in the configuration that this is laid over.
    entry = {"method": run.method, "proposals": None, "semantics": None, "iterates": None, "cues": run.cues}
    entry["trained"] = {part: WEIGHTS}
    if part == REFINED:
        predict = run.mask_rcnn.predict.model_dump(mode="json")
        return {**entry, "refinement": REFINED, "mask_rcnn": {"predict": predict}}
    if run.uses_proposals:
        entry["proposals"] = run.proposals
    # New pictures have no tags: with use_tags nothing would be found.
    predict = {**getattr(run, run.method).predict.model_dump(mode="json"), "use_tags": False}
    return {**entry, "refinement": "none", run.method: {"predict": predict}}


def _images(project: Project, splits: Iterable[str]) -> dict[str, Any]:
    new = {"pictures": PICTURES, "tags": None, "masks": None, "points": None}
    listed = {**{name: None for name in sorted(splits) if name != SPLIT}, SPLIT: new}
    return {"name": DATASET, "kind": "folder", "verify": project.images.verify, "folder": {"splits": listed}}


def _source(project: Project, name: str) -> dict[str, Any]:
    """The source's settings; imported proposals of new pictures are the user's to bring."""
    settings = project.proposals[name].model_dump(mode="json")
    return {**settings, "path": PROPOSALS} if "path" in settings else settings
