"""The folders of cases of the real data end as their README says: one message, or the right result.

Each case is a configuration and its input, read through the graph, from copies in a folder of the test's own. Cases of
data as people have them are in test_pipeline_cases.py, with inputs of their own; here they run from their folders.
"""

import re
import shutil
import subprocess
import sys

import h5py
import pytest
import yaml

from tests.pipeline.conftest import ROOT, snakemake

IMAGES = "results/{}/train/images.h5"
OWN = "results/{}/train/proposals/own.h5"
INSTANCES = "results/{}/bestie/val/instances.h5"
BUG = re.compile(r"this is a bug in tagmask|Traceback|Segmentation fault|signal \d+|core dumped")
# Folder -> target, and what the message names; None: the case ends well.
CASES = {
    "annotations-without-ids": (IMAGES, None),
    "broken-exif": (IMAGES, None),
    "class-maps-with-numbers-of-their-own": (IMAGES, "aeroplane"),
    "class-names-in-the-model-card": (IMAGES, None),
    "classes-per-split": (IMAGES, None),
    "deeply-nested-json": (IMAGES, "tags.json"),
    "empty-rows": (IMAGES, None),
    "encodings-of-xml": (IMAGES, "ansi"),
    "flat-polygons": (IMAGES, None),
    "instances-csv-in-another-encoding": (IMAGES, None),
    "linked-folders": (IMAGES, None),
    "lists-with-a-byte-order-mark": (IMAGES, None),
    "masks-as-bitmaps": (IMAGES, None),
    "masks-with-an-unused-category": (IMAGES, None),
    "names-not-in-utf8": (IMAGES, "rename"),
    "one-bit-masks": (IMAGES, None),
    "own-pictures-without-masks": (IMAGES, None),
    "picture-suffixes": (IMAGES, None),
    "polygon-with-null": (IMAGES, "train.json"),
    "proposals-ids-and-names": (OWN, None),
    "proposals-in-subfolders": (OWN, None),
    "sbd-of-matlab-7.3": (IMAGES, "2008_000001.mat"),
    "sideways-tiff-by-header": (IMAGES, None),
    "space-in-the-path-of-weights": ("results/toy/bestie/val/instances.h5", "weights.safetensors"),
    "shell-in-the-path-of-weights": (INSTANCES, "safetensors"),
    "weights-without-settings": (INSTANCES, "w.safetensors"),
    "windows-paths-in-instances-csv": (IMAGES, None),
    "windows-paths-in-json": (IMAGES, None),
    "full-disk-and-weights": ("results/{}/classifier/cam/weights.safetensors", "the disk is full"),
}
# Folders whose files are tried one after the other: the folder of the files, and the place of the one that is tried.
TRIED = {
    "damaged-mat-5": "mats",
    "damaged-mat-7.3": "mats",
    "huge-or-endless-mat-7.3": "mats",
    "mat-that-reads-other-files": "mats",
}
FORMER = {"pictures": "images", "refinement": "retrain"}  # keys that were renamed since the cases were written


def renamed(value):
    if not isinstance(value, dict):
        return value
    new = {FORMER.get(key, key): renamed(inner) for key, inner in value.items()}
    if "root" in new and "splits" in new:  # of COCO's files
        new["splits"] = {name: renamed(split) for name, split in new["splits"].items()}
    return new


@pytest.fixture
def case(real_data, tmp_path, monkeypatch):
    """A function from the name of a case to a copy of its folder; skips where the data has no cases."""

    def copied(name):
        source = real_data / "cases" / name
        if not source.is_dir():
            pytest.skip(f"the data has no cases/{name}")
        folder = tmp_path / "case" / name
        shutil.copytree(source, folder, symlinks=True, copy_function=shutil.copy)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)
        link = folder / "pictures" / "day1"
        if name == "linked-folders" and link.is_file():  # a link that Git has kept as a text
            where = link.read_text().strip()
            link.unlink()
            link.symlink_to(where)
        if (folder / "make_input.py").is_file():
            subprocess.run([sys.executable, "make_input.py"], cwd=folder, check=True)
        config = yaml.safe_load((folder / "config.yaml").read_text()) if (folder / "config.yaml").is_file() else None
        if config is not None and "holds" not in name and "like" not in name:
            (folder / "config.yaml").write_text(yaml.safe_dump(renamed(config)))
        monkeypatch.setenv("TAGMASK_DATA", str(folder))
        return folder

    return copied


def run(folder, target, work, *, limit=None):
    """Snakemake's exit status and what it said."""
    done = snakemake(work, "-c1", "--configfile", str(folder / "config.yaml"), "--", target, limit=limit)
    return done.returncode, done.stdout + done.stderr


def assert_one_message(status, said, named):
    assert status == 1, said
    assert not BUG.search(said), said
    stopped = {line.partition(" stopped: ")[2] for line in said.splitlines() if " stopped: " in line}
    problems = "the configuration has" in said
    assert problems or len(stopped) == 1, said
    assert named in said, said


@pytest.mark.parametrize("name", CASES)
def test_a_case_ends_as_it_should(name, case, tmp_path):
    target, named = CASES[name]
    folder = case(name)
    status, said = run(folder, target.format(name), tmp_path, limit=300 << 10 if name.startswith("full-disk") else None)
    assert [path for path in tmp_path.rglob("PWNED*") if path.is_file()] == []
    assert not (ROOT / "PWNED").exists()
    if named is not None:
        assert_one_message(status, said, named)
        assert not (tmp_path / target.format(name)).exists()
        assert not [*tmp_path.rglob("*.unfinished")]
        return
    assert status == 0, said
    if name == "sideways-tiff-by-header":
        with h5py.File(tmp_path / target.format(name)) as file:
            assert (file["height/values"][0], file["width/values"][0]) == (64, 48)


@pytest.mark.parametrize("name", TRIED)
def test_each_file_of_proposals_is_refused_by_name(name, case, tmp_path):
    """The images that have other files are taken off, so that each file is met."""
    folder = case(name)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    files = sorted((folder / TRIED[name]).iterdir())
    assert files
    for file in files:
        alone = tmp_path / file.stem
        (alone / "images").mkdir(parents=True)
        for image in (folder / "pictures").glob(f"{file.stem}.*"):
            shutil.copy(image, alone / "images")
        for split in config["images"]["folder"]["splits"].values():
            split.update(images=str(alone / "images"), tags=None)
        (alone / "config.yaml").write_text(yaml.safe_dump(config))
        status, said = run(alone, OWN.format(name), alone)
        assert_one_message(status, said, file.name)
        assert not (alone / OWN.format(name)).exists()


def test_each_json_of_other_types_is_refused_by_name(case, tmp_path):
    folder = case("coco-entries-of-other-types")
    files = sorted((folder / "files").iterdir())
    assert len(files) >= 10
    for file in files:
        shutil.copy(file, folder / "train.json")
        status, said = run(folder, IMAGES.format(folder.name), tmp_path)
        assert_one_message(status, said, "train.json")


def test_damaged_artifacts_are_refused_by_name(case):
    folder = case("damaged-artifact")
    done = subprocess.run([sys.executable, folder / "try.py"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert "wrong" not in done.stdout


@pytest.mark.parametrize("text", [None, "images: {kind: [voc]}", "proposals: {1: {like: x}, a: {like: y}}"])
def test_values_of_another_type_are_problems_with_their_key(text, case, tmp_path):
    folder = case("like-that-is-a-list")
    if text is not None:
        (folder / "config.yaml").write_text(text)
    status, said = run(folder, "all", tmp_path)
    assert status == 1
    assert "problem(s)" in said
    assert "TypeError" not in said


@pytest.mark.xfail(reason="Snakemake itself merges configurations before the Snakefile is read", strict=True)
def test_an_alias_that_holds_itself_is_one_message(case, tmp_path):
    folder = case("alias-that-holds-itself")
    status, said = run(folder, "all", tmp_path)
    assert status == 1
    assert "RecursionError" not in said


def test_every_folder_of_cases_is_run(real_data):
    folders = {path.name for path in (real_data / "cases").glob("*/")}
    if not folders:
        pytest.skip("the data has no cases")
    here = {*CASES, *TRIED, "coco-entries-of-other-types", "damaged-artifact", "like-that-is-a-list"}
    here |= {"alias-that-holds-itself"}
    assert folders <= here, folders - here
