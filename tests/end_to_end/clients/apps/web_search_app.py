"""OpenAI's web search, as three libraries offer it, each then sending back what was found."""

import asyncio
import json

from agents import Agent as AgentsAgent
from agents import Runner, WebSearchTool, set_tracing_disabled
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent
from pydantic_ai import WebSearchTool as NativeWebSearch
from pydantic_ai.capabilities import NativeTool
from pydantic_ai.models.openai import OpenAIResponsesModel

MODEL = "gpt-5.5"
ASK, AGAIN = "Is it so?", "Is it still?"


async def ask_with_the_agents_sdk() -> list[str]:
    """Search, then go on with the items of the first run."""
    set_tracing_disabled(True)
    agent = AgentsAgent(name="Searcher", model=MODEL, tools=[WebSearchTool(search_context_size="low")])
    first = await Runner.run(agent, ASK)
    second = await Runner.run(agent, [*first.to_input_list(), {"role": "user", "content": AGAIN}])
    return [*(item.type for item in first.new_items), first.final_output, second.final_output]


def ask_with_langchain() -> list[str]:
    """Search, then go on with the first message."""
    model = ChatOpenAI(model=MODEL, output_version="responses/v1").bind_tools([{"type": "web_search"}])
    first = model.invoke(ASK)
    second = model.invoke([HumanMessage(ASK), first, HumanMessage(AGAIN)])
    cited = [note["url"] for block in first.content if block["type"] == "text" for note in block["annotations"]]
    return [*(block["type"] for block in first.content), *cited, first.text, second.text]


def ask_with_pydantic_ai() -> list[str]:
    """Search, then go on with the first run's messages."""
    agent = Agent(OpenAIResponsesModel(MODEL), capabilities=[NativeTool(NativeWebSearch())])
    first = agent.run_sync(ASK)
    second = agent.run_sync(AGAIN, message_history=first.all_messages())
    return [*(part.part_kind for part in first.all_messages()[-1].parts), first.output, second.output]


result = {
    "agents": asyncio.run(ask_with_the_agents_sdk()),
    "langchain": ask_with_langchain(),
    "pydantic_ai": ask_with_pydantic_ai(),
}
print(json.dumps(result))
