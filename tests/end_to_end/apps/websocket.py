"""openai-python's WebSocket mode of the Responses API, as its guide shows it: two turns on one connection."""

import asyncio
import json

from openai import AsyncOpenAI


async def main() -> None:
    """Ask twice."""
    told = []
    async with AsyncOpenAI() as client, client.responses.connect() as connection:
        previous = None
        for said in ("Say one.", "Say two."):
            await connection.response.create(
                model="gpt-4o",
                input=[{"type": "message", "role": "user", "content": [{"type": "input_text", "text": said}]}],
                store=False,
                previous_response_id=previous,
            )
            text = ""
            async for event in connection:
                if event.type == "response.output_text.delta":
                    text += event.delta
                if event.type == "error":
                    raise SystemExit(event.error.message)
                if event.type == "response.completed":
                    previous = event.response.id
                    break
            told.append(text)
    print(json.dumps(told))


asyncio.run(main())
