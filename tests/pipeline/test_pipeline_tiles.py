"""Tiles in the graph: networks see tiles, people see whole images."""

from pathlib import Path

import pytest

from stages.project.packing import pack_settings
from stages.project.project import ConfigError, load_files

ROOT = Path(__file__).parents[2]
TILED = """
splits: {train: %s, evaluate: [val]}
runs: {cim: null, prm: null, label_penet: null, bestie: {retrain: mask_rcnn}}
images:
  name: large
  kind: folder
  classes: [cat, dog]
  folder:
    splits:
      train: {images: images, tags: tags.csv, masks: %s}
      val: {images: images, tags: tags.csv}
    tiling: {size: 256, overlap: 64}
"""
BY_TILES = TILED % ("train.tiles", "masks")
BY_IMAGES = TILED % ("train", "null")


def makers(jobs):
    return {path: job for job in jobs for path in job.outputs}


def test_networks_train_on_tiles_and_predict_them_and_whole_images_are_measured(graph_of):
    jobs = graph_of(BY_TILES)
    made = makers(jobs)
    for run in ("bestie", "bestie/mask_rcnn"):
        merge = made[f"results/large/{run}/val/instances.h5"]
        assert merge.rule == "merge_tiles"
        assert set(merge.inputs) == {
            "results/large/val/images.h5", "results/large/val.tiles/images.h5",
            f"results/large/{run}/val.tiles/instances.h5",
        }  # fmt: skip
        assert made[f"results/large/{run}/val.tiles/instances.h5"].rule.startswith("predict_")
    measured = {path for job in jobs if job.rule == "evaluate_instances" for path in job.outputs}
    assert "results/large/bestie/val/metrics.json" in measured
    trained = {
        path for job in jobs if job.rule.startswith("train_") for path in job.inputs if path.endswith("images.h5")
    }
    assert trained == {"results/large/train.tiles/images.h5"}
    listed = {path.split("/")[2] for job in jobs if job.rule == "list_images" for path in job.outputs}
    assert listed == {"train.tiles", "val", "val.tiles"}


def test_networks_that_train_on_whole_images_predict_tiles(graph_of):
    jobs = graph_of(BY_IMAGES)
    trained = {
        path for job in jobs if job.rule.startswith("train_") for path in job.inputs if path.endswith("images.h5")
    }
    assert trained == {"results/large/train/images.h5"}
    made = makers(jobs)
    assert made["results/large/bestie/val/instances.h5"].rule == "merge_tiles"
    # Pseudo masks of the training split come from its tiles, too, and lie in whole images.
    (pseudo,) = [job for job in jobs if job.rule == "make_pseudo_masks"]
    assert made["results/large/bestie/train/instances.h5"].rule == "merge_tiles"
    assert set(pseudo.inputs) == {"results/large/train/images.h5", "results/large/bestie/train/instances.h5"}


def test_exports_are_of_whole_images(graph_of):
    jobs = graph_of(BY_TILES, "segment")
    read = {path for job in jobs if job.rule.startswith("export_") for path in job.inputs}
    assert read == {
        "results/large/val/images.h5", "results/large/bestie/val/instances.h5",
        "results/large/bestie/mask_rcnn/val/instances.h5",
    }  # fmt: skip


def test_without_tiling_there_is_nothing_to_merge(whole_graph):
    assert "merge_tiles" not in {job.rule for job in whole_graph}
    assert not [path for job in whole_graph for path in job.outputs if ".tiles" in path]


def write(folder: Path, text: str) -> Path:
    path = folder / "overlay.yaml"
    path.write_text(text)
    return path


def test_tags_of_whole_images_cannot_train_on_tiles(tmp_path):
    overlay = write(tmp_path, TILED % ("train.tiles", "null"))
    with pytest.raises(
        ConfigError, match=r"splits\.train is 'train\.tiles'.*masks is null.*train on 'train', or give masks"
    ):
        load_files(ROOT / "config.yaml", overlay)


def test_tiles_of_a_data_set_that_is_not_cut_are_no_split(tmp_path):
    overlay = write(tmp_path, BY_TILES.replace("size: 256", "size: null"))
    with pytest.raises(ConfigError, match=r"splits names 'train\.tiles', which images\.folder\.splits does not have"):
        load_files(ROOT / "config.yaml", overlay)


def test_a_packed_model_cuts_new_images_as_its_own_were(tmp_path):
    names = {"runs": ["bestie"], "splits": ["train", "val"], "code": {}}
    cut = pack_settings(load_files(ROOT / "config.yaml", write(tmp_path, BY_TILES)), "bestie", **names).overlay
    assert cut["images"]["folder"]["tiling"] == {"size": 256, "overlap": 64, "min_share": 0.25}
    assert cut["tiles"] == {"join_iou": 0.5, "absorb_share": 0.7, "max_instances": 1000}
    assert (cut["images"]["max_pixels"], cut["splits"]["evaluate"]) == (89478485, ["new"])
    plain = pack_settings(load_files(ROOT / "config.yaml"), "bestie", **names).overlay
    assert "tiling" not in plain["images"]["folder"]
    assert "tiles" not in plain
