"""Loss terms and their gradients against plain loops (CIM equations 3, 7, 8; official code), and by hand."""

import math

import numpy as np
import pytest
import torch

from stages.cim import objective
from stages.cim.losses import Labels, cluster_loss, mil_loss, refinement_losses
from stages.cim.mining import Overlaps, anti_noise_sample
from stages.cim.network import Scores
from stages.cim.objective import weighted_losses
from stages.cim.targets import Targets
from stages.ops.regions import Regions

FLOOR = 1e-6


def clamped(p):
    return p.clamp(FLOOR, 1 - FLOOR)


def cross_entropy(p, t):
    return -t * clamped(p).log() - (1 - t) * (1 - clamped(p)).log()


def plain_mil(classifier, detector, tags):
    terms = []
    for c, present in enumerate([True, *tags.tolist()]):
        terms.append(
            cross_entropy(sum(classifier[n, c] * detector[n, c] for n in range(len(classifier))), float(present))
        )
    return sum(terms) / len(terms)


def plain_clusters(classifier, labels, form):
    columns = classifier.shape[1]
    total, count = 0.0, 0
    for cluster in sorted(set(labels.clusters.tolist()) - {0}):
        members = [n for n in range(len(classifier)) if labels.clusters[n] == cluster]
        label = int(labels.classes[members[0]])
        groups = [members] if label >= 0 else [[n] for n in members]
        for group in groups:
            mean = sum(classifier[n] for n in group) / len(group)
            own = label + 1
            if form == "full_bce":
                total += len(group) * sum(cross_entropy(mean[c], float(c == own)) for c in range(columns)) / columns
            else:
                total += len(group) * -clamped(mean[own]).log()
            count += len(group)
    return total / (count + 1e-6)


def plain_refinement(cls, integrity, y, t, w, tags):
    """`y` (N,): -1 ignored, 0 background, else class + 1."""
    count, columns = cls.shape
    by_class = sum(-w[n] * clamped(cls[n, y[n]]).log() for n in range(count) if y[n] >= 0) / sum(y >= 0)
    foreground = [n for n in range(count) if y[n] > 0]
    by_integrity = 0.0
    for n in foreground:
        error = (integrity[n, y[n]] - float(t[n])).abs()
        by_integrity += w[n] * (0.5 * error**2 if error < 1 else error - 0.5)
    by_integrity = by_integrity / len(foreground)
    product, mil = cls * integrity, 0.0
    for c, present in enumerate([True, *tags.tolist()]):
        members = [n for n in range(count) if y[n] == c] if present else list(range(count))
        best = max(members, key=lambda n: (product[n, c].item(), -n)) if members else 0
        score = product[best, c] if members else torch.tensor(0.0)
        mil += cross_entropy(score, float(present)) * (w[best] if present else 1.0)
    return {"classification": by_class, "integrity": by_integrity, "refinement_mil": mil / columns}


def case(seed):
    rng = np.random.default_rng(seed)
    count, classes = int(rng.integers(1, 14)), 3
    logits = torch.from_numpy(rng.normal(0, 3, (4, count, classes + 1)).astype(np.float32)).requires_grad_()
    probabilities = (logits[0].softmax(1), logits[1].softmax(0), logits[2].softmax(1), logits[3].sigmoid())
    tags = torch.from_numpy(np.append(True, rng.random(classes - 1) < 0.6))
    clusters = torch.from_numpy(rng.integers(0, 5, count))
    class_of = torch.tensor([-1, 0, 2, -1, 1])  # of each cluster; 3 is background
    labels = Labels(clusters, class_of[clusters])
    allowed = np.array([-1, 0, *(np.flatnonzero(tags.numpy()) + 1)])
    y = rng.choice(allowed, count)
    y[rng.integers(count)] = 1  # a mined branch has a foreground proposal
    w = torch.from_numpy(rng.random(count).astype(np.float32)) * torch.from_numpy(y >= 0)
    t = torch.from_numpy(rng.random(count) < 0.5)
    class_target = torch.zeros(count, classes + 1, dtype=torch.bool)
    class_target[np.flatnonzero(y >= 0), y[y >= 0]] = True
    return logits, probabilities, tags, labels, (y, t, w), Targets(class_target, t[:, None].expand(-1, classes), w)


def same_value_and_gradient(ours, plain, logits):
    torch.testing.assert_close(torch.as_tensor(ours), torch.as_tensor(plain), rtol=2e-5, atol=1e-7)
    gradients = [torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (ours, plain)]
    torch.testing.assert_close(*gradients, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_mil_loss_is_the_plain_definition_equation_7(seed):
    logits, (classifier, detector, *_), tags, *_ = case(seed)
    same_value_and_gradient(
        mil_loss(classifier, detector, tags, floor=FLOOR), plain_mil(classifier, detector, tags), logits
    )


@pytest.mark.parametrize("form", ["full_bce", "positive_log"])
@pytest.mark.parametrize("seed", range(12))
def test_cluster_loss_is_the_plain_definition_equation_7(official, seed, form):
    logits, (classifier, *_), _, labels, *_ = case(seed)
    settings = official(train={"losses": {"cluster_form": form}}).train.losses
    ours = cluster_loss(classifier, labels, settings=settings)
    if not (labels.clusters > 0).any():
        assert ours.item() == 0
        return
    same_value_and_gradient(ours, plain_clusters(classifier, labels, form), logits)


@pytest.mark.parametrize("seed", range(25))
def test_refinement_terms_are_the_plain_definition_equation_3(seed):
    logits, (*_, cls, integrity), tags, _, (y, t, w), targets = case(seed)
    ours = refinement_losses(cls, integrity, targets, tags, floor=FLOOR)
    plain = plain_refinement(cls, integrity, y, t, w, tags)
    assert ours.keys() == plain.keys()
    for name in plain:
        same_value_and_gradient(ours[name], plain[name], logits)


def test_cluster_ids_may_exceed_the_number_of_proposals(official):
    classifier = torch.tensor([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])
    labels = Labels(torch.tensor([5, 6, 6]), torch.tensor([0, -1, -1]))
    settings = official(train={"losses": {"cluster_form": "positive_log"}}).train.losses
    expected = -(math.log(0.8) + math.log(0.6) + math.log(0.9)) / 3
    assert cluster_loss(classifier, labels, settings=settings).item() == pytest.approx(expected, rel=1e-5)


def test_cluster_loss_by_hand_in_both_forms(official):
    classifier = torch.tensor([[0.3, 0.7], [0.5, 0.5]])
    labels = Labels(torch.tensor([1, 1]), torch.tensor([0, 0]))
    for form, expected in (("positive_log", -math.log(0.6)), ("full_bce", -math.log(0.6))):
        settings = official(train={"losses": {"cluster_form": form}}).train.losses
        # With two columns that sum to one both halves of the full form are equal.
        assert cluster_loss(classifier, labels, settings=settings).item() == pytest.approx(expected, rel=1e-5)


def test_without_a_labelled_proposal_or_a_foreground_one_terms_are_zero_and_finite(official):
    classifier = torch.tensor([[0.3, 0.7], [0.5, 0.5]])
    ignored = Labels(torch.zeros(2, dtype=torch.long), torch.full((2,), -1))
    for form in ("positive_log", "full_bce"):
        settings = official(train={"losses": {"cluster_form": form}}).train.losses
        assert cluster_loss(classifier, ignored, settings=settings).item() == 0
    background = torch.tensor([[True, False], [True, False]])
    targets = Targets(background, background[:, 1:], torch.ones(2))
    assert refinement_losses(classifier, classifier, targets, torch.tensor([False]), floor=FLOOR)["integrity"] == 0


def test_a_present_class_without_a_labelled_proposal_counts_as_zero_with_the_first_weight():
    cls, integrity = torch.full((2, 3), 0.5, requires_grad=True), torch.ones(2, 3)
    class_target = torch.tensor([[False, True, False], [False, True, False]])
    targets = Targets(class_target, class_target[:, 1:], torch.tensor([0.25, 0.75]))
    terms = refinement_losses(cls, integrity, targets, torch.tensor([True, False]), floor=FLOOR)
    background, present, absent = -math.log(1e-6) * 0.25, -math.log(0.5) * 0.25, -math.log(0.5)
    assert terms["refinement_mil"].item() == pytest.approx((background + present + absent) / 3, rel=1e-4)
    gradient = torch.autograd.grad(terms["refinement_mil"], cls)[0]
    assert gradient[:, 0].tolist() == [0, 0]


def scene(official, *, sampling=True, teach=None, **losses):
    """Terms of six proposals and two classes; `teach` (branch, factor) sharpens the class scores of a branch."""
    settings = official(train={"losses": losses, "mining": {"sampling": sampling}}).train
    masks = np.zeros((6, 1, 20), bool)
    for mask, (start, end) in zip(masks, [(0, 4), (0, 8), (12, 16), (12, 18), (5, 14), (0, 20)], strict=True):
        mask[0, start:end] = True
    regions = Regions.from_masks(masks).to("cpu")
    torch.manual_seed(0)
    logits = torch.randn(8, 6, 3)
    if teach is not None:
        logits[teach, :, 1] = torch.linspace(-3, 3, 6)
    scores = Scores(
        logits[0].softmax(1),
        logits[1].softmax(0),
        [(logits[2 + k].softmax(1), logits[5 + k].sigmoid()) for k in range(3)],
    )
    labels = Labels(torch.tensor([1, 1, 2, 2, 0, 0]), torch.tensor([0, 0, 0, 0, -1, -1]))
    return weighted_losses(
        scores, tags=torch.tensor([True, False]), labels=labels,
        overlaps=Overlaps(regions.membership, regions.sizes, half_precision=True),
        generator=np.random.default_rng(0), settings=settings,
    )  # fmt: skip


BASE = {"cluster": 1.0, "integrity": 1.0, "first_branch": 1.0}


@pytest.mark.parametrize(
    ("weights", "changed"),
    [
        pytest.param({"cluster": 12.0}, {"cluster": 12}, id="alpha is 12, equation 7"),
        pytest.param({"integrity": 3.0}, {f"integrity_{k}": 3 for k in (1, 2, 3)}, id="official code: 3 x integrity"),
        pytest.param({"first_branch": 3.0}, {"classification_1": 3, "integrity_1": 3}, id="official code: lambda 3"),
        pytest.param({"mil": 2.0}, {"mil": 2}, id="mil"),
        pytest.param({"classification": 0.5}, {f"classification_{k}": 0.5 for k in (1, 2, 3)}, id="classification"),
    ],
)
def test_weights_multiply_their_terms(official, weights, changed):
    base, found = scene(official, **BASE), scene(official, **{**BASE, **weights})
    for name, value in base.items():
        if name == "refinement_mil_1" and "first_branch" in weights:
            continue  # only the present classes' part is multiplied
        assert found[name].item() == pytest.approx(value.item() * changed.get(name, 1), rel=1e-5), name


def test_terms_are_named_and_those_of_weight_zero_left_out(official):
    kinds = ("classification", "integrity", "refinement_mil")
    assert set(scene(official)) == {"mil", "cluster", *(f"{kind}_{k}" for kind in kinds for k in (1, 2, 3))}
    without = set(scene(official, refinement_mil=0.0))
    assert without == {"mil", "cluster", *(f"{kind}_{k}" for kind in kinds[:2] for k in (1, 2, 3))}


def test_a_branch_without_mined_instances_has_terms_of_zero(official):
    settings = official().train
    logits = torch.randn(8, 1, 3, requires_grad=True)
    refined = [(logits[2 + k].softmax(1), logits[5 + k].sigmoid()) for k in range(3)]
    scores = Scores(logits[0].softmax(1), logits[1].softmax(0), refined)
    alone = Overlaps(torch.ones(1, 1, dtype=torch.bool), torch.ones(1), half_precision=False)
    found = weighted_losses(
        scores, tags=torch.tensor([True, False]), labels=None, overlaps=alone,
        generator=np.random.default_rng(0), settings=settings,
    )  # fmt: skip
    assert "cluster" not in found
    assert {name for name, value in found.items() if value.item() != 0} == {"mil"}
    gradient = torch.autograd.grad(sum(found.values()), logits)[0]
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("teacher", "taught"), [(0, "classification_1"), (2, "classification_2"), (3, "classification_3")]
)
def test_each_branch_learns_from_the_one_before_it_section_3_4(official, teacher, taught):
    # Logits 0 are the anti-noise classifier's, 2 to 4 the class scores of the refinement branches.
    plain, other = scene(official, sampling=False), scene(official, sampling=False, teach=teacher)
    own = f"classification_{teacher - 1}"
    changed = {name for name in plain if name.startswith("classification") and plain[name] != other[name]}
    assert changed - {own} == {taught}


def test_pseudo_ground_truth_is_sampled_where_the_setting_says_so_table_6(official, monkeypatch):
    calls = []

    def counted(pseudo_gt, uniforms):
        calls.append(len(pseudo_gt))
        return anti_noise_sample(pseudo_gt, uniforms)

    monkeypatch.setattr(objective, "anti_noise_sample", counted)
    scene(official, sampling=False)
    assert calls == []
    scene(official, sampling=True)
    assert len(calls) == 3
