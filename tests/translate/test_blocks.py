"""What becomes of each kind of Claude's content blocks."""

from anthropic.types import ContentBlock

from tests.translate.test_claude_wire import tags
from translate.blocks import BLOCKS, CALL, CONTENT


def test_every_block_of_the_vendors_has_a_fate() -> None:
    assert tags(ContentBlock) <= set(BLOCKS)


def test_only_text_is_text_and_only_the_apps_tools_are_calls() -> None:
    assert [kind for kind, fate in BLOCKS.items() if fate == CONTENT] == ["text"]
    assert [kind for kind, fate in BLOCKS.items() if fate == CALL] == ["tool_use"]
