"""The current tables, for queries. A test checks that the migrations create exactly these.

Times are in Unix seconds. A nanodollar is 10⁻⁹ US dollars. The columns with JSON of conversations, responses, chat
completions, sessions, files, uploads and batches may be encrypted; that is text as well. ``size`` is the number of
bytes in these columns.
"""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, LargeBinary, MetaData, Table, Text

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

# One row for each running request and each request of the last minute. Until a request is settled, `tokens` and
# `nanodollars` are estimates. It counts as running until `lease_until`, which its proxy moves forward.
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

# The usage of one client on one UTC day. `nanodollars` includes `nanodollars_estimated`: amounts that were not computed
# from the price of the model that answered, and all amounts from before migration 3. `requests_unpriced` is the number
# of requests without any known price.
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

# The items of a conversation are ordered by position. Deleted items leave gaps. An owner cannot read a hidden
# conversation; it stays while a response needs it.
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

# A response stores only its own items. The items before them are one of: the chain of `previous_id`; the items of its
# conversation at positions below `conversation_from`; `earlier`, if no other row has them. `length` is the number of
# all items including its own, `depth` the number of responses before it. A hidden response has no body, and stays while
# others continue it. A background response has a `worker`, and a lease until it ends.
responses = Table(
    "responses",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("status", Text, nullable=False),  # one of OpenAI's values
    Column("previous_id", Text, ForeignKey("responses.id")),
    Column("conversation_id", Text, ForeignKey("conversations.id")),
    Column("conversation_from", BigInteger),
    Column("depth", BigInteger, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("asked", BigInteger, nullable=False),  # how many of its own items are input items
    Column("size", BigInteger, nullable=False),  # with its events
    Column("hidden_at", Double),
    Column("ended_at", Double),
    Column("worker", Text),
    Column("lease_until", Double),
    Column("cancel_requested_at", Double),
    Column("earlier", Text),  # a JSON array of items
    Column("own_items", Text, nullable=False),  # a JSON array: the input items, then the output
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

# `key` is unique: a session that was deleted and created again with the same id has another key. `version` counts how
# often messages were added.
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

# The queue for each lock. The ticket with the lowest number of a name holds that lock.
tickets = Table(
    "tickets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("lease_until", Double, nullable=False),
)

# A file that an app sends in parts. It is deleted when it is completed or cancelled, or when it expires.
uploads = Table(
    "uploads",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("bytes", BigInteger, nullable=False),  # as announced
    Column("about", Text, nullable=False),  # JSON
)

# `bytes` is the size of the file. A file that is not `ready` has only some of its pieces; nobody can read it. With an
# `upload_id`, the row is a part of an upload and no file yet.
files = Table(
    "files",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("purpose", Text, nullable=False),  # one of OpenAI's values
    Column("bytes", BigInteger, nullable=False),
    Column("ready", BigInteger, nullable=False),  # 1: yes
    Column("upload_id", Text, ForeignKey("uploads.id")),
    Column("about", Text, nullable=False),  # JSON: the name and the media type
)

file_pieces = Table(
    "file_pieces",
    metadata,
    Column("file_id", Text, ForeignKey("files.id"), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("data", LargeBinary, nullable=False),  # may be encrypted
)

ENDS = frozenset({"failed", "completed", "expired", "cancelled"})
"""The states of batches that have ended."""

# `client_id` is the key that pays for it. `times` is a JSON object with the time of each change of the status. A batch
# is served after those with an older `served_at`, and not before `not_before`. A proxy that validates or finalizes it
# is its `worker`, with a lease.
batches = Table(
    "batches",
    metadata,
    Column("id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("client_id", Text),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("status", Text, nullable=False),  # one of OpenAI's values
    Column("endpoint", Text, nullable=False),
    Column("input_file_id", Text, nullable=False),
    Column("output_file_id", Text),
    Column("error_file_id", Text),
    Column("total", BigInteger, nullable=False),
    Column("completed", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("served_at", Double, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("worker", Text),
    Column("lease_until", Double, nullable=False),
    Column("times", Text, nullable=False),
    Column("about", Text, nullable=False),  # JSON
    Column("bytes", BigInteger, nullable=False),  # the size of the input file
)

# `status` is waiting, running, completed or failed. A running line has a worker with a lease.
batch_lines = Table(
    "batch_lines",
    metadata,
    Column("batch_id", Text, ForeignKey("batches.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("status", Text, nullable=False),
    Column("attempts", BigInteger, nullable=False),
    Column("worker", Text),
    Column("lease_until", Double, nullable=False),
    Column("request", Text, nullable=False),  # JSON: the custom id and the body
    Column("result", Text),  # JSON: a line of the output or error file
)
