"""Points of some images: their proposals vote alike, those of the others by the classifier's responses."""

import numpy as np
import pytest

from stages.cim.label_clusters import label_image, voting_of
from stages.cim.settings import AgplSettings
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.ops.regions import Regions

RESPONSE = AgplSettings(
    votes="response", response_share=0.3, response_power=2.0, support_threshold=0.5, iou_threshold=0.5
)
SOME = "image tags + points on 1 of 2 images"


def cues_of(*, rows: int, scores: tuple[float, float] = (1.0, 1.0)) -> Cues:
    responses = np.zeros((2, rows, rows), np.float32)
    responses[:, :, :1] = 9.0
    return Cues(
        image="p", responses=responses, class_scores=np.zeros(2, np.float32), peaks=np.array([[0, 1], [0, 2]], np.int32),
        peak_classes=np.array([1, 0], np.int32), peak_scores=np.array(scores, np.float32),
    )  # fmt: skip


def proposals_of(*sides: tuple[int, int]) -> Proposals:
    masks = np.zeros((len(sides), 1, 10), bool)
    for mask, (start, end) in zip(masks, sides, strict=True):
        mask[:, start:end] = True
    fields = packed_fields(Regions.from_masks(masks))
    return Proposals(image="p", **fields, scores=np.ones(len(sides), np.float32))


def test_proposals_of_an_image_with_points_vote_alike_where_others_have_responses() -> None:
    assert voting_of(cues_of(rows=0), SOME, RESPONSE).votes == "equal"
    assert voting_of(cues_of(rows=4), SOME, RESPONSE).votes == "response"


def test_a_run_of_points_alone_still_says_that_responses_are_missing() -> None:
    settings = voting_of(cues_of(rows=0), "points", RESPONSE)
    with pytest.raises(ValueError, match="set votes: equal"):
        label_image(proposals_of((0, 4)), cues_of(rows=0), tags=np.ones(2, bool), settings=settings)


def test_points_keep_the_order_of_their_file_and_peaks_go_by_score() -> None:
    proposals, tags = proposals_of((0, 4)), np.ones(2, bool)
    settings = RESPONSE.model_copy(update={"votes": "equal"})
    by_points = label_image(proposals, cues_of(rows=0, scores=(5.0, 1.0)), tags=tags, settings=settings)
    by_score = label_image(proposals, cues_of(rows=4, scores=(5.0, 1.0)), tags=tags, settings=settings)
    assert by_points.cluster_classes.tolist() == [0]  # the later point overrides
    assert by_score.cluster_classes.tolist() == [1]  # the higher peak does
