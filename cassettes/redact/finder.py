"""Finding the secrets of a text by their format and by the names before them.

Theory of operation
-------------------
RE2 finds every *head* in one pass. A head is the prefix of a token, a word that ends the name of a credential, or a
mark such as ``://``. A reader for this kind of head then checks the text around it. The cost for each head is bounded.
Either the checked text has a maximum length, or it is a run of characters of one class. The end of a run is searched
for only once for all heads inside it (:meth:`Look.run`). So the total time is linear in the length of the text. One
regular expression for both the head and the rest would scan to the end of the run again for each head.

A text that may continue is not ``final``. A secret that reaches the end of such a text, or may reach it, is undecided.
:attr:`Look.held` is the offset at which the undecided text begins.

Secrets are also found in other spellings: with the JSON escapes ``\\u002d`` and ``\\/``, with ``%2D`` as in a URL, and
in base64. The decoded text is searched, and the offsets are mapped back to the original text.
"""

import binascii
import bisect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import re2

from cassettes.redact.shapes import LIKE_A_VARIABLE, NAME_REACH, NAMED, NAMED_WORDS, NO_VARIABLE, SHAPES, Shape
from translate import large_json as slowly

type Found = tuple[int, int, str]
"""Start, end and kind of a secret."""

MAX_QUOTED = 4096
"""The maximum length of a secret that follows a name."""

MIN_ENCODED = 24
"""The minimum length of base64 that is decoded and searched."""


class Look:
    """One search of a text from ``start`` on: the secrets found (unsorted), and where the undecided text begins."""

    __slots__ = ("_runs", "end", "final", "found", "held", "start", "text")

    def __init__(self, text: str, start: int, *, final: bool) -> None:
        self.text, self.start, self.end, self.final = text, start, len(text), final
        self.found: list[Found] = []
        self.held = self.end
        self._runs: dict[re.Pattern[str], tuple[int, int]] = {}

    def run(self, characters: re.Pattern[str], at: int) -> int:
        """Return the end of the run of these characters that includes ``at``. Return ``at`` if there is no such run."""
        first, last = self._runs.get(characters, (self.end + 1, -1))
        if first <= at <= last:
            return last
        match = characters.match(self.text, at, first) if at < first <= self.end else characters.match(self.text, at)
        end = match.end() if match else at
        if end == first:
            end = last
        self._runs[characters] = at, end
        return end

    def find(self, start: int, end: int, kind: str) -> None:
        """Record a secret. If it reaches the end of the text, it may be longer, so hold it back."""
        if start >= self.start:
            self.found.append((start, end, kind))
            if end == self.end:
                self.hold(start)

    def hold(self, start: int) -> None:
        """Mark the text from ``start`` on as undecided, unless the text is final."""
        if not self.final:
            self.held = min(self.held, max(start, self.start))


# Tokens

_LETTER_OR_DIGIT = re.compile(r"[A-Za-z0-9]")
_ESCAPE = re.compile(r"\\[nrtbf]|\\u[0-9A-Fa-f]{4}|%[0-9A-Fa-f]{2}")
_DIGIT = re.compile(r"[0-9]")
DIGIT_REACH = 256


def _begins(text: str, at: int) -> bool:
    """Return whether a word begins here: the character before is no letter or digit, or it ends an escape."""
    if at == 0 or not _LETTER_OR_DIGIT.match(text, at - 1):
        return True
    return any(_ESCAPE.fullmatch(text, at - length, at) for length in (2, 3, 6) if at >= length)


def _token(shape: Shape, look: Look, at: int) -> None:
    text, body = look.text, at + len(shape.head)
    start = at
    if shape.behind is not None:
        before = shape.behind.search(text, max(0, at - shape.reach), at)
        if before is None:
            return
        start = before.start()
    if shape.bound and not _begins(text, start):
        return
    if shape.but is not None and shape.but.match(text, body):
        return
    end = look.run(shape.characters, body)
    most = shape.most
    if most is not None and end - body > most:
        return
    begin = body if shape.keeps else start
    if end - body >= shape.least and (
        not shape.digit or _DIGIT.search(text, body, min(end, body + DIGIT_REACH)) is not None
    ):
        look.find(begin, end, shape.kind)
    elif end == look.end:
        look.hold(begin)


# Secrets that need more than a prefix to be recognised

_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BEGUN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,60}-{0,4}\Z")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}-----")


class _Pem:
    """Find PEM private keys, from their first line to their last line, or to the end of the text."""

    def __init__(self) -> None:
        self._until = -1

    def __call__(self, look: Look, at: int) -> None:
        if at < self._until:
            return
        if not _PEM.match(look.text, at):
            if _PEM_BEGUN.match(look.text, at):
                look.hold(at)
            return
        closing = _PEM_END.search(look.text, at)
        self._until = closing.end() if closing else look.end
        look.find(at, self._until, "private-key")


_SPACES = re.compile(r"(?:\s|%20|\+)*+")
_PROSE = re.compile(
    r"(?:authentication|authorization|certificates?|credentials?|instruments?|security|keywords?)\b|-----",
    re.IGNORECASE,
)
_BEARER = re.compile(r"[A-Za-z0-9._~+/=-]*+")  # https://www.rfc-editor.org/rfc/rfc6750#section-2.1
LONG_BEARER = 24  # a shorter one must have a digit, because "Bearer access_token" is prose
_NO_END = re.compile(r"[.-]+\Z")
_BASIC = re.compile(r"[A-Za-z0-9+/]*+")
_NOT_A_WORD = re.compile(r"[0-9]|\A[a-z]+[A-Z]")
_WHITE = re.compile(r"\s*+")


def _bearer(look: Look, at: int) -> None:
    text, word = look.text, at + 6
    begin = look.run(_SPACES, word)
    if begin == word or not _begins(text, at) or _PROSE.match(text, begin):
        return
    end = look.run(_BEARER, begin)
    least = begin + 8
    # The full stop of a sentence is not part of the token. A text that ends in many is not a token.
    closing = _NO_END.search(text, max(begin, end - 8), end)
    whole = closing.start() if closing else end
    if whole - begin >= LONG_BEARER or (whole >= least and _DIGIT.search(text, begin, min(whole, begin + DIGIT_REACH))):
        look.find(begin, whole, "token")
    if end == look.end:
        look.hold(begin)


def _basic(look: Look, at: int) -> None:
    text, word = look.text, at + 5
    begin = look.run(_WHITE, word)
    if begin == word or not _begins(text, at):
        return
    end = look.run(_BASIC, begin)
    padded = end
    while padded < min(end + 2, look.end) and text[padded] == "=":
        padded += 1
    follows = text[padded : padded + 1]
    if (
        end - begin >= 8
        and follows != "="
        and (padded > end or _NOT_A_WORD.search(text[begin : min(end, begin + 512)]))
    ):
        look.find(begin, padded, "token")
    elif padded == look.end:
        look.hold(begin)


_SCHEME_BEFORE = re.compile(r"[a-z][a-z0-9+.-]{0,20}\Z")
_USER = re.compile(r"[^\s/:@\"'\\]{0,80}+")
_PASSWORD = re.compile(r"[^\s/@\"'\\]{0,200}+")


def _user_info(look: Look, at: int) -> None:
    """Find passwords in URLs (``scheme://user:password@``), and tokens in place of the user."""
    text, begin = look.text, at + 3
    if not _SCHEME_BEFORE.search(text, max(0, at - 21), at):
        return
    user = _USER.match(text, begin)
    end = user.end() if user else begin
    if end == look.end:
        if end - begin >= 16:
            look.hold(begin)
        return
    if text[end] == "@":
        name = text[begin:end]
        if len(name) >= 16 and _DIGIT.search(name) and "." not in name:
            look.find(begin, end, "token")
        return
    if text[end] != ":":
        return
    password = _PASSWORD.match(text, end + 1)
    last = password.end() if password else end + 1
    if last == look.end:
        look.hold(end + 1)
    elif last > end + 1 and text[last] == "@":
        look.find(end + 1, last, "password")


_JWT = re.compile(r"[A-Za-z0-9_.-]*+")
_JWT_PART = re.compile(r"[A-Za-z0-9_-]*+")


def _jwt(look: Look, at: int) -> None:
    if not _begins(look.text, at):
        return
    end = look.run(_JWT, at)
    first = look.run(_JWT_PART, at)
    if first - at >= 11 and first < end:
        second = _JWT_PART.match(look.text, first + 1, min(end, first + 6))
        if second and second.end() - first > 4:
            look.find(at, end, "token")
    if end == look.end:
        look.hold(at)


_DISCORD_BEFORE = re.compile(r"[MNO][A-Za-z0-9_-]{22,27}\Z")
_DISCORD_AFTER = re.compile(r"[A-Za-z0-9_-]{27,45}+")


def _discord(look: Look, at: int) -> None:
    before = _DISCORD_BEFORE.search(look.text, max(0, at - 28), at)
    if before is None or not _begins(look.text, before.start()):
        return
    after = _DISCORD_AFTER.match(look.text, at + 8)
    if after:
        look.find(before.start(), after.end(), "token")
    elif look.end - at < 8 + 45 and look.run(_JWT_PART, at + 8) == look.end:
        look.hold(before.start())


@dataclass(frozen=True, slots=True)
class _Bounded:
    """A token of bounded length that is recognised by a pattern."""

    whole: re.Pattern[str]
    characters: re.Pattern[str]
    most: int

    def __call__(self, look: Look, at: int) -> None:
        if not _begins(look.text, at):
            return
        match = self.whole.match(look.text, at)
        if match:
            look.find(at, match.end(), "token")
        elif look.end - at < self.most and look.run(self.characters, at) == look.end:
            look.hold(at)


_AIRTABLE = _Bounded(re.compile(r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}"), _JWT, 82)
_ASANA = _Bounded(re.compile(r"[0-9]/[0-9]{13,17}:[0-9a-f]{32}"), re.compile(r"[0-9a-f/:]*+"), 52)

_MAILCHIMP_BEFORE = re.compile(r"[0-9a-f]{32}\Z")
_MAILCHIMP_AFTER = re.compile(r"-us[0-9]{1,2}(?![0-9A-Za-z])")


def _mailchimp(look: Look, at: int) -> None:
    before = _MAILCHIMP_BEFORE.search(look.text, max(0, at - 32), at)
    after = _MAILCHIMP_AFTER.match(look.text, at)
    if before and after and _begins(look.text, before.start()):
        look.find(before.start(), after.end(), "key")


_LOGIN = re.compile(r"(?:curl|wget|http)\b", re.IGNORECASE)
_LOGIN_VALUE = re.compile(r"(?:-u|--user)(?:\s|=){0,3}[\"']?[^\s:\"']{1,80}:([^\s\"'\\]{0,200}+)")


def _command_login(look: Look, at: int) -> None:
    """Find the password in ``curl -u name:password``."""
    if not _LOGIN.search(look.text, max(0, at - 400), at):
        return
    match = _LOGIN_VALUE.match(look.text, at)
    if match is None:
        return
    if match.end() - match.start(1) >= 4 and match[1][0] not in "$<{":
        look.find(match.start(1), match.end(), "password")
    elif match.end() == look.end:
        look.hold(match.start(1))


_NETRC_BEFORE = re.compile(r"\blogin\s{1,4}\S{1,100}\s{1,40}\Z")
_NETRC_VALUE = re.compile(r"\s{1,4}(\S{1,200}+)")

# Credentials by their names

_SIGN = re.compile(r"(?:\\{0,7}[\"'])?\s*+(?:=>|:=|[:=]|%3[Aa]|%3[Dd])\s*+")
_OPTION = re.compile(r"\s++")
_QUOTE = re.compile(r"\\{0,7}[\"']")  # a quotation mark, escaped once for each level of JSON within JSON
_SCHEME = re.compile(r"(?:bearer|basic|token|bot|apikey|api-key|key|negotiate)\s+", re.IGNORECASE)
_BARE = re.compile(r"[^\s\"'&,;<>\\(){}\[\]]*+")
_LOGPROB = re.compile(r"\s{0,40}+,\s{0,40}+\\{0,7}\"(?:logprob|bytes|type)\b")
_PSEUDONYM = re.compile(r"redacted:(?:held|[a-z-]{1,40}[0-9])")
_LETTER = re.compile(r"[A-Za-z]")


def _named(look: Look, at: int, word: str) -> None:
    text, end = look.text, at + len(word)
    before = max(0, at - NAME_REACH)
    needed = NAMED.get(word.lower())
    like_a_variable = False
    if needed is not None and not needed.search(text, before, at):
        if not _is_variable(text, at, word):
            return None
        like_a_variable = True
    if word.lower() == "password":
        netrc = _NETRC_BEFORE.search(text, max(0, at - 150), at)
        value = _NETRC_VALUE.match(text, end) if netrc else None
        if value:
            return look.find(value.start(1), value.end(), "password")
    sign = _SIGN.match(text, end)
    if sign is None:
        if at == 0 or not _is_option(text, at):
            return None
        sign = _OPTION.match(text, end)
        if sign is None:
            return None
    _value(look, sign.end(), word.lower(), strict=like_a_variable)
    return None


def _is_option(text: str, at: int) -> bool:
    """Return whether the name is a command-line option, which needs no ``=`` or ``:``: ``--api-key VALUE``."""
    return re.search(r"-[A-Za-z_-]{0,16}\Z", text[max(0, at - 18) : at]) is not None


def _is_variable(text: str, at: int, word: str) -> bool:
    """Return whether the word ends the name of a credential's variable, such as ``STRIPE_KEY`` or ``DB_PASS``."""
    if not word.isupper():
        return False
    name = text[max(0, at - 48) : at]
    return LIKE_A_VARIABLE.search(name) is not None and not NO_VARIABLE.search(name)


def _value(look: Look, at: int, word: str, *, strict: bool) -> None:
    """Check the value after a name and its sign (``=`` or ``:``).

    A quoted value is a secret, unless it is a token of `logprobs`. An unquoted value is a secret only if it has a
    digit, because names in code and words in prose rarely have one. ``strict``: the value must also look random.
    """
    text = look.text
    quote = _QUOTE.match(text, at)
    begin = quote.end() if quote else at
    scheme = _SCHEME.match(text, begin, begin + 40)
    if scheme:
        begin = scheme.end()
    if quote:
        last = text.find(quote[0], begin, begin + MAX_QUOTED + len(quote[0]))
        line = text.find("\n", begin, begin + MAX_QUOTED if last < 0 else last)
        if last < 0:
            if line < 0 and look.end - begin <= MAX_QUOTED:
                look.hold(begin)
            return
        if line < 0 and last - begin >= 4 and _is_secret(text, begin, last, word, strict=strict):
            if not _LOGPROB.match(text, last + len(quote[0])):
                look.find(begin, last, "secret")
            if look.end - last < LOGPROB_REACH:
                look.hold(begin)  # the text that follows may show that this is a token of `logprobs`
        return
    end = min(look.run(_BARE, begin), begin + MAX_QUOTED)
    if end == look.end:
        look.hold(begin)
    if text.startswith("-----", begin) or text.startswith(("(", "["), end):  # a private key; a call
        return
    digit = _DIGIT.search(text, begin, min(end, begin + DIGIT_REACH))
    if end - begin >= 8 and digit and _is_secret(text, begin, end, word, strict=strict):
        look.find(begin, end, "secret")


LOGPROB_REACH = 60
_PLACEHOLDER = re.compile(r"[$%<{]")
_RANDOM = re.compile(r"[A-Za-z0-9+/=_.~!@#^*-]{12,}")
_ITSELF = re.compile(r"[a-z_-]{0,20}(?:key|token|authorization)", re.IGNORECASE)
_OF_A_COOKIE = re.compile(r"[^=;\s]{1,100}=[^\s]{8}")


def _is_secret(text: str, begin: int, end: int, word: str, *, strict: bool) -> bool:
    """Return whether the value after a name is a secret, not a pseudonym, another name, or code."""
    if _PSEUDONYM.match(text, begin, end) or text.startswith((",", ")"), begin):
        return False
    if word == "cookie":
        return _OF_A_COOKIE.match(text, begin, end) is not None
    if word in ("key", "token", "authorization") and _ITSELF.fullmatch(text, begin, min(end, begin + 40)):
        return False
    short = min(end, begin + DIGIT_REACH)
    return not strict or bool(
        not _PLACEHOLDER.match(text, begin)
        and _RANDOM.fullmatch(text, begin, short)
        and _DIGIT.search(text, begin, short)
        and _LETTER.search(text, begin, short)
    )


# All heads in one pattern

type _Reader = Callable[[Look, int, str], Any]


def _of_shape(shape: Shape) -> _Reader:
    return lambda look, at, head: _token(shape, look, at)


def _alone(reader: Callable[[Look, int], None]) -> _Reader:
    return lambda look, at, head: reader(look, at)


_PEM_HEAD = "-----BEGIN "
_READERS: dict[str, list[_Reader]] = {}
for _shape in SHAPES:
    _READERS.setdefault(_shape.head, []).append(_of_shape(_shape))
_READERS.setdefault("://", []).append(_alone(_user_info))
_READERS.setdefault("eyJ", []).append(_alone(_jwt))
_READERS.setdefault("-us", []).append(_alone(_mailchimp))
_READERS.setdefault("-u", []).append(_alone(_command_login))
_READERS.setdefault("--user", []).append(_alone(_command_login))
_LENGTHS = sorted({len(head) for head in _READERS})

# These are matched without regard to case, against the whole match of RE2.
_WORDS: dict[str, _Reader] = {"bearer": _alone(_bearer), "basic": _alone(_basic)}
_WORDS |= dict.fromkeys(NAMED_WORDS.split(), _named)


def _head(head: str) -> str:
    """Return the pattern of a head. A short head also needs the characters that follow, else it matches too often."""
    shapes = [shape for shape in SHAPES if shape.head == head]
    if len(head) > 3 or len(shapes) != 1 or shapes[0].least < 4:
        return re.escape(head)
    return re.escape(head) + shapes[0].characters.pattern.removesuffix("*+") * (4 - len(head))


def _heads() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.longest_match = True
    options.never_capture = True
    options.max_mem = 32 << 20
    parts = [_head(head) for head in _READERS if head not in ("-us", "-u", "--user")]
    parts += [r"-us[0-9]", r"-u[ =]", r"--user[ =]", _PEM_HEAD]
    parts += [r"\.[A-Za-z0-9_-]{6}\.", r"pat[A-Za-z0-9]{14}\.", r"[0-9]/[0-9]{13,17}:"]
    parts += [f"(?i:{word})" for word in _WORDS]
    return re2.compile("|".join(parts).encode("ascii"), options)


_HEADS = _heads()


def look_through(text: str, start: int, *, final: bool, into_base64: bool = True) -> Look:
    """Find the secrets in ``text`` from ``start`` on. The text before ``start`` is only context."""
    data = text.encode("latin-1", "replace")  # one byte for each character; all that is searched for is Latin-1
    look = _plainly(text, data, start, final=final)
    if (spelt := _Spelt.of(text, data, start)) is not None:
        other = _plainly(spelt.text, spelt.text.encode("latin-1", "replace"), spelt.start, final=final)
        look.found += [(spelt.begin(a), spelt.end(b), kind) for a, b, kind in other.found]
        if other.held < other.end:
            look.held = min(look.held, spelt.begin(other.held))
    if into_base64:
        _base64(look, data)
    return look


def _plainly(text: str, data: bytes, start: int, *, final: bool) -> Look:
    look = Look(text, start, final=final)
    at = max(0, start - 1)
    match = _HEADS.search(data, at)
    if match is None:
        return look
    pem = _Pem()
    while match is not None:
        at, end = match.span()
        head = data[at:end].decode("latin-1")
        if (reader := _WORDS.get(head.lower())) is not None:
            reader(look, at, head)
        for length in _LENGTHS:
            if length > len(head):
                break
            for reader in _READERS.get(head[:length], ()):
                reader(look, at, head)
        match head[0]:
            case ".":
                _discord(look, at)
            case "p":
                _AIRTABLE(look, at)
            case "-" if head == _PEM_HEAD:
                pem(look, at)
            case digit if digit.isdigit():
                _ASANA(look, at)
            case _:
                pass
        match = _HEADS.search(data, at + 1)
    return look


# Other spellings

# Up to eight backslashes, for JSON within JSON within JSON.
_SPELT = re2.compile(rb"\\{1,8}(?:u00[2-7][0-9A-Fa-f]|/)|%[2-7][0-9A-Fa-f]")
_CUT_SHORT = re.compile(r"(?:\\{1,8}(?:u(?:0(?:0[2-7]?)?)?)?|%[2-7]?)\Z")


class _Spelt:
    """A text with its escapes decoded, and a map of its offsets to those of the original text."""

    __slots__ = ("_at", "_original", "start", "text")

    def __init__(self, text: str, data: bytes, start: int) -> None:
        cut = _CUT_SHORT.search(text, max(start, len(text) - 12))
        parts, at, length = list[str](), 0, 0
        self._at, self._original = [0], [0]  # from each of these offsets on, the difference is constant
        for match in _SPELT.finditer(data, start, cut.start() if cut else len(text)):
            begin, end = match.span()
            parts.append(text[at:begin])
            length += begin - at
            parts.append("/" if text[end - 1] == "/" else chr(int(text[end - 2 : end], 16)))
            self._at.append(length)
            self._original.append(begin)
            length += 1
            at = end
            self._at.append(length)
            self._original.append(at)
        parts.append(text[at : cut.start() if cut else len(text)])
        self.text = "".join(parts)
        self.start = start
        if cut:  # an incomplete escape belongs to the text before it
            self._at.append(len(self.text))
            self._original.append(len(text))

    @classmethod
    def of(cls, text: str, data: bytes, start: int) -> "_Spelt | None":
        """Decode the escapes from ``start`` on, or return None if there are none. ``data``: one byte per character."""
        if text.find("\\", start) < 0 and text.find("%", start) < 0:
            return None
        if not _SPELT.search(data, start) and not _CUT_SHORT.search(text, max(start, len(text) - 12)):
            return None
        return cls(text, data, start)

    def begin(self, place: int) -> int:
        """Return the offset in the original text at which the character at ``place`` begins."""
        known = bisect.bisect_left(self._at, place)
        if known < len(self._at) and self._at[known] == place:
            return self._original[known]
        return self._original[known - 1] + place - self._at[known - 1]

    def end(self, place: int) -> int:
        """Return the offset in the original text for a range that ends at ``place``."""
        known = bisect.bisect_right(self._at, place) - 1
        return self._original[known] + place - self._at[known]


_BASE64_RUN = re2.compile(rb"[A-Za-z0-9+/_-]{24}[A-Za-z0-9+/_-]*={0,2}", re2.Options())
# RE2 needs some microseconds to start. That is slow for a delta of a few words.
_SHORT_RUN = re.compile(rb"[A-Za-z0-9+/_-]{24}")
SHORT = 1024
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_PRINTABLE = re.compile(r"[\t\n\r\x20-\x7e]*+")


def _base64(look: Look, data: bytes) -> None:
    """Find secrets inside base64. The base64 characters that encode a secret are marked as the secret."""
    length = look.end - look.start
    if length < MIN_ENCODED or (length < SHORT and not _SHORT_RUN.search(data, look.start)):
        return
    for match in _BASE64_RUN.finditer(data, look.start):
        begin, end = match.span()
        # If the run may begin before ``start``, try all four alignments.
        for shift in range(4) if begin == look.start > 0 else (0,):
            _look_into(look, data, begin + shift, end)


def _look_into(look: Look, data: bytes, begin: int, end: int) -> None:
    encoded = data[begin:end].rstrip(b"=").translate(_URL_SAFE)
    encoded = encoded[: len(encoded) // 4 * 4 + (len(encoded) % 4 if len(encoded) % 4 > 1 else 0)]
    try:
        decoded = slowly.from_base64(encoded + b"=" * (-len(encoded) % 4))
    except binascii.Error:
        return
    goes_on = not look.final and end == look.end
    inner = _plainly(decoded.decode("latin-1"), decoded, 0, final=not goes_on)
    for first, last, kind in inner.found:
        if inner.run(_PRINTABLE, first) >= last:
            place = begin + first // 3 * 4
            look.find(place, min(end, begin + -(-last // 3) * 4), kind)
    if goes_on and inner.held < inner.end and inner.run(_PRINTABLE, inner.held) == inner.end:
        look.hold(begin + inner.held // 3 * 4)
