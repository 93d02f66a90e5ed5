"""The tables as they are today, for queries. A test holds them to what the migrations make.

Times are Unix seconds. ``nanodollars`` are thousand-millionths of a US dollar. What :mod:`remembering` keeps as JSON
may be encrypted, which is text as well; ``size`` is how many bytes of it there are.
"""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, MetaData, Table, Text

metadata = MetaData()

clients = Table(
    "clients",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_sha256", Text, nullable=False),  # in hexadecimal
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("models", Text, nullable=False),  # a JSON array of patterns; empty allows all
    Column("agents", Text, nullable=False),  # a JSON array of patterns; empty allows none
    Column("requests_per_minute", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("concurrent", BigInteger),
    Column("nanodollars_per_day", BigInteger),
    Column("nanodollars_total", BigInteger),
)

# A row for each request of the last minute, and for each that runs. Until it is settled, `tokens` and `nanodollars`
# are what it may come to; `lease_until` is how long it counts as running unless its proxy says that it still does.
admissions = Table(
    "admissions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("client_id", Text, ForeignKey("clients.id"), nullable=False),
    Column("admitted_at", Double, nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("settled_at", Double),
    Column("tokens", BigInteger, nullable=False),
    Column("nanodollars", BigInteger, nullable=False),
)

# What a client used on a day of UTC. `nanodollars` includes `nanodollars_estimated`: what was not booked by the price
# of the model that answered, and what was booked before migration 3. `requests_unpriced` are those without any price.
spending = Table(
    "spending",
    metadata,
    Column("client_id", Text, ForeignKey("clients.id"), primary_key=True),
    Column("day", Text, primary_key=True),  # 2026-11-20
    Column("requests", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("nanodollars", BigInteger, nullable=False),
    Column("nanodollars_estimated", BigInteger, nullable=False),
    Column("requests_unpriced", BigInteger, nullable=False),
)

# A conversation goes on in the order of its items' positions; those that were deleted leave gaps. Hidden ones are gone
# for their owner, and stay while a response goes on from them.
conversations = Table(
    "conversations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("used_at", Double, nullable=False),
    Column("hidden_at", Double),
    Column("size", BigInteger, nullable=False),  # with its items
    Column("next_position", BigInteger, nullable=False),
    Column("metadata", Text, nullable=False),  # JSON
)

conversation_items = Table(
    "conversation_items",
    metadata,
    Column("conversation_id", Text, ForeignKey("conversations.id"), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("id", Text, nullable=False),
    Column("item", Text, nullable=False),  # JSON
)

# A response holds its own items alone. What came before them is the chain of `previous_id`; or the first
# `conversation_from` positions of its conversation; or `earlier`, where it shares its beginning with nothing. `length`
# counts the items up to and with its own, `depth` the responses. A hidden one has no body, and stays while others go
# on from it. Those in the background have a `worker`, and until they end a lease.
responses = Table(
    "responses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("status", Text, nullable=False),  # OpenAI's word
    Column("previous_id", Text, ForeignKey("responses.id")),
    Column("conversation_id", Text, ForeignKey("conversations.id")),
    Column("conversation_from", BigInteger),
    Column("depth", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("asked", BigInteger, nullable=False),  # how many of its own items it was asked with
    Column("size", BigInteger, nullable=False),  # with its events
    Column("hidden_at", Double),
    Column("ended_at", Double),
    Column("worker", Text),
    Column("lease_until", Double),
    Column("cancel_requested_at", Double),
    Column("earlier", Text),  # a JSON array of items
    Column("own_items", Text, nullable=False),  # the same: what it was asked with, then its output
    Column("body", Text),  # JSON
)

response_events = Table(
    "response_events",
    metadata,
    Column("response_id", Text, ForeignKey("responses.id"), primary_key=True),
    Column("sequence_number", BigInteger, primary_key=True),
    Column("event", Text, nullable=False),  # JSON
)

chat_completions = Table(
    "chat_completions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("model", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("metadata", Text, nullable=False),  # JSON
    Column("messages", Text, nullable=False),  # a JSON array
    Column("body", Text, nullable=False),  # JSON
)

# `key` tells a session from one that had the same id before and was deleted; `version` counts the times that it grew.
sessions = Table(
    "sessions",
    metadata,
    Column("key", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("used_at", Double, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("messages", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),  # of its messages
)

session_messages = Table(
    "session_messages",
    metadata,
    Column("session_key", Text, ForeignKey("sessions.key"), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("message", Text, nullable=False),  # JSON
)

# Who waits for a name, and in which order. Whose number is the lowest has it.
tickets = Table(
    "tickets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("lease_until", Double, nullable=False),
)
