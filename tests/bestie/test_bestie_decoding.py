"""From maps to instances, by hand and against plain loops (official code's test)."""

import numpy as np
import pytest
import torch
from torch import nn

from stages.bestie.decoding import decode
from stages.bestie.maps import Maps, predict_maps, with_crf
from stages.bestie.maps import maps_of as maps_in_image
from stages.bestie.network import BestieNetwork, Outputs
from tests.bestie import reference
from tests.bestie.test_bestie_grouping import random_case

SIZE = (20, 30)


def maps_of(labels, scores=(), *, sure=0.8, class_count=2, offsets=None):
    """Maps of an image: `sure` for each pixel's label, heatmap as (class, y, x, score)."""
    labels = np.asarray(labels)
    probabilities = torch.full((class_count + 1, *labels.shape), (1 - sure) / class_count)
    probabilities.scatter_(0, torch.as_tensor(labels, dtype=torch.int64)[None], sure)
    heatmap = torch.zeros(class_count, *labels.shape)
    for category, y, x, score in scores:
        heatmap[category, y, x] = score
    offsets = torch.full((2, *labels.shape), 3.0) if offsets is None else offsets
    return Maps(probabilities, heatmap, offsets)


def blocks():
    """Class 0 in 60 pixels on the left, class 1 in 60 on the right, 49 more of class 1 below."""
    labels = np.zeros(SIZE, np.uint8)
    labels[2:8, 2:12], labels[2:8, 15:25], labels[12:19, 2:9] = 1, 2, 2
    return labels


@pytest.fixture
def settings(official):
    def make(**changes):
        return official(predict=changes).predict

    return make


def listed(found):
    return [
        (int(c), pytest.approx(float(s)), int(a))
        for c, s, a in zip(found.classes, found.scores, found.regions.areas(), strict=True)
    ]


def test_scores_are_the_centers_score_times_mean_probability_best_first(settings):
    """Official code; components below 50 pixels are left out."""
    maps = maps_of(blocks(), [(0, 3, 3, 0.5), (1, 4, 20, 0.9), (1, 15, 5, 0.9)])
    found = decode(maps, tags=None, settings=settings())
    assert listed(found) == [(1, 0.72, 60), (0, 0.4, 60)]
    assert np.array_equal(found.regions.masks()[0], np.pad(np.ones((6, 10), bool), ((2, 12), (15, 5))))
    assert found.classes.dtype == np.int32
    assert found.scores.dtype == np.float32


def test_the_probability_is_the_mean_over_the_instance(settings):
    maps = maps_of(blocks(), [(0, 3, 3, 0.5)])
    maps.probabilities[1, 2:5, 2:12] = 0.6
    assert listed(decode(maps, tags=None, settings=settings(keep_without_center=False))) == [(0, 0.5 * 0.7, 60)]


def test_a_clustered_center_scores_the_square_of_the_probability(settings):
    """Official code: its score of 1 is replaced."""
    maps = maps_of(blocks(), [(0, 4, 4, 0.09)])
    maps.offsets[:, 2:7, 2:6], maps.offsets[:, 2, 6] = 0, 0  # 21 pixels, centroid (3.9, 3.6)
    maps.heatmap[0, 3, 3] = 0.09
    found = decode(maps, tags=None, settings=settings(keep_without_center=False))
    assert listed(found) == [(0, 0.64, 60)]
    found = decode(maps, tags=None, settings=settings(keep_without_center=False, score="class"))
    assert listed(found) == [(0, 0.8, 60)]


@pytest.mark.parametrize(
    ("score", "kept", "expected"),
    [
        pytest.param(0.1, True, [(0, 0.08, 60)], id="at the threshold, kept"),
        pytest.param(0.1, False, [], id="at the threshold, left out"),
        pytest.param(0.2, False, [(0, 0.16, 60)], id="above the threshold"),
        pytest.param(-0.5, True, [(0, 0.0, 60)], id="below zero"),
    ],
)
def test_a_component_without_a_center_is_one_instance_or_left_out(settings, score, kept, expected):
    labels = np.where(blocks() == 1, 1, 0)
    maps = maps_of(labels, [(0, 3, 3, score)])
    assert listed(decode(maps, tags=None, settings=settings(keep_without_center=kept))) == expected


def test_tags_rule_out_other_classes_before_the_most_probable_is_taken(settings):
    labels = blocks()
    maps = maps_of(labels, [(0, 3, 3, 0.5), (0, 4, 20, 0.5), (1, 4, 20, 0.9)])
    maps.probabilities[1][torch.from_numpy(labels == 2)] = 0.19
    found = decode(maps, tags=np.array([True, False]), settings=settings())
    assert listed(found) == [(0, 0.4, 60), (0, 0.095, 60)]
    assert listed(decode(maps, tags=np.array([False, False]), settings=settings())) == []


@pytest.mark.parametrize(("top_k", "classes"), [(None, [0, 1]), (2, [0, 1]), (1, [0])])
def test_the_best_are_kept_and_equal_ones_stay_in_order(settings, top_k, classes):
    maps = maps_of(blocks(), [(0, 3, 3, 0.5), (1, 4, 20, 0.5)])
    assert decode(maps, tags=None, settings=settings(top_k=top_k)).classes.tolist() == classes


@pytest.mark.parametrize("size", [(1, 1), SIZE])
def test_background_alone_gives_nothing(settings, size):
    found = decode(maps_of(np.zeros(size, np.uint8)), tags=None, settings=settings())
    assert len(found.regions) == len(found.classes) == len(found.scores) == 0
    assert found.regions.shape == size


@pytest.mark.parametrize("part", range(3))
def test_maps_that_are_not_finite_are_refused(settings, part):
    maps = maps_of(blocks())
    maps[part][0, 3, 3] = torch.nan if part else torch.inf
    with pytest.raises(ValueError, match=f"{Maps._fields[part]} are not all finite"):
        decode(maps, tags=None, settings=settings())


def test_a_crf_moves_a_contour_to_the_edge_of_the_colours(settings):
    labels, rgb = np.zeros(SIZE, np.uint8), np.full((*SIZE, 3), 40, np.uint8)
    labels[4:16, 5:23], rgb[4:16, 5:19] = 2, 220  # the object ends at column 19, its label at 23
    maps = maps_of(labels, [(1, 8, 10, 0.5)], sure=0.6)
    rough = with_crf(maps, rgb, settings=settings().crf)
    assert rough is maps
    crf = {"iterations": 5, "colour_sxy": 20.0, "colour_srgb": 10.0}
    sharp = with_crf(maps, rgb, settings=settings(crf=crf).crf)
    torch.testing.assert_close(sharp.probabilities.sum(0), torch.ones(SIZE))
    assert sharp.heatmap is maps.heatmap
    wanted = np.zeros(SIZE, bool)
    wanted[4:16, 5:19] = True
    assert (decode(sharp, tags=None, settings=settings()).regions.masks() == wanted).all()
    assert (decode(rough, tags=None, settings=settings()).regions.masks() == (labels == 2)).all()


@pytest.mark.parametrize("seed", range(4))
def test_decoding_equals_plain_loops(settings, seed):
    chosen = settings(min_area=12, grouping={"window": 11, "cluster_tolerance": 12, "cluster_distance": 9.0})
    labels, _, heatmap, offsets = random_case(seed, batch=1)
    labels[labels == 255] = 0
    maps = maps_of(labels[0], class_count=3, offsets=offsets[0])._replace(heatmap=heatmap[0])
    found = decode(maps, tags=None, settings=chosen)
    plain = reference.group(
        heatmap,
        offsets,
        labels,
        np.ones((1, 3), bool),
        min_area=12,
        settings=chosen.grouping,
        keep_without_center=True,
    )
    scores = [0.64 if i.clustered and i.score == 1 else 0.8 * i.score for i in plain]
    order = sorted(range(len(plain)), key=lambda i: -scores[i])
    assert found.scores.tolist() == pytest.approx([scores[i] for i in order], abs=1e-6)
    found_by_mask = {mask.tobytes(): int(c) for mask, c in zip(found.regions.masks(), found.classes, strict=True)}
    assert found_by_mask == {i.mask.numpy().tobytes(): i.category for i in plain}


class Columns(nn.Module):
    """Outputs that tell the input's columns apart: its values, enlarged by repetition."""

    def forward(self, images, *, size):
        grown = nn.functional.interpolate(images, size, mode="nearest")
        return Outputs(grown[:, :3], grown[:, :2], grown[:, 1:])


def image():
    return torch.randn(3, 32, 64, generator=torch.Generator().manual_seed(2))


def test_mirrored_maps_are_averaged_but_not_the_offsets(settings):
    network, x = Columns(), image()
    plain = predict_maps(network, x, size=(32, 64), settings=settings())
    mirrored = predict_maps(network, x, size=(32, 64), settings=settings(flip=True))
    assert torch.equal(plain.probabilities, x.softmax(0))
    for part in range(3):  # such a network sees no difference between an image and its mirror image
        torch.testing.assert_close(plain[part], mirrored[part])


def test_mirrored_maps_are_the_mean_of_both(official):
    torch.manual_seed(0)
    chosen = official(predict={"flip": True}, train={"network": {"initial_std": 0.3}})
    network, x = BestieNetwork(chosen.train, class_count=2).eval(), image()
    found = predict_maps(network, x, size=(30, 60), settings=chosen.predict)
    with torch.no_grad():
        one, other = (network(view[None], size=(30, 60)) for view in (x, x.flip(-1)))
    torch.testing.assert_close(
        found.probabilities, (one.semantic.softmax(1) + other.semantic.softmax(1).flip(-1))[0] / 2
    )
    torch.testing.assert_close(found.heatmap, (one.heatmap + other.heatmap.flip(-1))[0] / 2)
    assert torch.equal(found.offsets, one.offsets[0])
    assert (one.heatmap - other.heatmap.flip(-1)).abs().max() > 1e-6


def test_maps_of_several_scales_are_averaged_at_the_images_size(official):
    torch.manual_seed(0)
    chosen = official(
        predict={"rescale_offsets": True, "scales": [0.5, 1.5], "longer_side": 64},
        train={"network": {"initial_std": 0.3}},
    )
    network = BestieNetwork(chosen.train, class_count=2).eval()
    rgb = np.random.default_rng(1).integers(0, 256, (30, 40, 3), np.uint8)
    found = maps_in_image(network, rgb, settings=chosen.predict)
    small, large = (
        maps_in_image(network, rgb, settings=chosen.predict.model_copy(update={"longer_side": side, "scales": [1.0]}))
        for side in (32, 96)
    )
    for one, other, mean in zip(small, large, found, strict=True):
        assert mean.shape[-2:] == (30, 40)
        torch.testing.assert_close(mean, (one + other) / 2)
        assert (one - other).abs().max() > 1e-5


def test_several_scales_need_offsets_in_pixels_of_the_image(settings):
    assert settings(scales=[0.5], rescale_offsets=False).scales == [0.5]
    with pytest.raises(ValueError, match=r"scales has 2 entries, but rescale_offsets is false; .* set rescale_offsets"):
        settings(scales=[0.5, 1.0], rescale_offsets=False)
    with pytest.raises(ValueError, match="at least 1 item"):
        settings(scales=[])


def test_offsets_are_rescaled_only_where_asked(settings):
    network, x = Columns(), image()
    plain, scaled = (
        predict_maps(network, x, size=(48, 32), settings=settings(rescale_offsets=wanted)) for wanted in (False, True)
    )
    torch.testing.assert_close(scaled.offsets[0], plain.offsets[0] * 1.5)
    torch.testing.assert_close(scaled.offsets[1], plain.offsets[1] * 0.5)
