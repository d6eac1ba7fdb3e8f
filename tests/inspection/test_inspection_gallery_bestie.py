"""The gallery of a run of BESTIE: no proposals, but semantic maps, two classifiers, accepted and refined labels, maps."""

import base64
from pathlib import Path

import numpy as np
import pytest

from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.inspection.lens.painted import View
from stages.inspection.lens.painted_maps import center_panels, pseudo_instances_panel, refined_panels, semantics_panel
from stages.ops.drawing import directions, hatch, palette
from tests.inspection.gallery_page import as_text, numbers
from tests.inspection.test_inspection_gallery import HEIGHT, LEFT, RIGHT, SETTINGS, WIDTH, World, build, regions_of

CLASSES = ["cat", "dog"]
PIXELS = HEIGHT * WIDTH
RGB = np.full((2 * HEIGHT, 2 * WIDTH, 3), 100, np.uint8)


def labelled(*rectangles, dtype=np.uint8, shape=(HEIGHT, WIDTH)):
    """A map of numbers, (number, rectangle) each."""
    labels = np.zeros(shape, dtype)
    for number, (y0, y1, x0, x1) in rectangles:
        labels[y0:y1, x0:x1] = number
    return labels


def semantics_of(image, *rectangles, shape=(HEIGHT, WIDTH)):
    return SemanticMaps(image=image, labels=labelled(*rectangles, shape=shape))


def pseudo_of(image, accepted=((LEFT, 0),), cues=((10, 6, 0),), candidates=2):
    points = np.array(cues, np.float32).reshape(-1, 3)
    return PseudoInstances(
        image=image,
        labels=labelled(),
        instances=labelled(*[(1 + i, sides) for i, (sides, _) in enumerate(accepted)], dtype=np.int32),
        candidates=candidates,
        classes=np.array([label for _, label in accepted], np.int32),
        centroids=np.zeros((len(accepted), 2), np.float32),
        points=points[:, :2],
        point_classes=points[:, 2].astype(np.int32),
        point_scores=np.ones(len(points), np.float32),
        by_points=False,
    )


def refined_of(image, *labels):
    """Labels as (update, rectangle, class, weight)."""
    return RefinedLabels(
        image=image,
        **regions_of(*[sides for _, sides, _, _ in labels]),
        classes=np.array([label for _, _, label, _ in labels], np.int32),
        scores=np.array([weight for *_, weight in labels], np.float32),
        updates=np.array([update for update, *_ in labels], np.int32),
    )


def maps_of(image, *, highest=0.75, longest=4.0):
    heatmap, offsets = np.zeros((6, 8), np.float16), np.zeros((2, 6, 8), np.float16)
    heatmap[2, 3], offsets[1, 1, 2] = highest, longest
    return CenterMaps(image=image, heatmap=heatmap, offsets=offsets)


@pytest.fixture
def world(tmp_path):
    def world(ids=("a",)):
        found = World(tmp_path, list(ids), CLASSES)
        found.proposals = found.labels = None
        found.semantics = {i: semantics_of(i, (1, LEFT), (255, (0, 2, 0, 32))) for i in ids}
        found.semantic_cues = dict(found.cues)
        found.pseudo_instances = {i: pseudo_of(i) for i in ids}
        found.refined_labels = {i: refined_of(i, (50, LEFT, 0, 0.25), (50, RIGHT, 1, 0.01)) for i in ids}
        found.maps = {i: maps_of(i) for i in ids}
        return found

    return world


GROUND_TRUTH = World(Path(), ["a"], CLASSES).ground_truth["a"]
VIEW = View(
    rgb=RGB, shape=(HEIGHT, WIDTH), tags=np.array([True, False]), classes=CLASSES, settings=SETTINGS,
    ground_truth=GROUND_TRUTH, records={},
)  # fmt: skip
RUN = {"instances": {"run": "bestie", "method": "bestie"}, "cues": {"head": "pam"}}
TITLES = [
    "semantics", "CAM, tagged: cat", "PAM, tagged: cat", "CAM, predicted: dog", "PAM, predicted: dog",
    "accepted", "refined after 1 update", "refined after 50 updates", "centers", "offsets", "predictions", "ground truth",
]  # fmt: skip


def test_a_row_shows_every_stage_of_bestie(world):
    page = build(world().write(**RUN))
    assert page.titles() == TITLES
    accepted = page.layer("accepted")
    assert (accepted["notes"], len(accepted["points"])) == (["1 accepted of 2 components", "1 cue"], 1)
    assert page.layer("refined after 1 update")["regions"] == []
    refined = page.layer("refined after 50 updates")
    assert not refined["scored"]  # the weakest are shown, too
    assert [(one["c"], one["s"], one["iou"]) for one in refined["regions"]] == [(0, 0.25, 1.0), (1, 0.01, 0.0)]
    assert page.layer("centers")["notes"] == ["highest 0.75"]
    assert page.layer("offsets")["notes"] == ["longest 4 pixels"]
    semantics = numbers(page.layer("semantics"))
    np.testing.assert_array_equal(semantics, labelled((1, LEFT), (255, (0, 2, 0, 32))))


def test_maps_and_offsets_go_to_the_page_as_bytes(world):
    page = build(world().write(**RUN))
    centers = np.frombuffer(base64.b64decode(page.layer("centers")["data"]), np.uint8).reshape(6, 8)
    assert (centers[2, 3], centers.sum()) == (255, 255)
    offsets = page.layer("offsets")
    dy, dx = (np.frombuffer(base64.b64decode(offsets[key]), np.uint8).reshape(6, 8) for key in ("dy", "dx"))
    assert (dy[0, 0], dx[0, 0], dx[1, 2], dy[1, 2]) == (128, 128, 255, 128)


def test_the_page_speaks_of_what_there_is(world):
    text = build(world().write(**RUN)).text
    assert "proposal" not in text
    assert "semantic maps cam (image tags), cues cam, cues pam" in text
    for words in (
        "semantics The semantic map",
        "accepted The components",
        "after updates The labels",
        "centers The heatmap",
    ):
        assert words in text
    plain = world()
    for name in ("semantics", "semantic_cues", "pseudo_instances", "refined_labels", "maps"):
        setattr(plain, name, None)
    text = build(plain.write(**RUN)).text
    for words in ("semantic", "accepted", "refined", "centers", "Side by side", "proposal"):
        assert words not in text


def test_a_run_whose_maps_come_from_its_own_classifier_shows_it_once(world):
    toy = world()
    toy.semantic_cues = None
    titles = build(toy.write(**RUN)).titles()
    assert [title for title in titles if title.startswith(("CAM", "PAM"))] == [
        "PAM, tagged: cat",
        "PAM, predicted: dog",
    ]


def test_images_without_anything_are_shown_too(world):
    toy = world()
    toy.semantics["a"] = semantics_of("a")
    toy.pseudo_instances["a"] = pseudo_of("a", (), (), 0)
    toy.refined_labels["a"] = refined_of("a")
    toy.maps["a"] = maps_of("a", highest=0, longest=0)
    toy.instances["a"] = toy.predicted("a", [], [], [])
    layers = build(toy.write(**RUN)).layers()
    for words in ("background alone", "0 accepted of 0 components", "highest 0.00", "longest 0 pixels"):
        assert words in as_text(layers)
    assert not [
        layer
        for layer in layers
        if layer["type"] == "regions" and layer["title"] != "ground truth" and layer["regions"]
    ]


@pytest.mark.parametrize("name", ["pseudo_instances", "refined_labels", "maps"])
def test_artifacts_of_another_run_are_refused(world, name):
    with pytest.raises(ValueError, match=rf"{name}\.h5 is of run 'other', the predictions are of 'bestie'"):
        build(world().write(**RUN, **{name: {"run": "other"}}))


@pytest.mark.parametrize("name", ["semantics", "semantic_cues", "pseudo_instances", "refined_labels", "maps"])
def test_an_image_that_one_of_them_lacks_is_named(world, name):
    toy = world(("a", "b"))
    del getattr(toy, name)["b"]
    with pytest.raises(ValueError, match=rf"{name}\.h5 lacks 1 of the 2 images"):
        build(toy.write(**RUN))


def test_maps_of_another_size_are_refused(world):
    toy = world()
    toy.semantics["a"] = semantics_of("a", shape=(5, 6))
    with pytest.raises(ValueError, match="'a' has 24x32 pixels, its semantic maps have 5x6"):
        build(toy.write(**RUN))


def test_shares_are_of_the_whole_image_and_colours_of_the_classes():
    top = (0, 2, 0, 32)
    (panel,) = semantics_panel(VIEW, semantics_of("a", (2, RIGHT), (255, top)), {})
    assert [note.text for note in panel.notes] == [
        f"dog {100 * 14 * 12 / PIXELS:.1f} %",
        f"uncertain {100 * 64 / PIXELS:.1f} %",
    ]
    assert (panel.image[20, 50] == np.round(50 + 0.5 * palette(2)[1].astype(int))).all()
    assert (panel.image[30, 10] == 100).all()
    assert 0 < (panel.image[:4] != 100).any(-1).mean() < 1  # hatched


def test_components_and_cues_have_the_colour_of_their_class():
    pseudo = pseudo_of("a", [(LEFT, 1), (RIGHT, 0)], [(3, 3, 0), (20, 30, 1), (21, 30, 1)], 5)
    (panel,) = pseudo_instances_panel(VIEW, pseudo, {})
    assert [note.text for note in panel.notes] == [
        "2 accepted of 5 components",
        "cat: 1 accepted, 1 cue",
        "dog: 1 accepted, 2 cues",
    ]
    assert (panel.image[24, 16] == np.round(50 + 0.5 * palette(2)[1].astype(int))).all()
    assert (panel.image[7, 7] == palette(2)[0]).all()  # the cue


def test_each_update_has_a_panel():
    labels = refined_of("a", (7, LEFT, 0, 0.5), (9, LEFT, 0, 0.9), (9, RIGHT, 0, 0.8))
    panels = refined_panels(VIEW, labels, {"updates": [7, 8, 9]})
    assert [len([note for note in panel.notes if note.colour]) for panel in panels] == [1, 0, 2]


def test_heatmap_and_offsets_are_enlarged_to_the_image():
    assert [panel.image.shape for panel in center_panels(VIEW, maps_of("a"), {})] == [RGB.shape] * 2


@pytest.mark.parametrize(
    ("offset", "colour"),
    [
        pytest.param((0, 1), (255, 0, 0), id="red-to-the-right"),
        pytest.param((1, 0), (128, 255, 0), id="green-below"),
        pytest.param((0, -1), (0, 255, 255), id="cyan-to-the-left"),
        pytest.param((-1, 0), (128, 0, 255), id="violet-above"),
        pytest.param((0, 0), (255, 255, 255), id="white-here"),
    ],
)
def test_a_direction_has_its_colour(offset, colour):
    field = np.broadcast_to(np.array(offset, np.float32)[:, None, None], (2, 3, 4))
    found = directions(np.ascontiguousarray(field), 6, 8)
    assert found.shape == (6, 8, 3)
    assert (abs(found.astype(int) - colour) <= 1).all()


def test_half_the_length_has_half_the_colour():
    field = np.zeros((2, 1, 2), np.float32)
    field[1] = [[2, 4]]
    assert directions(field, 1, 2).tolist() == [[[255, 128, 128], [255, 0, 0]]]


def test_only_what_is_masked_is_hatched():
    mask = np.zeros(RGB.shape[:2], bool)
    mask[:10] = True
    found = hatch(RGB, mask, np.array([1, 2, 3], np.uint8))
    assert (found[10:] == 100).all()
    assert 0.1 < (found[:10] == (1, 2, 3)).all(-1).mean() < 0.6
