"""Images that are known to show none of the classes: no candidates, a map of background, and no center."""

import contextlib

import numpy as np
import pytest

from stages.bestie.iterate_instances import iterate_instances
from stages.bestie.network import BestieNetwork
from stages.bestie.task import BestieTask
from stages.bestie.train_bestie import train_bestie
from stages.bestie.transfer_semantics import transfer_semantics
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import read
from stages.ops.regions import Regions
from tests.bestie.toy import Toy, rectangles, tiny, write


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("negatives"))


def pseudo_of(toy, images, output):
    transfer_semantics(
        images=images, semantics=toy.semantics, cues=toy.cues, output=output, run="bestie", settings=tiny().transfer
    )
    return output


@pytest.mark.parametrize("looked_at", [True, False])
def test_the_map_of_a_negative_is_background_whatever_its_source_says(toy, tmp_path, looked_at):
    """There is a cat in the map of p3, and a cue on it."""
    images = toy.listed(f"images_{looked_at}.h5", looked_at=looked_at)
    with read(pseudo_of(toy, images, tmp_path / "pseudo.h5"), PseudoInstances) as pseudo:
        record = pseudo.find("p3")
        assert record.labels.any() != looked_at
        assert (record.candidates, len(record.classes), len(record.points)) == (0, 0, 0)
        assert (pseudo.find("p0").labels == toy.labels(0)).all()
    found = [
        Instances(
            image=image, classes=np.zeros(1, np.int32), scores=np.ones(1, np.float32),
            **packed_fields(Regions.from_masks(rectangles((9, 40, 9, 50)))),
        )
        for image in toy.ids
    ]  # fmt: skip
    header = {"category_ids": [1, 2, 3], "run": "r", "method": "bestie", "supervision": "image tags"}
    instances = write(tmp_path / "instances.h5", Instances, found, **header)
    iterate_instances(
        images=images, semantics=toy.semantics, instances=instances, output=tmp_path / "iterated.h5", run="bestie",
        settings=tiny().iteration,
    )  # fmt: skip
    with read(tmp_path / "iterated.h5", PseudoInstances) as pseudo:
        assert pseudo.find("p3").labels.any() != looked_at
        assert not len(pseudo.find("p3").classes)


@pytest.fixture
def task_of(toy, tmp_path):
    with contextlib.ExitStack() as stack:

        def task_of(looked_at):
            images = toy.listed(f"images_{looked_at}.h5", looked_at=looked_at)
            pseudo = pseudo_of(toy, images, tmp_path / f"pseudo_{looked_at}.h5")
            settings = tiny(train={"data": {"batch": 1}}).train
            return BestieTask(
                BestieNetwork(settings, class_count=3), images=stack.enter_context(read(images, ImageRecord)),
                pseudo=stack.enter_context(read(pseudo, PseudoInstances)), settings=settings,
            )  # fmt: skip

        yield task_of


def test_a_negative_teaches_background_and_no_center(task_of):
    task = task_of(True)
    assert task.usable == [0, 1, 2, 3]
    seen = {}
    for number in range(4):
        batch = task.batch(*divmod(number, task.settings.training.accumulate), np.random.default_rng(0))
        seen[task.entry(number)] = batch
    assert {i: bool(batch.negative.all()) for i, batch in seen.items()} == {0: False, 1: False, 2: False, 3: True}
    assert not set(np.unique(seen[3].labels)) - {0, 255}
    assert not len(seen[3].candidates.classes)
    assert "negative_center" not in task.losses(seen[0], np.random.default_rng(0))
    terms = task.losses(seen[3], np.random.default_rng(0))
    assert {name for name, value in terms.items() if value.item() > 0} == {"semantic", "negative_center"}
    terms["negative_center"].backward()
    assert task.network.heads["center"].output.weight.grad.abs().sum() > 0


def test_an_image_that_nobody_looked_at_is_not_read(task_of):
    assert task_of(False).usable == [0, 1, 2]


def test_the_training_says_how_many_show_nothing(toy, tmp_path, caplog):
    caplog.set_level("INFO")
    images = toy.listed("images_True.h5", looked_at=True)
    files = {f"output_{name}": tmp_path / name for name in ("weights", "curves", "plot", "snapshots")}
    settings = tiny(train={"training": {"steps": 1}, "snapshots": []}).train
    train_bestie(
        images=images, pseudo_instances=pseudo_of(toy, images, tmp_path / "pseudo.h5"), backbone_weights=None,
        settings=settings, device="cpu", **files,
    )  # fmt: skip
    said = "trained on 4 of 4 images, of them 1 without anything; 0 images that nobody looked at are left out"
    assert said in caplog.text
