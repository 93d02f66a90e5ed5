"""The input of a response -> Claude's system prompt and alternating turns.

Theory of operation
-------------------
One assistant turn can have several items: reasoning, text, and tool calls. The outputs of the calls are items too.
Consecutive items of one role become one message, in the same order. So Claude's thinking comes before the text and
the calls of its turn. The Messages API requires all outputs of a turn's calls at the beginning of the next message.
OpenAI allows an output anywhere after its call. So each output is moved to the end of its call's turn. An assistant
item after an output begins a new turn.

System and developer messages are treated as in :mod:`translate.chat.messages`, with the instructions before them.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from translate.chat.messages import GO_ON, MAX_IMAGES, SAID_NOTHING, call_input, invalid_type
from translate.chat.wire import ReasoningEffort
from translate.content import PARTS, Part, blocks, text_block
from translate.errors import OpenAIError
from translate.known_keys import Ignored
from translate.responses import reasoning
from translate.responses.asked import (
    AdditionalToolsItem,
    AgentMessageItem,
    CompactionSummaryItem,
    CompactionTriggerItem,
    ConfigurationUpdateItem,
    CustomToolCallItem,
    FunctionCallItem,
    FunctionCallOutputItem,
    Item,
    ItemReference,
    McpCallItem,
    McpListToolsItem,
    MessageItem,
    ReasoningInputItem,
    ToolSearchCallItem,
    ToolSearchOutputItem,
    WebSearchCallItem,
)
from translate.responses.compaction import INSTRUCTION, TRIGGER, summary_block
from translate.responses.mcp import LISTED, mcp_name
from translate.responses.offered import FIELD, TOOL_SEARCH, claude_name, flattened
from translate.responses.words import reworded
from translate.tools import ToolUseIds
from translate.turn import ContentBlock, Message

type InputItem = (
    MessageItem
    | FunctionCallItem
    | CustomToolCallItem
    | FunctionCallOutputItem
    | ToolSearchCallItem
    | ToolSearchOutputItem
    | WebSearchCallItem
    | McpListToolsItem
    | McpCallItem
    | CompactionSummaryItem
    | CompactionTriggerItem
    | ConfigurationUpdateItem
    | AgentMessageItem
    | ReasoningInputItem
    | AdditionalToolsItem
    | ItemReference
)

ITEMS: dict[str, type[InputItem]] = {
    "message": MessageItem,
    "function_call": FunctionCallItem,
    "function_call_output": FunctionCallOutputItem,
    "custom_tool_call": CustomToolCallItem,
    "custom_tool_call_output": FunctionCallOutputItem,
    "tool_search_call": ToolSearchCallItem,
    "tool_search_output": ToolSearchOutputItem,
    "web_search_call": WebSearchCallItem,
    LISTED: McpListToolsItem,
    "mcp_call": McpCallItem,
    "compaction": CompactionSummaryItem,
    TRIGGER: CompactionTriggerItem,
    "configuration_update": ConfigurationUpdateItem,
    "agent_message": AgentMessageItem,
    "reasoning": ReasoningInputItem,
    "additional_tools": AdditionalToolsItem,
    "item_reference": ItemReference,
}

_OPENAIS = "it tells of a tool that OpenAI runs, and Claude was not there"

_MANY_AGENTS = "it tells of agents that OpenAI runs for one response, and Claude answers alone"

# Every other type of item, and why it is refused. A test holds this to OpenAI's document.
REFUSED_ITEMS: dict[str, str] = {
    "file_search_call": _OPENAIS,
    "computer_call": _OPENAIS,
    "computer_call_output": _OPENAIS,
    "image_generation_call": _OPENAIS,
    "code_interpreter_call": _OPENAIS,
    "local_shell_call": _OPENAIS,
    "local_shell_call_output": _OPENAIS,
    "shell_call": _OPENAIS,
    "shell_call_output": _OPENAIS,
    "apply_patch_call": _OPENAIS,
    "apply_patch_call_output": _OPENAIS,
    "mcp_approval_request": "nobody is asked for approval here",
    "mcp_approval_response": "nobody is asked for approval here",
    "program": _OPENAIS,
    "program_output": _OPENAIS,
    "multi_agent_call": _MANY_AGENTS,
    "multi_agent_call_output": _MANY_AGENTS,
}


@dataclass(frozen=True, slots=True)
class Input:
    """The translated input.

    ``items`` are this request's items, with references resolved, to be stored. ``tools`` are the path and the
    JSON of each tool that an item offers. ``loaded`` are the names of those functions among them that OpenAI gives a
    namespace of their own (:mod:`translate.responses.offered`). ``ignored`` are the paths of items without effect.
    ``thought`` says whether the turn that the last message answers began with thinking. ``effort`` and ``format`` are
    OpenAI's values that an item has set. ``compact`` says whether to summarize the conversation instead of answering
    it.
    """

    system: str | None
    messages: tuple[Message, ...]
    items: tuple[Item, ...]
    tools: tuple[tuple[str, Any], ...]
    loaded: frozenset[str]
    ignored: tuple[str, ...]
    thought: bool
    effort: ReasoningEffort | None
    format: dict[str, Any] | None
    compact: bool


def translate_input(
    given: str | Sequence[Any],
    *,
    instructions: str | None = None,
    previous: Sequence[Item] = (),
    stored: Mapping[str, Item] | None = None,
    tools: Sequence[Any] = (),
    open_reasoning: Callable[[str], ContentBlock | None],
    generate: bool = True,
) -> Input:
    """Translate the input, after the ``previous`` items of the conversation. ``tools`` are those of the request.

    ``stored`` are further items, by id, that the input may refer to. ``open_reasoning`` returns the block that an
    ``encrypted_content`` holds, or None for foreign content. If ``generate`` is false, no answer is generated, and
    the conversation may end anywhere.

    Raises OpenAIError (400) with the path of the item, if an item cannot be translated.
    """
    known = {**(stored or {}), **{item["id"]: item for item in previous if isinstance(item.get("id"), str)}}
    conversation = _Conversation(instructions, known, open_reasoning, namespaces_in(tools))
    for index, raw in enumerate(previous):
        following = previous[index + 1].get("type") if index + 1 < len(previous) else None
        # Notes that were asked for and could not be made leave the conversation as it was.
        if raw.get("type") != TRIGGER or following == "compaction":
            conversation.add(raw, f"previous[{index}]")
    # Ignored items of earlier requests were already reported then.
    conversation.ignored.clear()
    own: Sequence[Any] = [_said(given)] if isinstance(given, str) else given
    items = [conversation.add(raw, f"input[{index}]") for index, raw in enumerate(own)]
    return conversation.finish(items, generate=generate)


def _said(text: str) -> Item:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


WITH_STATUS = ("message", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output")
"""The items that have a status when OpenAI gives them back, and need none when an app sends them."""


def in_full(item: Item) -> Item:
    """Return an item as OpenAI gives it back: with its status; a message with its type, and its text as a part."""
    full = dict(item)
    if "role" in item and item.get("type") is None:
        full["type"] = "message"
    if full.get("type") == "message" and isinstance(text := item.get("content"), str):
        by_claude = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        full["content"] = [by_claude if item.get("role") == "assistant" else {"type": "input_text", "text": text}]
    if full.get("type") in WITH_STATUS and item.get("status") is None:
        full["status"] = "completed"
    return full


@dataclass(slots=True)
class _Side:
    """A run of items of one side. ``results`` are the outputs of its calls."""

    role: Literal["user", "assistant"]
    blocks: list[ContentBlock] = field(default_factory=list)
    results: list[ContentBlock] = field(default_factory=list)


class _Conversation:
    """The conversation so far. ``_open`` maps the app's ids of calls that await an output to Claude's, and their side.

    An app may use an id again, so there can be several calls of one id. ``_answered`` has each id's latest output.
    """

    def __init__(
        self,
        instructions: str | None,
        known: Mapping[str, Item],
        open_reasoning: Callable[[str], ContentBlock | None],
        namespaces: frozenset[str],
    ) -> None:
        self._namespaces = namespaces
        self._loaded: set[str] = set()
        self._system: list[str] = [instructions] if instructions and instructions.strip() else []
        self._sides: list[_Side] = []
        self._ids = ToolUseIds()
        self._open: dict[str, deque[tuple[str, _Side]]] = {}
        self._answered: dict[str, str | list[Any]] = {}
        self._known = known
        self._open_reasoning = open_reasoning
        self._tools: list[tuple[str, Any]] = []
        self._effort: ReasoningEffort | None = None
        self._format: dict[str, Any] | None = None
        self._trigger: str | None = None
        self._asked = False
        self.ignored: list[str] = []

    def add(self, raw: Any, path: str) -> Item:
        """Add one item. Return it, or the item that it refers to."""
        item = _decode(raw, path)
        if self._trigger is not None and not isinstance(item, CompactionSummaryItem):
            raise _invalid(self._trigger, f"'{self._trigger}': what asks for compaction must be the last item.")
        match item:
            case ItemReference(id=id):
                found = self._known.get(id)
                # A reference must not refer to another reference.
                if found is None or isinstance(_decode(found, path), ItemReference):
                    message = f"Item with id '{id}' not found."
                    raise OpenAIError(message, param=path, code="invalid_value")
                return self.add(found, path)
            case MessageItem():
                self._message(item, path)
            case FunctionCallItem():
                self._call(item.call_id, self._name(item.name, item.namespace), call_input(item.arguments))
            case CustomToolCallItem():
                self._call(item.call_id, self._name(item.name, item.namespace), {FIELD: item.input})
            case ToolSearchCallItem():
                self._search(item, path)
            case ToolSearchOutputItem():
                self._found(item, path)
            case WebSearchCallItem():
                # What was found is not in it; what was made of that is in the message that follows.
                self.ignored.append(Ignored(path, "what the search found is in the message that follows, not in it"))
            case McpListToolsItem():
                pass  # what the server offers is offered anew
            case McpCallItem():
                self._call(item.id, mcp_name(item.server_label, item.name), call_input(item.arguments))
                told = item.output if item.error is None else str(item.error)
                self._output(FunctionCallOutputItem(item.id, told or ""), path, failed=item.error is not None)
            case CompactionSummaryItem():
                self._summary(item, path)
            case CompactionTriggerItem():
                self._trigger = path
            case AgentMessageItem():
                # What is called encrypted in it is what Claude wrote for another agent, as it is.
                self._side("user").blocks.extend(blocks(_parts(item.content, f"{path}.content"), path, AGENT_PARTS))
            case ConfigurationUpdateItem():
                self._effort = (item.reasoning and item.reasoning.effort) or self._effort
                self._format = (item.text and item.text.format) or self._format
            case FunctionCallOutputItem():
                self._output(item, path)
            case ReasoningInputItem():
                self._reasoning(item, path)
            case _:
                self._offer(item.tools, path)
                self._loaded |= functions_in(item.tools)
        return in_full(raw)

    def finish(self, items: Sequence[Item], *, generate: bool) -> Input:
        """Return what the conversation is. ``items`` are those that are new in it."""
        if not generate:
            # Nobody will read it, and it makes the rest one that Claude could.
            self._open.clear()
            self._side("user").blocks.append(text_block("…"))
        if self._trigger is not None:
            if not self._sides:
                raise _invalid(self._trigger, "There is nothing to compact.")
            self._side("user").blocks.append(text_block(INSTRUCTION))
        if missing := next((call_id for call_id, calls in self._open.items() if calls), None):
            raise _invalid("input", f"No tool output found for function call {missing}.")
        messages = _alternating(self._sides)
        system = "\n\n".join(self._system) or None
        if not messages:
            if system is None and not self._asked:
                raise _invalid("input", "Invalid 'input': there is nothing in it to answer.")
            # Claude answers only to a user, so the words become the user's.
            if self._asked:
                messages = [Message("user", (SAID_NOTHING,))]
            else:
                messages, system = [Message("user", (text_block(system or ""),))], None
        if messages[-1].role == "assistant":
            messages.append(Message("user", (GO_ON,)))
        _check_images(messages)
        thought = len(messages) > 1 and messages[-2].content[0]["type"] in reasoning.KINDS
        return Input(
            system=system,
            messages=tuple(messages),
            items=tuple(items),
            tools=tuple(self._tools),
            loaded=frozenset(self._loaded),
            ignored=tuple(self.ignored),
            thought=thought,
            effort=self._effort,
            format=self._format,
            compact=self._trigger is not None,
        )

    def _side(self, role: Literal["user", "assistant"]) -> _Side:
        """Return the side that an item of this role goes to."""
        if not self._sides or self._sides[-1].role != role or self._sides[-1].results:
            self._sides.append(_Side(role))
        return self._sides[-1]

    def _message(self, message: MessageItem, path: str) -> None:
        self._asked = self._asked or message.role == "user"
        found = blocks(_parts(message.content, f"{path}.content"), path, ROLES[message.role])
        if message.role in ("system", "developer"):
            texts = [block["text"] for block in found]
            if not self._sides:
                self._system += texts
                return
            found = [text_block(f"<system>\n{text}\n</system>") for text in texts]
        if found:
            self._side("assistant" if message.role == "assistant" else "user").blocks.extend(found)

    def _call(self, call_id: str, name: str, input: Mapping[str, Any]) -> None:
        side = self._side("assistant")
        id = self._ids.claim(call_id)
        self._open.setdefault(call_id, deque()).append((id, side))
        side.blocks.append({"type": "tool_use", "id": id, "name": name, "input": input})

    def _summary(self, item: CompactionSummaryItem, path: str) -> None:
        block = self._open_reasoning(item.encrypted_content)
        if block is None or block["type"] != "text":
            message = f"Invalid value: '{path}.encrypted_content' was not made here, so it cannot be read."
            raise OpenAIError(message, param=f"{path}.encrypted_content", code="unsupported_value")
        if self._trigger is not None:
            # It was asked for here, and stands for all that came before.
            self._sides, self._trigger = [], None
            self._open.clear()
        self._side("user").blocks.append(summary_block(block["text"]))

    def _search(self, item: ToolSearchCallItem, path: str) -> None:
        if item.call_id is None or item.execution == "server":
            self.ignored.append(Ignored(path, "Claude is told of all tools at once"))
            return
        self._call(item.call_id, TOOL_SEARCH, item.arguments if isinstance(item.arguments, dict) else {})

    def _name(self, name: str, namespace: str | None) -> str:
        """Return Claude's name for the tool of a call."""
        # A function that was loaded late has a namespace of its own, which Claude does not know.
        return claude_name(name, None if namespace == name and name not in self._namespaces else namespace)

    def _offer(self, tools: Sequence[Any], path: str) -> list[tuple[str, Any]]:
        """Offer the tools of an item. Return them with their paths."""
        offered = [(f"{path}.tools[{index}]", tool) for index, tool in enumerate(tools)]
        self._tools += offered
        self._namespaces |= namespaces_in(tools)
        return offered

    def _found(self, item: ToolSearchOutputItem, path: str) -> None:
        """Offer the tools that a search has found. If the app did the search, tell Claude of them."""
        tools = self._offer(item.tools, path)
        if item.call_id is None or item.execution == "server":
            self._loaded |= functions_in(item.tools)
            return
        names = [str(tool["name"]) for _, tool in flattened(tools) if isinstance(tool, dict) and "name" in tool]
        told = f"These tools can be called now: {', '.join(names)}." if names else "No tool was found."
        self._output(FunctionCallOutputItem(item.call_id, told), path)

    def _output(self, item: FunctionCallOutputItem, path: str, *, failed: bool = False) -> None:
        calls = self._open.get(item.call_id)
        if not calls:
            if self._answered.get(item.call_id) == item.output:
                # Agents go on from a response by its id, and send outputs again that an earlier request has given.
                return
            raise _invalid("input", f"No tool call found for function call output with call_id {item.call_id}.")
        try:
            content = blocks(_parts(item.output, f"{path}.output"), path, INPUT_PARTS)
        except OpenAIError as error:
            raise reworded(error, {f"{path}.content": f"{path}.output"}) from None
        id, side = calls.popleft()
        self._answered[item.call_id] = item.output
        result: dict[str, Any] = {"type": "tool_result", "tool_use_id": id}
        if content:
            result["content"] = content
        side.results.append({**result, "is_error": True} if failed else result)

    def _reasoning(self, item: ReasoningInputItem, path: str) -> None:
        sealed = item.encrypted_content or self._known.get(item.id or "", {}).get("encrypted_content")
        block = self._open_reasoning(sealed) if isinstance(sealed, str) and sealed else None
        if block is None or block["type"] not in reasoning.KINDS:
            self.ignored.append(Ignored(path, "it has no thinking that was sealed here"))
        else:
            self._side("assistant").blocks.append(block)


def namespaces_in(tools: Sequence[Any]) -> frozenset[str]:
    """Return the names of the namespaces among tools."""
    return _names_of(tools, "namespace")


def functions_in(tools: Sequence[Any]) -> frozenset[str]:
    """Return the names of the functions among tools, without those inside namespaces."""
    return _names_of(tools, "function")


def _names_of(tools: Sequence[Any], kind: str) -> frozenset[str]:
    named = [tool.get("name") for tool in tools if isinstance(tool, dict) and tool.get("type") == kind]
    return frozenset(name for name in named if isinstance(name, str))


def _alternating(sides: Sequence[_Side]) -> list[Message]:
    """Return the sides as messages that alternate, each with the outputs of the one before at its beginning."""
    messages: list[tuple[Literal["user", "assistant"], list[ContentBlock]]] = []

    def extend(role: Literal["user", "assistant"], more: Sequence[ContentBlock]) -> None:
        if messages and messages[-1][0] == role:
            messages[-1][1].extend(more)
        elif more:
            messages.append((role, list(more)))

    for side in sides:
        # The API: «the final block in an assistant message cannot be thinking». It is what an answer that was cut
        # while the model thought left behind.
        while side.role == "assistant" and side.blocks and side.blocks[-1]["type"] in reasoning.KINDS:
            side.blocks.pop()
        extend(side.role, side.blocks)
        extend("user", side.results)
    return [Message(role, tuple(content)) for role, content in messages]


def kind_of(item: Mapping[str, Any]) -> Any:
    """Return the type of an item, which a message and a reference need not have."""
    kind = item.get("type")
    return ("item_reference" if "role" not in item and "id" in item else "message") if kind is None else kind


def _decode(raw: Any, path: str) -> InputItem:
    if not isinstance(raw, dict):
        raise OpenAIError(f"Invalid type for '{path}': expected an object.", param=path, code="invalid_type")
    kind = kind_of(raw)
    if isinstance(kind, str) and kind in REFUSED_ITEMS:
        message = f"Unsupported value: '{path}.type': {kind!r} is not supported here: {REFUSED_ITEMS[kind]}."
        raise OpenAIError(message, param=f"{path}.type", code="unsupported_value")
    if not isinstance(kind, str) or kind not in ITEMS:
        message = f"Invalid value: {kind!r}. Supported values are: {', '.join(map(repr, ITEMS))}."
        raise OpenAIError(message, param=f"{path}.type", code="invalid_value")
    try:
        return msgspec.convert(raw, ITEMS[kind])
    except msgspec.ValidationError as error:
        raise invalid_type(error, path) from None


def _parts(content: str | list[Any], path: str) -> str | list[Any]:
    if isinstance(content, list):
        for index, part in enumerate(content):
            if not isinstance(part, dict):
                where = f"{path}[{index}]"
                raise OpenAIError(f"Invalid type for '{where}': expected an object.", param=where, code="invalid_type")
    return content


def _image(raw: dict[str, Any], where: str) -> ContentBlock:
    _refuse_uploaded(raw, where, "image_url")
    url = raw.get("image_url")
    try:
        return PARTS["image_url"]({"image_url": {"url": url}}, where)
    except OpenAIError as error:
        raise reworded(error, {f"{where}.image_url.url": f"{where}.image_url"}) from None


def _file(raw: dict[str, Any], where: str) -> ContentBlock:
    url = raw.get("file_url")
    if url is None:
        _refuse_uploaded(raw, where, "file_data")
        try:
            return PARTS["file"]({"file": {key: raw[key] for key in ("file_data", "filename") if key in raw}}, where)
        except OpenAIError as error:
            raise reworded(error, {f"{where}.file.": f"{where}.", f"{where}.file": f"{where}.file_data"}) from None
    if not isinstance(url, str) or not _is_https(url):
        message = f"Invalid value: '{where}.file_url' must be an https: URL of a PDF."
        raise OpenAIError(message, param=f"{where}.file_url", code="invalid_value")
    title = {"title": raw["filename"]} if isinstance(raw.get("filename"), str) and raw["filename"] else {}
    return {"type": "document", "source": {"type": "url", "url": url}, **title}


def _is_https(url: str) -> bool:
    try:
        return urlsplit(url).scheme.lower() == "https"
    except ValueError:
        return False


def _refuse_uploaded(raw: Mapping[str, Any], where: str, instead: str) -> None:
    if raw.get("file_id") and raw.get(instead) is None:
        message = f"Unsupported value: '{where}.file_id': there are no uploaded files here; send '{instead}'."
        raise OpenAIError(message, param=f"{where}.file_id", code="unsupported_value")


_TEXT, _REFUSAL = PARTS["text"], PARTS["refusal"]

INPUT_PARTS: dict[str, Part] = {"input_text": _TEXT, "input_image": _image, "input_file": _file}
"""The allowed parts of user messages and function outputs."""

AGENT_PARTS: dict[str, Part] = {
    **INPUT_PARTS,
    "encrypted_content": lambda raw, where: _TEXT({"text": raw.get("encrypted_content")}, where),
}

# What each role's messages may hold. OpenAI's document has input_text from the assistant too.
ROLES: dict[str, dict[str, Part]] = {
    "user": INPUT_PARTS,
    "system": {"input_text": _TEXT},
    "developer": {"input_text": _TEXT},
    "assistant": {"output_text": _TEXT, "refusal": _REFUSAL, "input_text": _TEXT},
}


def _check_images(messages: Sequence[Message]) -> None:
    if sum(_images(block) for message in messages for block in message.content) > MAX_IMAGES:
        message = f"Invalid 'input': more than {MAX_IMAGES} images, which is Claude's limit."
        raise OpenAIError(message, param="input", code="too_many_images")


def _images(block: ContentBlock) -> int:
    inside = block.get("content", ()) if block["type"] == "tool_result" else ()
    return sum(part["type"] == "image" for part in (block, *inside))


def _invalid(param: str, message: str) -> OpenAIError:
    return OpenAIError(message, param=param, code="invalid_value")
