"""Suspect tags: the rule of confident learning, the ranking, the list, the page, and what is refused."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Provenance, create
from stages.core.artifacts.tag_scores import TagScores
from stages.inspection.report_suspect_tags import report_suspect_tags
from stages.inspection.settings import SuspectPageSettings
from stages.inspection.suspect_tags import (
    calibrated,
    confidence_thresholds,
    contradicted,
    judged_classes,
    ranked,
    tag_quality,
)

CLASSES = ["cat", "<b>dog"]
PAGE = SuspectPageSettings(rows=3, longer_side=64, jpeg_quality=80)
P = np.array([[0.9], [0.7], [0.2], [0.1], [0.0], [0.8]])
T = np.array([[True], [True], [True], [False], [False], [False]])


def test_thresholds_are_mean_probabilities_of_the_given_label() -> None:
    assert confidence_thresholds(P, T).ravel().tolist() == pytest.approx([0.7, 0.6])


def test_a_tag_is_contradicted_where_the_other_label_reaches_its_threshold() -> None:
    # 0.2 with the tag: the other label has 0.8 >= 0.7. 0.8 without it: the tag has 0.8 >= 0.6.
    assert contradicted(P, T).ravel().tolist() == [False, False, True, False, False, True]
    # 0.35 with the tag is below its threshold, but the other label's 0.65 does not reach 0.7.
    assert not contradicted(np.vstack([P, [[0.35]]]), np.vstack([T, [[True]]]))[-1, 0]


def test_where_both_labels_reach_their_thresholds_the_larger_decides() -> None:
    tags = np.array([[True], [True], [False], [False]])
    probabilities = np.array([[0.45], [0.0], [0.6], [1.0]])  # thresholds 0.225 and 0.2
    assert contradicted(probabilities, tags).ravel().tolist() == [True, True, True, True]
    assert not contradicted(np.array([[0.55], [0.0], [0.6], [1.0]]), tags)[0, 0]


def test_quality_is_the_probability_of_the_given_label_as_a_share_of_its_threshold() -> None:
    quality = tag_quality(P, T)
    assert quality.ravel().tolist() == pytest.approx([1.5, 0.7 / 0.6, 0.2 / 0.6, 0.9 / 0.7, 1 / 0.7, 0.2 / 0.7])
    assert ranked(quality, contradicted(P, T)).tolist() == [[5, 0], [2, 0]]


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.01, 3.0), (200.0, -50.0)])
def test_calibration_finds_the_probabilities_behind_scores_of_any_scale(scale: float, shift: float) -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 2, (4000, 1))
    tags = generator.random((4000, 1)) < 1 / (1 + np.exp(-logits))
    found = calibrated(scale * logits + shift, tags)
    assert np.abs(found - 1 / (1 + np.exp(-logits))).max() < 0.06


def test_calibration_of_scores_that_tell_nothing_or_everything_stays_off_0_and_1() -> None:
    tags = np.array([[True]] * 5 + [[False]] * 15)
    assert calibrated(np.zeros((20, 1)), tags).ravel() == pytest.approx(
        np.full(20, (5 * 6 / 7 + 15 / 17) / 20), abs=1e-4
    )
    apart = calibrated(np.where(tags, 10.0, -10.0), tags)
    assert 0 < apart.min() < 0.1 and 0.8 < apart.max() < 1


def test_classes_that_a_fold_cannot_have_seen_are_not_judged() -> None:
    tags = np.array([[i < 2, i < 3, i < 9, i < 8] for i in range(11)])
    assert judged_classes(tags, 3).tolist() == [False, True, False, True]


def write(folder: Path, *, count: int = 24, planted: dict[int, tuple[bool, bool]] | None = None) -> Path:
    """Images of which every other shows the first class and every third the second; some with planted tags."""
    path = folder / "images.h5"
    header = {"classes": CLASSES, "category_ids": [1, 2], "name": "pets", "split": "train", "root": ""}
    encoded = cv2.imencode(".png", np.full((40, 80, 3), 128, np.uint8))[1].reshape(-1)
    with create(path, ImageRecord, header=header, provenance=Provenance("test", None, 0, {})) as writer:
        for i in range(count):
            tags = np.array((planted or {}).get(i, shown(i)))
            sizes = {"height": 40, "width": 80, "file_size": encoded.size}
            writer.append(
                ImageRecord(
                    image=f'a,"{i}".png', path="", encoded=encoded, digest="", tags=tags, looked_at=i < 22, **sizes
                )
            )
    return path


def shown(i: int) -> tuple[bool, bool]:
    return (i % 2 == 0, i % 3 == 0) if i < 22 else (False, False)


def write_scores(
    folder: Path, *, folds: int = 2, classes: list[str] = CLASSES, ids: list[int] | None = None
) -> list[Path]:
    """Scores of a classifier that sees what is shown, a little surer of later images."""
    paths = [folder / f"scores{fold}.h5" for fold in range(folds)]
    for fold, path in enumerate(paths):
        header = {"classes": classes, "fold": fold, "weights": ""}
        with create(path, TagScores, header=header, provenance=Provenance("test", None, 0, {})) as writer:
            for i in (i for i in ids or range(22) if i % folds == fold):
                scores = np.where(shown(i), 2, -2) * (1 + i / 100)
                writer.append(TagScores(image=f'a,"{i}".png', scores=scores.astype(np.float32)))
    return paths


def report(folder: Path, images: Path, scores: list[Path]) -> tuple[dict, list[dict], str]:
    report_suspect_tags(
        images=images, scores=scores, output_report=folder / "r.json", output_list=folder / "s.csv",
        output_page=folder / "i.html", settings=PAGE,
    )  # fmt: skip
    rows = list(csv.DictReader((folder / "s.csv").read_text().splitlines()))
    return json.loads((folder / "r.json").read_text()), rows, (folder / "i.html").read_text()


def test_planted_tags_of_both_kinds_are_on_the_list_and_nothing_else(tmp_path: Path) -> None:
    planted = {4: (False, False), 7: (False, True), 12: (True, False), 18: (True, False), 5: (True, False)}
    found, rows, page = report(tmp_path, write(tmp_path, planted=planted), write_scores(tmp_path))
    expected = {
        ('a,"4".png', "cat", "missing"), ('a,"7".png', "<b>dog", "wrong"), ('a,"12".png', "<b>dog", "missing"),
        ('a,"18".png', "<b>dog", "missing"), ('a,"5".png', "cat", "wrong"),
    }  # fmt: skip
    assert {(row["image"], row["tag"], row["suspected"]) for row in rows} == expected
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert all((float(row["probability"]) > 0.5) == (row["suspected"] == "missing") for row in rows)
    assert found["judged"] == 22 and found["images"] == 24 and found["not_judged"] == []
    assert found["classes"]["cat"]["wrong"] == found["classes"]["cat"]["missing"] == 1
    assert page.count("<figure>") == 3
    assert "&lt;b&gt;dog" in page and "<b>dog" not in page.replace('<b class="', "")
    assert "2 images have no tag to judge" in page


def test_tags_that_a_classifier_confirms_leave_an_empty_list(tmp_path: Path) -> None:
    found, rows, page = report(tmp_path, write(tmp_path), write_scores(tmp_path))
    assert rows == found["suspects"] == []
    assert (tmp_path / "s.csv").read_text() == "image,tag,suspected,probability,rank\n"
    assert "No tag is contradicted." in page


def test_a_class_with_fewer_images_than_folds_is_named(tmp_path: Path) -> None:
    planted = {i: (shown(i)[0], i == 0) for i in range(22)}
    found, rows, page = report(tmp_path, write(tmp_path, planted=planted), write_scores(tmp_path))
    assert found["not_judged"] == ["<b>dog"]
    assert "Not judged" in page
    assert {row["tag"] for row in rows} <= {"cat"}


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        pytest.param({"classes": ["cat", "cow"]}, "scores classes .*cow.*make all again", id="other classes"),
        pytest.param({"ids": list(range(20))}, "2 folds score 20 images, but the tags of 22", id="an image too few"),
        pytest.param({"ids": list(range(23))}, "2 folds score 23 images", id="an image that nobody looked at"),
        pytest.param({"folds": 20}, "of no class 20 images show it", id="more folds than images of a class"),
    ],
)
def test_scores_that_do_not_fit_the_images_are_refused(tmp_path: Path, scores: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        report(tmp_path, write(tmp_path), write_scores(tmp_path, **scores))
    assert not (tmp_path / "s.csv").exists()


def test_an_image_of_two_folds_is_refused(tmp_path: Path) -> None:
    scores = write_scores(tmp_path)
    with pytest.raises(ValueError, match="which another fold scores, too"):
        report(tmp_path, write(tmp_path), [scores[0], *scores])
