"""Makes text from outside safe for a terminal and a log. No character of it may control the terminal.

Some characters are replaced by the escapes that Python and JSON have for them: control characters (escape sequences
begin with one), characters that change the direction of text, invisible characters, and single surrogates.
"""

import re

# C0 without tab and line feed, DEL, C1, marks of direction, line separators, invisible characters, surrogates.
_CLASS = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff"
)
UNSAFE = re.compile(f"[{_CLASS}]")
"""One character that must not be printed unchanged."""


def escape(character: str) -> str:
    """Return Python's escape for a character."""
    code = ord(character)
    if code == 13:
        return "\\r"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def safe(text: object) -> str:
    """Return a text that is safe for a terminal. It may have lines and tabs. Other objects become text first."""
    return UNSAFE.sub(lambda match: escape(match.group()), text if isinstance(text, str) else str(text))


def one_line(text: object) -> str:
    """Return a safe text without line feeds and tabs."""
    return safe(text).replace("\n", "\\n").replace("\t", "\\t")
