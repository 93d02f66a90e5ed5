"""The database of the proxy: what apps may come back to, and their files; and private files on the disk.

The words used here:

- an *owner* is the hash of an app's API key. Every row belongs to one owner, and no other owner can read it or learn
  that it exists;
- an *item* is an item of OpenAI's Responses and Conversations APIs, a *message* one of Chat Completions. Both come and
  go as JSON. The database holds that JSON as text, encrypted if :class:`~storage.encryption.Encryption` has a key;
- a *lease* is a time until which a row belongs to a live process (:mod:`~storage.lease_renewal`).

Several requests and several proxies can use the same database at once. Each method runs in one transaction: once it
has returned, its changes are on the disk; if it raises, or if the process is killed, either all of its changes are
there or none. Methods raise :class:`~storage.database.StoreError` if the database cannot be used.

One module for each API: :mod:`~storage.responses`, :mod:`~storage.background` (responses with ``background: true``),
:mod:`~storage.conversations`, :mod:`~storage.chat_completions`, :mod:`~storage.sessions`, :mod:`~storage.files`,
:mod:`~storage.uploads` and :mod:`~storage.batches`. :mod:`~storage.stores` holds them all. :mod:`~storage.leases` lets
one request at a time use a session, :mod:`~storage.retention` deletes old rows, :mod:`~storage.encryption` encrypts
JSON and bytes, :mod:`~storage.pagination` reads lists page by page.

:mod:`~storage.database` opens the database (a SQLite file, or PostgreSQL if several proxies share it) and keeps its
blocking calls off the event loop. :mod:`~storage.migrations` brings its tables up to date. :mod:`~storage.tables`
declares the tables for queries. :mod:`~storage.private_files` writes files that only their owner can read; every room
may use it.
"""
