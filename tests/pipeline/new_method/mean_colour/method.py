"""The toy method as the composition root sees it."""

from stages.core.workflow.method import Method, without_tags
from stages.mean_colour.settings import MeanColourSettings

METHOD = Method(
    name="mean_colour",
    title="Mean colour (nobody, nowhere)",
    does="takes the pixels near the mean colour of a tag's images",
    settings=MeanColourSettings,
    parts=lambda _: ("wide",),
    packed=without_tags,
)
