"""The OpenAI Agents SDK, as its guide shows it: handoffs, tools, streams, sessions, a structured result; traces on."""

import asyncio
import json

from agents import Agent, OpenAIConversationsSession, Runner, SQLiteSession, flush_traces, function_tool, trace
from openai.types.responses import ResponseTextDeltaEvent
from pydantic import BaseModel


class CalendarEvent(BaseModel):
    """An event in a calendar."""

    name: str
    participants: list[str]


@function_tool
def history_fun_fact(year: int) -> str:
    """Return a short history fact."""
    return f"In {year} sharks were already older than trees."


history_tutor = Agent(
    name="History Tutor",
    handoff_description="Specialist agent for historical questions",
    instructions="You assist with historical queries.",
    tools=[history_fun_fact],
)
math_tutor = Agent(
    name="Math Tutor",
    handoff_description="Specialist agent for math questions",
    instructions="You explain your reasoning at each step.",
)
triage = Agent(
    name="Triage Agent",
    instructions="You determine which agent to use based on the user's homework question",
    handoffs=[history_tutor, math_tutor],
)
assistant = Agent(name="Assistant", instructions="Reply very concisely.")
extractor = Agent(name="Calendar extractor", instructions="Extract calendar events.", output_type=CalendarEvent)
as_tool = Agent(
    name="Orchestrator",
    instructions="Use your tools.",
    tools=[math_tutor.as_tool(tool_name="do_sums", tool_description="Do sums.")],
)


async def main() -> None:
    """Run everything once."""
    result = {}
    with trace("Homework"):
        handed = await Runner.run(triage, "Tell me of sharks.")
        result["answer"] = handed.final_output
        result["last_agent"] = handed.last_agent.name
        result["items"] = [item.type for item in handed.new_items]
        result["tokens"] = handed.context_wrapper.usage.total_tokens
        again = await Runner.run(handed.last_agent, [*handed.to_input_list(), {"role": "user", "content": "Again."}])
        result["again"] = again.final_output
        by_id = await Runner.run(assistant, "And by its id?", previous_response_id=again.last_response_id)
        result["by_id"] = by_id.final_output

    streamed = Runner.run_streamed(triage, "What is 1 + 2?")
    events = [event async for event in streamed.stream_events()]
    result["events"] = sorted({event.type for event in events})
    result["streamed_items"] = [event.item.type for event in events if event.type == "run_item_stream_event"]
    result["deltas"] = "".join(
        event.data.delta
        for event in events
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent)
    )
    result["streamed"] = streamed.final_output

    for name, session in (("sqlite", SQLiteSession("of the app")), ("conversations", OpenAIConversationsSession())):
        await Runner.run(assistant, "What city is the Golden Gate Bridge in?", session=session)
        second = await Runner.run(assistant, "What state is it in?", session=session)
        result[name] = [second.final_output, len(await session.get_items())]
        await session.pop_item()
        result[f"{name} popped"] = len(await session.get_items())
        await session.clear_session()

    event = await Runner.run(extractor, "Ann and Bob meet for tea.")
    result["structured"] = event.final_output.model_dump()
    result["sums"] = (await Runner.run(as_tool, "What is 3 + 4?")).final_output
    flush_traces()
    print(json.dumps(result))


asyncio.run(main())
