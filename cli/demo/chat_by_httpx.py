"""The same program with plain HTTP, for when OpenAI's client is not installed. It knows nothing of Understudy."""

import json
import os

import httpx

request = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "You are a friendly guide."},
        {"role": "user", "content": "What is an understudy?"},
    ],
    "stream": True,
    "stream_options": {"include_usage": True},
}
key = {"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"}
url = "https://api.openai.com/v1/chat/completions"
with httpx.stream("POST", url, json=request, headers=key, timeout=600) as answer:
    answer.raise_for_status()
    for line in answer.iter_lines():
        if line.startswith("data: {"):
            for choice in json.loads(line.removeprefix("data: "))["choices"]:
                print(choice["delta"].get("content") or "", end="", flush=True)
print()
