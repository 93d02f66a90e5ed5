"""What an app may come back to: stored responses, conversations, chat completions, and sessions.

Everything belongs to an *owner*, a text that tells apps apart (a hash of their key); nobody else is told of it, not
even that it is there. *Items* are OpenAI's (Responses, Conversations), *messages* those of Chat Completions. JSON comes
and goes as bytes or as dicts, and lies in the database as text, encrypted if :class:`Vault` has a key.

What a method has returned from is on the disk; what raised, or was under way when the process was killed, is there
wholly or not at all. Every class may be used by many requests and many proxies at once. Methods raise
:class:`store.StoreError` when the database cannot be used.

The modules: :mod:`~remembering.responses` and :mod:`~remembering.background` (those that are answered while nobody
waits), :mod:`~remembering.conversations`, :mod:`~remembering.chats`, :mod:`~remembering.sessions`,
:mod:`~remembering.leases` (who may go on with a thing now), :mod:`~remembering.keeping` (what is forgotten, and when),
:mod:`~remembering.vault` (how JSON is kept) and :mod:`~remembering.pages` (lists in pieces).
"""
