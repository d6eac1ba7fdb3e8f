"""Step: finds instances in images with a trained CIM network."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.cim.columns import without_background
from stages.cim.decoding import by_rank, choose_instances
from stages.cim.inputs import RegionInputs, check_size, scaled_image
from stages.cim.masks import refined, voted, votes
from stages.cim.network import CimNetwork
from stages.cim.settings import CimPredictionSettings, CimTrainingSettings
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals, ranked_by
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.semantic_maps import SemanticMaps, check_given, labels_of
from stages.core.artifacts.storage import Artifact, Provenance, create, read, read_optional
from stages.core.artifacts.supervision import joint_supervision
from stages.core.images.loading import load_rgb
from stages.core.networks.backbones import build_backbone
from stages.core.networks.devices import torch_device
from stages.core.networks.weights import load_weights, read_trained, weights_digest
from stages.core.workflow import step
from stages.ops.rescoring import rescored, shares_in_map, with_prior

log = logging.getLogger(__name__)


def predict_cim(
    *,
    images: Path,
    proposals: Path,
    weights: Path,
    output: Path,
    settings: CimPredictionSettings,
    run: str,
    device: str,
    semantics: Path | None = None,
) -> None:
    """Score each image's proposals and keep the best as instances; an image without proposals has none.

    The network is rebuilt from the settings inside the weights file. Tags are not read unless `use_tags` is set.
    `semantics` are the maps that have ranked the proposals, needed where `map_weight` or `map_power` is above 0.
    Raises ValueError where the weights are not of `train_cim` or of other classes, or maps are missing or of others.
    """
    with (
        read(images, ImageRecord) as listing,
        read(proposals, Proposals) as candidates,
        read_optional(semantics, SemanticMaps) as maps,
    ):
        check_given(maps, listing, settings)
        network, trained, metadata = load_network(weights, listing, device=device)
        predictor = Predictor(network, trained=trained, settings=settings)
        header = {
            "classes": listing.header["classes"],
            "category_ids": listing.header["category_ids"],
            "run": run,
            "method": "cim",
            "supervision": joint_supervision(metadata["supervision"], ranked_by(candidates)),
            "weights": weights_digest(weights),
        }
        inputs = {"images": listing, "proposals": candidates} | ({} if maps is None else {"semantics": maps})
        provenance = Provenance("predict_cim", settings, None, inputs)
        counts = []
        with create(output, Instances, header=header, provenance=provenance) as instances:
            for i, image in enumerate(step.progress(listing.ids, total=len(listing), label="images")):
                found = candidates.find(image)
                check_size(listing, candidates, image, found.atoms.shape)
                labels = None if maps is None else labels_of(maps, image, found.atoms.shape)
                record = predictor.instances(listing[i], found, labels=labels, root=listing.header["root"])
                instances.append(record)
                counts.append(len(record.scores))
        log.info("%d instances in %d images, %d without any", sum(counts), len(counts), counts.count(0))


class Predictor:
    """Scores proposals with test-time augmentation and chooses instances."""

    def __init__(self, network: CimNetwork, *, trained: CimTrainingSettings, settings: CimPredictionSettings) -> None:
        self.network, self.trained, self.settings = network.eval(), trained, settings
        self.device = network.heads.weight.device

    def instances(
        self, image: ImageRecord, proposals: Proposals, *, root: str, labels: np.ndarray | None = None
    ) -> Instances:
        """The instances of one image among its proposals; `labels` (H, W) is its semantic map, where one is read."""
        regions, class_scores = proposals.regions, proposals.class_scores
        if self.settings.max_proposals is not None:
            best = slice(self.settings.max_proposals)
            regions, class_scores = regions.select(best), None if class_scores is None else class_scores[best]
        tags = image.tags if self.settings.use_tags else None
        candidates = RegionInputs.of(regions, crop_size=self.trained.network.crop_size, settings=self.trained.inputs)
        rgb, scores = load_rgb(image, root), np.zeros((0, len(image.tags)), np.float32)
        if len(regions):
            scores = with_prior(self.scores(rgb, candidates), class_scores, share=self.settings.prior_share)
            scores = by_rank(scores, scale=self.settings.rank_scale)
        chosen, classes = choose_instances(regions, scores, boxes=candidates.boxes, tags=tags, settings=self.settings)
        shares = votes(regions, scores, chosen, classes, overlap=self.settings.vote_overlap)
        masks = refined(
            rgb, voted(regions, shares, chosen), regions, shares, classes, labels=labels, settings=self.settings
        )
        final = rescored(
            scores[chosen, classes],
            None if labels is None else shares_in_map(masks, classes, labels),
            map_power=self.settings.map_power,
            best_power=self.settings.best_power,
        )
        order = np.argsort(-final, kind="stable")
        return Instances(
            image=image.image,
            classes=classes[order].astype(np.int32),
            scores=final[order],
            **packed_fields(masks.select(order)),
        )

    @torch.no_grad()
    def scores(self, rgb: np.ndarray, candidates: RegionInputs) -> np.ndarray:
        """Scores (N, C) float32 of at least one proposal: means over scales, mirror images and branches (section 4.2).

            score_{n,c} = mean over passes and branches k of y^k_{n,c} t^k_{n,c}

        y^k are the class probabilities and t^k the integrities of refinement branch k.
        """
        inputs = self.trained.inputs
        passes = []
        for side in self.settings.longer_sides:
            for flip in (False, True) if self.settings.flip else (False,):
                image = torch.from_numpy(scaled_image(rgb, side, flip=flip, settings=inputs)).to(self.device)
                inputs_of_pass = candidates.flip(inputs) if flip else candidates
                passes.append(self._score_pass(image, inputs_of_pass, scale=side / max(rgb.shape[:2])))
        return torch.stack(passes).mean(0).cpu().numpy()

    def _score_pass(self, image: Tensor, regions: RegionInputs, *, scale: float) -> Tensor:
        features = self.network.features(image)
        boxes = torch.from_numpy(regions.boxes * np.float32(scale)).to(self.device)
        crops = torch.from_numpy(np.ascontiguousarray(regions.crops)).to(self.device)
        scores = []
        for start in range(0, len(boxes), self.settings.proposal_chunk):
            chunk = slice(start, start + self.settings.proposal_chunk)
            refined = self.network.score(features, boxes[chunk], crops[chunk]).refined
            scores.append(
                without_background(torch.stack([classes * integrity for classes, integrity in refined]).mean(0))
            )
        return torch.cat(scores)


def load_network(
    weights: Path, images: Artifact[ImageRecord], *, device: str
) -> tuple[CimNetwork, CimTrainingSettings, dict[str, Any]]:
    """The trained network, the settings that it was trained with, and the metadata of the weights file.

    Raises ValueError where the weights are not of `train_cim`, do not fit, or know other classes than the images.
    """
    metadata = read_trained(weights, step="train_cim", classes=images.header["classes"], listed=images.path)
    trained = metadata.section(CimTrainingSettings)
    backbone = build_backbone(trained.backbone, load=False)
    network = CimNetwork(backbone, class_count=len(metadata["classes"]), settings=trained.network)
    load_weights(weights, network)
    return network.to(torch_device(device)), trained, metadata


if __name__ == "__main__":
    step.run(predict_cim)
