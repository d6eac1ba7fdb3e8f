"""Labels where semantic maps and a run's instances agree."""

import numpy as np
import pytest

from stages.core.artifacts.instances import Instances
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.ops.regions import Regions
from stages.semantics.agreement import agreed_labels
from stages.semantics.label_agreement import label_agreement
from stages.semantics.settings import AgreementSettings
from tests.semantics.conftest import CLASSES, maps_in, write

TAGS = np.array([True, True, False])


def bars(*spans):
    masks = np.zeros((len(spans), 2, 20), bool)
    for mask, (start, end) in zip(masks, spans, strict=True):
        mask[:, start:end] = True
    return masks


def instances(masks, classes, scores, image="p0"):
    return Instances(
        image=image, classes=np.array(classes, np.int32), scores=np.array(scores, np.float32),
        **packed_fields(Regions.from_masks(masks)),
    )  # fmt: skip


def agreed(labels, found, share=0.5):
    return agreed_labels(labels, found, tags=TAGS, score_share=share)[0].tolist()


def test_a_pixel_keeps_its_label_where_both_say_it():
    labels = np.zeros((2, 20), np.uint8)
    labels[:, 4:10], labels[:, 14:16] = 1, 2
    found = agreed(labels, instances(bars((6, 12), (14, 16)), [0, 0], [0.9, 0.8]))
    assert found == [0] * 4 + [255] * 2 + [1] * 4 + [255] * 2 + [0] * 2 + [255] * 2 + [0] * 4


def test_weak_instances_and_classes_without_a_tag_do_not_count():
    labels = np.zeros((2, 20), np.uint8)
    labels[:, :10] = 1
    found = instances(bars((0, 5), (5, 10), (10, 20)), [0, 0, 2], [0.8, 0.39, 1.0])
    assert agreed(labels, found) == [1] * 5 + [255] * 5 + [0] * 10
    assert agreed(labels, found, share=0.4) == [1] * 10 + [0] * 10
    assert agreed(labels, found, share=1.0) == [1] * 5 + [255] * 5 + [0] * 10  # the best counts always


def test_uncertain_pixels_stay_so_and_the_best_instance_is_seen():
    labels = np.full((2, 20), 255, np.uint8)
    labels[:, :10] = 2
    found = instances(bars((0, 10), (5, 20)), [0, 1], [0.9, 0.8])
    assert agreed(labels, found) == [255] * 20
    assert agreed(labels, instances(bars((0, 10), (5, 20)), [0, 1], [0.7, 0.8])) == [255] * 5 + [2] * 5 + [255] * 10


def test_no_instance_agrees_with_background():
    labels = np.zeros((2, 20), np.uint8)
    labels[:, :3] = 1
    assert agreed(labels, instances(bars(), [], [])) == [255] * 3 + [0] * 17


def test_another_size_is_refused():
    with pytest.raises(ValueError, match=r"image 'p0': masks are \(2, 20\) .* the semantic map is \(3, 20\)"):
        agreed_labels(np.zeros((3, 20), np.uint8), instances(bars(), [], []), tags=TAGS, score_share=0.5)


@pytest.fixture
def label(toy, tmp_path):
    def label(images, records=None, maps=None, **header):
        given = (
            records
            if records is not None
            else [instances(np.zeros((0, *toy.sizes[i]), bool), [], [], toy.ids[i]) for i in range(4)]
        )
        header = {"category_ids": [1, 2, 3], "run": "first", "method": "cim", "supervision": "image tags"} | header
        found = write(tmp_path / "i.h5", Instances, given, **header)
        label_agreement(
            images=images, semantics=maps or toy.labels, instances=found, output=tmp_path / "a.h5",
            settings=AgreementSettings(semantics="cam", run="first", score_share=0.3), source="agreed",
        )  # fmt: skip
        return maps_in(tmp_path / "a.h5")

    return label


def test_the_step_labels_the_split(toy, label, tmp_path, caplog):
    caplog.set_level("INFO")
    records = []
    for i in range(4):
        y0, y1, x0, x1 = toy.sides[i]
        mask = np.zeros((1, *toy.sizes[i]), bool)
        mask[0, y0:y1, x0 : x1 - 4] = True
        records.append(instances(mask, [toy.colours[i]], [0.5], toy.ids[i]))
    header, maps = label(toy.images, records, supervision="points")
    assert header["source"] == "agreed"
    assert header["supervision"] == "points"  # what people have given beyond tags
    for i in range(3):
        y0, y1, x0, x1 = toy.sides[i]
        expected = toy.ground_truth(i)
        expected[y0:y1, x1 - 4 : x1] = 255
        assert (maps[toy.ids[i]] == expected).all()
    assert (maps["p3"] == 255).all()
    assert "1 of 4 images are uncertain everywhere: p3" in caplog.text


def test_a_negative_is_background_and_an_unknown_image_uncertain(toy, label, tmp_path):
    labels = [SemanticMaps(image=toy.ids[i], labels=np.zeros(toy.sizes[i], np.uint8)) for i in range(4)]
    maps = write(tmp_path / "zeros.h5", SemanticMaps, labels)
    assert (label(toy.images, maps=maps)[1]["p3"] == 255).all()
    assert (label(toy.negative(tmp_path), maps=maps)[1]["p3"] == 0).all()


def test_other_classes_are_refused(toy, label, tmp_path):
    with pytest.raises(ValueError, match="predict again"):
        label(toy.images, classes=[*CLASSES[:2], "cow"])
    assert not (tmp_path / "a.h5").exists()
