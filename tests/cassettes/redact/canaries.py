"""Secrets that must never be found on a disk, and how to look for them."""

import base64
import json
from pathlib import Path
from urllib.parse import quote

OPENAI = "sk-proj-CANARYheaderZ9xYq27LmN04"
COOKIE = "CANARYbiscuitV8wXr36KpQ15"
ORGANISATION = "org-CANARYorgT7vWs45JoR26"
BODY = 'CANARYbody/U6+tV=54Ih%S37é"x'
QUERY = "CANARYqueryS5sUu63HgT48"
AWS = "AKIACANARYAWSKEY1234"
GITHUB = "ghp_CANARYgithubR4rTv72GfU59abcd1234"
JWT = "eyJCANARYhead01.eyJDANARYbody02.CANARYsign03"
BASIC = "CANARYbasicQ3qSw81FeV60"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nCANARYpemP2pRx90EdW71CANARYpem\nq1oQy19DcX82\n-----END RSA PRIVATE KEY-----"
CONFIGURED = "CANARYown value O0nPz28CbY93"

ALL = (OPENAI, COOKIE, ORGANISATION, BODY, QUERY, AWS, GITHUB, JWT, BASIC, PEM, CONFIGURED)

PIECE = 7
"""What is found of a secret in so many characters counts as a leak; four may be written before it shows itself."""


def pieces(secret: str) -> set[bytes]:
    """Return every stretch of the secret that must not be found, its public prefix left out."""
    secret = secret.replace("-----BEGIN RSA PRIVATE KEY-----", "").replace("-----END RSA PRIVATE KEY-----", "")
    spellings = {secret, quote(secret, safe=""), secret.replace("\n", "\\n"), json.dumps(secret)[1:-1]}
    for before in range(3):
        spellings.add(base64.b64encode(b"<" * before + secret.encode()).decode().rstrip("=")[4:-2])
    found = {text[at : at + PIECE] for text in spellings for at in range(len(text) - PIECE + 1)}
    return {piece.encode() for piece in found if not set(piece) <= set("-\n\\")} - {b"sk-proj", b"-----BE"}


def leaks(folder: Path, secrets: tuple[str, ...] = ALL) -> list[str]:
    """Return which secrets, or pieces of them, are in any file below the folder, or in a file's name."""
    found = []
    for path in sorted(folder.rglob("*")):
        content = path.name.encode() + (path.read_bytes() if path.is_file() else b"")
        found += [
            f"{path.name}: {piece!r} of {secret[:12]}…"
            for secret in secrets
            for piece in pieces(secret)
            if piece in content
        ]
    return found
