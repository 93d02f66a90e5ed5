"""What secrets are called and what they look like: tables, and the patterns made of them."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass

SECRET_HEADERS: Mapping[str, str] = {  # name -> kind of pseudonym
    "authorization": "key",
    "proxy-authorization": "key",
    "x-api-key": "key",
    "api-key": "key",
    "x-goog-api-key": "key",
    "ocp-apim-subscription-key": "key",
    "x-auth-token": "token",
    "x-amz-security-token": "token",
    "x-csrf-token": "token",
    "x-xsrf-token": "token",
    "anthropic-organization-id": "org",
    "openai-organization": "org",
    "openai-project": "project",
    "cookie": "cookie",
    "set-cookie": "cookie",
    "set-cookie2": "cookie",
    "www-authenticate": "challenge",
    "proxy-authenticate": "challenge",
    "authentication-info": "challenge",
}

SECRET_QUERY = frozenset({"key", "sig", "signature", "code", "auth", "x_amz_signature", "x_amz_credential"})
"""Query parameters that are credentials, though a JSON key of that name need not be."""

VALUE_KEYS = frozenset({"value", "default", "const", "example", "plaintext"})
"""Where an object that is named like a secret keeps it: ``{"client_secret": {"value": …}}``, a schema's ``default``."""

_SECRET_NAME = re.compile(
    r"(?:.*_)?(?:(?P<key>(?:api|secret|private|access|account|auth|encryption|signing|master|subscription|storage|ssh)"
    r"_?keys?)|(?P<token>(?:access|refresh|auth|id|session|bearer|security|csrf)?_?token|jwt)"
    r"|(?P<password>password|passwd|pwd|passphrase|passcode)|(?P<secret>secrets?|credentials?|connection_string)"
    r"|(?P<header>authorization|set_cookie|cookies?))(?:_value)?"
)
# Tokens that are pieces of text, or places in a list.
_NO_SECRET_NAME = re.compile(
    r"(?:.*_)?(?:stop|eos|bos|pad|unk|mask|sep|cls|page|next|continuation|sync|top|special)_token"
)


@functools.lru_cache(maxsize=4096)
def kind_of_name(name: str) -> str | None:
    """Return the kind of secret that a key of this name holds (``key``, ``password``, …), or None."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name[:100]).lower().replace("-", "_").replace(".", "_").strip("_ ")
    match = _SECRET_NAME.fullmatch(snake)
    if match is None or _NO_SECRET_NAME.fullmatch(snake):
        return None
    return "secret" if match.lastgroup == "header" else match.lastgroup


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of secret that is known by its looks. ``heads``: one of these is in every text that has one (lower case).

    ``begun`` finds, at the end of a text, what may become a whole one. The secret is group 1 of either.
    """

    kind: str
    heads: tuple[str, ...]
    whole: re.Pattern[str]
    begun: re.Pattern[str]


def _shape(kind: str, heads: str, whole: str, begun: str, flags: int = 0) -> Shape:
    """Make a shape of what stands before the secret and the secret itself, as ``before(secret)``."""
    start = r"(?<![A-Za-z0-9])"
    return Shape(kind, tuple(heads.split()), re.compile(start + whole, flags), re.compile(rf"{start}{begun}\Z", flags))


def _prefixed(kind: str, heads: str, prefix: str, characters: str, at_least: int) -> Shape:
    """Make a shape that is a prefix and then enough of some characters."""
    return _shape(kind, heads, f"({prefix}{characters}{{{at_least},}})", f"({prefix}{characters}*)")


_PEM = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_NO_PEM = "(?!-----)"  # what begins a private key begins nothing shorter
_BEARER = r"[A-Za-z0-9._~+/=-]"  # what a bearer token is made of: https://www.rfc-editor.org/rfc/rfc6750#section-2.1
_PROSE = r"(?!(?:authentication|authorization|certificates?|credentials?|instruments?|security|keywords?)\b)"
_TEXT = "[A-Za-z0-9_-]"
_USER = r"[a-z][a-z0-9+.-]{0,20}://[^\s/:@\"'\\]{0,80}:"

SHAPES: tuple[Shape, ...] = (
    _shape(
        "private-key",
        "-----begin",
        rf"({_PEM}.*?(?:-----END [A-Z0-9 ]{{0,40}}-----|\Z))",
        rf"({_PEM}.*|-----BEGIN [A-Z0-9 ]{{0,60}}-{{0,4}})",
        re.DOTALL,
    ),
    # "sk-learn" is a library that prompts speak of.
    _prefixed("key", "sk- pk-lf-", "(?:sk-(?!learn)|pk-lf-)", _TEXT, 8),
    _prefixed("key", "sk_live_ sk_test_ rk_live_ rk_test_", "[sr]k_(?:live|test)_", _TEXT, 8),
    _shape(
        "token",
        "bearer",
        rf"Bearer(?:\s|%20|\+)+{_PROSE}{_NO_PEM}({_BEARER}{{7,}}[A-Za-z0-9_~+/=-])",
        rf"Bearer(?:\s|%20|\+)+{_NO_PEM}({_BEARER}*)",
        re.IGNORECASE,
    ),
    _shape(
        "token",
        "basic",
        r"Basic\s+(?=\S*[0-9=]|[a-z]+[A-Z])([A-Za-z0-9+/]{8,}={0,2})(?![A-Za-z0-9+/=])",
        r"Basic\s+([A-Za-z0-9+/]*={0,2})",
    ),
    _prefixed("key", "akia asia abia acca", "A(?:KIA|SIA|BIA|CCA)", "[A-Z0-9]", 16),
    _prefixed("token", "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_", "(?:gh[pousr]_|github_pat_)", "[A-Za-z0-9_]", 10),
    _prefixed("token", "glpat- pypi- shpat_", "(?:glpat-|pypi-|shpat_)", _TEXT, 10),
    # All letters and digits: `hf_hub_download` and `npm_config_registry` are names that code is full of.
    _prefixed("token", "npm_ hf_ ek_", "(?:npm_|hf_|ek_)", "[A-Za-z0-9]", 10),
    _prefixed("token", "xox", "xox[a-z]-", "[A-Za-z0-9-]", 8),
    _prefixed("key", "aiza", "AIza", _TEXT, 20),
    _shape(
        "token", "eyj", rf"(eyJ{_TEXT}{{8,}}\.{_TEXT}{{4,}}(?:\.{_TEXT}*)*)", r"(eyJ[A-Za-z0-9_.-]*)"
    ),
    _shape("password", "://", rf"{_USER}([^\s/@\"'\\]{{1,200}})@", rf"{_USER}([^\s/@\"'\\]{{0,200}})"),
)  # fmt: skip

NAMED_HEADS = ("key", "token", "secret", "passw", "passphrase", "pwd", "credential", "authorization", "cookie")
"""One of these is in every text in which a credential stands behind its name (lower case)."""

_NAME = (
    r"(?:(?:api|secret|private|access|account|auth|encryption|signing|master|subscription)[_-]?key|secret"
    r"|passw(?:or)?d|pwd|passphrase|token|credentials?|authorization|cookie)"
)
_SIGN = r"(?:\\{0,7}[\"'])?\s*[:=]\s*"
_BEFORE = rf"(?:{_NAME}{_SIGN}|(?<=-){_NAME}\s+)"  # a command's option has no sign: --api-key VALUE
_QUOTE = r"(?P<quote>\\{0,7}[\"'])"  # a quotation mark, escaped as often as JSON stands within JSON
_SCHEME = r"(?:(?:Bearer|Basic)\s+)?"
_BARE = r"[^\s\"'&,;<>\\(){}\[\]]"
_BARE_NO_DIGIT = r"[^\d\s\"'&,;<>\\(){}\[\]]"

# A quoted value is a secret whatever it is, unless it is a token of `logprobs`. A bare one is if it has a digit: the
# names and words that code and prose have in its place have none.
NAMED_WHOLE = re.compile(
    rf"{_BEFORE}(?:{_QUOTE}{_SCHEME}(?P<quoted>(?:(?!(?P=quote))[^\n]){{4,4096}})(?P=quote)"
    r"(?!\s*,\s*\\{0,7}\"(?:logprob|bytes|type)\b)"
    rf"|{_SCHEME}{_NO_PEM}(?P<bare>(?={_BARE_NO_DIGIT}{{0,4095}}+\d){_BARE}{{8,4096}}))",
    re.IGNORECASE,
)
"""A credential behind its name, in JSON, in code, in a form: group ``quoted`` or ``bare``."""

NAMED_BEGUN = re.compile(
    rf"{_BEFORE}(?:{_QUOTE}{_SCHEME}(?P<quoted>(?:(?!(?P=quote))[^\n]){{0,4096}})"
    rf"|{_SCHEME}{_NO_PEM}(?P<bare>{_BARE}{{0,4096}}))\Z",
    re.IGNORECASE,
)
"""The same at the end of a text, unfinished."""

BASE64 = re.compile(r"(?:data:[\w.+/-]{0,100}(?:;[\w=.+-]{0,100}){0,4};base64,)?([A-Za-z0-9+/]{20,}={0,2})")
"""Base64 (group 1), as it is or as a data URL."""
