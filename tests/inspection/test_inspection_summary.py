import json

import pytest

from stages.inspection.summarise import summarise


def metrics_of(value):
    return {
        "run": "a", "split": "val", "n_images": 1, "supervision": "image tags", "masks": {"voc": {"mAP50": value}},
        "boxes": {"voc07": {"AP50": None}, "voc12": {"AP50": None}}, "corloc": None, "semantic": {"mIoU": None},
    }  # fmt: skip


def test_a_damaged_metrics_file_is_named(tmp_path):
    (tmp_path / "cim" / "val").mkdir(parents=True)
    (tmp_path / "cim" / "val" / "metrics.json").write_text("[]")
    with pytest.raises(ValueError, match=r"cim/val/metrics\.json is no metrics\.json"):
        summarise(results=tmp_path)


def test_summary_names_each_step_slowest_first_with_metrics_and_galleries(tmp_path, capsys):
    (tmp_path / "benchmarks" / "cim").mkdir(parents=True)
    (tmp_path / "benchmarks" / "list_images.val.tsv").write_text("s\th:m:s\tmax_rss\n2.5\t0:00:02\tNA\n")
    (tmp_path / "benchmarks" / "cim" / "train_cim.tsv").write_text("s\th:m:s\tmax_rss\n125.0\t0:02:05\t800.4\n")
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
    (tmp_path / "cim" / "gallery" / "index.html").write_text("")
    summarise(results=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["2m05s", "800", "MB", "cim/train_cim"]
    assert lines[2].split() == ["2.5s", "-", "list_images.val"]
    assert lines[3].split()[0] == "2m08s"
    assert "cim on val, supervision image tags: mAP50 (voc) 61.3" in lines
    assert "cim/mask_rcnn on val, supervision image tags: mAP50 (voc) 66.0" in lines
    assert "prm on val, supervision image tags: mAP50 (voc) not measured (no known masks)" in lines
    assert lines[-1].endswith("cim/gallery/index.html")
    assert sum("supervision" in line for line in lines) == 3
