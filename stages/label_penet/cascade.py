"""The network of Label-PEnet: the shared backbone and its modules; a call gives the losses of an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stages.core.networks.backbones import build_backbone
from stages.label_penet.network import KINDS, Image, Tails
from stages.label_penet.settings import Module, PenetLossSettings, PenetNetworkSettings

# Terms of one image, from the network, the image's shared features and its batch.
Losses = Callable[["Cascade", Tensor, Any], dict[str, Tensor]]


class Cascade(nn.Module):
    """The shared backbone and some of the four modules.

    Attributes:
        backbone: features that all modules share.
        stages: the modules by name, each with features and heads of its own.
    """

    def __init__(
        self, settings: PenetNetworkSettings, losses: PenetLossSettings, *, class_count: int, modules: list[Module],
        classifier: Path | None = None, load: bool = True,
    ) -> None:  # fmt: skip
        """Build the network; without `load` for weights that are loaded afterwards. Raises as `build_backbone`."""
        super().__init__()
        self.settings = losses
        self.backbone = build_backbone(settings.backbone, classifier=classifier, load=load)
        tails = Tails(settings, self.backbone, classifier=classifier, load=load)
        self.stages = nn.ModuleDict(
            {name: KINDS[name](settings, losses, tails, class_count=class_count) for name in modules}
        )

    def shared(self, image: Image, *, from_prefix: bool = False) -> Tensor:
        """Features (1, D, h, w) of the shared backbone."""
        return self.backbone.rest(image.inputs.float()) if from_prefix else self.backbone(image.inputs)

    def forward(self, batch: Any, losses: Losses, *, from_prefix: bool = False) -> dict[str, Tensor]:
        """The terms of one image, whose batch has the attribute `image`."""
        return losses(self, self.shared(batch.image, from_prefix=from_prefix), batch)
