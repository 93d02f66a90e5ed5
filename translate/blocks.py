"""What each type of Claude's content blocks becomes: one table.

An app can get text, tool calls, web searches and, if it asks for it, thinking. All other blocks come from tools that
Anthropic runs and that Understudy does not offer. So they come only from recordings, or from future versions of the
API. They do not appear in the answer. Their tokens are counted.
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
    "server_tool_use": "a web search: a `web_search_call` of a response; other tools are " + UNSEEN,
    "web_search_tool_result": "the sources of the search, if the request for a response asks for them",
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
"""Types that are not in the table are not shown either."""
