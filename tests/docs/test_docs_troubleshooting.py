"""The messages of docs/troubleshooting.md are those that tagmask prints: each mistake is made, and compared."""

import re

import pytest

from stages.core.workflow.step import EXPECTED_ERRORS
from tests.docs.blocks import ROOT, all_blocks
from tests.docs.mistakes import MISTAKES
from tests.pipeline.test_pipeline_cases import Case

PAGE = "docs/troubleshooting.md"
MESSAGES = {block.noted("message"): block for block in all_blocks("text") if block.noted("message")}


def test_every_mistake_is_explained_and_every_message_is_provoked():
    assert set(MESSAGES) == set(MISTAKES)
    assert {block.page for block in MESSAGES.values()} == {PAGE}


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_the_message_is_what_tagmask_prints(name, tmp_path, monkeypatch):
    monkeypatch.delenv("TAGMASK_DATA", raising=False)
    with pytest.raises(EXPECTED_ERRORS) as stopped:
        MISTAKES[name](Case(tmp_path))
    assert str(stopped.value).replace(f"{tmp_path}/", "").startswith(MESSAGES[name].text.rstrip("\n"))


def test_every_message_has_its_meaning_and_what_to_do():
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    messages = text[text.index("## Messages") : text.index("## Symptoms")]
    sections = re.split(r"^### ", messages, flags=re.MULTILINE)[1:]
    assert len(sections) == len(MISTAKES)
    for section in sections:
        assert section.count("*Means:*") == section.count("*Do:*") == section.count("<!-- message: ") == 1, section
