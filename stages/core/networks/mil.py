"""Multiple-instance learning: what the proposals say of an image together is held against its tags."""

from torch import Tensor


def image_level_loss(classifier: Tensor, detector: Tensor, present: Tensor, *, floor: float) -> Tensor:
    """Cross-entropy of image-level scores with the classes that are present, mean over classes (WSDDN, CVPR 2016).

        score_c = sum_n p_{n,c} d_{n,c}
        L = -1 / C sum_c [ Y_c log score_c + (1 - Y_c) log(1 - score_c) ]

    Args:
        classifier: (N, C) p, softmax of each proposal over the classes.
        detector: (N, C) d, softmax of each class over the proposals.
        present: (C,) Y, 1 where the class is in the image.
        floor: scores are clamped to [floor, 1 - floor] before the logarithm.
    """
    return cross_entropy((classifier * detector).sum(0), present, floor).mean()


def cross_entropy(probabilities: Tensor, targets: Tensor, floor: float) -> Tensor:
    """Binary cross-entropy of each probability, clamped to [floor, 1 - floor], with its target, in their shape."""
    probabilities = probabilities.clamp(floor, 1 - floor)
    return -(targets * probabilities.log() + (1 - targets) * (1 - probabilities).log())
