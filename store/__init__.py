"""What outlives a request, in one database: a SQLite file, or PostgreSQL where several proxies share it.

:mod:`store.database` opens it and keeps its blocking calls off the event loop; :mod:`store.migrations` brings its
tables up to date; :mod:`store.tables` names them for queries. What the rows mean belongs to whoever reads them:
keys and budgets to :mod:`auth`, responses, conversations and sessions to :mod:`remembering`.
"""

from store.database import Database, NewerSchemaError, StoreError

__all__ = ["Database", "NewerSchemaError", "StoreError"]
