"""Both kinds of database."""

from tests.postgres import database, database_url, postgres

__all__ = ["database", "database_url", "postgres"]
