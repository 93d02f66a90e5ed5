"""The tables as they are today, for queries. A test holds them to what the migrations make.

Times are Unix seconds. ``nanodollars`` are thousand-millionths of a US dollar.
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
    Column("agents", Text, nullable=False),  # the same
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

# What a client used on a day of UTC. `nanodollars` includes `nanodollars_estimated`, the part that nobody billed.
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
