"""A program that speaks the OpenAI API, as OpenAI's own documentation writes it. It knows nothing of Understudy."""

from openai import OpenAI

client = OpenAI()

stream = client.chat.completions.create(
    model="gpt-4o",
    messages=[
        {"role": "system", "content": "You are a friendly guide."},
        {"role": "user", "content": "What is an understudy?"},
    ],
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
