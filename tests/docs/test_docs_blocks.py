"""Every block of the pages says in which language it is, and is executed by a test or says why none does."""

import pytest

from tests.docs.blocks import ROOT, Block, all_blocks, blocks_of

BLOCKS = all_blocks()
EXECUTED = {
    "bash": "test_docs_commands.py",
    "yaml": "test_docs_settings.py",
    "python": "test_docs_python.py",
    "csv": "test_docs_data.py",
    "json": "test_docs_data.py",
    "xml": "test_docs_data.py",
}
SHOWN = {"mermaid", "text"}  # diagrams, which the site draws; trees of folders and messages, which others compare
NOTES = ("not run: ", "run by tests/", "on presets/", "as ", "message: ")
MOST_NOT_RUN = 6


def test_the_pages_hold_blocks_of_every_kind():
    assert {block.language for block in BLOCKS} >= set(EXECUTED) | SHOWN
    assert len(BLOCKS) > 60


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_has_a_language_that_a_test_executes_and_a_note_that_is_known(block):
    assert block.language in EXECUTED or block.language in SHOWN, f"{block}: a block of {block.language!r}"
    assert not block.note or block.note.startswith(NOTES), block.note


def test_few_blocks_are_not_run_and_each_says_why():
    reasons = {str(block): block.noted("not run") for block in BLOCKS if block.noted("not run") is not None}
    assert all(len(reason.split()) >= 3 for reason in reasons.values()), reasons
    assert len(reasons) <= MOST_NOT_RUN, "\n".join(f"{place}: {reason}" for place, reason in reasons.items())


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.noted("run by")], ids=str)
def test_the_test_that_is_said_to_run_a_block_reads_its_page_or_runs_its_example(block):
    test = (ROOT / block.noted("run by")).read_text(encoding="utf-8")
    assert block.page.rpartition("/")[2] in test


def test_the_files_below_a_block_are_there():
    for block in BLOCKS:
        for name in (block.noted("on") or "").split():
            assert (ROOT / name).is_file(), f"{block}: {name}"


def test_blocks_are_found_with_their_notes_and_without_the_indent_of_a_list():
    text = (
        "a\n<!-- not run: it takes hours -->\n```bash\nmake demo\n```\n1. b\n\n   ```yaml\n   a:\n     b: 1\n   ```\n"
    )
    first, second = blocks_of("p.md", text)
    assert first == Block("p.md", 3, "bash", "make demo\n", "not run: it takes hours")
    assert (first.is_left_to, second.is_left_to) == ("it takes hours", None)
    assert second == Block("p.md", 8, "yaml", "a:\n  b: 1\n", "")
    with pytest.raises(ValueError, match="p.md:1: a block without an end"):
        blocks_of("p.md", "```bash\nmake demo\n")
