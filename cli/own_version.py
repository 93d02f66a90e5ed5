"""The version of Understudy that runs."""

import importlib.metadata


def own_version() -> str:
    """Return Understudy's version; "" if it runs from a checkout that is not installed."""
    try:
        return importlib.metadata.version("understudy")
    except importlib.metadata.PackageNotFoundError:
        return ""
