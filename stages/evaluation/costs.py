"""What the steps of runs took, in the order of the pipeline."""

from dataclasses import dataclass

from stages.core.workflow.benchmarks import StepCost


@dataclass(frozen=True)
class Costs:
    """Steps that runs share (`run` is None), or those of one run, and their wall times one after the other."""

    run: str | None
    steps: list[StepCost]
    seconds: float


def costs_of_runs(costs: list[StepCost], *, runs: list[str], order: list[str]) -> list[Costs]:
    """Costs of the steps that runs share, then of each run's own, in the order of their rules; other runs' left out.

    Args:
        costs: of all steps; a step is named after its rule, then its wildcards, in the folder of its run.
        runs: names of the runs.
        order: names of the rules as the workflow has them; a step of another stands last.
    """
    groups: dict[str | None, list[StepCost]] = {None: [], **{run: [] for run in runs}}
    for cost in costs:
        owner = cost.step.split("/")[0] if "/" in cost.step else None
        if owner in groups:
            groups[owner].append(cost)
    place = {rule: i for i, rule in enumerate(order)}

    def key(cost: StepCost) -> tuple[int, str]:
        return place.get(cost.rule, len(order)), cost.step

    return [
        Costs(run, sorted(steps, key=key), sum(cost.seconds for cost in steps))
        for run, steps in groups.items()
        if steps
    ]
