"""What becomes of each kind of Claude's content blocks: one table.

An app that speaks OpenAI can be given text, tool calls, searches of the web and, if it asks, thinking. Everything else
that Claude's API has is the work of other tools that Anthropic runs; Understudy offers none of those, so they come only
from recordings and from what is yet to be invented. They pass by without a trace in the answer; their tokens are
counted.
"""

CONTENT = "text of the answer"
CALL = "a tool call"
REASONING = "`reasoning_content` and `reasoning_details`, if the app asks for them with `x-understudy-reasoning: show`"
UNSEEN = "not shown: the work of a tool that Anthropic runs"

BLOCKS: dict[str, str] = {
    "text": CONTENT,
    "tool_use": CALL,
    "thinking": REASONING,
    "redacted_thinking": "`reasoning_details`, if the app asks for them",
    "server_tool_use": "a search of the web: a `web_search_call` of a response; else " + UNSEEN,
    "web_search_tool_result": "its sources, if a response's request asks for them",
    "web_fetch_tool_result": UNSEEN,
    "code_execution_tool_result": UNSEEN,
    "bash_code_execution_tool_result": UNSEEN,
    "text_editor_code_execution_tool_result": UNSEEN,
    "tool_search_tool_result": UNSEEN,
    "advisor_tool_result": UNSEEN,
    "mcp_tool_use": UNSEEN,
    "mcp_tool_result": UNSEEN,
    "container_upload": UNSEEN,
    "compaction": "not shown: a summary that the API made of the conversation",
    "fallback": "not shown: the API's note that another model answered",
}
"""Kinds that are not in the table are not shown either."""
