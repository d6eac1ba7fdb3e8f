"""What trained modules find in images, and the labels that they make through fine-tuning."""

import numpy as np
import pytest

from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.storage import read
from stages.label_penet import predict_label_penet as predict_step
from stages.label_penet.follow_labels import follow_labels
from stages.label_penet.propagate_labels import propagate_labels
from stages.label_penet.settings import MODULES
from stages.ops.crf import object_crf
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


def test_masks_of_heads_pass_the_crf_from_a_score_on(toy, tiny, finetuned, monkeypatch):
    asked = []

    def spy(rgb, probabilities, boxes, *, wanted, **rest):
        asked.append((wanted.copy(), rest["crf"]["iterations"]))
        return object_crf(rgb, probabilities, boxes, wanted=wanted, **rest)

    monkeypatch.setattr(predict_step, "object_crf", spy)
    for least, share in ((0.0, 1.0), (1.0, 0.0)):
        settings = tiny(predict={"crf": {"iterations": 1}, "crf_score": least})
        predict(toy, settings, "segmentation", finetuned, f"from {least}")
        assert {iterations for _, iterations in asked} == {1}
        assert np.concatenate([wanted for wanted, _ in asked]).mean() == share
        asked.clear()


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
