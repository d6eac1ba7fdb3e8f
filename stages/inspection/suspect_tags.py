"""Which tags a classifier contradicts that has not seen their images: confident learning, one class at a time.

Source: Northcutt, Jiang, Chuang: "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021. Tags are
many yes-or-no labels of an image, so each class is a problem of two labels: tagged, and not tagged.
Differs from the paper: scores are calibrated by class first, since classifiers of tags are trained with few positives
and strong decay, and their scores are no probabilities; the ranking divides by the threshold of the given label, which
found more planted errors than the difference.
"""

import numpy as np

WRONG, MISSING = "wrong", "missing"  # tagged but not seen; seen but not tagged


def judged_classes(tags: np.ndarray, folds: int) -> np.ndarray:
    """Classes with enough images that show them, and that do not, for every fold's training to have seen both.

    Args:
        tags: (images, classes) bool.
        folds: number of folds.

    Returns:
        (classes,) bool: at least as many images as folds with the tag, and as many without.
    """
    tagged = tags.sum(0)
    return (tagged >= folds) & (len(tags) - tagged >= folds)


def calibrated(scores: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Probabilities of the tags from scores, (images, classes) float64; a sigmoid is fitted to each class.

    Platt, "Probabilistic outputs for support vector machines", 1999, with its targets that stay off 0 and 1.

    Args:
        scores: (images, classes) logits of classifiers that have not seen the images.
        tags: (images, classes) bool, each class with images of both kinds.
    """
    return np.stack([_platt(*column) for column in zip(scores.T.astype(float), tags.T, strict=True)], axis=1)


def confidence_thresholds(probabilities: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Mean probability of a label over the images that have it, (2, classes): not tagged, tagged (section 3.1).

    Args:
        probabilities: (images, classes) of the tag.
        tags: (images, classes) bool.
    """
    has = np.stack([~tags, tags])
    return (np.stack([1 - probabilities, probabilities]) * has).sum(1) / has.sum(1)


def contradicted(probabilities: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Tags that count off the diagonal of the confident joint, (images, classes) bool (equation 1).

    The other label's probability reaches that label's threshold, and is the larger one where both reach theirs.
    """
    absent, present = confidence_thresholds(probabilities, tags)
    given = np.where(tags, probabilities, 1 - probabilities)
    own, others = np.where(tags, present, absent), np.where(tags, absent, present)
    return (1 - given >= others) & ((given < own) | (1 - given > given))


def tag_quality(probabilities: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Probability of the given label as a share of its threshold, (images, classes); the lower, the more suspect.

    The share makes the two kinds of error comparable: a label that is rarely sure of itself has a low threshold.
    """
    absent, present = confidence_thresholds(probabilities, tags)
    return np.where(tags, probabilities / present, (1 - probabilities) / absent)


def ranked(quality: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Positions (image, class) of the chosen, the most suspect first, (suspects, 2) int64."""
    found = np.argwhere(chosen)
    return found[np.argsort(quality[chosen], kind="stable")]


def _platt(scores: np.ndarray, tagged: np.ndarray) -> np.ndarray:
    from scipy.optimize import minimize

    positive, negative = tagged.sum(), (~tagged).sum()
    targets = np.where(tagged, (positive + 1) / (positive + 2), 1 / (negative + 2))
    # Scores of unit spread and a start at their scale: the fit is convex, but far out its gradient vanishes.
    scaled = (scores - scores.mean()) / max(scores.std(), 1e-12)

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        logits = line[0] * scaled + line[1]
        error = _sigmoid(logits) - targets
        value = np.mean(np.logaddexp(0, logits) - targets * logits)
        return float(value), np.array([np.mean(error * scaled), np.mean(error)])

    fitted = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    return _sigmoid(fitted[0] * scaled + fitted[1])


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(0.5 * logits))
