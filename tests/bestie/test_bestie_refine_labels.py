"""Refined labels of whole images after some updates, the snapshots that they come from, and the maps that are kept."""

import numpy as np
import pytest
import torch

from stages.bestie.components import batched
from stages.bestie.decoding import Maps
from stages.bestie.maps import small_maps
from stages.bestie.network import Outputs
from stages.bestie.predict_bestie import predict_bestie
from stages.bestie.refine_labels import joined, labels_of, refine_labels
from stages.bestie.refinement import refined_targets
from stages.bestie.train_bestie import train_bestie
from stages.bestie.transfer_semantics import transfer_semantics
from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.map_components import class_components
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.storage import read
from stages.core.networks.weights import read_metadata, read_weights
from stages.ops.regions import Regions
from tests.bestie.test_bestie_grouping import random_case
from tests.bestie.toy import Toy, tiny, write

SETTINGS = {"training": {"steps": 3, "accumulate": 1}, "snapshots": [1, 2]}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def trained(toy):
    """Paths of pseudo instances, weights and snapshots, by kind of cue."""

    def trained(head="pam"):
        folder = toy.folder / head
        paths = {
            "pseudo_instances": folder / "pseudo.h5", "weights": folder / "w.safetensors",
            "snapshots": folder / "s.safetensors",
        }  # fmt: skip
        if not folder.exists():
            cues = toy.cue_file(toy.folder / f"cues_{head}.h5", head=head)
            pseudo = paths["pseudo_instances"]
            transfer_semantics(
                images=toy.images, semantics=toy.semantics, cues=cues, output=pseudo, run="bestie",
                settings=tiny().transfer,
            )  # fmt: skip
            train_bestie(
                images=toy.images, pseudo_instances=pseudo, backbone_weights=None, output_weights=paths["weights"],
                output_curves=folder / "c.json", output_plot=folder / "c.png", output_snapshots=paths["snapshots"],
                settings=tiny(train=SETTINGS).train, device="cpu",
            )  # fmt: skip
        return paths

    return trained


@pytest.fixture
def refine(toy, trained, tmp_path):
    def refine(head="pam", **changed):
        output = tmp_path / "refined.h5"
        paths = {"images": toy.images, **trained(head), "output": output, **changed}
        refine_labels(**paths, settings=tiny().refined_maps, device="cpu")
        with read(output, RefinedLabels) as refined:
            return refined.header, {record.image: record for record in refined}

    return refine


def test_snapshots_hold_the_weights_after_their_updates(trained):
    paths = trained()
    metadata, weights = read_metadata(paths["snapshots"]), read_weights(paths["weights"])
    assert (metadata["step"], metadata["updates"]) == ("train_bestie", [1, 2])
    for start in ("000001/", "000002/"):
        found = read_weights(paths["snapshots"], start=start)
        assert found.keys() == weights.keys()
        assert any(not torch.equal(found[name], weights[name]) for name in weights)


def test_labels_of_every_update_are_parts_of_the_map_of_tagged_classes(refine, toy):
    header, found = refine()
    assert header["updates"] == [1, 2, 3]
    assert (header["run"], header["supervision"]) == ("bestie", "image tags")
    assert list(found) == toy.ids
    for i, record in enumerate(found.values()):
        assert set(record.updates) <= {1, 2, 3}
        assert toy.tags[i][record.classes].all()
        for update in header["updates"]:
            one = record.after(update)
            assert (np.diff(one.scores) <= 0).all()
            assert (one.regions.masks().sum(0) <= 1).all()
            for mask, label in zip(one.regions.masks(), one.classes, strict=True):
                assert (toy.labels(i)[mask] == 1 + label).all()


def test_with_points_every_pixel_of_a_class_with_one_is_labelled(refine, toy):
    _, found = refine("points")
    for update in (1, 2, 3):
        one = found["p0"].after(update)
        assert (one.scores == 1).all()
        assert ((one.regions.masks().sum(0) == 1) == (toy.labels(0) == 1)).all()
    assert not len(found["p2"].classes)  # its one point names a class that is not there
    assert not len(found["p3"].classes)  # no tags


def record_of(labels, *, points=(), by_points=False):
    return PseudoInstances(
        image="p", labels=labels, instances=np.zeros(labels.shape, np.int32), candidates=0,
        classes=np.zeros(0, np.int32), centroids=np.zeros((0, 2), np.float32),
        points=np.array([place for _, *place in points], np.float32).reshape(-1, 2),
        point_classes=np.array([label for label, *_ in points], np.int32), point_scores=np.ones(len(points), np.float32), by_points=by_points,
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_labels_are_those_that_training_learns_from(official, seed):
    """Equal pixels and equal weights (equation 2), from probabilities as from logits."""
    settings = official().train.refinement.model_copy(update={"min_area": 12, "max_instances": None})
    labels, tags, heatmap, offsets = random_case(seed, size=(32, 40))
    logits = torch.randn(1, heatmap.shape[1] + 1, 32, 40, generator=torch.Generator().manual_seed(seed))
    tag, label = np.asarray(tags[0]), np.asarray(labels[0])
    parts = batched([class_components(label, classes=tag, min_area=12)])
    expected = refined_targets(Outputs(logits, heatmap[:1], offsets[:1]), parts, sigma=2.0, settings=settings)
    maps = Maps(logits[0].softmax(0), heatmap[0], offsets[0])
    found = labels_of(maps, record_of(label), tags=tag, settings=settings)
    assert len(found.scores) > 0
    weights = np.append(0, found.scores)[found.ids]
    assert np.allclose(weights, expected.weights[0], atol=1e-6)


def test_a_point_has_the_pixels_whose_offsets_lead_to_it():
    labels = np.array([[1, 1, 0, 1, 1, 2]], np.uint8)
    maps = Maps(torch.zeros(3, 1, 6), torch.zeros(2, 1, 6), torch.zeros(2, 1, 6))
    found = labels_of(
        maps, record_of(labels, points=[(0, 0, 4.6), (0, 0, 0)], by_points=True), tags=np.array([True, True]),
        settings=tiny().train.refinement,
    )  # fmt: skip
    assert found.ids.tolist() == [[2, 2, 0, 1, 1, 0]]
    assert found.classes.tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_instances_of_several_maps_keep_their_masks(seed):
    generator, counts = np.random.default_rng(seed), [3, 0, 5]
    maps = [generator.integers(0, count + 1, (6, 7)).astype(np.int32) for count in counts]
    masks = [ids == n + 1 for ids, count in zip(maps, counts, strict=True) for n in range(count)]
    found = joined(maps, counts)
    assert np.array_equal(found.masks(), np.stack(masks))
    assert len(found.sizes) == len(Regions.from_masks(np.stack(masks)).sizes)


def test_snapshots_of_another_training_are_refused(refine, trained, toy, tmp_path):
    with pytest.raises(ValueError, match=r"w\.safetensors has no snapshot of update 1, only of \[\]; train again"):
        refine(snapshots=trained()["weights"])
    with pytest.raises(FileNotFoundError, match="no weights at"):
        refine(snapshots=tmp_path / "none.safetensors")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(trained()["snapshots"].read_bytes()[:500])
    with pytest.raises(ValueError, match="cut off"):
        refine(snapshots=cut)


def test_pseudo_instances_that_do_not_fit_are_refused(refine, toy, tmp_path):
    header = {"run": "bestie", "supervision": "image tags", "cues": "pam"}
    small = write(tmp_path / "small.h5", PseudoInstances, [record_of(np.zeros((5, 5), np.uint8))], **header)
    with pytest.raises(KeyError, match="p0"):
        refine(pseudo_instances=small)
    with read(toy.images, ImageRecord) as images:
        one = write(tmp_path / "one.h5", ImageRecord, [images[0]], **images.header)
    records = [record_of(np.zeros((5, 5), np.uint8))]
    object.__setattr__(records[0], "image", "p0")
    with pytest.raises(ValueError, match=r"'p0' has a map of \(5, 5\).*the image is \(50, 70\)"):
        refine(images=one, pseudo_instances=write(tmp_path / "p.h5", PseudoInstances, records, **header))


def test_prediction_keeps_small_maps_of_every_image(toy, trained, tmp_path):
    maps = tmp_path / "maps.h5"
    predict_bestie(
        images=toy.images, weights=trained()["weights"], cues=None, output=tmp_path / "i.h5", output_maps=maps,
        settings=tiny().predict, run="bestie", device="cpu",
    )  # fmt: skip
    with read(maps, CenterMaps) as kept:
        assert kept.ids == toy.ids
        assert kept.header["run"] == "bestie"
        for record in kept:
            assert record.heatmap.shape == (29, 40)  # 50 x 70, longer side 40
            assert record.offsets.shape == (2, 29, 40)


@pytest.mark.parametrize(("side", "size"), [(8, (4, 8)), (16, (8, 16)), (500, (8, 16))])
def test_small_maps_keep_peaks_and_offsets_and_are_never_enlarged(side, size):
    centers, offsets = torch.zeros(2, 8, 16), torch.zeros(2, 8, 16)
    centers[1, 5, 9], offsets[0], offsets[1] = 0.75, 3.5, torch.arange(16.0)
    centers[0, 0, 0] = -1e6  # beyond what 16 bits hold
    found = small_maps(Maps(torch.zeros(3, 8, 16), centers, offsets), "p", longer_side=side)
    assert found.heatmap.shape == size
    assert found.heatmap.dtype == np.float16
    assert found.heatmap.max() == 0.75
    assert np.isfinite(found.heatmap).all()
    y, x = np.unravel_index(found.heatmap.argmax(), size)
    assert (y, x) == (5 * size[0] // 8, 9 * size[1] // 16)
    assert (found.offsets[0] == 3.5).all()
    assert (np.diff(found.offsets[1]) > 0).all()


@pytest.mark.parametrize("snapshots", [[2, 1], [1, 1], [3], [1, 4], [0]])
def test_snapshots_that_cannot_be_are_refused(snapshots):
    with pytest.raises(ValueError, match="snapshots"):
        tiny(train={**SETTINGS, "snapshots": snapshots})


def test_refined_labels_are_looked_at_as_in_training_at_one_size_and_not_mirrored():
    settings = tiny(predict={"flip": True, "longer_side": 64, "scales": [0.5, 1.5]})
    assert (settings.refined_maps.flip, settings.refined_maps.scales) == (False, [1.0])
    assert settings.refined_maps.longer_side == 64
