"""An app, as openai-python's README has it: it knows nothing of a proxy."""

import json

from openai import OpenAI

client = OpenAI()

response = client.chat.completions.with_raw_response.create(
    model="gpt-4o",
    messages=[
        {"role": "developer", "content": "Talk like a pirate."},
        {"role": "user", "content": "How do I check if a Python object is an instance of a class?"},
    ],
)
completion = response.parse()
print(json.dumps({"headers": dict(response.headers), "completion": completion.to_dict()}))

stream = client.chat.completions.create(
    model="gpt-4o",
    messages=[{"role": "user", "content": "Say this is a test"}],
    stream=True,
    stream_options={"include_usage": True},
)
print(json.dumps({"chunks": [chunk.to_dict() for chunk in stream]}))
