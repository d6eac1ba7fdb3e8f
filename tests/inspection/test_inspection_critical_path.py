"""The critical path: the longest chain of steps, its files, and what the summary says of it."""

import itertools
import json
import random
from xml.etree import ElementTree

import pytest

from stages.core.workflow.benchmarks import StepCost
from stages.inspection.critical_path import critical_path, read_needs, write_times
from stages.inspection.summarise import summarise

SECONDS = {"list": 2.0, "cam/train": 30.0, "heg": 50.0, "cim/train": 100.0, "prm/predict": 40.0, "bestie/train": 101.0}
NEEDS = {
    "list": [], "cam/train": ["list"], "heg": ["list"], "cim/train": ["cam/train", "heg"],
    "prm/predict": ["cim/train"], "bestie/train": ["cam/train", "maps"], "maps": ["cam/train"],
}  # fmt: skip


def costs_of(seconds):
    return [StepCost(step, value, value, 10.0 * value) for step, value in seconds.items()]


def names(chain):
    return [cost.step for cost in chain]


def test_the_path_is_the_longest_chain_of_steps_that_wait_for_each_other():
    assert names(critical_path(costs_of(SECONDS), NEEDS)) == ["list", "heg", "cim/train", "prm/predict"]
    assert names(critical_path(costs_of(SECONDS | {"bestie/train": 161.0}), NEEDS)) == [
        "list", "cam/train", "bestie/train",
    ]  # fmt: skip
    assert names(critical_path(costs_of({"alone": 1.0}), {})) == ["alone"]
    assert critical_path([], {}) == []


def test_the_path_is_that_of_all_chains_tried():
    random.seed(3)
    for _ in range(30):
        steps = [f"s{i}" for i in range(8)]
        needs = {step: random.sample(steps[:i], random.randint(0, min(i, 3))) for i, step in enumerate(steps)}
        seconds = {step: float(random.randint(0, 9)) for step in steps}
        longest = max(
            sum(seconds[step] for step in chain)
            for length in range(1, 9)
            for chain in itertools.combinations(steps, length)
            if all(before in needs[after] for before, after in itertools.pairwise(chain))
        )
        found = critical_path(costs_of(seconds), needs)
        assert sum(cost.seconds for cost in found) == longest
        assert all(one.step in needs[other.step] for one, other in itertools.pairwise(found))


def test_steps_in_a_circle_are_refused():
    with pytest.raises(ValueError, match="in a circle: "):
        critical_path(costs_of({"a": 1.0, "b": 1.0}), {"a": ["b"], "b": ["a"]})


@pytest.mark.draws
def test_files_hold_the_steps_of_the_target_and_the_path(tmp_path):
    costs = [*costs_of(SECONDS), StepCost("of/another/target", 1e4, None, None), StepCost("maps", 1.0, None, None)]
    chain = write_times(
        costs, NEEDS, stage_of={"train": "<b> & $x$"}, output_json=tmp_path / "t.json", output_plot=tmp_path / "t.svg"
    )
    data = json.loads((tmp_path / "t.json").read_text())
    assert data["critical_path"] == names(chain) == ["list", "heg", "cim/train", "prm/predict"]
    assert data["critical_seconds"] == 192
    assert data["seconds"] == pytest.approx(324)
    assert {step["step"] for step in data["steps"]} == set(NEEDS)
    assert next(step for step in data["steps"] if step["step"] == "maps")["needs"] == ["cam/train"]
    texts = {element.text for element in ElementTree.parse(tmp_path / "t.svg").iter() if element.text}
    assert {"cim/train", "<b> & $x$", "1000"} <= texts  # a step, its stage, its memory
    assert any("Critical path: 3.2 of 5.4 minutes" in text for text in texts)


@pytest.mark.parametrize("content", ["[]", "{", '{"a": 3}', "null"])
def test_needs_that_are_none_are_named(tmp_path, content):
    assert read_needs(tmp_path) is None
    (tmp_path / "needs.json").write_text(content)
    with pytest.raises(ValueError, match=r"needs\.json says not which steps wait for which"):
        read_needs(tmp_path)


def test_the_summary_names_the_longest_steps_of_the_path(tmp_path, capsys):
    for step, seconds in SECONDS.items():
        path = tmp_path / "benchmarks" / f"{step}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:02\tNA\n")
    summarise(tmp_path, stage_of={})
    assert "wait for each other" not in capsys.readouterr().out
    (tmp_path / "benchmarks" / "needs.json").write_text(json.dumps(NEEDS))
    summarise(tmp_path, stage_of={})
    lines = capsys.readouterr().out.splitlines()
    assert "of which 3m12s wait for each other: cim/train 1m40s, heg 50.0s, prm/predict 40.0s" in lines
    assert f"open {tmp_path / 'times.svg'}" in lines
