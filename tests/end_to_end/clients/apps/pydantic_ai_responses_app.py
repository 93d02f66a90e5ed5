"""Pydantic AI on the Responses API: run, stream, tools, structured results, state kept by OpenAI, thinking."""

import asyncio
import json

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.messages import ThinkingPart
from pydantic_ai.models.openai import OpenAIResponsesModel, OpenAIResponsesModelSettings


class City(BaseModel):
    """A city."""

    name: str
    country: str


calls = []
model = OpenAIResponsesModel("gpt-5.5")
agent = Agent(model, instructions="Be concise.")


@agent.tool_plain
def roll_die() -> str:
    """Roll a six-sided die."""
    calls.append("roll_die")
    return "4"


async def main() -> None:
    """Run everything once."""
    result = {}
    rolled = await agent.run("My guess is 4.")
    result["answer"] = rolled.output
    result["again"] = (await agent.run("Again?", message_history=rolled.all_messages())).output

    async with agent.run_stream("Roll and tell a story.") as stream:
        pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
        result["tokens"] = stream.usage.total_tokens
    result["pieces"], result["streamed"] = len(pieces), "".join(pieces)
    result["calls"] = calls

    by_tool = Agent(OpenAIResponsesModel("gpt-4o"), output_type=City)
    result["by_tool"] = (await by_tool.run("Where were the olympics held in 2012?")).output.model_dump()
    by_schema = Agent(model, output_type=NativeOutput(City))
    async with by_schema.run_stream("And in 2016?") as stream:
        result["by_schema"] = (await stream.get_output()).model_dump()

    kept = OpenAIResponsesModelSettings(openai_previous_response_id="auto")
    secret = await agent.run("The secret is 1234.")
    told = await agent.run("What is it?", message_history=secret.all_messages(), model_settings=kept)
    result["told"] = told.output

    thinking = OpenAIResponsesModelSettings(openai_reasoning_effort="low", openai_reasoning_summary="detailed")
    thought = await agent.run("How many legs?", model_settings=thinking)
    parts = thought.all_messages()[-1].parts
    result["thoughts"] = [part.content for part in parts if isinstance(part, ThinkingPart)]
    sure = await agent.run("Sure?", message_history=thought.all_messages(), model_settings=thinking)
    result["sure"] = sure.output
    print(json.dumps(result))


asyncio.run(main())
