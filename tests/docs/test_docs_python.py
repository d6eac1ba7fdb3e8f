"""Every block of Python in the pages runs as it stands, on artifacts of a few images."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

import stages.proposals.settings
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Provenance, create
from stages.core.config.section import Section
from stages.ops.regions import Regions
from stages.proposals.imported import MaskList
from tests.docs.blocks import all_blocks

PYTHON = [block for block in all_blocks("python") if not block.is_left_to]
PLACES = {
    "docs/adding_a_proposal_source.md": lambda: {
        **vars(stages.proposals.settings),
        "MaskList": MaskList,
        "Path": Path,
        "np": np,
    },
}


class Nothing(Section):
    """Settings of what made these artifacts: none."""


@pytest.fixture
def results(tmp_path, monkeypatch):
    """The working folder, with the artifacts that pages open: proposals and semantic maps of five images."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    folder, made = tmp_path / "results" / "shapes" / "val", Provenance("a test", Nothing(), None, {})
    (folder / "proposals").mkdir(parents=True)
    (folder / "semantics").mkdir()
    header = {"source": "heg", "supervision": "label-free"}
    with create(folder / "proposals" / "heg.h5", Proposals, header=header, provenance=made) as out:
        for i in range(5):
            regions = Regions.from_masks(random.random((3, 12, 16)) < 0.5)
            out.append(
                Proposals(
                    image=f"val_{i:05d}", scores=np.ones(3, np.float32), class_scores=None, **packed_fields(regions)
                )
            )
    header = {"source": "cam", "supervision": "image tags", "classes": ["disc"]}
    with create(folder / "semantics" / "cam.h5", SemanticMaps, header=header, provenance=made) as out:
        for i in range(5):
            out.append(SemanticMaps(image=f"val_{i:05d}", labels=random.integers(0, 2, (12, 16)).astype(np.uint8)))
    return tmp_path


def run(block):
    """The names that a block leaves behind; errors name its page and line."""
    names = {"__name__": "block", **PLACES.get(block.page, dict)()}
    exec(compile("\n" * block.line + block.text, block.page, "exec"), names)
    return names


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_a_block_of_python_runs(block, results, capsys):
    run(block)


def block_with(text):
    (block,) = [block for block in PYTHON if text in block.text]
    return block


def test_reading_an_artifact_by_hand_gives_the_masks_of_the_record(results, capsys):
    by_hand = run(block_with('h5py.File("results/shapes/val/proposals'))
    assert "proposals 2" in capsys.readouterr().out
    by_record = run(block_with("proposals.find"))
    with by_record["read"](by_record["Path"]("results/shapes/val/proposals/heg.h5"), Proposals) as proposals:
        assert np.array_equal(by_hand["best_mask"], proposals.find("val_00003").regions.masks([0])[0])


def test_the_example_of_a_kind_of_proposals_is_told_by_its_kind_and_reads_its_files(tmp_path):
    kinds = run(block_with("class NpzSettings"))
    given = {"kind": "npz", "path": "a", "prefixes": [""], "count": 9, "supervision": "label-free"}
    assert type(TypeAdapter(kinds["ProposalSettings"]).validate_python(given)) is kinds["NpzSettings"]
    read_npz = run(block_with("def read_npz"))["read_npz"]
    masks = np.random.default_rng(0).random((3, 4, 5)) < 0.5
    np.savez(tmp_path / "a.npz", masks=masks, scores=np.arange(3.0))
    found = read_npz(tmp_path / "a.npz")
    assert np.array_equal([found.mask(i) for i in range(found.count)], masks)
    np.savez(tmp_path / "b.npz", mask=masks)
    with pytest.raises(ValueError, match="expected `masks`"):
        read_npz(tmp_path / "b.npz")
