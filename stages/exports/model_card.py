"""The model card: what a packed network is, what it learned from, how good it is, how to use it, and its limits."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from stages.core.artifacts.metrics import box_presets, mask_presets
from stages.exports.escaping import markdown_code, markdown_text
from stages.exports.settings import PackSettings

WITHOUT_MASKS = {"image tags", "points"}  # kinds of supervision in which nobody draws a mask
USAGE = """\
TAGMASK_MODEL=path/of/this/folder TAGMASK_IMAGES=path/of/images \\
    snakemake segment -c2 --configfile path/of/this/folder/segment.yaml
"""


@dataclass(frozen=True)
class Facts:
    """What a card says.

    Attributes:
        settings: the run and the overlay.
        metadata: of the weights file.
        digest: SHA-256 of the weights file.
        images: header of the training images.
        tags: (images, classes) bool, tags of the training images.
        proposals: header of the training images' proposals; None: the run chooses among none.
    """

    settings: PackSettings
    metadata: dict[str, Any]
    digest: str
    images: dict[str, Any]
    tags: np.ndarray
    proposals: dict[str, Any] | None


def model_card(facts: Facts, metrics: dict[str, dict[str, Any]]) -> str:
    """The card as Markdown; `metrics` by split."""
    parts = [_head(facts), _data(facts), _metrics(metrics), _usage(facts), _limits(facts), _settings(facts)]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _head(facts: Facts) -> str:
    settings, classes = facts.settings, facts.metadata["classes"]
    supervision = [facts.metadata["supervision"]]
    if settings.semantics is not None:
        supervision.append(f"by way of semantic maps of {settings.semantics!r}")
    if facts.proposals is not None:
        source, seen = facts.proposals["source"], facts.proposals["supervision"]
        supervision.append(f"proposals of {source!r}, which have seen: {seen}")
    code = ", ".join(f"{markdown_text(name)} {digest}" for name, digest in settings.code.items())
    maps = " It reads semantic maps of the network in semantics.safetensors." if "semantics" in settings.overlay else ""
    needs = "proposals of the same source" if "proposals" in settings.overlay else "images alone"
    return f"""\
# {markdown_text(settings.run)} of {markdown_text(settings.dataset)}

Segments instances of {len(classes)} classes: {", ".join(map(markdown_text, classes))}.

* Method: {markdown_text(settings.method)}.
* Supervision: {"; ".join(map(markdown_text, supervision))}. At use it needs {needs}.{maps}
* Weights: weights.safetensors, SHA-256 {facts.digest}.
* Code: {code} (digests, see
  stages/core/workflow/digest.py).
"""


def _data(facts: Facts) -> str:
    settings, tagged = facts.settings, facts.tags.any(axis=1)
    counts = facts.tags.sum(axis=0).tolist()
    rows = [
        f"| {markdown_text(name)} | {count} |" for name, count in zip(facts.metadata["classes"], counts, strict=True)
    ]
    inputs = ", ".join(f"{markdown_text(name)} {digest}" for name, digest in sorted(facts.metadata["inputs"].items()))
    return f"""\
## Data

Trained on split {markdown_text(settings.train_split)} of {markdown_text(settings.dataset)} (kind
{facts.images["kind"]}): {len(tagged)} images, {int(tagged.sum())} of them tagged, {int(facts.tags.sum())} tags;
{facts.images["negatives"]} show none of the classes. Fingerprints of the inputs:
{inputs}.

| class | images with the tag |
| --- | --- |
""" + "\n".join(rows)


def _metrics(metrics: dict[str, dict[str, Any]]) -> str:
    lines = ["## Metrics", ""]
    for split, found in metrics.items():
        if not found["n_images"]:
            lines += [f"Split {markdown_text(split)}: not measured, no masks of it are known.", ""]
            continue
        lines += [
            f"Split {markdown_text(split)}: {found['n_instances']} annotated instances in {found['n_images']} images.",
            "In percent; definitions of the presets and all numbers are in metrics.json.",
            "",
            "| preset | metrics |",
            "| --- | --- |",
            *[f"| {name} | {_numbers(found['masks'][name])} |" for name in mask_presets(found)],
            *[f"| boxes, {name} | {_numbers({'AP50': found['boxes'][name]['AP50']})} |" for name in box_presets(found)],
            f"| none | {_numbers({'CorLoc': found['corloc'], 'mIoU': found['semantic']['mIoU']})} |",
            "",
        ]
    return "\n".join(lines)


def _numbers(values: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {'-' if value is None else f'{value:.1f}'}" for name, value in values.items())


def _usage(facts: Facts) -> str:
    proposals = ""
    for source in facts.settings.overlay.get("proposals", {}).values():
        if "path" in source:
            proposals = f"""
The proposals were imported ({markdown_text(source["kind"])}): set TAGMASK_PROPOSALS to those of the new images, made
the same way.
"""
    return f"""\
## Use

In a fresh clone of tagmask, for a folder of images without any tags:

```
{USAGE}```
{proposals}
Masks appear in results/new_images/{facts.settings.run}/new/exports: COCO JSON, overlays, one PNG of instance ids per
image. segment.yaml holds everything that differs from config.yaml; docs/new_images.md explains it.
"""


def _limits(facts: Facts) -> str:
    # "image tags + points on n of m images" begins as what it adds to
    weak = all(kind.split(" + ")[0] in WITHOUT_MASKS for kind in facts.metadata["supervision"].split(" and "))
    reason = "Nobody drew a mask for it: it" if weak else "It"
    return f"""\
## Limits

* It knows its {len(facts.metadata["classes"])} classes only, and finds them where images resemble those it was
  trained on.
* {reason} may take the part of an object that tells its class for the whole, or objects that always stand together
  for one.
* Scores rank instances; they are no probabilities that a mask is right.
"""


def _settings(facts: Facts) -> str:
    text = yaml.safe_dump(facts.metadata["settings"], sort_keys=False, allow_unicode=True)
    return f"""\
## Settings of the training

{markdown_code(text, "yaml")}"""
