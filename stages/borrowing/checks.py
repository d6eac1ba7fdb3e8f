"""Whether an artifact of another project fits the images and classes of this one, and what it says of itself."""

import itertools
from pathlib import Path
from typing import Any

from stages.borrowing.settings import BorrowedSettings, Kind
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.hdf5 import open_hdf5
from stages.core.artifacts.images import ImageRecord, check_classes, check_images
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.records import Record
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import REMEDY, Artifact, artifact_in, kind_of, read
from stages.core.networks.weights import read_metadata
from stages.core.workflow import step

RECORDS: dict[Kind, tuple[type[Record], ...]] = {
    "proposals": (Proposals,),
    "cues": (Cues,),
    "semantics": (SemanticMaps,),
    "labels": (ClusterLabels, PseudoInstances, RefinedLabels, ModuleLabels, Instances),
    "instances": (Instances,),
}
WEIGHTS = "weights"
IN_ORDER = "in the same order"
COMPARED = ("digest", "height", "width")  # what two lists must say alike of an image


def described_artifact(
    path: Path, listed: Path | None, images: Artifact[ImageRecord], settings: BorrowedSettings
) -> dict[str, Any]:
    """What an HDF5 artifact says of itself, once every image of it could be read and is one of `images`.

    Args:
        path: the artifact.
        listed: images.h5 of the project that has made it; None: it must be made from a list equal to `images`.
        images: list of this project.
        settings: kind and step that are expected.

    Raises:
        ValueError: another kind, schema or step, damaged, or of other images or classes.
    """
    with open_hdf5(path, remedy=REMEDY) as file:
        kind = kind_of(path, file)
        records = {record.KIND: record for record in RECORDS[settings.kind]}
        if kind not in records:
            raise ValueError(f"{path} is an artifact of kind {kind!r}, expected {_one_of(records)}; name the right one")
        artifact = artifact_in(file, path, records[kind])
        _check_step(path, artifact.provenance["step"], settings.made_by)
        if settings.kind == "labels":
            # Images without a label may be left out.
            check_images(artifact, images, remedy="borrow from a project of the same images")
        else:
            _check_ids(artifact, images)
        _check_images(artifact, listed, images)
        if "classes" in artifact.header:
            check_classes(images, artifact, remedy=f"borrow from a project of the same classes {IN_ORDER}")
        for i in step.progress(range(len(artifact)), total=len(artifact), label="images checked"):
            artifact[i]  # damage shows when values are read
        return {
            "kind": kind,
            "schema": records[kind].SCHEMA,
            "fingerprint": artifact.fingerprint,
            **artifact.provenance,
            "header": artifact.header,
            "images": len(artifact),
        }


def described_weights(path: Path, images: Artifact[ImageRecord], settings: BorrowedSettings) -> dict[str, Any]:
    """What trained weights say of themselves, once they are of the expected step and of the images' classes.

    Raises ValueError for weights of another step or of other classes, and for a file that is damaged or notes neither.
    """
    noted = read_metadata(path)
    _check_step(path, noted["step"], settings.made_by)
    expected = images.header["classes"]
    if noted["classes"] != expected:
        raise ValueError(
            f"{path} knows classes {noted['classes']}, {images.path} holds {expected}; borrow from a project of the"
            f" same classes {IN_ORDER}"
        )
    return {"kind": WEIGHTS, **{key: value for key, value in noted.items() if key not in ("from", "name")}}


def _check_step(path: Path, found: str, expected: str | None) -> None:
    if expected is not None and found != expected:
        raise ValueError(f"{path} was written by {found}, expected {expected}; name what {expected} has written")


def _check_images(artifact: Artifact, listed: Path | None, images: Artifact[ImageRecord]) -> None:
    """Raise ValueError unless an artifact was made from these images.

    It was where the list that it was made from has the same content. Else that list, which must still lie there, is
    compared image by image: two lists of the same images may differ in folder, tags or name of the data set.
    """
    made_from = artifact.provenance["inputs"].get("images")
    made_from = made_from.get("fingerprint") if isinstance(made_from, dict) else None
    if made_from == images.fingerprint:
        return
    if listed is None:
        raise ValueError(f"{artifact.path} was made from another list than {images.path}; borrow it together with it")
    with read(listed, ImageRecord) as there:
        if made_from not in (None, there.fingerprint):
            raise ValueError(
                f"{artifact.path} was made from another list than {there.path}, which lies beside it; bring that"
                " project up to date first"
            )
        _check_ids(there, images)
        _check_alike(there, images)


def _check_ids(artifact: Artifact, images: Artifact[ImageRecord]) -> None:
    """Raise ValueError unless both hold the same ids in the same order."""
    for i, (found, expected) in enumerate(itertools.zip_longest(artifact.ids, images.ids)):
        if found != expected:
            shown = ["no more" if image is None else f"image {image!r}" for image in (found, expected)]
            raise ValueError(
                f"{artifact.path} holds {len(artifact)} images, {images.path} holds {len(images)}, and they differ: at"
                f" place {i + 1} it has {shown[0]}, expected {shown[1]}; borrow from a project of the same images"
            )


def _check_alike(there: Artifact[ImageRecord], here: Artifact[ImageRecord]) -> None:
    """Raise ValueError unless the images of two lists have the same files and sizes."""
    for name in COMPARED:
        differing = [
            (image, found, expected)
            for image, found, expected in zip(here.ids, there.column(name), here.column(name), strict=True)
            if found != expected
        ]
        if differing:
            image, found, expected = differing[0]
            raise ValueError(
                f"{there.path} and {here.path} hold different images under {len(differing)} of {len(here)} ids: of"
                f" {image!r} {name} is {found} there, {expected} here; borrow from a project of the same images"
            )


def _one_of(records: dict[str, type[Record]]) -> str:
    return " or ".join(map(repr, records))
