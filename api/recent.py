"""What one connection remembers by itself: the conversations that its last responses ended, stored or not.

In OpenAI's WebSocket mode a response can be gone on from on its connection although it was not to be stored
(https://platform.openai.com/docs/guides/websocket-mode).
"""

from collections import OrderedDict

from storage.base import Item

MOST = 16
"""How many responses are remembered. Those of one chain share their items."""


class Recent:
    """The last responses, by their ids."""

    def __init__(self) -> None:
        self._conversations: OrderedDict[str, tuple[Item, ...]] = OrderedDict()

    def add(self, id: str, conversation: tuple[Item, ...]) -> None:
        """Remember the conversation up to and with a response, and forget the oldest beyond the limit."""
        self._conversations[id] = conversation
        while len(self._conversations) > MOST:
            self._conversations.popitem(last=False)

    def conversation(self, id: str) -> tuple[Item, ...] | None:
        """Return the conversation up to and with a response; None for one that is not remembered."""
        return self._conversations.get(id)
