"""Trained modules of Label-PEnet, read back."""

from pathlib import Path
from typing import Any

from stages.core.networks.devices import torch_device
from stages.core.networks.weights import load_weights, read_metadata, read_trained
from stages.label_penet.cascade import Cascade
from stages.label_penet.settings import MODULES, Module, PenetLossSettings, PenetNetworkSettings

PRETRAINED, FINETUNED = "pretrain_module", "train_label_penet"


def load_cascade(
    weights: Path, *, module: str, classes: list[str], listed: Path, device: str
) -> tuple[Cascade, dict[str, Any]]:
    """The network in evaluation mode, with the modules that the file has, and the metadata of the file.

    Raises ValueError where the weights are not of the module, of another step, or of other classes than those of
    the file `listed`.
    """
    step = FINETUNED if read_metadata(weights).get("step") == FINETUNED else PRETRAINED
    metadata = read_trained(weights, step=step, classes=classes, listed=listed)
    modules: list[Module] = list(MODULES) if step == FINETUNED else [metadata.setting("module")]
    if module not in modules:
        raise ValueError(f"{weights} holds the modules {modules}, not {module}; give its weights")
    network = Cascade(
        metadata.section(PenetNetworkSettings, name="network"), metadata.section(PenetLossSettings, name="losses"),
        class_count=len(classes), modules=modules, load=False,
    )  # fmt: skip
    load_weights(weights, network)
    return network.to(torch_device(device)).eval(), metadata
