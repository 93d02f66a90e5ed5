"""instructor: a response model."""

import json

import instructor
from openai import OpenAI
from pydantic import BaseModel


class User(BaseModel):
    """A user."""

    name: str
    age: int


client = instructor.from_openai(OpenAI())
user = client.chat.completions.create(
    model="claude-sonnet-4-5", response_model=User, messages=[{"role": "user", "content": "Jason is 25 years old."}]
)
print(json.dumps(user.model_dump()))
