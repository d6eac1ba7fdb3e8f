"""Inputs at the edge of what a method is made for, per method: docs/reliability.md, "Degenerate inputs", has the list."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from stages.bestie.predict_bestie import predict_bestie
from stages.bestie.train_bestie import train_bestie
from stages.bestie.transfer_semantics import transfer_semantics
from stages.cim.label_clusters import label_clusters
from stages.cim.predict_cim import predict_cim
from stages.cim.settings import CimSettings
from stages.cim.train_cim import train_cim
from stages.classifier.find_cues import find_cues
from stages.classifier.train_classifier import train_classifier
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Provenance, create, read
from stages.label_penet.pretrain_module import pretrain_module
from stages.label_penet.settings import LabelPenetSettings
from stages.mask_rcnn.make_pseudo_masks import make_pseudo_masks
from stages.mask_rcnn.predict_mask_rcnn import predict_mask_rcnn
from stages.mask_rcnn.settings import MaskRcnnSettings
from stages.mask_rcnn.train_mask_rcnn import train_mask_rcnn
from stages.ops.regions import Regions
from stages.prm.retrieve_prm import retrieve_prm
from stages.project.overlays import merged
from stages.semantics.predict_semantics import predict_semantics
from stages.semantics.settings import NetworkSource
from stages.semantics.train_semantics import train_semantics
from tests.bestie import toy as bestie
from tests.cim import conftest as cim
from tests.classifier import test_classifier_steps as classifier
from tests.label_penet import conftest as label_penet
from tests.mask_rcnn import conftest as mask_rcnn
from tests.pipeline.trainers import outputs_in
from tests.prm import test_prm_retrieval as prm
from tests.semantics import conftest as semantics

SHORT = {"train": {"training": {"steps": 1, "accumulate": 1, "curve_steps": 1, "warmup_steps": 0}}}
KINDS = {
    "images": ImageRecord, "proposals": Proposals, "cues": Cues, "instances": Instances, "semantics": SemanticMaps,
    "labels": SemanticMaps,
}  # fmt: skip


class Toy:
    """The inputs of a method's toy, of which tests change what they are about."""

    def __init__(self, folder: Path, **paths: Path) -> None:
        self.folder, self.paths, self.count = folder, paths, 0

    def rewrite(self, name, change=lambda record: record, *, keep=None, **header) -> None:
        """The artifact anew: each record changed, the first `keep` alone, more in its header."""
        kind, self.count = KINDS[name], self.count + 1
        output = self.folder / f"{name}{self.count}.h5"
        with read(self.paths[name], kind) as found:
            known = {key: value for key, value in found.header.items() if key != "splits"} | header
            with create(output, kind, header=known, provenance=Provenance("test", None, None, {})) as writer:
                for record in list(found)[:keep]:
                    writer.append(change(record))
        self.paths[name] = output

    def of_classes(self, count: int, *, keep: int | None = None) -> "Toy":
        """The same with so many classes: what is of none of them is gone, new ones are in no image."""
        names = {"classes": [f"class {i}" for i in range(count)], "category_ids": list(range(1, count + 1))}
        for name in self.paths:
            header = {} if name == "proposals" else names
            header = {"classes": names["classes"]} if name in ("cues", "semantics", "labels") else header
            self.rewrite(name, lambda record: of_classes(record, count), keep=keep, **header)
        return self


def of_classes(record, count):
    def fit(array, fill=0):
        new = np.full((count, *array.shape[1:]), fill, array.dtype)
        new[: len(array)] = array[:count]
        return new

    match record:
        case ImageRecord():
            return dataclasses.replace(record, tags=fit(record.tags))
        case Cues():
            kept = record.peak_classes < count
            peaks = {name: getattr(record, name)[kept] for name in ("peaks", "peak_classes", "peak_scores")}
            responses = fit(record.responses) if len(record.responses) else record.responses
            return dataclasses.replace(record, responses=responses, class_scores=fit(record.class_scores, -9), **peaks)
        case SemanticMaps():
            labels = np.where((record.labels > count) & (record.labels != 255), 0, record.labels)
            return dataclasses.replace(record, labels=labels.astype(record.labels.dtype))
        case Instances():
            kept = np.flatnonzero(record.classes < count)
            regions = packed_fields(record.regions.select(kept, compact=True))
            return Instances(
                image=record.image, **regions, classes=record.classes[kept], scores=record.scores[kept]
            )  # fmt: skip
    return record


def without_tags(record: ImageRecord) -> ImageRecord:
    return dataclasses.replace(record, tags=np.zeros_like(record.tags), looked_at=False)


def without_peaks(record: Cues) -> Cues:
    none = {name: getattr(record, name)[:0] for name in ("peaks", "peak_classes", "peak_scores")}
    return dataclasses.replace(record, **none)


def all_alike(record: Proposals) -> Proposals:
    """As many proposals as there are, each the first one."""
    masks = record.regions.masks()
    return dataclasses.replace(record, **packed_fields(Regions.from_masks(np.repeat(masks[:1], len(masks), axis=0))))


def toy_of_cim(folder):
    toy = cim.Toy(folder)
    return Toy(folder, images=toy.images, proposals=toy.proposals, cues=toy.cues)


def run_cim(toy):
    settings = CimSettings.model_validate(merged(cim.OFFICIAL, SHORT))
    folder, common = toy.folder, {name: toy.paths[name] for name in ("images", "proposals")}
    label_clusters(**common, cues=toy.paths["cues"], output=folder / "clusters.h5", settings=settings.agpl)
    train_cim(
        **common, cluster_labels=folder / "clusters.h5", backbone_weights=None, device="cpu", **outputs_in(folder),
        settings=settings.train,
    )  # fmt: skip
    predict_cim(
        **common, weights=folder / "weights.safetensors", output=folder / "found.h5", settings=settings.predict,
        run="toy", device="cpu",
    )  # fmt: skip
    return found(folder)


def run_prm(toy):
    retrieve_prm(**toy.paths, output=toy.folder / "found.h5", settings=prm.settings(contour_weight=0.0), run="prm")
    return found(toy.folder)


def toy_of_bestie(folder):
    toy = bestie.Toy(folder)
    return Toy(folder, images=toy.images, semantics=toy.semantics, cues=toy.cues)


def run_bestie(toy):
    settings, folder = bestie.tiny(**merged(SHORT, {"train": {"snapshots": []}})), toy.folder
    transfer_semantics(**toy.paths, output=folder / "pseudo.h5", run="bestie", settings=settings.transfer)
    train_bestie(
        images=toy.paths["images"], pseudo_instances=folder / "pseudo.h5", backbone_weights=None, device="cpu",
        output_snapshots=folder / "s.safetensors", settings=settings.train, **outputs_in(folder),
    )  # fmt: skip
    predict_bestie(
        images=toy.paths["images"], weights=folder / "weights.safetensors", cues=None, output=folder / "found.h5",
        output_maps=folder / "maps.h5", settings=settings.predict, run="bestie", device="cpu",
    )  # fmt: skip
    return found(folder)


def toy_of_mask_rcnn(folder):
    toy = mask_rcnn.Toy(folder)
    return Toy(folder, images=toy.images, instances=toy.instances)


def run_mask_rcnn(toy):
    settings, folder = MaskRcnnSettings.model_validate(merged(mask_rcnn.TINY, SHORT)), toy.folder
    make_pseudo_masks(**toy.paths, marks=None, output=folder / "masks.h5", settings=settings.pseudo_masks)
    train_mask_rcnn(
        images=toy.paths["images"], pseudo_masks=folder / "masks.h5", backbone_weights=None, device="cpu",
        settings=settings.train, **outputs_in(folder),
    )  # fmt: skip
    predict_mask_rcnn(
        images=toy.paths["images"], weights=folder / "weights.safetensors", output=folder / "found.h5",
        settings=settings.predict, run="toy/mask_rcnn", device="cpu",
    )  # fmt: skip
    return found(folder)


def toy_of_label_penet(folder):
    toy = label_penet.Toy(folder)
    return Toy(folder, images=toy.images, proposals=toy.proposals)


def run_label_penet(toy):
    """Its first module, and the labels that the second learns from."""
    short = {"train": {"classification": SHORT["train"], "losses": {"mil": "binary"}}}
    settings = LabelPenetSettings.model_validate(merged(label_penet.TINY, short))
    pretrain_module(
        **toy.paths, labels=None, backbone_weights=None, device="cpu", settings=settings.train.of("classification"),
        **outputs_in(toy.folder),
    )  # fmt: skip
    weights = toy.folder / "weights.safetensors"
    holder = dataclasses.make_dataclass("Paths", ["images", "proposals"])(**toy.paths)
    label_penet.propagate(holder, settings, "classification", weights, toy.folder / "found.h5")
    return found(toy.folder, ModuleLabels)


def toy_of_classifier(folder):
    return Toy(folder, images=classifier.write_images(folder / "images.h5", count=4))


def run_classifier(toy):
    training = merged(classifier.TRAIN, SHORT["train"])
    train_classifier(
        images=toy.paths["images"], device="cpu", settings=classifier.settings(**training), **outputs_in(toy.folder)
    )  # fmt: skip
    find_cues(
        images=toy.paths["images"], weights=toy.folder / "weights.safetensors", output=toy.folder / "found.h5",
        settings=classifier.cue_settings(), device="cpu",
    )  # fmt: skip
    return found(toy.folder, Cues)


def toy_of_semantics(folder):
    toy = semantics.Toy(folder)
    return Toy(folder, images=toy.images, labels=toy.labels)


def run_semantics(toy):
    settings = NetworkSource.model_validate(merged(semantics.TINY, SHORT))
    train_semantics(
        **toy.paths, backbone_weights=None, start=None, device="cpu", settings=settings.train, **outputs_in(toy.folder)
    )  # fmt: skip
    predict_semantics(
        images=toy.paths["images"], weights=toy.folder / "weights.safetensors", output=toy.folder / "found.h5",
        settings=settings.predict, source="toy", device="cpu",
    )  # fmt: skip
    return found(toy.folder, SemanticMaps)


def found(folder, kind=Instances):
    """What was predicted. All of it is read through, which refuses what a description does not allow."""
    with read(folder / "found.h5", kind) as artifact:
        return list(artifact)


METHODS = {
    "cim": (toy_of_cim, run_cim),
    "prm": (toy_of_cim, run_prm),
    "bestie": (toy_of_bestie, run_bestie),
    "mask_rcnn": (toy_of_mask_rcnn, run_mask_rcnn),
    "label_penet": (toy_of_label_penet, run_label_penet),
    "classifier": (toy_of_classifier, run_classifier),
    "semantics": (toy_of_semantics, run_semantics),
}
every_method = pytest.mark.parametrize("method", METHODS)


@every_method
def test_one_image_of_one_class_is_trained_on_and_predicted(method, tmp_path):
    toy, run = METHODS[method][0](tmp_path), METHODS[method][1]
    records = run(toy.of_classes(1, keep=1))
    assert len(records) == 1
    for record in records:
        if isinstance(record, Instances):
            assert set(record.classes.tolist()) <= {0}
            assert np.isfinite(record.scores).all()
        if isinstance(record, SemanticMaps):
            assert set(np.unique(record.labels)) <= {0, 1}


@every_method
def test_two_hundred_classes_of_which_most_are_in_no_image(method, tmp_path):
    toy, run = METHODS[method][0](tmp_path), METHODS[method][1]
    records = run(toy.of_classes(200))
    assert len(records) > 1
    for record in records:
        if isinstance(record, Instances):
            assert np.isfinite(record.scores).all()
        if isinstance(record, Cues):
            assert record.class_scores.shape == (200,)
            assert np.isfinite(record.responses).all()


NO_TAGS = {
    "cim": r"images1\.h5: none of 6 images has tags; nothing to train on: tag images",
    "bestie": r"none of \d+ candidates is accepted as an instance, .* there is nothing to learn from",
    "mask_rcnn": r"none of 5 images has a pseudo mask under",
    "label_penet": r"images1\.h5: none of 5 images has tags; nothing to train on: tag images",
    "classifier": r"images1\.h5: none of 4 images has tags; nothing to train on: tag images",
}


@pytest.mark.parametrize("method", NO_TAGS)
def test_without_any_tag_the_training_stops_in_one_sentence(method, tmp_path):
    toy, run = METHODS[method][0](tmp_path), METHODS[method][1]
    toy.rewrite("images", without_tags)
    with pytest.raises(ValueError, match=NO_TAGS[method]):
        run(toy)
    assert not (tmp_path / "weights.safetensors").exists()


@pytest.mark.parametrize("method", ["cim", "prm", "label_penet"])
def test_proposals_that_are_all_alike_give_at_most_one_instance_of_a_class(method, tmp_path):
    toy, run = METHODS[method][0](tmp_path), METHODS[method][1]
    toy.rewrite("proposals", all_alike)
    records = run(toy)
    assert any(len(record.classes) for record in records) or method == "label_penet"
    for record in records:
        assert len(set(record.classes.tolist())) == len(record.classes)


def test_without_a_peak_cim_learns_from_tags_alone(tmp_path):
    toy = toy_of_cim(tmp_path)
    toy.rewrite("cues", without_peaks)
    records = run_cim(toy)
    assert len(records) == 6
    assert any(len(record.scores) for record in records)


def test_without_a_peak_prm_finds_nothing(tmp_path):
    toy = toy_of_cim(tmp_path)
    toy.rewrite("cues", without_peaks)
    assert [len(record.scores) for record in run_prm(toy)] == [0] * 6


@pytest.mark.parametrize("what", ["no peak", "empty maps"])
def test_without_a_peak_or_with_empty_maps_bestie_says_that_there_is_nothing_to_learn_from(what, tmp_path):
    toy = toy_of_bestie(tmp_path)
    if what == "no peak":
        toy.rewrite("cues", without_peaks)
    else:
        toy.rewrite("semantics", lambda record: dataclasses.replace(record, labels=np.zeros_like(record.labels)))
    with pytest.raises(ValueError, match=r"none of \d+ candidates is accepted as an instance, by \d+ cues"):
        run_bestie(toy)


def test_maps_of_background_alone_teach_background(tmp_path):
    toy = toy_of_semantics(tmp_path)
    toy.rewrite("labels", lambda record: dataclasses.replace(record, labels=np.zeros_like(record.labels)))
    assert len(run_semantics(toy)) == 4
