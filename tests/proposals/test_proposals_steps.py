"""Generating in shards and merging."""

from pathlib import Path

import numpy as np
import pytest

from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import read
from stages.proposals.generate_proposals import generate_proposals
from stages.proposals.merge_proposals import merge_proposals
from stages.proposals.shards import in_shard


@pytest.fixture
def generate(tmp_path: Path, heg_settings, image_list, scene):
    """Generates shards of a list of `count` images, and returns the list and the shards."""

    def run(shards: int, count: int = 4, name: str = "images.h5", **changes: object) -> tuple[Path, list[Path]]:
        images = image_list({f"image {i}": scene(i) for i in range(count)}, name)
        settings = heg_settings(**{"count": 30, "seeds": 10, **changes})
        parts = [tmp_path / f"{name}.{i}-of-{shards}.h5" for i in range(1, shards + 1)]
        for i, part in enumerate(parts, 1):
            generate_proposals(
                images=images, output=part, settings=settings, source="built_in", shard=f"{i}-of-{shards}"
            )
        return images, parts

    return run


def test_the_artifact_does_not_depend_on_the_number_of_shards(generate, tmp_path: Path):
    for shards in (1, 3):
        images, parts = generate(shards)
        merge_proposals(shards=parts[::-1], images=images, output=tmp_path / f"merged-{shards}.h5")
    assert (tmp_path / "merged-1.h5").read_bytes() == (tmp_path / "merged-3.h5").read_bytes()
    with read(tmp_path / "merged-3.h5", Proposals) as proposals:
        assert proposals.ids == [f"image {i}" for i in range(4)]
        assert proposals.header == {"source": "built_in", "supervision": "label-free"}
        assert proposals.provenance["step"] == "generate_proposals"
        for record in proposals:
            assert record.regions.shape == (60, 80)
            assert 1 <= len(record.scores) <= 30
            assert (record.regions.areas() > 0).all()


def test_more_shards_than_images_leave_some_empty(generate, tmp_path: Path):
    images, parts = generate(3, count=2)
    merge_proposals(shards=parts, images=images, output=tmp_path / "merged.h5")
    with read(tmp_path / "merged.h5", Proposals) as proposals:
        assert len(proposals) == 2


def test_merging_refuses_shards_that_do_not_make_a_whole(generate, tmp_path: Path):
    images, parts = generate(2)
    _, other_settings = generate(2, name="same.h5", max_area=0.5)
    _, other_list = generate(2, count=3, name="other.h5")
    cases = [
        ([parts[0]], "lack 2 of the 4 images .* the first 'image 1'"),
        ([*parts, parts[0]], "image 'image 0' is in .* give each shard once"),
        ([parts[0], other_settings[1]], "different sources or settings"),
        ([parts[0], other_list[1]], "made from another list"),
        ([], "no shards given"),
    ]
    for shards, message in cases:
        with pytest.raises(ValueError, match=message):
            merge_proposals(shards=shards, images=images, output=tmp_path / "merged.h5")
        assert not (tmp_path / "merged.h5").exists()


@pytest.mark.parametrize(
    ("shard", "expected"), [("1-of-1", [0, 1, 2, 3, 4]), ("1-of-2", [0, 2, 4]), ("2-of-2", [1, 3]), ("6-of-6", [])]
)
def test_shards_deal_out_the_images_in_turn(shard: str, expected: list[int]):
    assert list(in_shard(5, shard)) == expected


@pytest.mark.parametrize("shard", ["0-of-2", "3-of-2", "1", "1/2", ""])
def test_a_shard_that_does_not_exist_is_refused(shard: str):
    with pytest.raises(ValueError, match="expected <number>-of-<shards>"):
        in_shard(5, shard)


def test_photographs_reach_the_recall_that_the_prototype_had(real_data: Path, heg_settings):
    """The first 12 validation images; benchmarks/proposals.py measures all."""
    from benchmarks.proposals import measure, voc_images

    folder = real_data / "data" / "voc_animals" / "VOC2012"
    result = measure(voc_images(folder, "val", 12), heg_settings(), counts=[1000])
    assert np.mean(result.best[1000] >= 0.5) >= 0.85
    assert np.mean(result.best[1000]) >= 0.75
