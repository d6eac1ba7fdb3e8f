"""The comparison of runs: what stands first, seeds, tables of papers, charts, settings, costs, and hostile names."""

import copy
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from stages.core.artifacts.files import write_json
from stages.evaluation.chart_data import OF_INSTANCES
from stages.evaluation.compare_runs import compare_runs
from stages.evaluation.paper_tables import TABLES
from stages.evaluation.seeds import seed_groups, spread
from stages.evaluation.settings import ComparisonSettings, EvaluationSettings, ShownSettings
from stages.evaluation.settings_table import own_settings
from stages.ops.errors import KINDS
from stages.project.project import load_files

ROOT = Path(__file__).parents[2]
SHOWN = ShownSettings(headline="mAP50 (voc)", columns=["ABO (over instances)", "mIoU"])
HOSTILE = "<script>alert(1)</script> \"q\" 's' & é 猫"


def metrics_of(run: str, /, **changed: Any) -> dict[str, Any]:
    return {
        "run": run, "method": "cim", "supervision": "image tags", "dataset": "toy", "split": "val", "n_images": 3,
        "units": "percent", "treatment": {"void": "background"},
        "masks": {"voc": {"mAP50": 41.26}, "coco": {"AP50": None}, "ABO": 50.0, "MABO": 49.0},
        "boxes": {"voc07": {"AP50": 30.0}, "voc12": {"AP50": 31.0}}, "corloc": None, "semantic": {"mIoU": 60.0},
        "inputs": {"instances": f"of {run}", "ground_truth": "g"},
    } | changed  # fmt: skip


def charts_of(metrics: dict[str, Any], **changed: Any) -> dict[str, Any]:
    def tally(counts: dict[str, int], kinds: tuple[str, ...]) -> dict[str, Any]:
        counts = dict.fromkeys(kinds, 0) | counts
        total = sum(counts.values())
        return {"total": total, "counts": counts, "percent": {kind: 100 * n / total for kind, n in counts.items()}}

    return {
        "run": metrics["run"], "split": metrics["split"], "preset": "voc", "overlap": 0.5, "inputs": metrics["inputs"],
        "per_class": {"cat": {"n_instances": 3, "AP": 41.26}, HOSTILE: {"n_instances": 1, "AP": None}},
        "precision_recall": {"recall": [0.0, 50.0, 100.0], "mean": {"0.5": [100.0, 50.0, 0.0]}},
        "errors": {
            "instances": tally({"right": 3, "missed": 1}, OF_INSTANCES) | {"found": 3},
            "predictions": {"strongest": tally({"right": 3, "duplicate": 1}, KINDS)},
        },
        "reliability": {"ECE": 12.5},
        "sizes": {"groups": [{"from": 4, "to": 9, "n_instances": 4, "AP": 41.26}]},
    } | changed  # fmt: skip


@pytest.fixture
def compare(tmp_path: Path):
    def compare(
        found: list[dict], runs: dict | None = None, *, charts: list[dict] | None = None, trial: int | None = None,
        data: str = "folder", shown: ShownSettings = SHOWN, steps: tuple[str, ...] = (),
        notes: tuple[dict, ...] = (), borrowed: dict | None = None,
    ) -> tuple[str, str, dict]:  # fmt: skip
        """The comparison as Markdown, page and JSON."""
        paths: dict[str, list[Path]] = {"metrics": [], "charts": [], "borrowed": []}
        drawn = charts or [charts_of(one) for one in found]
        for name, files in (("metrics", found), ("charts", drawn), ("borrowed", notes)):
            for i, one in enumerate(files):
                paths[name].append(tmp_path / f"{i}.{name}.json")
                write_json(paths[name][-1], one)
        compare_runs(
            **paths, benchmarks=tmp_path / "benchmarks", output_markdown=tmp_path / "t.md",
            output_html=tmp_path / "t.html", output_json=tmp_path / "t.json",
            settings=ComparisonSettings(
                trial=trial, data=data, shown=shown, steps=list(steps), runs=runs or {}, borrowed=borrowed or {}
            ),
        )  # fmt: skip
        text, page = (tmp_path / "t.md").read_text(), (tmp_path / "t.html").read_text()
        return text, page, json.loads((tmp_path / "t.json").read_text())

    return compare


class Page(HTMLParser):
    """Tags of a page with their attributes, and its texts."""

    VOID = ("meta", "input", "br", "wbr", "line", "img", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


# What stands first


def test_comparison_of_a_trial_says_first_what_it_cannot_tell(compare) -> None:
    text, page, found = compare([metrics_of("a")], trial=50)
    for shown in (text, page):
        assert "at most 50 images of each split" in shown
        assert 0 < shown.index("It cannot tell") < shown.index("toy val, 3" if shown is text else "3 images, in")
    assert found["trial"] == 50
    text, page, _ = compare([metrics_of("a")])
    assert "of a trial" not in text + page


def test_the_headline_stands_first_and_every_column_names_its_preset(compare) -> None:
    text, page, found = compare([metrics_of("a"), metrics_of("b|c", masks={"voc": {"mAP50": 40.0}, "ABO": None})])
    lines = text.splitlines()
    assert lines[0].startswith("toy val, 3 images, in percent; ")
    assert lines[2:13] == [
        "| run | method | supervision | mAP50 (voc) | ABO (over instances) | mIoU |",
        "| --- | --- | --- | ---: | ---: | ---: |",
        "| a | cim | image tags | **41.3** | 50.0 | **60.0** |",
        "| b\\|c | cim | image tags | 40.0 | - | **60.0** |",
        "",
        "The other metrics:",
        "",
        "| run | AP50 (coco) | MABO (over classes) | box AP50 (voc07) | box AP50 (voc12) | CorLoc |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        "| a | - | 49.0 | **30.0** | **31.0** | - |",
        "| b\\|c | - | - | **30.0** | **31.0** | - |",
    ]
    assert page.index(">mAP50 (voc)<") < page.index(">mIoU<") < page.index("The other metrics") < page.index(">CorLoc<")
    assert '<td class="number headline best" data-value="41.26" style="--share: 41.26">41.3</td>' in page
    (table,) = found["tables"]
    assert (table["headline"], table["short"]) == ("mAP50 (voc)", ["mAP50 (voc)", "ABO (over instances)", "mIoU"])
    assert table["rows"][1]["values"]["ABO (over instances)"] is None


def test_the_page_begins_with_the_best_run_and_the_text_keeps_the_order(compare) -> None:
    worse, unknown = ({"voc": {"mAP50": value}, "ABO": 1.0} for value in (10.0, None))
    runs = [metrics_of("unknown", masks=unknown), metrics_of("worse", masks=worse), metrics_of("best")]
    text, page, _ = compare(runs)
    assert text.index("| unknown") < text.index("| worse") < text.index("| best")
    assert page.index('data-value="best"') < page.index('data-value="worse"') < page.index('data-value="unknown"')
    assert 'aria-sort="descending"><button type="button">mAP50 (voc)</button>' in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"headline": "mAP50"}, r"names the column 'mAP50'; there are .*did you mean"),
        ({"headline": "mAP30 (voc)"}, r"names the column 'mAP30 \(voc\)'"),
        ({"columns": ["mAP50 (voc)"]}, r"name mAP50 \(voc\) twice"),
        ({"headline": "CorLoc"}, "CorLoc, which is not measured"),
    ],
    ids=["without its preset", "threshold that is not measured", "twice", "not measured"],
)
def test_columns_that_are_not_measured_are_refused_before_anything_runs(change, message) -> None:
    base = load_files(ROOT / "config.yaml").evaluation.model_dump(mode="json")
    with pytest.raises(ValidationError, match=message):
        EvaluationSettings.model_validate(
            base | {"corloc": False, "comparison": base["comparison"] | change}, strict=False
        )


def test_all_columns_that_can_be_named_are_those_of_real_metrics() -> None:
    known = load_files(ROOT / "config.yaml").evaluation.columns()
    assert {"mAP25 (cim)", "AR100 (coco)", "MABO (over classes)", "box AP50 (voc07)", "mIoU"} < set(known)


def test_metrics_without_the_headline_are_refused(compare) -> None:
    with pytest.raises(ValueError, match=r"has no mAP50 \(voc\); there are mAP25 \(voc\)"):
        compare([metrics_of("a", masks={"voc": {"mAP25": 1.0}, "ABO": 1.0})])


# Settings and costs


def test_comparison_says_what_runs_differ_in_and_what_their_steps_took(tmp_path: Path, compare) -> None:
    for name, row in {
        "find_cues.val": "9.5\t300.2\t8.0", "list_images": "1\t2\t3", "a/train": "125\t800\t100.4",
        "a/quick": "0.5\tNA\tNA", "old/x": "1\t1\t1",
    }.items():  # fmt: skip
        path = tmp_path / "benchmarks" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\tmax_rss\tcpu_time\n7\t7\t7\n{row}\n")
    runs = {
        "a": {"method": "cim", "cim": {"mining": {"strategy": "cim", "share": 0.1}, "sampling": True}},
        "b|c": {"method": "cim", "cim": {"mining": {"strategy": "mist", "share": 0.1}, "sampling": None}},
        "p": {"method": "prm", "prm": {"grid": 112}},
    }
    steps = ("list_images", "find_cues", "quick", "train")
    text, page, found = compare([metrics_of("a"), metrics_of("b|c")], runs, steps=steps)
    assert found["differences"] == {
        "method": {"a": "cim", "b|c": "cim", "p": "prm"},
        "cim.mining.strategy": {"a": "cim", "b|c": "mist"},
        "cim.sampling": {"a": True, "b|c": None},
    }
    # In the order of the rules, not of their names or times; steps of runs that are no more are left out.
    assert [(c["step"], c["seconds"], c["cpu_seconds"], c["megabytes"]) for c in found["costs"]] == [
        ("list_images", 1, 3, 2), ("find_cues.val", 9.5, 8.0, 300.2), ("a/quick", 0.5, None, None),
        ("a/train", 125, 100.4, 800),
    ]  # fmt: skip
    assert "| setting | a | b\\|c | p |\n" in text
    assert "| cim.mining.strategy | cim | mist | - |\n| cim.sampling | true | null | - |\n" in text
    assert "| a/quick | 0.5s | - | - |\n| a/train | 2m05s | 1m40s | 800 MB |\n" in text
    assert '<th scope="row">cim.mining.strategy</th><td>cim</td><td>mist</td><td>-</td>' in page
    assert "a: 2m06s, one after the other" in page
    assert '<a href="a/gallery/index.html" title="gallery">a</a>' in page


def test_comparison_says_where_borrowed_artifacts_come_from_and_what_would_differ_here(compare) -> None:
    made = {
        "step": "generate_proposals",
        "settings": {"count": 40, "ranking": {"area": 0.5}},
        "sha256": "0123456789abcdef",
    }
    notes = tuple(
        {"name": "proposals.heg", "from": f"../first/results/shapes/{split}/proposals/heg.h5", "earlier": None, **made}
        for split in ("train", "val")
    )
    older = {"from": "../zeroth/weights.safetensors", "earlier": None}
    notes += ({**made, "name": "classifier.cam", "from": "../first|<b>", "step": "train_classifier", "earlier": older},)
    borrowed = {"proposals.heg": {"count": 200, "ranking": {"area": 0.5}, "overlap": 0.7}}
    text, page, found = compare([metrics_of("a")], notes=notes, borrowed=borrowed)
    (row,) = [line for line in text.splitlines() if line.startswith("| proposals.heg")]
    files = ", ".join(f"../first/results/shapes/{split}/proposals/heg.h5 (0123456789ab)" for split in ("train", "val"))
    assert row == f"| proposals.heg | {files} | generate_proposals | count: 40 (here 200), overlap: null (here 0.7) |"
    assert "; there from ../zeroth/weights.safetensors | train_classifier | - |" in text
    assert [one["name"] for one in found["borrowed"]] == ["proposals.heg", "classifier.cam"]
    assert "Borrowed from other projects" in " ".join(Page(page).texts)
    assert "../first|<b>" in " ".join(Page(page).texts)
    text, page, found = compare([metrics_of("a")])
    assert found["borrowed"] == []
    assert "orrowed" not in text + page


def test_a_file_that_is_no_note_is_refused(compare) -> None:
    with pytest.raises(ValueError, match="does not say where its artifact comes from; remove it and run again"):
        compare([metrics_of("a")], notes=({"name": "proposals.heg"},))


def test_a_runs_own_settings_are_those_that_most_of_its_method_have_otherwise() -> None:
    runs = {name: {"method": "m", "m": {"x": 1, "y": [1]}} for name in "abc"} | {
        "d": {"method": "m", "m": {"x": 2, "y": None}}, "other": {"method": "o", "o": {"x": 7}},
    }  # fmt: skip
    assert own_settings(runs) == {"a": {}, "b": {}, "c": {}, "d": {"m.x": 2, "m.y": None}, "other": {}}


# Seeds


def run_of(seed: int = 1, **changed: Any) -> dict[str, Any]:
    return {"method": "m", "retrain": "none", "m": {"train": {"seed": seed, "rate": 0.1}}} | changed


def test_mean_and_spread_are_those_of_a_sample() -> None:
    found = spread([1.0, None, 3.0])
    assert (found.mean, found.least, found.most, found.n) == (2, 1, 3, 2)
    assert found.deviation == pytest.approx(2**0.5)
    assert spread([4.0]).deviation is None
    assert spread([None]) is None


def test_runs_that_differ_in_seeds_alone_are_a_group() -> None:
    other = run_of(9)
    other["m"]["train"]["rate"] = 0.2
    runs = {"a": run_of(1), "b": run_of(2), "again": run_of(1), "other": other, "c": run_of(3)}
    assert seed_groups(runs, runs) == [["a", "b", "c"]]  # `again` says nothing new


def test_runs_on_top_of_seeds_are_seeds_and_iterating_another_run_is_not() -> None:
    runs = {"a": run_of(1), "b": run_of(2), "on_a": run_of(1, iterates="a"), "on_b": run_of(1, iterates="b")}
    assert seed_groups(runs, runs) == [["a", "b"], ["on_a", "on_b"]]
    runs["on_b"]["iterates"] = "on_a"
    assert seed_groups(runs, runs) == [["a", "b"]]


def test_what_is_trained_on_top_counts_for_that_part_alone() -> None:
    rcnn = {"retrain": "mask_rcnn", "mask_rcnn": {"seed": 1, "rate": 1}}
    runs = {"a": run_of(1, **rcnn), "b": run_of(2), "c": run_of(3, **rcnn)}
    assert seed_groups(runs, runs) == [["a", "b", "c"]]
    assert seed_groups(runs, ["a", "c"], "mask_rcnn") == [["a", "c"]]
    runs["c"]["mask_rcnn"] = {"seed": 1, "rate": 2}
    assert seed_groups(runs, runs) == [["a", "b", "c"]]
    assert seed_groups(runs, ["a", "c"], "mask_rcnn") == []


def test_seeds_are_shown_as_mean_and_spread_with_their_number(compare) -> None:
    values = {"a": 40.0, "b": 44.0, "other": 90.0}
    measured = [metrics_of(name, masks={"voc": {"mAP50": value}, "ABO": None}) for name, value in values.items()]
    text, page, found = compare(measured, {"a": run_of(1), "b": run_of(2), "other": run_of(1, retrain="x", cues="y")})
    assert "| a, b | 2 | 42.0 ± 2.8 | - | 60.0 ± 0.0 |" in text
    assert '<th scope="row" class="name">a, b</th><td class="number">2</td>' in page
    assert "42.0 ± 2.8" in page
    (row,) = found["tables"][0]["seeds"]
    assert row["runs"] == ["a", "b"]
    assert row["values"]["mAP50 (voc)"]["n"] == 2
    assert row["values"]["ABO (over instances)"] is None
    text, page, _ = compare(measured[:1], {"a": run_of(1), "b": run_of(2)})  # one of them is not measured
    assert "seeds" not in text + page


# Tables of the papers


def of_presets(*files: str) -> dict[str, dict[str, Any]]:
    return load_files(ROOT / "config.yaml", *(ROOT / "presets" / file for file in files)).comparison().runs


def numbers(name: str, method: str, value: float, **changed: Any) -> dict[str, Any]:
    masks = {preset: {f"mAP{t}": value + t for t in (25, 50, 75)} for preset in ("voc", "cim")} | {"ABO": value}
    return metrics_of(name, method=method, masks=masks, n_images=1449, **changed)


VOC_CLASSES = {f"class {i}": {"n_instances": 1, "AP": 1.0} for i in range(20)}


def as_voc(compare, runs, found, **changed):
    charts = [charts_of(one, per_class=VOC_CLASSES) for one in found]
    return compare(found, runs, charts=charts, **{"data": "voc", **changed})


def test_an_ablation_stands_in_the_lines_of_the_papers_table_with_its_numbers(compare) -> None:
    runs = of_presets("ablations/cim.yaml")
    found = [numbers(name, run["method"], i) for i, (name, run) in enumerate(runs.items()) if run["method"] == "cim"]
    text, page, data = as_voc(compare, runs, found)
    place = {one["run"]: one["masks"]["cim"]["mAP50"] for one in found}
    table = next(one for one in data["tables"][0]["papers"] if one["about"]["id"] == "cim_4")
    assert table["comparable"]
    assert [[cell["paper"] for cell in line["cells"]] for line in table["lines"]] == [
        [38.1, 17.5], [49.2, 20.6], [48.8, 21.4], [50.1, 23.8], [51.1, 26.1]
    ]  # fmt: skip
    order = ["no_agpl", "agpl", "agpl_integrity", "agpl_integrity_mining", "cim"]
    assert [line["cells"][0]["ours"][0]["runs"] for line in table["lines"]] == [[name] for name in order]
    assert [line["cells"][0]["ours"][0]["value"]["mean"] for line in table["lines"]] == [place[name] for name in order]
    assert f"|  |  |  |  | {place['no_agpl']:.1f} (38.1) |" in text
    assert "paper 38.1" in page


@pytest.mark.parametrize(
    ("changed", "metrics"),
    [({"data": "folder"}, {}), ({"trial": 50}, {}), ({}, {"n_images": 1448})],
    ids=["other data", "a trial", "other images"],
)
def test_on_other_data_the_papers_numbers_are_left_out_and_it_says_so(compare, changed, metrics) -> None:
    runs = of_presets("ablations/cim.yaml")
    found = [numbers(name, run["method"], 7) | metrics for name, run in runs.items() if run["method"] == "cim"]
    text, page, data = as_voc(compare, runs, found, **changed)
    assert "are left out, as they are not comparable: it measured on PASCAL VOC 2012 val" in text
    assert "Not comparable with the paper" in page
    assert "38.1" not in text + page
    papers = [paper for paper in data["tables"][0]["papers"] if paper["about"]["id"] == "cim_4"]
    assert [cell["paper"] for line in papers[0]["lines"] for cell in line["cells"]] == [None] * 10


def test_other_classes_are_no_voc(compare) -> None:
    runs = of_presets("ablations/cim.yaml")
    found = [numbers(name, run["method"], 7) for name, run in runs.items() if run["method"] == "cim"]
    _, _, data = compare(found, runs, data="voc")
    assert not any(paper["comparable"] for paper in data["tables"][0]["papers"])


@pytest.mark.parametrize(
    ("presets", "table", "filled"),
    [
        (["ablations/cim_thresholds.yaml"], "cim_5", [5, 5]),
        (["ablations/cim_thresholds.yaml"], "cim_6", [4, 4]),
        (["ablations/bestie.yaml"], "bestie_3", [1] * 6),
        (["ablations/bestie.yaml"], "bestie_4", [0, 0, 0, 1, 1, 1]),
        (["ablations/bestie.yaml"], "bestie_5", [1, 1, 1]),
        (["ablations/bestie_pam.yaml"], "bestie_6", [3, 3, 0, 3, 0, 0, 0, 0]),
        (["voc2012.yaml", "voc2012_bestie.yaml", "ablations/bestie.yaml"], "bestie_3", [1] * 6),
        (["voc2012.yaml", "ablations/cim.yaml"], "cim_4", [2] * 5),
        (["voc2012.yaml", "voc2012_label_penet.yaml"], "label_penet_1", [1] * 8),
        (["voc2012.yaml", "voc2012_label_penet.yaml"], "label_penet_2", [1] * 4),
    ],
)
def test_the_ablation_presets_fill_the_tables_that_they_name(compare, monkeypatch, presets, table, filled) -> None:
    monkeypatch.setenv("TAGMASK_DATA", "/nowhere")
    project = load_files(ROOT / "config.yaml", *(ROOT / "presets" / file for file in presets))
    runs = project.comparison().runs
    found = [numbers(name, runs[name.partition("/")[0]]["method"], 7) for name in project.measured]
    _, _, data = as_voc(compare, runs, found)
    (one,) = [paper for paper in data["tables"][0]["papers"] if paper["about"]["id"] == table]
    got = [sum(bool(cell["ours"] and cell["ours"][0]["value"]) for cell in line["cells"]) for line in one["lines"]]
    assert got == filled
    assert all(len(cell["ours"]) <= 1 for line in one["lines"] for cell in line["cells"])


def test_seeds_share_a_line_of_a_papers_table(compare) -> None:
    runs = of_presets("ablations/bestie_seeds.yaml")
    found = [numbers(name, "bestie", i) for i, name in enumerate(runs)]
    text, _, data = as_voc(compare, runs, found)
    (table,) = [paper for paper in data["tables"][0]["papers"] if paper["about"]["id"] == "bestie_3"]
    assert [line["cells"][0]["ours"][0]["runs"] for line in table["lines"]][:2] == [
        ["no_pam_3", "no_pam_4", "no_pam_5"], ["no_attention_3", "no_attention_4", "no_attention_5"]
    ]  # fmt: skip
    assert " ± 1.0 (12.9) | no_pam_3, no_pam_4, no_pam_5 |" in text


def test_runs_of_one_line_that_differ_in_more_than_seeds_stand_side_by_side(compare) -> None:
    """Center clustering plays no role in the first lines of table 3 of BESTIE, but two such runs are no seeds."""
    runs = {name: run for name, run in of_presets("ablations/bestie.yaml").items() if name in ("no_pam", "pam")}
    runs["other"] = copy.deepcopy(runs["no_pam"])
    runs["other"]["bestie"]["train"]["refinement"]["grouping"]["clustering"] = False
    text, _, data = as_voc(compare, runs, [numbers(name, "bestie", i) for i, name in enumerate(runs)])
    (table,) = [paper for paper in data["tables"][0]["papers"] if paper["about"]["id"] == "bestie_3"]
    assert [found["runs"] for found in table["lines"][0]["cells"][0]["ours"]] == [["no_pam"], ["other"]]
    assert "| 50.0, 52.0 (12.9) | no_pam, other |" in text


def test_runs_that_differ_in_more_than_the_tables_settings_do_not_share_it(compare) -> None:
    runs = of_presets("ablations/cim.yaml")
    mixed = {name: copy.deepcopy(runs[name]) for name in ("no_agpl", "agpl")}
    mixed["agpl"]["cim"]["train"]["training"]["steps"] += 1
    _, _, data = as_voc(compare, mixed, [numbers(name, "cim", 7) for name in mixed])
    assert data["tables"][0]["papers"] == []


def test_the_tables_of_the_papers_are_complete() -> None:
    tables = json.loads(TABLES.read_text())
    assert {table["id"] for table in tables} == {
        "cim_4", "cim_5", "cim_6", "bestie_3", "bestie_4", "bestie_5", "bestie_6", "label_penet_1", "label_penet_2"
    }  # fmt: skip
    for table in tables:
        assert (ROOT / table["preset"]).is_file()
        for line in table["lines"]:
            assert len(line["labels"]) == len(table["heads"])
            assert len(line["paper"]) == len(table["columns"])


# Charts


def test_charts_stand_beside_the_numbers(compare) -> None:
    text, page, found = compare([metrics_of("a"), metrics_of("b")])
    assert "| run | right | class | grouped | part | loose | poor | missed |" in text
    assert "| a | 75.0 | 0.0 | 0.0 | 0.0 | 0.0 | 0.0 | 25.0 |" in text
    assert "| a | 12.5 | 41.3 |" in text
    assert "| cat | 3 | 41.3 | 41.3 |" in text
    charts = found["tables"][0]["charts"]["a"]
    assert charts["errors"]["instances"]["missed"] == 1
    assert charts["precision_recall"] == {"recall": [0, 50, 100], "precision": [100, 50, 0]}
    assert 'aria-label="right 75 % (3), missed 25 % (1)"' in page
    assert 'points="56.0,10.0 336.0,170.0 616.0,330.0"' in page  # the corner, the middle, the opposite corner
    assert len(Page(page).tags) > 100


def test_the_first_runs_are_visible_in_the_charts_and_all_are_there(compare) -> None:
    _, page, _ = compare([metrics_of(f"run{i}") for i in range(9)])
    boxes = [attributes for tag, attributes in Page(page).tags if tag == "input"]
    assert ["checked" in one for one in boxes] == [True] * 6 + [False] * 3
    lines = [attributes for tag, attributes in Page(page).tags if tag == "polyline"]
    assert ["hidden" in one for one in lines] == [False] * 6 + [True] * 3
    assert len({(one["stroke"], one.get("stroke-dasharray")) for one in lines}) == 9


def test_where_nothing_is_measured_charts_have_dashes(compare) -> None:
    one = metrics_of("a", masks={"voc": {"mAP50": None}, "ABO": None})
    charts = charts_of(one)
    charts["precision_recall"]["mean"]["0.5"] = None
    charts["errors"]["instances"] |= {"total": 0, "counts": dict.fromkeys(OF_INSTANCES, 0), "percent": None}
    charts["sizes"]["groups"] = []
    text, page, _ = compare([one], charts=[charts])
    assert "| a | - | - | - | - | - | - | - |" in text
    assert "<polyline" not in page
    assert 'aria-label="nothing to measure"' in page


@pytest.mark.parametrize(
    ("charts", "message"),
    [
        ([charts_of(metrics_of("a"))], "is of run 'b' on 'val', of which there are no charts"),
        (
            [charts_of(metrics_of("a")), charts_of(metrics_of("b"), inputs={"instances": "x", "ground_truth": "g"})],
            "are of different instances or annotations",
        ),
        ([charts_of(metrics_of("a")), charts_of(metrics_of("b"), overlap=0.75)], "has overlap 0.75, but"),
        ([{}, {}], "is no charts.json of chart_instances: it lacks run"),
    ],
    ids=["missing", "other instances", "other settings", "something else"],
)
def test_charts_that_do_not_belong_are_refused(compare, charts, message) -> None:
    with pytest.raises(ValueError, match=message):
        compare([metrics_of("a"), metrics_of("b")], charts=charts)


# The page as such


def test_hostile_names_are_text_everywhere(compare) -> None:
    shown = {"dataset": HOSTILE, "split": "<b>", "supervision": HOSTILE, "method": HOSTILE}
    runs = {HOSTILE: run_of(1, method=HOSTILE), HOSTILE + "2": run_of(2, method=HOSTILE)}
    found = [metrics_of(name, **shown) for name in runs]
    text, page, _ = compare(found, runs)
    read = Page(page)
    assert read.open == []
    assert [tag for tag, _ in read.tags].count("script") == 1
    assert not {"b", "img", "a>"} & {tag for tag, _ in read.tags}
    assert not any(name.startswith("on") for _, attributes in read.tags for name in attributes)
    links = [attributes["href"] for tag, attributes in read.tags if tag == "a"]
    assert links
    assert not any(set(link) & set("<>\"' ") for link in links)
    for name in runs:
        assert name in "".join(read.texts)
        assert name.replace("|", "\\|") in text


def test_the_page_needs_nothing_from_elsewhere(compare) -> None:
    _, page, _ = compare([metrics_of("a"), metrics_of("b")], {"a": run_of(1), "b": run_of(2)})
    assert "http" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    for tag, attributes in Page(page).tags:
        assert "src" not in attributes
        assert tag != "link"


def test_what_is_drawn_has_words_and_what_sorts_is_a_button(compare) -> None:
    _, page, _ = compare([metrics_of("a"), metrics_of("b")])
    tags = Page(page).tags
    for tag, attributes in tags:
        if attributes.get("role") in ("img", "region"):
            assert attributes["aria-label"]
        if tag == "svg":
            assert "aria-label" in attributes or attributes.get("aria-hidden") == "true"
    assert sum(tag == "button" for tag, _ in tags) > 10
    assert all(attributes.get("type") == "button" for tag, attributes in tags if tag == "button")


def test_every_split_has_a_table_of_its_own(compare) -> None:
    runs = [metrics_of("a"), metrics_of("a", split="test", n_images=9), metrics_of("b")]
    _, page, found = compare(runs)
    splits = [(t["about"]["split"], [row["run"] for row in t["rows"]]) for t in found["tables"]]
    assert splits == [("val", ["a", "b"]), ("test", ["a"])]
    assert 'id="split-2"' in page


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_images": 2}, "has n_images 2, but"),
        ({"treatment": {"void": "ignore"}}, "has treatment"),
        ({"run": "a"}, "are both of run 'a'"),
    ],
    ids=["other images", "void treated otherwise", "the same run twice"],
)
def test_runs_that_were_measured_otherwise_are_not_compared(compare, changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare([metrics_of("a"), metrics_of("b", **changed)])


def test_comparison_of_something_else_is_refused(compare) -> None:
    with pytest.raises(ValueError, match=r"metrics\.json is no metrics\.json of evaluate_instances: it lacks run"):
        compare([{}], charts=[charts_of(metrics_of("a"))])
