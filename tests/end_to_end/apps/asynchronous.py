"""An app, as openai-python's README has it for AsyncOpenAI: it knows nothing of a proxy."""

import asyncio
import json

from openai import AsyncOpenAI

client = AsyncOpenAI()


async def main() -> None:
    """Ask twice, once for a stream."""
    completion = await client.chat.completions.create(
        messages=[{"role": "user", "content": "Say this is a test"}],
        model="gpt-4o-mini",
    )
    print(json.dumps({"completion": completion.to_dict()}))

    stream = await client.chat.completions.create(
        messages=[{"role": "user", "content": "Say this is a test"}],
        model="gpt-4o-mini",
        stream=True,
    )
    print(json.dumps({"chunks": [chunk.to_dict() async for chunk in stream]}))


asyncio.run(main())
