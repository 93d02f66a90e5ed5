"""Pydantic AI: an agent with a tool, and one with a structured result."""

import json

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel

calls = []


class City(BaseModel):
    """A city."""

    name: str
    country: str


agent = Agent(OpenAIChatModel("gpt-4o"), instructions="Be concise.")


@agent.tool_plain
def roll_die() -> str:
    """Roll a six-sided die."""
    calls.append("roll_die")
    return "4"


structured = Agent(OpenAIChatModel("claude-sonnet-4-5"), output_type=City)
result = {
    "answer": agent.run_sync("My guess is 4. [rehearse: tool]").output,
    "calls": calls,
    "structured": structured.run_sync("Where were the olympics held in 2012?").output.model_dump(),
}
print(json.dumps(result))
