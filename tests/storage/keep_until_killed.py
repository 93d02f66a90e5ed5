"""A proxy of its own: keeps one thing after another, and prints each one's name when it is kept, until it is killed.

Arguments: the database, what its names begin with, and a conversation and a session that several keep at once.
"""

import asyncio
import sys
from itertools import count

from storage.background import Background
from storage.base import ConflictError
from storage.chat_completions import ChatCompletions, StoredChat
from storage.conversations import Conversations
from storage.database import Database
from storage.responses import Responses
from storage.sessions import Sessions
from tests.storage.kept import ME, assistant, response, user


async def main(where: str, prefix: str, conversation: str, session: str) -> None:
    with Database.open(where) as database:
        responses, background = Responses(database), Background(database)
        conversations, sessions = Conversations(database), Sessions(database)
        chats = ChatCompletions(database)

        async def chained() -> None:
            last = None
            for n in count():
                before = last.conversation if last else ()
                last = response(f"{prefix}-{n}", before, previous_id=last.id if last else None)
                await responses.put(last)
                print(f"chain {last.id}", flush=True)

        async def in_conversation() -> None:
            for n in count():
                one = response(f"{prefix}-c{n}", conversation_id=conversation)
                await responses.put(one)
                print(f"conversation {one.id}", flush=True)
                name = f"{prefix}-i{n}"
                await conversations.add_items(conversation, ME, (assistant(f"{name}?"), assistant(f"{name}!")))
                print(f"items {name}", flush=True)

        async def in_background() -> None:
            for n in count():
                id = f"resp_{prefix}-b{n}"
                await background.begin(response(f"{prefix}-b{n}", output=(), status="queued"))
                print(f"begun {id}", flush=True)
                await background.append_events(id, [(0, b"0"), (1, b"1")])
                print(f"events {id}", flush=True)
                await background.finish(id, "completed", b"{}", output=(user("x"),), events=[(2, b"2")])
                print(f"finished {id}", flush=True)

        async def in_session() -> None:
            for n in count():
                try:
                    version = (await sessions.load(ME, session)).version
                    texts = [
                        {"role": "user", "content": f"{prefix}-{n}?"},
                        {"role": "user", "content": f"{prefix}-{n}!"},
                    ]
                    await sessions.append(ME, session, texts, version)
                except ConflictError:
                    continue
                print(f"session {prefix}-{n}", flush=True)

        async def completed() -> None:
            for n in count():
                id = f"chatcmpl-{prefix}-{n}"
                await chats.put(StoredChat(id, ME, n, "m", b"{}", ()))
                print(f"chat {id}", flush=True)
                if n % 3 == 0:
                    await chats.delete(id, ME)
                    print(f"deleted {id}", flush=True)

        await asyncio.gather(chained(), in_conversation(), in_background(), in_session(), completed())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
