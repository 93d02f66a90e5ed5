"""The OpenAI Agents SDK over a WebSocket, as its guide shows it: three turns, one with a tool, on one connection."""

import asyncio
import json

from agents import Agent, function_tool, responses_websocket_session, set_tracing_disabled


@function_tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"sunny in {city}"


agent = Agent(name="Assistant", instructions="Be concise.", model="gpt-5.5", tools=[get_weather])


async def main() -> None:
    """Ask, ask again by the response's id, and ask with the history."""
    set_tracing_disabled(True)
    async with responses_websocket_session() as session:
        first = session.run_streamed(agent, "How is the weather in Paris?")
        events = [event.type async for event in first.stream_events()]
        second = await session.run(agent, "And again?", previous_response_id=first.last_response_id)
        third = await session.run(agent, [*first.to_input_list(), {"role": "user", "content": "And now?"}])
    result = {
        "events": sorted(set(events)),
        "items": [item.type for item in first.new_items],
        "outputs": [run.final_output for run in (first, second, third)],
    }
    print(json.dumps(result))


asyncio.run(main())
