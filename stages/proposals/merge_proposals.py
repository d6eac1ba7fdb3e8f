"""Step: the shards of a source's proposals in one artifact, in the order of the images."""

import contextlib
from pathlib import Path

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import Artifact, Provenance, create, read
from stages.core.workflow import step


def merge_proposals(*, shards: list[Path], images: Path, output: Path) -> None:
    """Join shards to one artifact whose content does not depend on how many shards there were.

    Args:
        shards: proposals artifacts, which together hold every image once.
        images: images.h5 that they were made from.
        output: proposals artifact of all images.

    Raises:
        ValueError: shards differ in header or settings, were made from another images.h5, or miss or repeat images.
    """
    with contextlib.ExitStack() as stack:
        listing = stack.enter_context(read(images, ImageRecord))
        parts = [stack.enter_context(read(path, Proposals)) for path in shards]
        _check_alike(parts, listing)
        owner = _owners(parts, listing)
        made_by = parts[0].provenance
        provenance = Provenance(
            step=made_by["step"], settings=made_by["settings"], seed=None, inputs={"images": listing}
        )
        with create(output, Proposals, header=parts[0].header, provenance=provenance) as writer:
            for image in step.progress(listing.ids, total=len(listing), label="images"):
                writer.append(owner[image].find(image))


def _check_alike(parts: list[Artifact[Proposals]], images: Artifact[ImageRecord]) -> None:
    if not parts:
        raise ValueError("no shards given; expected at least one proposals artifact")
    first = parts[0]
    for part in parts:
        if part.header != first.header or part.provenance["settings"] != first.provenance["settings"]:
            raise ValueError(
                f"{part.path} and {first.path} come from different sources or settings "
                f"({part.header} and {first.header}); remove the older and run again"
            )
        if part.provenance["inputs"]["images"]["fingerprint"] != images.fingerprint:
            raise ValueError(f"{part.path} was made from another list than {images.path}; remove it and run again")


def _owners(parts: list[Artifact[Proposals]], images: Artifact[ImageRecord]) -> dict[str, Artifact[Proposals]]:
    """The shard that holds each image. Raises ValueError unless each image is in exactly one."""
    owner: dict[str, Artifact[Proposals]] = {}
    for part in parts:
        for image in part.ids:
            if image in owner:
                raise ValueError(f"image {image!r} is in {owner[image].path} and {part.path}; give each shard once")
            owner[image] = part
    missing = [image for image in images.ids if image not in owner]
    if missing:
        raise ValueError(
            f"the {len(parts)} shards lack {len(missing)} of the {len(images)} images of {images.path}, "
            f"the first {missing[0]!r}; give all shards of one run"
        )
    return owner


if __name__ == "__main__":
    step.run(merge_proposals)
