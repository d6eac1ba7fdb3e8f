"""A toy data set for Label-PEnet: bright rectangles on noise, their boxes among the proposals, and tiny networks."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create, read
from stages.label_penet.calibration import Objects
from stages.label_penet.predict_label_penet import predict_label_penet
from stages.label_penet.pretrain_module import pretrain_module
from stages.label_penet.propagate_labels import propagate_labels
from stages.label_penet.settings import MODULES, LabelPenetSettings
from stages.label_penet.train_label_penet import train_label_penet
from stages.ops.regions import Regions

CLASSES = ["red", "blue"]
SIZE = (48, 64)
CRF = {
    "iterations": 1, "smooth_sxy": 3.0, "smooth_compat": 3.0, "colour_sxy": 30.0, "colour_srgb": 10.0,
    "colour_compat": 10.0,
}  # fmt: skip
VIEW = {
    "shorter_side": 48,
    "longest_side": 96,
    "max_proposals": 20,
    "prior_share": 0.0,
    "rpn_before_nms": 50,
    "rpn_after_nms": 10,
}
CALIBRATION = {
    "attention": "ebp", "nms_threshold": 0.3, "score_threshold": 0.0, "candidate_share": 0.7, "max_per_class": 2,
    "box_margin": 1.2, "least_share": 0.2, "most_share": 0.95, "proposal_overlap": None, "crf": CRF,
}  # fmt: skip
TRAINING = {
    "steps": 4, "accumulate": 1, "reduction": "mean", "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9,
    "nesterov": False, "betas": [0.9, 0.999], "weight_decay": 0.0, "bias_lr_mult": 1.0, "bias_decay": False,
    "norm_decay": False, "lr_mult": {}, "schedule": {"kind": "step", "drops": [], "factor": 0.1, "power": 0.9},
    "warmup_steps": 0, "warmup_factor": 0.1, "scale_momentum_at_drops": False, "clip_gradient_norm": None,
    "ema_decay": 0.0, "precision": "32", "prefetch": 0, "checkpoint_minutes": 60.0, "curve_steps": 2,
}  # fmt: skip
TINY = {
    "train": {
        "seed": 3,
        "network": {
            "backbone": {
                "name": "resnet10t", "output_stride": 8, "stage": 2, "weights": "none", "frozen_stages": 3,
                "norm": "frozen", "dilated_pool": "drop", "mean": None, "std": None,
            },
            "tail": "convolution", "tail_channels": 12, "box_features": "pool4", "bins": 3, "fc_widths": [16, 16], "dropout": 0.0,
            "anchor_sizes": [12, 24], "anchor_ratios": [1.0], "mask_bins": 4, "aspp_channels": 6, "aspp_rates": [1, 2],
        },
        "data": {
            "shorter_sides": [48], "longest_side": 96, "flip": 0.5, "max_proposals": 20, "cache_features": True,
            "memory_gb": 0.1,
        },
        "losses": {
            "mil": "paper", "objectness": "soft", "probability_floor": 1e-6, "rpn_foreground": 0.6,
            "rpn_background": 0.3, "rpn_anchors": 16, "rpn_before_nms": 50, "rpn_after_nms": 10, "box_foreground": 0.5,
            "boxes": 8, "box_foreground_share": 0.25,
        },
        **{module: {"training": TRAINING} for module in ("classification", "detection", "refinement", "segmentation")},
    },
    "labels": {
        "view": VIEW, "classification": CALIBRATION, "detection": CALIBRATION, "refinement": CALIBRATION, "kept_side": 16,
    },
    "finetune": {"overlap": 0.5, "frozen_stages": 0, "training": TRAINING, "snapshots": [2]},
    "predict": {
        "view": VIEW, "score_threshold": 0.0, "nms_threshold": 0.3, "top_k": 5, "mask_threshold": 0.5, "use_tags": False,
        "attention": "ebp", "crf": CRF, "crf_score": 0.1,
        "semantics": None, "map_weight": 0.0, "map_power": 0.0, "best_power": 0.0,
    },
}  # fmt: skip


def merged(base, override):
    if not isinstance(base, dict) or not isinstance(override, dict):
        return override
    return {**base, **{key: merged(base[key], value) if key in base else value for key, value in override.items()}}


@pytest.fixture(scope="session")
def tiny():
    def tiny(**overrides):
        return LabelPenetSettings.model_validate(merged(TINY, overrides))

    return tiny


def write(path, record_class, records, **header):
    provenance = Provenance(step="test", settings=None, seed=None, inputs={})
    with create(path, record_class, header={"classes": CLASSES, **header}, provenance=provenance) as writer:
        for record in records:
            writer.append(record)
    return path


class Toy:
    """Five images: two with both classes, one with one, one without tags, one without proposals."""

    tags = np.array([[1, 1], [1, 1], [0, 1], [0, 0], [1, 0]], bool)

    def __init__(self, folder: Path, *, looked_at: bool = False) -> None:
        """`looked_at` says whether the image without tags is known to show none of the classes."""
        rng = np.random.default_rng(2)
        self.folder, self.ids = folder, [f"p{i}" for i in range(len(self.tags))]
        images, proposals = [], []
        for i, (image, tags) in enumerate(zip(self.ids, self.tags, strict=True)):
            rgb = rng.integers(0, 60, (*SIZE, 3), np.uint8)
            masks = []
            for label in tags.nonzero()[0]:
                y, x = int(rng.integers(2, 24)), int(rng.integers(2, 28)) + 16 * int(label)
                rgb[y : y + 18, x : x + 16, 2 * label] = 220
                masks.append((y, x, 18, 16))
            masks += [tuple(int(v) for v in rng.integers([0, 0, 6, 6], [30, 40, 18, 24])) for _ in range(8)]
            regions = np.zeros((len(masks) if i < 4 else 0, *SIZE), bool)
            for mask, (y, x, high, wide) in zip(regions, masks, strict=False):
                mask[y : y + high, x : x + wide] = True
            buffer = io.BytesIO()
            Image.fromarray(rgb).save(buffer, format="PNG")
            encoded = np.frombuffer(buffer.getvalue(), np.uint8)
            images.append(
                ImageRecord(
                    image=image, path="", encoded=encoded, height=SIZE[0], width=SIZE[1], file_size=encoded.size,
                    digest="", tags=tags, looked_at=looked_at or tags.any(),
                )
            )  # fmt: skip
            unique = Regions.from_masks(regions)
            proposals.append(
                Proposals(
                    image=image, scores=np.linspace(1, 0, len(unique)).astype(np.float32), **packed_fields(unique)
                )
            )
        self.images = write(
            folder / "images.h5", ImageRecord, images, name="toy", kind="folder", split="train", root="",
            category_ids=[1, 2], negatives=int(looked_at), unknown=int(not looked_at),
        )  # fmt: skip
        self.proposals = write(
            folder / "proposals.h5", Proposals, proposals, source="test", supervision="label-free"
        )  # fmt: skip


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    return Toy(tmp_path_factory.mktemp("label_penet"))


@pytest.fixture(scope="session")
def pretrain(toy):
    def pretrain(settings, module, folder, *, proposals=None, labels=None):
        if module == "classification" and proposals is None:
            proposals = toy.proposals
        output = folder / module / "weights.safetensors"
        pretrain_module(
            images=toy.images, proposals=proposals, labels=labels, backbone_weights=None, output_weights=output,
            output_curves=output.with_name("curves.json"), output_plot=output.with_name("curves.png"),
            settings=settings.train.of(module), device="cpu",
        )  # fmt: skip
        return output

    return pretrain


def propagate(toy, settings, module, weights, output):
    propagate_labels(
        images=toy.images, proposals=toy.proposals, weights=weights, output=output, settings=settings.labels.of(module),
        run="toy", device="cpu",
    )  # fmt: skip
    return output


@pytest.fixture(scope="session")
def cascade(toy, tiny, pretrain):
    """Weights of the four modules and the labels between them."""
    settings, folder = tiny(), toy.folder / "cascade"
    weights, labels = {}, {}
    for i, module in enumerate(MODULES):
        before = labels.get(MODULES[i - 1]) if i else None
        weights[module] = pretrain(settings, module, folder, labels=before)
        if module != MODULES[-1]:
            labels[module] = propagate(toy, settings, module, weights[module], folder / f"{module}.h5")
    return weights, labels


@pytest.fixture(scope="session")
def finetune(toy, cascade):
    def finetune(settings, name="finetuned", modules=None):
        output = toy.folder / name / "weights.safetensors"
        train_label_penet(
            images=toy.images, proposals=toy.proposals, modules=list(cascade[0].values()) if modules is None else modules,
            output_weights=output, output_curves=output.with_name("curves.json"),
            output_plot=output.with_name("curves.png"), output_snapshots=output.with_name("snapshots.safetensors"),
            settings=settings.finetuning, device="cpu",
        )  # fmt: skip
        return output

    return finetune


@pytest.fixture(scope="session")
def finetuned(finetune, tiny):
    return finetune(tiny())


def nothing(*args, **kwargs):
    return Objects(
        np.zeros((0, *args[0].shape[:2]), bool), np.zeros((0, 4), np.float32), np.zeros(0, np.int64),
        np.zeros(0, np.float32), np.zeros((0, *args[0].shape[:2]), np.float32), 0, 0,
    )  # fmt: skip


def predict(toy, settings, module, weights, name):
    output = toy.folder / f"{name}.h5"
    predict_label_penet(
        images=toy.images, proposals=toy.proposals if module == "classification" else None, weights=weights, output=output,
        settings=settings.predict, module=module, run="toy", device="cpu",
    )  # fmt: skip
    with read(output, Instances) as instances:
        return list(instances), instances.header
