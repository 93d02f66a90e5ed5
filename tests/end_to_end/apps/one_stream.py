"""An app that says when its first chunk came, and goes on."""

from openai import OpenAI

with (
    OpenAI() as client,
    client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "Say this is a test"}], stream=True
    ) as stream,
):
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            print(chunk.choices[0].delta.content, flush=True)
