"""The smallest that goes through the same code, for a look on a CPU: tiny networks, images and numbers."""

from typing import Any

from benchmarks.gpu.data import Extent

EXTENT = Extent(images=4, height=64, width=80, proposals=40, cells=40, classes=5)
TRAINING = {"accumulate": 2, "prefetch": 1}
PLAIN = {"name": "resnet10t", "output_stride": 16, "stage": 3, "frozen_stages": 1}
PYRAMID = {"name": "resnet10t", "stages": [1, 2, 3, 4], "frozen_stages": 1}
QUICK: dict[str, Any] = {
    "classifier": {
        "backbone": PLAIN,
        "augmentation": {"input_size": 64, "crop_size": None},
        "batch": 2,
        "training": TRAINING,
    },
    "cim": {
        "backbone": PLAIN,
        "network": {"reduced_channels": 8, "fc_widths": [16, 16]},
        "data": {"longer_sides": [64, 96]},
        "training": TRAINING,
    },
    "bestie": {
        "backbone": PYRAMID,
        "network": {
            "kind": "panoptic_deeplab", "head_channels": [8, 8, 8], "decoder_channels": [8, 8], "aspp_channels": [8, 8],
            "aspp_rates": [2], "semantic_low_channels": [8, 8, 8], "instance_low_channels": [8, 8, 8],
        },
        "min_area": 20,
        "refinement": {"min_area": 20},
        "data": {"longer_side": 97, "crop": 64, "batch": 2},
        "training": TRAINING,
    },
    "label_penet": {
        "network": {
            "backbone": {"name": "resnet10t", "output_stride": 8, "stage": 2, "frozen_stages": 0},
            "tail": "convolution", "tail_channels": 8, "fc_widths": [16, 16], "anchor_sizes": [16, 32],
            "aspp_channels": 8,
        },
        "data": {"shorter_sides": [48, 64], "longest_side": 96},
        "training": TRAINING,
    },
    "mask_rcnn": {
        "backbone": PYRAMID,
        "network": {
            "pyramid_channels": 8, "anchor_sizes": [[8], [12], [16], [24], [32]], "box_width": 16,
            "mask_channels": [8, 8],
        },
        "sampling": {"rpn_before_nms": 60, "rpn_after_nms": 30, "boxes": 16},
        "data": {"shorter_sides": [64], "longest_side": 96},
        "training": TRAINING,
    },
    "semantics": {
        "backbone": PLAIN,
        "head": {"rates": [1, 2], "channels": 8, "low_channels": 4},
        "data": {"crop": 48, "batch": 2},
        "training": TRAINING,
    },
}  # fmt: skip
QUICK["label_penet_segmentation"] = QUICK["label_penet"]
