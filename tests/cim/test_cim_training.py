"""The task, a tiny training from artifacts to artifacts, and prediction."""

import contextlib
import dataclasses
import logging

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from stages.cim.inputs import RegionInputs, scaled_image
from stages.cim.label_clusters import label_clusters
from stages.cim.network import CimNetwork
from stages.cim.predict_cim import Predictor, load_network, predict_cim
from stages.cim.task import CimTask
from stages.cim.train_cim import train_cim
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.networks.backbones import build_backbone
from stages.core.networks.weights import read_metadata, read_weights, save_weights
from stages.core.training.memory import Memory
from stages.ops.regions import Regions
from tests.cim.conftest import SIZE, write_artifact


@pytest.fixture(scope="module")
def labels(toy, official):
    output = toy.folder / "cluster_labels.h5"
    label_clusters(images=toy.images, proposals=toy.proposals, cues=toy.cues, output=output, settings=official().agpl)
    return output


@pytest.fixture
def train(toy, labels, tmp_path):
    def train(settings, *, name="run", cluster_labels=labels):
        folder = tmp_path / name
        train_cim(
            images=toy.images, proposals=toy.proposals, cluster_labels=cluster_labels, backbone_weights=None,
            output_weights=folder / "weights.safetensors", output_curves=folder / "curves.json",
            output_plot=folder / "curves.png", settings=settings.train, device="cpu",
        )  # fmt: skip
        return folder / "weights.safetensors"

    return train


@pytest.fixture
def predict(toy, tmp_path):
    def predict(weights, settings, *, name="instances", **inputs):
        output = tmp_path / f"{name}.h5"
        inputs = {"images": toy.images, "proposals": toy.proposals} | inputs
        predict_cim(**inputs, weights=weights, output=output, settings=settings.predict, run="tiny", device="cpu")
        with read(output, Instances) as instances:
            return list(instances), instances.header

    return predict


@pytest.fixture
def task_of(toy, labels):
    with contextlib.ExitStack() as stack:
        kinds = ((toy.images, ImageRecord), (toy.proposals, Proposals), (labels, ClusterLabels))
        images, proposals, clusters = (stack.enter_context(read(path, kind)) for path, kind in kinds)

        def task(settings):
            network = CimNetwork(
                build_backbone(settings.train.backbone), class_count=3, settings=settings.train.network
            )
            return CimTask(network, images=images, proposals=proposals, labels=clusters, settings=settings.train)

        yield task


def same_batches(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_every_entry_comes_once_an_epoch_in_another_order_each_time(task_of, official):
    task = task_of(official())
    epochs = [[task.entry(8 * epoch + place) for place in range(8)] for epoch in range(3)]
    usable = [(i, flip) for i in (0, 1, 3, 5) for flip in (False, True)]
    assert all(sorted(entries) == usable for entries in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[2] == [task_of(official()).entry(16 + place) for place in range(8)]


def test_images_without_proposals_are_listed_and_left_out(task_of, official, caplog):
    with caplog.at_level(logging.WARNING):
        task_of(official())
    assert "1 of 6 images without proposals are not trained on: p2" in caplog.text


def test_a_batch_holds_one_image_as_it_is_or_mirrored(task_of, toy, labels, official):
    settings = official(
        train={"data": {"longer_sides": [56]}, "inputs": {"inclusive_clip": False, "inclusive_flip": False}}
    )
    task = task_of(settings)
    for number in range(8):
        i, flip = task.entry(number)
        found = task.batch(number // 2, number % 2, np.random.default_rng(0))
        masks = toy.masks[i][:, :, ::-1] if flip else toy.masks[i]
        np.testing.assert_array_equal(found.boxes[:, 0], masks.any(1).argmax(1))
        np.testing.assert_array_equal(found.boxes[:, 1], masks.any(2).argmax(1))
        areas = (found.membership * found.atom_sizes).sum(1)
        np.testing.assert_array_equal(areas, masks.sum((1, 2)))
        np.testing.assert_array_equal(found.tags, toy.tags[i])
        assert found.inputs.shape == (1, 3, 40, 56)
        with read(labels, ClusterLabels) as artifact:
            np.testing.assert_array_equal(found.clusters, artifact[i].clusters)
            np.testing.assert_array_equal(found.cluster_classes, artifact[i].cluster_classes)
        assert found.clusters.dtype == found.cluster_classes.dtype == torch.int64


@pytest.mark.parametrize("choice", ["best", "random"])
def test_no_more_proposals_than_allowed(task_of, official, choice):
    task = task_of(official(train={"data": {"max_proposals": 4, "proposal_choice": choice}}))
    full = task_of(official())
    numbers = {task.entry(n)[0]: n for n in range(8) if not task.entry(n)[1]}
    assert len(task.batch(numbers[3] // 2, numbers[3] % 2, np.random.default_rng(0)).boxes) == 1
    few, again, other = (task.batch(numbers[0] // 2, numbers[0] % 2, np.random.default_rng(seed)) for seed in (1, 1, 2))
    whole = full.batch(numbers[0] // 2, numbers[0] % 2, np.random.default_rng(1))
    assert same_batches(few, again)
    assert len(few.boxes) == len(few.crops) == len(few.membership) == len(few.clusters) == 4
    if choice == "best":
        torch.testing.assert_close(few.boxes, whole.boxes[:4])
        torch.testing.assert_close(few.clusters, whole.clusters[:4])
        torch.testing.assert_close(
            (few.membership * few.atom_sizes).sum(1), (whole.membership * whole.atom_sizes).sum(1)[:4]
        )
    else:
        assert not torch.equal(few.boxes, other.boxes)


@pytest.mark.parametrize("memory_gb", [0.0, 1.0])
def test_kept_features_give_the_same_losses_whether_kept_or_made_again(task_of, official, memory_gb):
    settings = official(train={"data": {"cache_features": True, "memory_gb": memory_gb, "longer_sides": [64]}})
    losses = []
    for task in (task_of(settings), task_of(settings)):
        task.network.load_state_dict(losses[0][1] if losses else task.network.state_dict())
        task.network.eval()
        for _ in range(2):
            batch = task.batch(0, 0, np.random.default_rng(0))
            assert batch.inputs.dtype == torch.bfloat16
            values = task.losses(batch, np.random.default_rng(0))
            losses.append(({name: value.item() for name, value in values.items()}, task.network.state_dict()))
        assert len(task.memory.kept) == (2 if memory_gb else 0)
    assert all(values == losses[0][0] for values, _ in losses)


def test_kept_features_are_those_of_the_image_to_16_bits(task_of, official):
    plain, cached = (official(train={"data": {"cache_features": on, "longer_sides": [64]}}) for on in (False, True))
    one, other = task_of(plain), task_of(cached)
    other.network.load_state_dict(one.network.state_dict())
    for task in (one, other):
        task.network.eval()
    features = [
        task.network.features(task.batch(0, 0, np.random.default_rng(0)).inputs.float(), from_prefix=task.from_prefix)
        for task in (one, other)
    ]
    torch.testing.assert_close(*features, rtol=0.05, atol=0.05)


def test_memory_keeps_within_its_budget():
    memory, made = Memory(1e-6), []  # a thousand bytes

    def make(count):
        made.append(count)
        return (np.zeros(count, np.uint8),)

    for key, count in (("a", 600), ("b", 500), ("c", 400), ("a", 600), ("b", 500), ("c", 400)):
        assert memory.get(key, lambda count=count: make(count))[0].nbytes == count
    assert made == [600, 500, 400, 500]


def test_labels_of_a_split_are_those_of_each_image(toy, labels):
    with read(labels, ClusterLabels) as found:
        assert found.ids == toy.ids
        assert found.header["supervision"] == "image tags"
        assert [len(found[i].clusters) for i in range(6)] == list(toy.counts)
        assert set(found.find("p4").clusters.tolist()) == {1}  # no tags: all background
        for i in (0, 1, 5):
            tagged = set(np.flatnonzero(toy.tags[i])) | {-1}
            assert set(found[i].cluster_classes.tolist()) <= tagged


def test_training_writes_weights_that_prediction_rebuilds_the_network_from(train, predict, official, toy):
    settings = official(train={"training": {"steps": 4}})
    weights = train(settings)
    assert {"weights.safetensors", "curves.json", "curves.png", "checkpoint"} == {
        path.name for path in weights.parent.iterdir()
    }
    metadata = read_metadata(weights)
    assert metadata["classes"] == ["cat", "dog", "hen"]
    assert metadata["supervision"] == "image tags"
    found, header = predict(weights, settings)
    assert header["method"] == "cim" and header["run"] == "tiny" and header["category_ids"] == [1, 2, 3]
    assert [record.image for record in found] == toy.ids
    assert len(found[2].scores) == 0  # no proposals
    for i, record in enumerate(found):
        assert (np.diff(record.scores) <= 0).all()
        masks = {mask.tobytes() for mask in toy.masks[i]}
        assert all(mask.tobytes() in masks for mask in record.regions.masks())


def test_a_killed_training_goes_on_to_the_same_network_bit_for_bit(train, official, tmp_path, killed_after):
    settings = official()
    straight = train(settings, name="straight")
    saved, often = tmp_path / "killed", official(train={"training": {"checkpoint_minutes": 1e-9}})
    with killed_after(1):
        train(often, name="killed")
    assert (saved / "checkpoint").is_dir()
    # The rest of the way without another kill; the checkpoint's identity is that of `often`.
    resumed = train(often, name="killed")
    ours, theirs = read_weights(resumed), read_weights(straight)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (saved / "checkpoint" / "finished.json").is_file()


def test_training_learns_without_labels_with_mist_and_paper_settings(train, official):
    settings = official(train={
        "pseudo_labels": "none", "mining": {"strategy": "mist", "one_class": False, "big_share": None},
        "losses": {"refinement_mil": 0.0}, "training": {"steps": 2}, "data": {"cache_features": True, "memory_gb": 0.1},
    })  # fmt: skip
    train(settings, cluster_labels=None)


@pytest.mark.parametrize(("pseudo_labels", "given"), [("agpl", False), ("none", True)])
def test_labels_missing_or_not_wanted_are_an_error(train, official, labels, pseudo_labels, given):
    settings = official(train={"pseudo_labels": pseudo_labels})
    with pytest.raises(ValueError, match=f"pseudo_labels is '{pseudo_labels}'"):
        train(settings, cluster_labels=labels if given else None)


def test_labels_of_other_proposals_are_an_error(train, official, toy, tmp_path):
    other = tmp_path / "labels.h5"
    few = tmp_path / "proposals.h5"
    with read(toy.proposals, Proposals) as proposals:
        header, records = proposals.header, [proposals[i] for i in range(len(proposals))]
    with create(few, Proposals, header={**header, "source": "b"}, provenance=Provenance("t", None, None, {})) as out:
        for record in records:
            out.append(record)
    label_clusters(images=toy.images, proposals=few, cues=toy.cues, output=other, settings=official().agpl)
    with pytest.raises(ValueError, match="labels other proposals"):
        train(official(), cluster_labels=other)


def test_cues_of_other_classes_are_an_error(toy, official, tmp_path):
    cues = toy.write_cues("other.h5", classes=["cow", "dog", "hen"], supervision="image tags")
    with pytest.raises(ValueError, match="remake the cues"):
        label_clusters(
            images=toy.images, proposals=toy.proposals, cues=cues, output=tmp_path / "x.h5", settings=official().agpl
        )
    assert not (tmp_path / "x.h5").exists()


def test_points_make_labels_that_say_so(toy, official, tmp_path):
    cues = toy.write_cues("points.h5", supervision="points")
    label_clusters(
        images=toy.images, proposals=toy.proposals, cues=cues, output=tmp_path / "x.h5", settings=official().agpl
    )
    with read(tmp_path / "x.h5", ClusterLabels) as found:
        assert found.header["supervision"] == "points"


def test_weights_of_something_else_are_an_error(predict, official, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, torch.nn.Linear(1, 1), {"step": "train_classifier"})
    with pytest.raises(ValueError, match="not written by train_cim, but by 'train_classifier'"):
        predict(path, official())


def test_prediction_choices(train, predict, official, toy):
    weights = train(official(train={"training": {"steps": 1}}))
    whole, _ = predict(weights, official(predict={"proposal_chunk": 1000}))
    chunked, _ = predict(weights, official(predict={"proposal_chunk": 2}))
    for a, b in zip(whole, chunked, strict=True):
        np.testing.assert_array_equal(a.classes, b.classes)
        np.testing.assert_allclose(a.scores, b.scores, rtol=1e-5)
    tagged, _ = predict(weights, official(predict={"use_tags": True}))
    assert all(toy.tags[i][record.classes].all() for i, record in enumerate(tagged))
    assert len(tagged[4].scores) == 0
    best, _ = predict(weights, official(predict={"max_proposals": 1}))
    for i in (0, 1, 3, 5):
        assert {mask.tobytes() for mask in best[i].regions.masks()} <= {toy.masks[i][0].tobytes()}
    few, _ = predict(weights, official(predict={"top_k": 2}))
    assert max(len(record.scores) for record in few) == 2


@pytest.fixture
def ranked(toy, tmp_path):
    """The proposals with class scores that like the last one best, as semantic maps of annotations might."""
    records = []
    for i, count in enumerate(toy.counts):
        class_scores = np.repeat(np.linspace(0.1, 1, count, dtype=np.float32)[:, None], 3, axis=1)
        records.append(dataclasses.replace(toy._proposals(i), class_scores=class_scores))
    return write_artifact(
        tmp_path / "ranked.h5", Proposals, records, source="fits", supervision="label-free", ranked_by="masks"
    )


def test_class_scores_of_ranked_proposals_count_and_what_ranked_them_is_named(train, predict, official, toy, ranked):
    weights = train(official(train={"training": {"steps": 1}}))
    found, header = predict(weights, official(predict={"prior_share": 1.0}), proposals=ranked)
    assert header["supervision"] == "masks"
    assert (found[0].regions.masks()[0] == toy.masks[0][-1]).all()
    np.testing.assert_allclose(found[0].scores[0], 1)
    assert predict(weights, official(), proposals=ranked)[1]["supervision"] == "masks"  # their order alone tells
    with pytest.raises(ValueError, match="the proposals' source scores no classes"):
        predict(weights, official(predict={"prior_share": 0.5}))


def test_maps_that_prediction_reads_must_be_there_and_fit(train, predict, official, toy, tmp_path):
    weights = train(official(train={"training": {"steps": 1}}))
    reading = official(predict={"map_weight": 2.0, "crf": {"iterations": 1}})
    with pytest.raises(ValueError, match="map_weight is 2.0 and map_power 0.0, but no semantic maps are given"):
        predict(weights, reading)
    for name, header, shape, message in (
        ("classes", {"classes": ["cow", "dog", "hen"]}, SIZE, "remake the maps"),
        ("size", {}, (3, 4), r"has a map of \(3, 4\) \(height, width\), expected"),
    ):
        records = [SemanticMaps(image=image, labels=np.zeros(shape, np.uint8)) for image in toy.ids]
        given = {"source": "cam", "supervision": "image tags"} | header
        maps = write_artifact(tmp_path / f"{name}.h5", SemanticMaps, records, **given)
        with pytest.raises(ValueError, match=message):
            predict(weights, reading, semantics=maps)


@pytest.fixture
def predictor(train, official, toy):
    exact = {"inclusive_clip": False, "inclusive_flip": False}
    settings = official(train={"training": {"steps": 1}, "inputs": exact})
    with read(toy.images, ImageRecord) as images:
        network, trained, _ = load_network(train(settings), images, device="cpu")
    return Predictor(network, trained=trained, settings=settings.predict)


def candidates(masks, inputs):
    return RegionInputs.of(Regions.from_masks(masks), crop_size=7, settings=inputs)


def test_a_score_is_the_mean_of_scales_mirror_images_and_branches_of_class_times_integrity(predictor, toy):
    inputs, expected = predictor.trained.inputs, []
    for side in (48, 64):
        for rgb, masks in ((toy.rgb[0], toy.masks[0]), (toy.rgb[0][:, ::-1], toy.masks[0][:, :, ::-1])):
            image = torch.from_numpy(scaled_image(np.ascontiguousarray(rgb), side, flip=False, settings=inputs))
            seen = candidates(masks, inputs)
            with torch.no_grad():
                boxes = torch.from_numpy(seen.boxes * np.float32(side / 56))
                found = predictor.network(image, boxes, torch.from_numpy(seen.crops))
            for classes, integrity in found.refined:
                expected.append((classes * integrity)[:, 1:].numpy())
    scores = predictor.scores(toy.rgb[0], candidates(toy.masks[0], inputs))
    np.testing.assert_allclose(scores, np.mean(expected, axis=0), rtol=1e-4)


def test_scores_do_not_depend_on_the_order_of_proposals(predictor, toy):
    order = np.random.default_rng(0).permutation(toy.counts[0])
    straight, mixed = (
        predictor.scores(toy.rgb[0], candidates(toy.masks[0][index], predictor.trained.inputs))
        for index in (slice(None), order)
    )
    np.testing.assert_allclose(straight[order], mixed, rtol=1e-5)


def test_a_term_without_its_heads_is_refused(official):
    with pytest.raises(ValidationError, match="integrity_heads is false"):
        official(train={"network": {"integrity_heads": False}})
