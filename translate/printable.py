"""What strangers wrote, as a terminal or a log may show it: nothing of it may steer them.

Control characters (escape sequences begin with one), characters that change the direction of text or cannot be seen,
and halves of characters are written as the escapes that Python and JSON have for them.
"""

import re

# All but tab and line feed of C0, DEL, C1, marks of direction, separators of lines, what is invisible, halves of pairs.
_CLASS = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    r"\u2060-\u206f\u3164\ufe00-\ufe0e\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U000e0000-\U000e0fff"
)
UNSAFE = re.compile(f"[{_CLASS}]")
"""One character that is not to be printed as it is."""


def escape(character: str) -> str:
    """Write a character as the escape that Python has for it."""
    code = ord(character)
    if code == 13:
        return "\\r"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def safe(text: object) -> str:
    """Return a text that a terminal only shows; it may have lines and tabs. What is no text is written as it prints."""
    return UNSAFE.sub(lambda match: escape(match.group()), text if isinstance(text, str) else str(text))


def one_line(text: object) -> str:
    """Return a safe text without lines and tabs."""
    return safe(text).replace("\n", "\\n").replace("\t", "\\t")
