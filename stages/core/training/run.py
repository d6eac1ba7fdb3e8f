"""What all steps that train a network share: the training's identity, the metadata of its weights, and the loop."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from stages.core.artifacts.storage import Artifact
from stages.core.images.scratch import scratch_in_use
from stages.core.training.identity import training_identity
from stages.core.training.loop import Task, TrainingOutputs, train
from stages.core.training.settings import TrainingSettings


class TrainedSection(Protocol):
    """A `Section` of a step that trains: it has a seed and a section `training`."""

    seed: int
    training: TrainingSettings

    def canonical(self) -> str:
        """See `Section`."""

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        """See pydantic."""


def run_training(
    task: Task,
    settings: TrainedSection,
    *,
    module: str,
    inputs: Mapping[str, Artifact],
    weights: Mapping[str, Path | None],
    supervision: str,
    outputs: TrainingOutputs,
    device: str,
    snapshots: Sequence[int] = (),
    **metadata: Any,
) -> None:
    """Train the task's network, and write it with all that is needed to build and judge it later.

    A checkpoint in the folder `checkpoint` beside the weights lets a killed training go on. The metadata of the weights
    hold the step, its settings, the fingerprints of its inputs, the classes and the supervision.

    Args:
        task: the network, its batches and its losses.
        settings: of the step; the seed is that of all that is random.
        module: full name of the step's module, whose code is part of the identity; ends with the step's name.
        inputs: artifacts that the task reads, by name; `images` lists the classes.
        weights: files that parts of the network start from, by the part's name; None where a part starts from no file.
        supervision: what people have given for this network to learn from.
        outputs: where the results go; their metadata are made here.
        device: see `train`.
        snapshots: see `train`.
        metadata: more of it.
    """
    fingerprints = {name: artifact.fingerprint for name, artifact in inputs.items()}
    described = {
        "step": module.rpartition(".")[2],
        "settings": settings.model_dump(mode="json"),
        "inputs": fingerprints,
        "classes": inputs["images"].header["classes"],
        "supervision": supervision,
    }
    with scratch_in_use():
        train(
            task,
            settings.training,
            folder=outputs.weights.parent / "checkpoint",
            identity=training_identity(module, settings.canonical(), inputs=fingerprints, weights=weights),
            seed=settings.seed,
            device=device,
            outputs=dataclasses.replace(outputs, metadata={**described, **metadata}),
            snapshots=snapshots,
        )
