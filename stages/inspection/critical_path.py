"""The critical path of a workflow: the chain of steps that wait for each other and take longest together.

No number of machines makes a workflow faster than this chain; to see what is worth to be made faster, look at it first.
"""

import json
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.artifacts.files import whole_file, write_json
from stages.core.workflow.benchmarks import StepCost
from stages.ops.colours import SERIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEEDS = "needs.json"  # in the folder of the benchmark files: names of the steps that each step waits for
ROW = 0.26  # inches of height


def read_needs(benchmarks: Path) -> dict[str, list[str]] | None:
    """What each step waits for; None where nobody has written it. Raises ValueError for another file."""
    path = benchmarks / NEEDS
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(step): [str(other) for other in needs] for step, needs in found.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} says not which steps wait for which ({error}); remove it") from error


def critical_path(costs: Iterable[StepCost], needs: Mapping[str, Iterable[str]]) -> list[StepCost]:
    """The steps of the longest chain, first to last.

    Args:
        costs: of the steps; one without a cost takes no time.
        needs: names of the steps that each step waits for; one that is not there waits for nothing.

    Raises:
        ValueError: steps that wait for each other in a circle.
    """
    cost_of = {cost.step: cost for cost in costs}
    graph = {step: list(needs.get(step, ())) for step in {*cost_of, *needs}}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ValueError(f"steps wait for each other in a circle: {' -> '.join(error.args[1])}") from error
    ends: dict[str, float] = {}
    before: dict[str, str | None] = {}
    for step in order:
        before[step] = max(graph.get(step, ()), key=lambda other: (ends[other], other), default=None)
        start = 0.0 if before[step] is None else ends[before[step]]
        ends[step] = start + (cost_of[step].seconds if step in cost_of else 0.0)
    chain: list[StepCost] = []
    step = max(ends, key=lambda one: (ends[one], one), default=None)
    while step is not None:
        chain += [cost_of[step]] if step in cost_of else []
        step = before[step]
    return chain[::-1]


def write_times(
    costs: list[StepCost],
    needs: Mapping[str, list[str]],
    *,
    stage_of: Mapping[str, str],
    output_json: Path,
    output_plot: Path,
) -> list[StepCost]:
    """Write cost and needs of the steps that `needs` has, and the critical path, which is drawn; returns the path."""
    costs = [cost for cost in costs if cost.step in needs]
    chain = critical_path(costs, needs)
    steps = [
        {
            "step": cost.step,
            "stage": _stage(cost, stage_of),
            "seconds": cost.seconds,
            "cpu_seconds": cost.cpu_seconds,
            "megabytes": cost.megabytes,
            "needs": needs.get(cost.step, []),
        }
        for cost in costs
    ]
    total = sum(cost.seconds for cost in costs)
    data = {
        "seconds": total,
        "critical_path": [cost.step for cost in chain],
        "critical_seconds": sum(cost.seconds for cost in chain),
        "steps": steps,
    }
    write_json(output_json, data)
    plot_path(output_plot, chain, total=total, stage_of=stage_of)
    return chain


def plot_path(path: Path, chain: list[StepCost], *, total: float, stage_of: Mapping[str, str]) -> None:
    """Draw the steps of the critical path as bars, each from where the one before ends, and their memory beside."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    stages = list(dict.fromkeys(_stage(cost, stage_of) for cost in chain))
    colours = [SERIES[stages.index(_stage(cost, stage_of)) % len(SERIES)] for cost in chain]
    divisor, unit = next(
        ((size, name) for size, name in ((3600, "hours"), (60, "minutes")) if total >= 3 * size), (1, "seconds")
    )
    lengths = [cost.seconds / divisor for cost in chain]
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tagmask"}):
        figure = Figure(figsize=(9, 1.3 + ROW * max(4, len(chain))), layout="constrained")
        times, memory = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
        _bars(times, chain, lengths, starts, colours, texts=[f"{length:.3g}" for length in lengths])
        megabytes = [cost.megabytes or 0.0 for cost in chain]
        known = ["-" if cost.megabytes is None else f"{cost.megabytes:.0f}" for cost in chain]
        _bars(memory, chain, megabytes, [0.0] * len(chain), colours, texts=known)
        times.set_xlabel(f"{unit} from the start, were nothing else to wait for")
        memory.set_xlabel("peak memory, MB")
        handles = [
            times.barh([0], [0], color=SERIES[i % len(SERIES)], label=_plain(stage)) for i, stage in enumerate(stages)
        ]
        if handles:
            figure.legend(loc="outside lower center", ncols=min(6, len(stages)), fontsize=8, frameon=False)
        title = f"Critical path: {sum(lengths):.3g} of {total / divisor:.3g} {unit} of all steps one after the other"
        figure.suptitle(title, fontsize=9)
        with whole_file(path) as unfinished:
            figure.savefig(unfinished, format="svg", metadata={"Date": None, "Title": title})


def _bars(
    axes: "Axes",
    chain: list[StepCost],
    lengths: list[float],
    starts: list[float],
    colours: list[Any],
    *,
    texts: list[str],
) -> None:
    rows = range(len(chain))
    bars = axes.barh(rows, lengths, left=starts, color=colours)
    axes.bar_label(bars, labels=texts, padding=2, fontsize=7)
    axes.tick_params(labelsize=8)
    axes.set_yticks(rows, [_plain(cost.step) for cost in chain], fontsize=7)
    axes.set_xlim(0, 1.15 * max((a + b for a, b in zip(starts, lengths, strict=True)), default=1) or 1)
    axes.set_ylim(max(len(chain), 1) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _plain(text: str) -> str:
    """A text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")


def _stage(cost: StepCost, stage_of: Mapping[str, str]) -> str:
    return stage_of.get(cost.rule, cost.rule)
