"""The two steps that make pseudo instances: semantic knowledge transfer, and an earlier run's predictions."""

import numpy as np
import pytest

from stages.bestie.inputs import check_anything_accepted
from stages.bestie.iterate_instances import iterate_instances, iterated
from stages.bestie.transfer_semantics import transfer_semantics
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import read
from stages.ops.regions import Regions
from tests.bestie.toy import CLASSES, SIZE, Toy, rectangles, tiny, write


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def transfer(toy, tmp_path):
    def transfer(*, semantics=toy.semantics, cues=toy.cues, **settings):
        output = tmp_path / "pseudo.h5"
        transfer_semantics(
            images=toy.images, semantics=semantics, cues=cues, output=output, run="bestie",
            settings=tiny(transfer=settings).transfer,
        )  # fmt: skip
        with read(output, PseudoInstances) as pseudo:
            return pseudo.header, {record.image: record for record in pseudo}

    return transfer


def test_components_with_exactly_one_cue_are_instances(transfer, toy):
    header, found = transfer()
    assert header["supervision"] == "image tags"
    assert header["cues"] == "pam"
    assert {image: record.classes.tolist() for image, record in found.items()} == {
        "p0": [0],  # the second cat holds two cues
        "p1": [1],  # the cat of 9 pixels is no candidate
        "p2": [],  # the cue of a dog, which is no tag, names no hen
        "p3": [],  # without tags there is nothing
    }
    assert {image: record.candidates for image, record in found.items()} == {"p0": 2, "p1": 1, "p2": 1, "p3": 0}
    assert (found["p0"].instances == rectangles((5, 30, 8, 30))[0]).all()
    assert found["p0"].centroids.tolist() == [[17.0, 18.5]]
    for record in found.values():
        assert record.centroids.dtype == np.float32
        for number, centroid in enumerate(record.centroids, start=1):
            np.testing.assert_allclose(centroid, np.argwhere(record.instances == number).mean(0), rtol=1e-6)
    assert (found["p0"].labels == toy.labels(0)).all()
    assert found["p1"].points.tolist() == [[10.0, 10.0], [41.0, 51.0]]
    assert not len(found["p2"].points)
    assert (found["p0"].regions.masks() == rectangles((5, 30, 8, 30))).all()


@pytest.mark.parametrize(
    ("settings", "accepted"),
    [
        pytest.param({"cue_threshold": 0.7}, {"p0": 2, "p1": 1}, id="a-weak-cue-does-not-count"),
        pytest.param({"cue_threshold": 0.85}, {"p0": 1, "p1": 0}, id="nor-do-two"),
        pytest.param({"min_area": 9}, {"p0": 1, "p1": 2}, id="small-components-are-candidates"),
    ],
)
def test_settings_of_the_transfer(transfer, settings, accepted):
    _, found = transfer(**settings)
    assert {image: len(found[image].classes) for image in accepted} == accepted


@pytest.mark.parametrize(
    ("maps", "cues", "wanted"),
    [
        pytest.param("image tags", "image tags", "image tags", id="tags"),
        pytest.param("image tags", "points", "points", id="points"),
        pytest.param("masks", "image tags", "masks", id="annotated-maps"),
        pytest.param("masks", "points", "points and masks", id="both"),
    ],
)
def test_supervision_says_all_that_people_have_given(transfer, toy, tmp_path, maps, cues, wanted):
    semantics = toy.maps(tmp_path / "maps.h5", supervision=maps)
    cues = toy.cue_file(tmp_path / "cues.h5", supervision=cues)
    assert transfer(semantics=semantics, cues=cues)[0]["supervision"] == wanted


def test_maps_of_another_size_are_refused(transfer, toy, tmp_path):
    with pytest.raises(ValueError, match=r"'p0' has a map of \(51, 70\).*says \(50, 70\); remake the maps"):
        transfer(semantics=toy.maps(tmp_path / "maps.h5", size=(51, 70)))


def test_maps_of_other_classes_are_refused(transfer, toy, tmp_path):
    with pytest.raises(ValueError, match=r"holds classes \['hen', 'cat'\]"):
        transfer(semantics=toy.maps(tmp_path / "maps.h5", classes=["hen", "cat"]))


def test_nothing_accepted_is_for_the_training_to_refuse(transfer, tmp_path):
    """A split that is only measured may have nothing, as one without tags."""
    _, found = transfer(cue_threshold=0.95)
    assert not any(len(record.classes) for record in found.values())
    message = "pseudo.h5: none of 4 candidates is accepted .* by 0 cues that count.* change bestie.transfer"
    with read(tmp_path / "pseudo.h5", PseudoInstances) as pseudo, pytest.raises(ValueError, match=message):
        check_anything_accepted(pseudo)


def test_cues_that_lack_an_image_are_named(transfer, toy, tmp_path):
    cues = write(tmp_path / "cues.h5", Cues, [toy.cue_record(0)], head="pam", supervision="image tags")
    with pytest.raises(KeyError, match="p1"):
        transfer(cues=cues)


def predicted(sides, classes, scores, *, size=SIZE):
    return Instances(
        image="p0", **packed_fields(Regions.from_masks(rectangles(*sides, size=size))),
        classes=np.array(classes, np.int32), scores=np.array(scores, np.float32),
    )  # fmt: skip


def test_the_best_instance_takes_a_pixel(toy):
    sides = [(0, 10, 0, 10), (0, 10, 5, 15), (20, 30, 20, 30)]
    found = iterated(
        toy.labels(0), predicted(sides, [0, 0, 1], [0.5, 0.9, 0.9]), tags=np.array([True, False, False]),
        settings=tiny().iteration,
    )  # fmt: skip
    assert found.classes.tolist() == [0, 0]  # the dog is no tag
    assert found.point_scores.tolist() == pytest.approx([0.9, 0.5])
    assert (found.instances == 1).sum() == 100
    assert (found.instances == 2).sum() == 50
    assert found.centroids.tolist() == [[4.5, 9.5], [4.5, 2.0]]
    assert found.candidates == 2


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        pytest.param({"score_threshold": 0.6}, [0.9], id="weak"),
        pytest.param({"min_area": 51}, [0.9], id="small-after-others-took-theirs"),
        pytest.param({"min_area": 50}, [0.9, 0.5], id="large-enough"),
        pytest.param({"score_threshold": 0.95}, [], id="none"),
    ],
)
def test_settings_of_the_iteration(toy, settings, kept):
    sides = [(0, 10, 0, 10), (0, 10, 5, 15)]
    found = iterated(
        toy.labels(0), predicted(sides, [0, 0], [0.5, 0.9]), tags=np.array([True, False, False]),
        settings=tiny(iteration=settings).iteration,
    )  # fmt: skip
    assert found.point_scores.tolist() == pytest.approx(kept)
    assert found.instances.max() == len(kept)


def test_iteration_says_what_it_repeats(toy, tmp_path):
    records = [predicted([(5, 30, 8, 30)], [0], [0.8])]
    records += [
        Instances(
            image=image, **packed_fields(Regions.empty(*SIZE)), classes=np.zeros(0, np.int32),
            scores=np.zeros(0, np.float32),
        )
        for image in toy.ids[1:]
    ]  # fmt: skip
    header = {"run": "bestie", "method": "bestie", "supervision": "points", "category_ids": [1, 2, 3]}
    before = write(tmp_path / "instances.h5", Instances, records, **header)
    output = tmp_path / "pseudo.h5"
    inputs = {"images": toy.images, "semantics": toy.semantics, "instances": before, "output": output, "run": "again"}
    iterate_instances(**inputs, settings=tiny().iteration)
    with read(output, PseudoInstances) as pseudo:
        assert pseudo.header["cues"] == "predictions of bestie"
        assert pseudo.header["supervision"] == "points"
        assert pseudo.header["classes"] == CLASSES
        assert [len(record.classes) for record in pseudo] == [1, 0, 0, 0]
    output.unlink()
    iterate_instances(**inputs, settings=tiny(iteration={"score_threshold": 0.9}).iteration)
    message = "none of 0 candidates is accepted .* change bestie.iteration"
    with read(output, PseudoInstances) as pseudo, pytest.raises(ValueError, match=message):
        check_anything_accepted(pseudo)


def test_masks_of_another_size_are_refused(toy):
    found = predicted([(0, 10, 0, 10)], [0], [0.5], size=(50, 71))
    with pytest.raises(ValueError, match=r"masks are \(50, 71\).*semantic map is \(50, 70\)"):
        iterated(toy.labels(0), found, tags=np.array([True, False, False]), settings=tiny().iteration)
