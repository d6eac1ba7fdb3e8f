import json
import subprocess
import sys

import pytest

from stages.inspection.summarise import summarise


def metrics_of(value):
    return {
        "run": "a", "split": "val", "n_images": 1, "supervision": "image tags", "masks": {"voc": {"mAP50": value}},
        "boxes": {"n_objects": 3, "voc07": {"AP50": None}, "voc12": {"AP50": None}}, "corloc": None, "semantic": {"mIoU": 51},
    }  # fmt: skip


def test_a_damaged_metrics_file_is_named(tmp_path):
    (tmp_path / "cim" / "val").mkdir(parents=True)
    (tmp_path / "cim" / "val" / "metrics.json").write_text("[]")
    with pytest.raises(ValueError, match=r"cim/val/metrics\.json is no metrics\.json"):
        summarise(tmp_path, stage_of={})


def test_summary_names_each_stage_with_its_slowest_step_metrics_and_pages(tmp_path, capsys):
    (tmp_path / "benchmarks" / "cim").mkdir(parents=True)
    (tmp_path / "benchmarks" / "list_images.val.tsv").write_text("s\th:m:s\tmax_rss\n2.5\t0:00:02\tNA\n")
    (tmp_path / "benchmarks" / "cim" / "train_cim.tsv").write_text("s\th:m:s\tmax_rss\n125.0\t0:02:05\t800.4\n")
    (tmp_path / "benchmarks" / "cim" / "predict_cim.val.tsv").write_text("s\th:m:s\tmax_rss\n5.0\t0:00:05\t900.0\n")
    (tmp_path / "benchmarks" / "cim" / "of_no_rule.tsv").write_text("s\th:m:s\tmax_rss\n1.0\t0:00:01\t9.0\n")
    for run, value in (("cim", 61.26), ("prm", None)):
        (tmp_path / run / "val").mkdir(parents=True)
        metrics = metrics_of(value)
        (tmp_path / run / "val" / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "cim" / "mask_rcnn" / "val").mkdir(parents=True)
    retrained = metrics_of(66.0)
    (tmp_path / "cim" / "mask_rcnn" / "val" / "metrics.json").write_text(json.dumps(retrained))
    for packed in (tmp_path / "cim" / "model", tmp_path / "cim" / "mask_rcnn" / "model"):
        packed.mkdir()
        (packed / "metrics.json").write_text(json.dumps({"val": retrained}))
    (tmp_path / "cim" / "gallery").mkdir()
    for page in ("cim/gallery/index.html", "comparison.html"):
        (tmp_path / page).write_text("")
    summarise(tmp_path, stage_of={"list_images": "images", "train_cim": "cim", "predict_cim": "cim", "never": "none"})
    lines = capsys.readouterr().out.splitlines()
    table = [line.split() for line in lines]
    assert table[2] == ["images", "2.5s", "-", "1", "list_images.val", "2.5s"]
    assert table[3] == ["cim", "2m10s", "900", "MB", "2", "cim/train_cim", "2m05s"]
    assert table[4][:2] == ["of_no_rule", "1.0s"]
    assert table[5][:2] == ["all", "2m14s"]
    assert "cim on val, supervision image tags: mAP50 (voc) 61.3" in lines
    assert "cim/mask_rcnn on val, supervision image tags: mAP50 (voc) 66.0" in lines
    assert "prm on val, supervision image tags: mAP50 (voc) not measured" in lines
    assert lines[-2].endswith("comparison.html") and lines[-1].endswith("cim/gallery/index.html")
    assert sum("supervision" in line for line in lines) == 3
    summarise(tmp_path, stage_of={}, column="mIoU")
    assert "cim on val, supervision image tags: mIoU 51.0" in capsys.readouterr().out.splitlines()


def test_the_command_prints_the_summary_and_nothing_else(tmp_path, project_root):
    command = [sys.executable, "-m", "stages.inspection.summarise", str(tmp_path), "--stages", "list_images=images"]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.split()[:1] == ["stage"]
