"""``system_fingerprint``: which model and which translation made an answer."""

from hashlib import sha256


def fingerprint(model: str, version: str) -> str:
    """Return OpenAI's form of a fingerprint, for Claude's model and the version of Understudy.

    It changes only if one of the two changes: other answers can then be expected to the same request.
    """
    return f"fp_{sha256(f'{model} {version}'.encode()).hexdigest()[:10]}"
