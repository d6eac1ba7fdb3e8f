"""Given points at test time, by hand and against plain loops, and the step that reads them."""

import logging

import numpy as np
import pytest
import torch

from stages.bestie.components import batched
from stages.bestie.decoding import decode_at_points
from stages.bestie.grouping import group_at_points
from stages.bestie.maps import Maps
from stages.bestie.predict_bestie import predict_bestie
from stages.bestie.targets import Points
from stages.bestie.train_bestie import train_bestie
from stages.bestie.transfer_semantics import transfer_semantics
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.map_components import class_regions
from stages.core.artifacts.storage import read
from tests.bestie import reference
from tests.bestie.test_bestie_decoding import blocks, maps_of
from tests.bestie.test_bestie_grouping import CLASS_COUNT, random_case
from tests.bestie.toy import Toy, tiny, write

BOTH = np.array([True, True])


def points_of(rows):
    """Points of one image from (class, y, x)."""
    table = np.array(rows, np.int64).reshape(-1, 3)
    return Points.of_image(table[:, 1:], table[:, 0])


@pytest.fixture
def at_points(official):
    """A function from maps and points (class, y, x) to instances (class, score, area) and what is lost."""

    def at_points(maps, rows, *, tags=BOTH, **changes):
        settings = official(predict={"use_tags": True, "use_points": True, **changes}).predict
        found, lost = decode_at_points(maps, points_of(rows), tags=tags, settings=settings)
        assert (found.classes.dtype, found.scores.dtype) == (np.int32, np.float32)
        areas = found.regions.areas().tolist()
        scores = [pytest.approx(float(score)) for score in found.scores]
        return list(zip(found.classes.tolist(), scores, areas, strict=True)), tuple(lost), found

    return at_points


def still(labels, **options):
    """Maps whose offsets are 0: pixels go to the nearest point."""
    return maps_of(labels, offsets=torch.zeros(2, *np.shape(labels)), **options)


def row(*labels, **options):
    """Maps of an image of one row of pixels."""
    return still([list(labels)], **options)


def test_all_pixels_of_a_class_go_to_its_points_with_the_mean_probability_as_score(at_points):
    """Official code: parts need not be connected, and 49 pixels below `min_area` count as others do."""
    maps = still(blocks())
    maps.probabilities[2, 12:19, 2:9] = 0.7
    found, lost, instances = at_points(maps, [(1, 15, 5), (0, 4, 7), (1, 4, 20)])
    assert found == [(0, 0.8, 60), (1, 0.8, 60), (1, 0.7, 49)]
    assert lost == (0, 0)
    assert np.array_equal(instances.regions.masks()[2], np.pad(np.ones((7, 7), bool), ((12, 1), (2, 21))))
    found, _, _ = at_points(maps, [(1, 4, 20)])
    assert found == [(1, pytest.approx((60 * 0.8 + 49 * 0.7) / 109), 109)]


def test_pixels_go_where_their_offsets_lead_and_to_the_first_of_equally_near_points(at_points):
    """Equation 1 with the points as centers."""
    maps = row(1, 1, 1, 1, 1)
    maps.offsets[1, 0, 0] = 4.0
    _, _, instances = at_points(maps, [(0, 0, 4), (0, 0, 0)])
    assert instances.ids.tolist() == [[1, 2, 1, 1, 1]]


@pytest.mark.parametrize("score", ["center_and_class", "class"])
def test_center_maps_components_and_grouping_do_not_count(at_points, score):
    """Official code: the score is the mean probability alone."""
    maps = still(blocks())
    wanted, lost, _ = at_points(maps, [(1, 4, 20)])
    maps.heatmap.fill_(0.9)
    changes = {"min_area": 500, "keep_without_center": False, "grouping": {"window": 3, "center_threshold": 1.0}}
    assert at_points(maps, [(1, 4, 20)], score=score, **changes)[:2] == (wanted, lost)


def test_tags_rule_out_other_classes_before_the_most_probable_is_taken(at_points):
    """Official code: probabilities of other classes become 0, those of the tagged ones are not divided anew."""
    maps = row(1, 2, 2, sure=0.6)
    maps.probabilities[:, 0, 1:] = torch.tensor([0.1, 0.3, 0.6])[:, None]
    found, lost, _ = at_points(maps, [(0, 0, 0), (1, 0, 2)], tags=np.array([True, False]))
    assert found == [(0, pytest.approx((0.6 + 2 * 0.3) / 3), 3)]
    assert lost == (1, 0)  # the point of a class that the image is not tagged with


@pytest.mark.parametrize(
    ("labels", "rows", "areas", "lost"),
    [
        pytest.param([1, 1, 2], [], [], (0, 2), id="no points"),
        pytest.param([1, 1, 2], [(0, 0, 0)], [2], (0, 1), id="a class without a point"),
        pytest.param([1, 1, 0], [(0, 0, 0), (1, 0, 1)], [2], (1, 0), id="a class without a pixel"),
        pytest.param([1, 1, 0], [(0, 0, 1), (0, 0, 1)], [2], (1, 0), id="two points at one pixel"),
        pytest.param([1, 1, 2], [(0, 0, 2), (0, 0, 0)], [1, 1], (0, 1), id="a point outside its region"),
        pytest.param([1, 1, 2], [(0, 0, 2)], [2], (0, 1), id="the only point outside its region"),
        pytest.param([1, 0, 0], [(0, 0, 0), (0, 0, 2)], [1], (1, 0), id="a point with a nearer rival everywhere"),
        pytest.param([0, 0, 0], [(0, 0, 0), (1, 0, 1)], [], (2, 0), id="background alone"),
    ],
)
def test_what_cannot_become_an_instance_is_counted(at_points, labels, rows, areas, lost):
    found, missed, instances = at_points(row(*labels), rows)
    assert sorted(area for _, _, area in found) == sorted(areas)
    assert missed == lost
    assert instances.regions.shape == (1, 3)


def test_a_point_outside_its_region_takes_the_pixels_that_are_nearest_to_it(at_points):
    assert at_points(row(1, 1, 2), [(0, 0, 2), (0, 0, 0)])[2].ids.tolist() == [[2, 1, 0]]
    assert at_points(row(1, 1, 2), [(0, 0, 2)])[2].ids.tolist() == [[1, 1, 0]]


@pytest.mark.parametrize(("top_k", "kept"), [(None, [(1, 1), (0, 1), (0, 2)]), (2, [(1, 1), (0, 1)])])
def test_the_best_are_kept_and_equal_ones_stay_in_the_order_of_classes_and_points(at_points, top_k, kept):
    maps = row(1, 1, 1, 2)
    maps.probabilities[2, 0, 3] = 0.9
    found, lost, instances = at_points(maps, [(1, 0, 3), (0, 0, 0), (0, 0, 2)], top_k=top_k)
    # The first two pixels are the first point's, as the second pixel is equally near to both.
    areas = {(1, 1): 1, (0, 1): 2, (0, 2): 1}
    assert [(label, area) for label, _, area in found] == [(label, areas[label, n]) for label, n in kept]
    assert lost == (0, 0)
    assert (instances.ids[0] > 0).sum() == sum(areas[one] for one in kept)


@pytest.mark.parametrize("part", range(3))
def test_maps_that_are_not_finite_are_refused(at_points, part):
    maps = still(blocks())
    maps[part][0, 3, 3] = torch.nan if part else torch.inf
    with pytest.raises(ValueError, match=f"{Maps._fields[part]} are not all finite"):
        at_points(maps, [(0, 4, 7)])


def random_points(rng, size, count):
    """Points (class, y, x), some in the first row or column, some at one pixel."""
    rows = np.stack([rng.integers(0, high, count) for high in (CLASS_COUNT, *size)], 1)
    rows[rng.random(count) < 0.2, 1] = 0
    rows[rng.random(count) < 0.2, 2] = 0
    return [tuple(map(int, one)) for one in np.concatenate([rows, rows[: count // 4]])]


@pytest.mark.parametrize("seed", range(6))
def test_decoding_at_points_equals_plain_loops(official, seed):
    rng = np.random.default_rng(seed)
    _, tags, heatmap, offsets = random_case(seed, batch=1)
    if seed % 2:  # whole steps: many ties
        offsets = offsets.round()
    size = heatmap.shape[-2:]
    probabilities = torch.from_numpy(
        rng.dirichlet(np.ones(CLASS_COUNT + 1), size).astype(np.float32).transpose(2, 0, 1)
    )
    rows = random_points(rng, size, (0, 1, 4, 9, 20, 40)[seed])
    settings = official(predict={"use_tags": True, "use_points": True}).predict
    maps = Maps(probabilities, heatmap[0], offsets[0])
    found, lost = decode_at_points(maps, points_of(rows), tags=tags[0], settings=settings)
    plain = reference.decode_at_points(probabilities.numpy(), offsets[0].numpy(), rows, tags[0])
    assert lost.points == len(rows) - len(plain)
    assert found.scores.tolist() == pytest.approx([score for _, score, _ in plain], abs=1e-6)
    found_by_mask = {mask.tobytes(): int(c) for mask, c in zip(found.regions.masks(), found.classes, strict=True)}
    assert found_by_mask == {mask.tobytes(): category for category, _, mask in plain}


@pytest.mark.parametrize("seed", range(3))
def test_grouping_a_batch_to_points_equals_plain_loops(seed):
    rng = np.random.default_rng(seed)
    labels, tags, _, offsets = random_case(seed)
    regions = batched([class_regions(one, classes=tagged) for one, tagged in zip(labels, tags, strict=True)])
    rows = [random_points(rng, labels.shape[1:], 12) for _ in labels]
    each = [points_of(own) for own in rows]
    points = Points(
        torch.cat([one.yx for one in each]), torch.arange(2).repeat_interleave(len(rows[0])),
        torch.cat([one.classes for one in each]),
    )  # fmt: skip
    pixels, point_id, found = group_at_points(offsets, regions, points, class_count=CLASS_COUNT)
    nowhere = torch.full((1, 2), -1)
    centers = torch.cat([found.yx, nowhere])[point_id]  # of each pixel
    plain = torch.full((*labels.shape, 2), -1)
    for image, category in np.argwhere(tags):
        own = [(y, x) for label, y, x in rows[image] if label == category]
        ids = reference.group_at_points(offsets[image].numpy(), labels[image] == category + 1, own)
        for number, center in enumerate(own, start=1):
            plain[image][torch.from_numpy(ids == number)] = torch.tensor(center)
    assert torch.equal(plain.reshape(-1, 2)[pixels.index], centers)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("points"))


@pytest.fixture(scope="module")
def weights(toy):
    """Of a network that has hardly learned and sees all classes, trained by image tags."""
    settings, pseudo, folder = tiny(train={"network": {"initial_std": 1.0}}), toy.folder / "pseudo.h5", toy.folder
    transfer_semantics(
        images=toy.images, semantics=toy.semantics, cues=toy.cues, output=pseudo, run="bestie", settings=settings.transfer,
    )  # fmt: skip
    train_bestie(
        images=toy.images, pseudo_instances=pseudo, backbone_weights=None, output_weights=folder / "weights.safetensors",
        output_curves=folder / "curves.json", output_plot=folder / "curves.png",
        output_snapshots=folder / "snapshots.safetensors", settings=settings.train, device="cpu",
    )  # fmt: skip
    return folder / "weights.safetensors"


@pytest.fixture
def predict(toy, weights, tmp_path):
    def predict(cues, *, images=toy.images, use_points=True):
        settings = tiny(predict={"use_tags": True, "use_points": use_points}).predict
        output = tmp_path / "found.h5"
        predict_bestie(
            images=images, weights=weights, cues=cues, output=output, output_maps=tmp_path / "maps.h5", settings=settings,
            run="bestie", device="cpu",
        )  # fmt: skip
        with read(output, Instances) as instances:
            return instances.header, instances.provenance, {record.image: record for record in instances}

    return predict


def points_file(toy, path, rows, **header):
    """Points of the toy's images, (class, y, x) each."""
    records = []
    for image, own in zip(toy.ids, rows, strict=False):
        table = np.array(own, np.int32).reshape(-1, 3)
        records.append(
            Cues(
                image=image, responses=np.zeros((3, 0, 0), np.float32), class_scores=np.zeros(3, np.float32),
                peaks=table[:, 1:], peak_classes=table[:, 0], peak_scores=np.ones(len(table), np.float32),
            )
        )  # fmt: skip
    return write(path, Cues, records, **{"head": "points", "supervision": "points", **header})


def test_a_step_groups_to_the_points_of_each_image_and_says_what_it_lost(toy, predict, tmp_path, caplog):
    rows = [[(0, 10, 10), (0, 30, 50), (1, 5, 5)], [(1, 10, 10)], [], [(2, 20, 20)]]  # p3 has no tags
    with caplog.at_level(logging.INFO):
        header, provenance, records = predict(points_file(toy, tmp_path / "points.h5", rows))
    assert header["supervision"] == "points"  # though the network learned from tags
    assert sorted(provenance["inputs"]) == ["cues", "images"]
    counts = [len(record.scores) for record in records.values()]
    assert counts[2:] == [0, 0]
    assert any(counts)
    for i, record in enumerate(records.values()):
        assert set(record.classes) <= {label for label, _, _ in rows[i] if toy.tags[i, label]}
    (said,) = [record.getMessage() for record in caplog.records if "got no pixel" in record.getMessage()]
    assert f"{5 - sum(counts)} of 5 points got no pixel" in said
    assert "1 images none at all" in said


def test_without_points_neither_log_nor_supervision_speaks_of_them(predict, caplog):
    with caplog.at_level(logging.INFO):
        header, provenance, _ = predict(None, use_points=False)
    assert header["supervision"] == "image tags"
    assert sorted(provenance["inputs"]) == ["images"]
    assert not [record for record in caplog.records if "point" in record.getMessage()]


def test_an_empty_list_of_images_has_no_instances(toy, predict, tmp_path):
    with read(toy.images, ImageRecord) as images:
        none = write(tmp_path / "none.h5", ImageRecord, [], **images.header)
    assert predict(points_file(toy, tmp_path / "points.h5", [[]]), images=none)[2] == {}


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        pytest.param([[(0, 1, 1)]] * 4, {"head": "pam"}, "holds cues of 'pam', not points", id="a classifier's cues"),
        pytest.param([[(0, 1, 1)]] * 4, {"classes": ["cat"]}, r"holds classes \['cat'\]", id="other classes"),
        pytest.param([[]] * 4, {}, r"no image has a point .*\(0 points and 4 tags of 4 images\)", id="no points"),
        pytest.param(
            [[(2, 1, 1)], [], [], [(0, 1, 1)]], {}, r"tagged with \(2 points", id="points of other classes alone"
        ),
    ],
)
def test_cues_that_give_no_points_are_refused(toy, predict, tmp_path, rows, header, message):
    with pytest.raises(ValueError, match=message):
        predict(points_file(toy, tmp_path / "points.h5", rows, **header))
    assert not (tmp_path / "found.h5").exists()


def test_a_missing_image_is_named_before_anything_is_predicted(toy, predict, tmp_path, monkeypatch):
    monkeypatch.setattr("stages.bestie.predict_bestie.load_network", lambda *_, **__: pytest.fail("read too late"))
    with pytest.raises(KeyError, match="no image 'p1'"):
        predict(points_file(toy, tmp_path / "points.h5", [[(0, 1, 1)]]))


@pytest.mark.parametrize("use_points", [True, False])
def test_points_are_given_where_they_are_used_alone(toy, predict, tmp_path, use_points):
    cues = None if use_points else points_file(toy, tmp_path / "points.h5", [[(0, 1, 1)]] * 4)
    with pytest.raises(ValueError, match=f"use_points is {use_points}, cues are .*give cues where it is set"):
        predict(cues, use_points=use_points)


def test_points_need_tags():
    with pytest.raises(ValueError, match="use_points is true, but use_tags is false"):
        tiny(predict={"use_points": True})


def test_a_point_lies_in_the_pixel_that_holds_it():
    found = Points.of_image(np.array([[1.9, 0.2], [3.0, 2.999]]), np.array([2, 0], np.int32))
    assert found.yx.tolist() == [[1, 0], [3, 2]]
    assert (found.images.tolist(), found.classes.tolist()) == ([0, 0], [2, 0])
