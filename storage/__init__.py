"""What an app may come back to: stored responses, conversations, chat completions, and sessions.

Everything belongs to an *owner*, a text that tells apps apart (a hash of their key); nobody else is told of it, not
even that it is there. *Items* are OpenAI's (Responses, Conversations), *messages* those of Chat Completions. JSON comes
and goes as bytes or as dicts, and lies in the database as text, encrypted if :class:`~storage.encryption.Encryption`
has a key.

What a method has returned from is on the disk; what raised, or was under way when the process was killed, is there
wholly or not at all. Every class may be used by many requests and many proxies at once. Methods raise
:class:`~storage.database.StoreError` when the database cannot be used.

The modules: :mod:`~storage.responses` and :mod:`~storage.background` (those that are answered while nobody
waits), :mod:`~storage.conversations`, :mod:`~storage.chat_completions`, :mod:`~storage.sessions`,
:mod:`~storage.leases` (who may go on with a thing now), :mod:`~storage.retention` (what is forgotten, and when),
:mod:`~storage.encryption` (how JSON is kept) and :mod:`~storage.pagination` (lists in pieces).

:mod:`~storage.database` opens the database (a SQLite file, or PostgreSQL where several proxies share it) and keeps its
blocking calls off the event loop, :mod:`~storage.migrations` brings its tables up to date, and :mod:`~storage.tables`
names them for queries.
"""
