"""Processes a cassette again: translates its events, rebuilds its bytes, or sends its requests."""
