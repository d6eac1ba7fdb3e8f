"""Import of MATLAB files in every layout, of versions 7 and 7.3, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import read
from stages.proposals.import_proposals import import_proposals
from stages.proposals.settings import MatSettings

HEIGHT, WIDTH = 5, 6
# Superpixels as COB saves them, from 1; regions name them.
SUPERPIXELS = np.array([[1, 1, 2, 2, 3, 3]] * 3 + [[4, 4, 5, 5, 5, 5]] * 2, np.uint16)
LABELS = [[1], [1, 2], [4, 5], [2, 3, 5]]
MASKS = np.array([np.isin(SUPERPIXELS, ids) for ids in LABELS])


def cell(items: list[np.ndarray], *, row: bool = False) -> np.ndarray:
    """A MATLAB cell N x 1 (or 1 x N)."""
    filled = np.empty(len(items), object)
    for i, item in enumerate(items):
        filled[i] = item
    return filled.reshape((1, -1) if row else (-1, 1))


def id_vectors() -> np.ndarray:
    return cell([np.array([ids], np.float64) for ids in LABELS])


def save_v7(path: Path, variables: dict[str, Any]) -> None:
    scipy.io.savemat(path, variables, do_compression=True)


def save_v73(path: Path, variables: dict[str, Any]) -> None:
    """As MATLAB does with -v7.3: a user block of 512 bytes, axes reversed, cells as references, structs as groups."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_group("#refs#")
        for name, value in variables.items():
            put(file, file, name, value)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file".ljust(512))


def put(file: h5py.File, group: h5py.Group, name: str, value: Any) -> None:
    if isinstance(value, dict):
        struct = group.create_group(name)
        for field, member in value.items():
            put(file, struct, field, member)
        return
    if value.dtype != object:
        group.create_dataset(name, data=value.T)
        return
    if not value.size:
        group.create_dataset(name, data=np.array(value.shape, np.uint64))
        group[name].attrs["MATLAB_empty"] = 1
        group[name].attrs["MATLAB_class"] = np.bytes_("cell")
        return
    references = np.empty(value.T.shape, h5py.ref_dtype)
    for index, member in np.ndenumerate(value.T):
        key = f"{len(file['#refs#'])}"
        put(file, file["#refs#"], key, member)
        references[index] = file["#refs#"][key].ref
    group.create_dataset(name, data=references, dtype=h5py.ref_dtype)


LAYOUTS = {
    "maskmat cell": lambda: {"maskmat": cell([mask.astype(np.uint8) for mask in MASKS])},
    "maskmat cell in a row": lambda: {"maskmat": cell([mask.astype(np.uint8) for mask in MASKS], row=True)},
    "maskmat array": lambda: {"maskmat": MASKS.astype(np.uint8)},
    "masks": lambda: {"masks": np.moveaxis(MASKS, 0, 2).astype(np.uint8)},
    "superpixels and labels": lambda: {"superpixels": SUPERPIXELS, "labels": id_vectors()},
    "superpixels and labels in a struct": lambda: {
        "proposals": {"superpixels": SUPERPIXELS, "labels": id_vectors()},
        "ucm2": np.zeros((3, 3)),
    },
}
SAVE = {"v7": save_v7, "v7.3": save_v73}


@pytest.fixture
def run(tmp_path: Path, image_list) -> Callable[..., Proposals]:
    """Imports <id>.mat files of a folder for images of HEIGHT x WIDTH; the first image's record."""

    def call(*ids: str, count: int = 10, prefixes: tuple[str, ...] = ("",), kind: str = "folder") -> Proposals:
        images = image_list({i: np.zeros((HEIGHT, WIDTH, 3), np.uint8) for i in ids or ("cat",)}, kind=kind)
        settings = MatSettings(
            kind="mat", path=str(tmp_path), prefixes=list(prefixes), count=count,
            supervision="class-agnostic boundaries",
        )  # fmt: skip
        import_proposals(images=images, output=tmp_path / "out.h5", settings=settings, source="cob", shard="1-of-1")
        with read(tmp_path / "out.h5", Proposals) as proposals:
            assert proposals.header == {"source": "cob", "supervision": "class-agnostic boundaries"}
            return proposals[0]

    return call


@pytest.mark.parametrize("version", SAVE)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_masks_in_file_order(layout: str, version: str, tmp_path: Path, run):
    SAVE[version](tmp_path / "cat.mat", LAYOUTS[layout]())
    record = run()
    np.testing.assert_array_equal(record.regions.masks(), MASKS)
    np.testing.assert_allclose(record.scores, [1, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("version", SAVE)
def test_scores_rank_and_count_keeps_the_best(version: str, tmp_path: Path, run):
    variables = {"superpixels": SUPERPIXELS, "labels": id_vectors(), "scores": np.array([[0.1], [3.0], [0.2], [2.0]])}
    SAVE[version](tmp_path / "cat.mat", {"proposals": variables})
    record = run(count=3)
    np.testing.assert_array_equal(record.regions.masks(), MASKS[[1, 3, 2]])
    np.testing.assert_allclose(record.scores, [3.0, 2.0, 0.2])


def test_repeats_and_empty_masks_are_dropped_and_counted(tmp_path: Path, run, caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO")
    masks = [MASKS[0], np.zeros_like(MASKS[0]), MASKS[1], MASKS[0], MASKS[2]]
    save_v7(tmp_path / "cat.mat", {"maskmat": cell([mask.astype(np.uint8) for mask in masks])})
    np.testing.assert_array_equal(run().regions.masks(), MASKS[:3])
    assert "dropped 2 empty or repeated masks" in caplog.text


@pytest.mark.parametrize("version", SAVE)
@pytest.mark.parametrize("masks", [[], [MASKS[0]]], ids=["none", "one"])
def test_images_with_one_proposal_or_none_are_kept_and_logged(
    masks: list[np.ndarray], version: str, tmp_path: Path, run, caplog: pytest.LogCaptureFixture
):
    SAVE[version](tmp_path / "cat.mat", {"maskmat": cell([mask.astype(np.uint8) for mask in masks])})
    record = run()
    assert len(record.scores) == len(record.regions) == len(masks)
    assert f"1 of 1 images have fewer than two proposals: cat ({len(masks)})" in caplog.text


@pytest.mark.parametrize(
    "name", ["139.mat", "000000000139.mat", "COCO_val2014_000000000139.mat", "COCO_train2014_139.mat"]
)
def test_files_are_found_with_and_without_prefix_and_padding(name: str, tmp_path: Path, run):
    save_v7(tmp_path / name, LAYOUTS["maskmat cell"]())
    assert len(run("139", prefixes=("", "COCO_train2014_", "COCO_val2014_"), kind="coco").scores) == 4


@pytest.mark.parametrize("version", SAVE)
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"boxes": np.ones((2, 4)), "scores": np.ones(2)}, r"cat\.mat has the variables boxes, scores, .* `maskmat`"),
        ({"proposals": {"boxes": np.ones((2, 4))}}, r"variables proposals \(boxes\), which is no known layout"),
        ({"maskmat": np.ones((3, 4))}, "maskmat is float64 of shape .* expected numbers with 3 axes"),
        ({"maskmat": cell([np.ones((4, 5))])}, r"masks of shape \(4, 5\), but its image is \(5, 6\)"),
        ({"superpixels": SUPERPIXELS.T, "labels": id_vectors()}, r"masks of shape \(6, 5\), but its image"),
        ({"superpixels": SUPERPIXELS - 1, "labels": id_vectors()}, "holds id 0, expected ids from 1"),
        ({"superpixels": SUPERPIXELS, "labels": cell([np.array([[9.0]])])}, "names superpixels 9 to 9, .* 1 to 5"),
        ({"superpixels": SUPERPIXELS, "labels": np.ones((2, 2))}, "`labels` is no cell"),
        ({**LAYOUTS["maskmat cell"](), "scores": np.ones((3, 1))}, "4 regions but 3 scores"),
        ({**LAYOUTS["maskmat cell"](), "scores": np.full((4, 1), np.nan)}, "no finite number"),
    ],
)
def test_bad_content_is_refused_by_name_and_leaves_no_artifact(
    variables: dict[str, Any], message: str, version: str, tmp_path: Path, run
):
    SAVE[version](tmp_path / "cat.mat", variables)
    with pytest.raises(ValueError, match=message):
        run()
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("version", SAVE)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_cut_off_files_are_refused_by_name(share: float, version: str, tmp_path: Path, run):
    SAVE[version](tmp_path / "cat.mat", LAYOUTS["superpixels and labels"]())
    whole = (tmp_path / "cat.mat").read_bytes()
    (tmp_path / "cat.mat").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"cat\.mat (cannot be read as a MATLAB file|has the variables)"):
        run()
    assert not (tmp_path / "out.h5").exists()


def test_a_missing_file_is_reported_before_any_is_read(tmp_path: Path, run):
    (tmp_path / "cat.mat").write_bytes(b"damaged")
    with pytest.raises(FileNotFoundError, match=r"no proposals of image 'dog': looked for dog\.mat, COCO_dog\.mat"):
        run("cat", "dog", prefixes=("", "COCO_"))


def in_a_file(change):
    """A file of version 7.3 with masks, changed by h5py."""

    def write(path):
        save_v73(path, LAYOUTS["maskmat cell"]())
        with h5py.File(path, "a") as file:
            change(file)

    return write


def lies_elsewhere(file):
    file.create_dataset("masks", (2, 5, 6), "u1", external=[("/etc/passwd", 0, 60)])


def links_elsewhere(file):
    file["masks"] = h5py.ExternalLink("/etc/hostname", "/x")


def leads_nowhere(file):
    file["masks"] = h5py.SoftLink("/nowhere")


def declares_much(file):
    file.create_dataset("masks", (3_000_000, 3000, 1000), "u1", chunks=(1, 1000, 1000), compression=4)


def unpacks_to_much(file):
    """2.4 GB in 2 MB, each array of which is small."""
    file.create_dataset("#refs#/zeros", data=np.zeros((24, 1000, 1000), np.uint8), compression=9)
    references = np.array([file["#refs#/zeros"].ref] * 100, h5py.ref_dtype)
    file.create_dataset("masks", data=references, dtype=h5py.ref_dtype)


def holds_itself(file):
    file["#refs#"].create_group("x")["again"] = file["#refs#"]
    file["struct"] = file["#refs#/x"]


def cell_of_itself(file):
    file.create_dataset("own", (1,), h5py.ref_dtype)
    file["own"][0] = file["own"].ref


def cells_of_cells(file):
    """Ten references to the next cell each, ten cells deep."""
    below = file["maskmat"]
    for i in range(10):
        file.create_dataset(f"#refs#/level{i}", data=np.array([below.ref] * 10, h5py.ref_dtype), dtype=h5py.ref_dtype)
        below = file[f"#refs#/level{i}"]
    file["own"] = below


def null_reference(file):
    file.create_dataset("own", (3,), h5py.ref_dtype)


def bytes_that_kill(path):
    """An element of version 5 whose declared number of bytes leads SciPy's reader out of its buffer."""
    save = {"maskmat": cell([mask.astype(np.uint8) for mask in MASKS])}
    scipy.io.savemat(path, save)
    data = bytearray(path.read_bytes())
    at = data.index(b"maskmat") + 8
    data[at : at + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        pytest.param(in_a_file(lies_elsewhere), "'/masks' whose data lie in other files", id="external storage"),
        pytest.param(in_a_file(links_elsewhere), "has a link at '/masks'", id="external link"),
        pytest.param(in_a_file(leads_nowhere), "has a link at '/masks'", id="dangling link"),
        pytest.param(in_a_file(declares_much), "declares 9 TB in '/masks'", id="9 TB"),
        pytest.param(in_a_file(unpacks_to_much), r"declares 2\.16 GB and more, expected 2\.15 GB at most", id="2.4 GB"),
        pytest.param(in_a_file(holds_itself), "has a group '.*' that is or holds another one again", id="own group"),
        pytest.param(in_a_file(cell_of_itself), "more than 32 cells and structs within each other", id="own cell"),
        pytest.param(
            in_a_file(cells_of_cells), "more than 50000 cells and fields|was not read within", id="10^10 cells"
        ),
        pytest.param(in_a_file(null_reference), "cannot be read as a MATLAB file", id="null reference"),
        pytest.param(bytes_that_kill, "cat.mat (cannot|ended|needs)", id="damaged tag of version 5"),
    ],
)
def test_hostile_files_are_refused_by_name(write: Callable[[Path], None], message: str, tmp_path: Path, run):
    write(tmp_path / "cat.mat")
    with pytest.raises(ValueError, match=message) as caught:
        run()
    assert str(caught.value).startswith(str(tmp_path / "cat.mat"))
    assert not (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("version", SAVE)
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"superpixels": np.full((5, 6), 4e9), "labels": id_vectors()}, "superpixels` has other values than whole"),
        ({"superpixels": np.full((5, 6), 1e6), "labels": id_vectors()}, "holds id 1000000, more than its pixels"),
        ({"superpixels": np.full((5, 6), np.nan), "labels": id_vectors()}, "superpixels` has other values than whole"),
        ({"superpixels": SUPERPIXELS, "labels": cell([np.array([[1.5]])])}, "cell 1 of `labels` has other values"),
        ({"superpixels": SUPERPIXELS, "labels": cell([{"x": np.ones(1)}])}, "cell 1 of `labels` has no numbers"),
        ({**LAYOUTS["maskmat cell"](), "scores": cell([np.ones((1, 1))] * 4)}, "`scores` is no array of numbers"),
    ],
)
def test_values_that_are_no_ids_or_scores_are_refused(
    variables: dict[str, Any], message: str, version: str, tmp_path: Path, run
):
    SAVE[version](tmp_path / "cat.mat", variables)
    with pytest.raises(ValueError, match=message):
        run()
