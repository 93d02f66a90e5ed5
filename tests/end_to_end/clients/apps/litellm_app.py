"""LiteLLM as a client: whole, streamed, asynchronous."""

import asyncio
import json

import litellm

messages = [{"role": "user", "content": "Hello"}]
result = {
    "whole": litellm.completion(model="openai/gpt-4o", messages=messages).choices[0].message.content,
    "streamed": "".join(
        chunk.choices[0].delta.content or ""
        for chunk in litellm.completion(model="openai/gpt-4o", messages=messages, stream=True)
    ),
    "asynchronous": asyncio.run(litellm.acompletion(model="openai/gpt-4o", messages=messages))
    .choices[0]
    .message.content,
}
print(json.dumps(result))
