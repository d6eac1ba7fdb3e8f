"""What trained modules find in images, and the labels that they make through fine-tuning."""

import numpy as np
import pytest

from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.storage import read
from stages.label_penet.follow_labels import follow_labels
from stages.label_penet.predict_label_penet import cut_masks
from stages.label_penet.propagate_labels import propagate_labels
from stages.label_penet.settings import MODULES
from tests.label_penet.conftest import predict, propagate


@pytest.mark.parametrize("module", MODULES)
def test_every_module_predicts_before_and_after_fine_tuning(toy, tiny, cascade, finetuned, module):
    for name, weights in (("before", cascade[0][module]), ("after", finetuned)):
        records, header = predict(toy, tiny(), module, weights, name)
        assert (header["method"], header["supervision"]) == ("label_penet", "image tags")
        assert [record.image for record in records] == toy.ids
        # Masks of heads that have learned next to nothing may have no pixel, and are left out.
        assert sum(len(record.scores) for record in records) or module in ("refinement", "segmentation")
        for record in records:
            assert (np.diff(record.scores) <= 0).all()
            assert len(record.scores) <= 5
            assert (record.regions.areas() > 0).all()
            assert record.boxes.shape == (len(record.scores), 4)
        if module == "classification":
            assert not len(records[4].scores)  # no proposal


def test_with_tags_only_tagged_classes_are_predicted(toy, tiny, finetuned):
    records, _ = predict(toy, tiny(predict={"use_tags": True}), "segmentation", finetuned, "tagged")
    for tags, record in zip(toy.tags, records, strict=True):
        assert tags[record.classes].all()


def test_weak_masks_and_masks_that_the_crf_empties_stand_as_they_are(tiny):
    soft = np.zeros((3, 20, 20), np.float32)
    soft[:, 5:15, 5:15] = 0.9
    soft[1, 5:15, 5:15] = 0
    soft[1, 10, 10] = 0.6  # noise, which a CRF takes for background
    settings = tiny(predict={"crf": {"iterations": 3}}).predict
    boxes = np.tile(np.array([5, 5, 15, 15], np.float32), (3, 1))
    masks = cut_masks(np.zeros((20, 20, 3), np.uint8), soft, boxes, np.array([0.9, 0.9, 0.05]), settings)
    assert masks[1].sum() == 1
    assert masks[2].sum() == 100
    none = tiny(predict={"crf": {"iterations": 0}}).predict
    assert (cut_masks(np.zeros((20, 20, 3), np.uint8), soft, boxes, np.ones(3), none) == (soft >= 0.5)).all()


@pytest.mark.parametrize("box", [(8, 8, 16, 16), (-6, -6, 2, 2), (36, 30, 60, 50), (50, 50, 60, 60)])
def test_the_crf_of_a_mask_sees_its_box_and_what_is_around_it_alone(tiny, box):
    rng = np.random.default_rng(4)
    rgb = rng.integers(0, 255, (40, 48, 3), np.uint8)
    x0, y0, x1, y1 = box
    soft = np.zeros((1, 40, 48), np.float32)
    soft[0, max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = 0.7
    inside = np.zeros((40, 48), bool)  # twice as wide and high as the box, and the pixels that it cuts
    rows, columns = (y0 + y1) / 2, (x0 + x1) / 2
    high, wide = y1 - y0, x1 - x0
    inside[max(int(rows - high), 0) : int(rows + high) + 1, max(int(columns - wide), 0) : int(columns + wide) + 1] = (
        True
    )
    other = np.where(inside[:, :, None], rgb, 255 - rgb)
    settings = tiny(predict={"crf": {"iterations": 3}}).predict
    places, scores = np.array([box], np.float32), np.ones(1)
    first, second = (cut_masks(image, soft, places, scores, settings) for image in (rgb, other))
    assert (first == second).all()
    assert not (first[0] & ~inside).any()


@pytest.fixture
def follow(toy, tiny, finetuned):
    def follow(module, weights=finetuned, **overrides):
        output = toy.folder / "followed" / f"{module}.h5"
        follow_labels(
            images=toy.images, proposals=toy.proposals, weights=weights,
            snapshots=finetuned.with_name("snapshots.safetensors"), output=output,
            settings=tiny(**overrides).labels.of(module), run="toy", device="cpu",
        )  # fmt: skip
        return output

    return follow


@pytest.mark.parametrize("module", MODULES)
def test_labels_are_followed_from_update_to_update(toy, tiny, finetuned, follow, module):
    with read(follow(module), RefinedLabels) as followed:
        assert (followed.header["updates"], followed.header["module"]) == ([2, 4], module)
        records = [followed.find(image) for image in toy.ids]
    for tags, record in zip(toy.tags, records, strict=True):
        for update in (2, 4):
            labels = record.after(update)
            assert tags[labels.classes].all()
            assert (np.diff(labels.scores) <= 0).all()
    assert any(len(record.classes) for record in records)
    assert not len(records[3].classes)  # no tag
    if module != "segmentation":  # of which pre-training makes none
        made = toy.folder / "followed" / f"{module}_trained.h5"
        propagate_labels(
            images=toy.images, proposals=toy.proposals, weights=finetuned, output=made,
            settings=tiny().labels.of(module), run="toy", device="cpu",
        )  # fmt: skip
        with read(made, ModuleLabels) as labels:
            for image, record in zip(toy.ids, records, strict=True):
                expected, last = labels.find(image).as_instances, record.after(4)
                assert (last.classes == expected.classes).all() and (last.scores == expected.scores).all()
                assert (last.regions.iou(expected.regions).diagonal() == 1).all()


def test_labels_of_weights_that_are_not_fine_tuned_are_not_followed(cascade, follow):
    with pytest.raises(ValueError, match=r"holds the modules \['detection'\]; give the weights of all, fine-tuned"):
        follow("detection", weights=cascade[0]["detection"])


def test_weights_of_another_module_are_refused(toy, tiny, cascade):
    with pytest.raises(ValueError, match="holds the modules \\['detection'\\], not refinement"):
        predict(toy, tiny(), "refinement", cascade[0]["detection"], "refused")
    with pytest.raises(ValueError, match="holds the modules \\['detection'\\], not refinement"):
        propagate(toy, tiny(), "refinement", cascade[0]["detection"], toy.folder / "refused.h5")
