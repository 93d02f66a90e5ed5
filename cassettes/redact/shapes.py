"""Tables of the names of credentials, and of the token formats of services.

Services publish the prefix, the characters and the length of their tokens, so that scanners can find leaked ones.
:mod:`cassettes.redact.finder` searches for these formats, in linear time.
"""

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

OPEN_HEADERS = frozenset(
    {"accept", "accept-encoding", "accept-language", "content-type", "content-length", "host", "user-agent"}
)
"""Headers for an MCP server, given in a request, that never hold a secret. All other headers may hold one."""

SECRET_QUERY = frozenset({"key", "sig", "signature", "code", "auth", "x_amz_signature", "x_amz_credential"})
"""Query parameters that are credentials. JSON keys with these names are not always secret."""

VALUE_KEYS = frozenset({"value", "default", "const", "example", "plaintext"})
"""The keys that hold a secret in an object with a secret's name: ``{"client_secret": {"value": …}}``."""

_SECRET_NAME = re.compile(
    r"(?:.*_)?(?:(?P<key>(?:api|secret|private|access|account|auth|encryption|signing|master|subscription|storage|ssh"
    r"|openai|anthropic|stripe|license|deploy|webhook|service|shared_access)_?keys?)"
    r"|(?P<token>(?:access|refresh|auth|id|session|bearer|security|csrf)?_?token|jwt)"
    r"|(?P<password>password|passwd|pwd|passphrase|passcode"
    r"|(?:db|database|smtp|mail|ftp|ssh|admin|root|user|redis|mysql|postgres|pg|proxy|login)_pass)"
    r"|(?P<secret>secrets?|credentials?|connection_string)"
    r"|(?P<header>authorization|set_cookie|cookies?))(?:_value)?"
)
# Here "token" means a piece of text, or a position in a list.
_NO_SECRET_NAME = re.compile(
    r"(?:.*_)?(?:stop|eos|bos|pad|unk|mask|sep|cls|page|next|continuation|sync|top|special)_token"
)

MAX_NAME = 100
"""Only this many characters at the end of a key's name are checked."""


def kind_of_name(name: str) -> str | None:
    """Return the kind of secret that a key of this name holds (``key``, ``password``, …), or None."""
    return _kind_of_name(name[-MAX_NAME:])


@functools.lru_cache(maxsize=4096)
def _kind_of_name(name: str) -> str | None:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().replace("-", "_").replace(".", "_").strip("_ ")
    match = _SECRET_NAME.fullmatch(snake)
    if match is None or _NO_SECRET_NAME.fullmatch(snake):
        return None
    return "secret" if match.lastgroup == "header" else match.lastgroup


@dataclass(frozen=True, slots=True)
class Shape:
    """A token that is recognised by its prefix.

    - ``head``: its first characters.
    - ``characters``: the class of the characters after the head. ``least`` and ``most``: how many there are.
    - ``digit``: at least one of them must be a digit, because words can begin with the same head.
    - ``behind``: the head is inside the token. The text before the head matches this, within ``reach`` characters.
    - ``keeps``: the head is not a part of the secret.
    - ``bound``: there is no letter or digit before the token.
    - ``but``: the text after the head must not match this.
    """

    head: str
    kind: str
    characters: re.Pattern[str]
    least: int
    most: int | None = None
    digit: bool = False
    behind: re.Pattern[str] | None = None
    reach: int = 0
    keeps: bool = False
    bound: bool = True
    but: re.Pattern[str] | None = None


def _class(characters: str) -> re.Pattern[str]:
    return re.compile(f"[{characters}]*+")


HEX = _class("0-9a-f")
UPPER = _class("A-Z0-9")
ALNUM = _class("A-Za-z0-9")
WORD = _class("A-Za-z0-9_")
TEXT = _class("A-Za-z0-9_-")
DOTTED = _class("A-Za-z0-9_.-")
BASE64_TEXT = _class("A-Za-z0-9+/=")
ANY_BASE64 = _class("A-Za-z0-9+/=_-")
IN_URL = _class("A-Za-z0-9+/=_.~%-")  # a value in a query
PATH = _class("A-Za-z0-9+/=_.~%@-")  # what is left of a URL's path


def _shapes(kind: str, characters: re.Pattern[str], least: int, heads: str, **more: object) -> tuple[Shape, ...]:
    return tuple(Shape(head, kind, characters, least, **more) for head in heads.split())  # type: ignore[arg-type]


# Grouped by service. If a head is also a word, ``least`` is high, or only few characters are allowed.
SHAPES: tuple[Shape, ...] = (
    # Models and related services. Prompts may mention the library "sk-learn".
    *_shapes("key", TEXT, 8, "sk- pk-lf-", but=re.compile("learn")),
    *_shapes("key", TEXT, 20, "nvapi- xai- csk- tvly- pplx- sess- ABSKQmVkcm9ja0FQSUtleS rpa_ e2b_ jina_ phx_"),
    *_shapes("key", TEXT, 20, "pcsk_ lsv2_pt_ lsv2_sk_ wandb_v1_ tgp_v1_", digit=True),
    *_shapes("key", BASE64_TEXT, 40, "ABSK bedrock-api-key-", digit=True),
    *_shapes("key", ALNUM, 20, "gsk_ r8_ fw_ api_org_ key_live_", digit=True),
    *_shapes("token", ALNUM, 10, "npm_ hf_ ek_"),  # `hf_hub_download`, `npm_config_registry` are names in code
    *_shapes("key", HEX, 32, "fc- sk_"),
    # Source code, packages, builds.
    *_shapes("token", WORD, 10, "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_"),
    *_shapes(
        "token", DOTTED, 16, "glpat- glrt- gldt- glcbt- glptt- glft- glimt- glagent- gloas- glsoat- glffct- GR1348941"
    ),
    *_shapes("token", TEXT, 10, "pypi- shpat_ shpca_ shppa_ shpss_ shptka_"),
    *_shapes("token", TEXT, 20, "dckr_pat_ dckr_oat_ pnu_ pnb_ snyk_ sbp_ sb_secret_", digit=True),
    *_shapes("token", ALNUM, 20, "rubygems_ CLOJARS_ CCIPAT_ CCIPRJ_ bkua_ bkpt_ nfp_ vcp_ vck_ ddp_ rnd_", digit=True),
    *_shapes("token", WORD, 20, "CCIPAT_ CCIPRJ_", digit=True),
    *_shapes("token", HEX, 32, "squ_ sqp_ sqa_ pul- tk-us- sntryu_ rdme_"),
    *_shapes("token", ANY_BASE64, 40, "sntrys_", digit=True),
    *_shapes("token", ALNUM, 32, "ATBB cio ico-", most=40, digit=True),
    *_shapes("token", HEX, 43, "oy2"),
    *_shapes("token", ALNUM, 43, "oy2", most=43, digit=True),
    *_shapes("key", UPPER, 26, "API-", most=26, digit=True),
    *_shapes("token", TEXT, 36, "AKCp cmVmdGtu HRKU- ATATT3 ATCTT3 ATSTT3", digit=True),
    # Chat and mail.
    *_shapes(
        "token", TEXT, 8, "xoxa- xoxb- xoxc- xoxd- xoxe- xoxo- xoxp- xoxr- xoxs- xoxe.xoxb- xoxe.xoxp- xapp- xwfp-"
    ),
    *_shapes("token", DOTTED, 30, "SG.", digit=True),
    *_shapes("token", TEXT, 40, "xkeysib- xsmtpsib-", digit=True),
    *_shapes("key", HEX, 32, "key-", most=32),
    *_shapes("key", TEXT, 20, "re_", digit=True),
    *_shapes("key", DOTTED, 24, "VF.DM. sgp_ tfp_ PMAK- CFPAT- figd_ figu_ figur_ nyk_v0_", digit=True),
    *_shapes("key", HEX, 32, "SK AC", most=32),
    *_shapes("token", TEXT, 33, ":AA", most=40, behind=re.compile(r"(?<![0-9])[0-9]{6,12}\Z"), reach=13, bound=False),
    # Clouds and infrastructure.
    *_shapes("key", UPPER, 16, "AKIA ASIA ABIA ACCA"),
    *_shapes("key", TEXT, 20, "AIza GOCSPX-"),
    *_shapes("token", DOTTED, 20, "ya29."),
    *_shapes("token", TEXT, 40, "1//0", digit=True),
    *_shapes("token", HEX, 64, "dop_v1_ doo_v1_ dor_v1_"),
    *_shapes("token", HEX, 32, "dapi dose"),
    *_shapes("token", DOTTED, 20, "hvs. hvb. hvr.", digit=True),
    *_shapes("token", TEXT, 60, ".atlasv1.", behind=re.compile(r"[A-Za-z0-9]{14}\Z"), reach=14),
    *_shapes(
        "token",
        ANY_BASE64,
        20,
        "glsa_ glc_ essu_ fm2_ fo1_ fm1a_ fm1r_ tskey- dnkey- HCPT- dt0c01. dt0s01. dt0s16.",
        digit=True,
    ),
    *_shapes("token", DOTTED, 40, "dt0c01. dt0s01. dt0s16. essu_", digit=True),
    *_shapes("token", ANY_BASE64, 60, "eyJrIjoi", digit=True),
    *_shapes("key", TEXT, 27, "NRAK- NRJS- NRII- NRRA- NRIQ- NRBR- NRSP-"),
    *_shapes("key", HEX, 19, "NRJS- NRSP-"),
    *_shapes("key", ALNUM, 12, "LTAI AKID", digit=True, most=48),
    *_shapes("token", TEXT, 32, "AQVN y0_ t1.", digit=True),
    *_shapes("token", TEXT, 43, "sha256~", digit=True),
    *_shapes("token", TEXT, 30, "pscale_tkn_ pscale_pw_ pscale_oauth_ napi_ mdb_sa_sk_", digit=True),
    *_shapes("token", ALNUM, 32, "dp.pt. dp.ct. dp.sa. dp.scim. dp.audit."),
    *_shapes("token", DOTTED, 32, "dp.st."),
    *_shapes("token", _class("0-9a-f-"), 60, "v1.0-", digit=True),
    *_shapes("token", ANY_BASE64, 40, "ops_eyJ cfut_ cfat_ cfk_", digit=True),
    *_shapes("key", UPPER, 20, "AGE-SECRET-KEY-1 AGE-PLUGIN-"),
    # Microsoft's keys have a fixed mark inside the key.
    *_shapes(
        "secret",
        _class("A-Za-z0-9_~.-"),
        31,
        "Q~",
        most=34,
        behind=re.compile(r"[A-Za-z0-9_~.]{3}[0-9]\Z"),
        reach=4,
        bound=False,
    ),
    *_shapes("key", TEXT, 6, "AzFu", most=8, behind=re.compile(r"[A-Za-z0-9_-]{44}\Z"), reach=44),
    *_shapes("key", ALNUM, 6, "AzSe AzCa", most=8, behind=re.compile(r"[A-Za-z0-9]{42}\Z"), reach=42),
    *_shapes(
        "key",
        BASE64_TEXT,
        6,
        "+ASt +ACR +ASb +AEh +ARm +AIoT ACDb AMLW",
        most=10,
        behind=re.compile(r"[A-Za-z0-9+/]{33,76}\Z"),
        reach=76,
    ),
    *_shapes("key", ALNUM, 4, "AZDO", most=4, behind=re.compile(r"[A-Za-z0-9]{76}\Z"), reach=76),
    # Productivity, payments, shops.
    *_shapes("key", TEXT, 8, "sk_live_ sk_test_ rk_live_ rk_test_"),
    *_shapes("key", BASE64_TEXT, 16, "whsec_", digit=True),
    *_shapes("token", TEXT, 20, "sq0atp- sq0csp- sq0idp- EAAAE EAAAl rzp_live_ FLWSECK- FLWSECK_TEST-", digit=True),
    *_shapes("token", ALNUM, 14, "rzp_test_ rzp_live_", digit=True),
    *_shapes("token", ALNUM, 60, "EAA EZAK EZTK", digit=True),
    *_shapes("token", ALNUM, 40, "ntn_ secret_", digit=True),
    *_shapes("token", ALNUM, 30, "lin_api_ lin_oauth_", digit=True),
    *_shapes(
        "token",
        TEXT,
        32,
        "pat-na1- pat-eu1- pat-ap1- shippo_live_ shippo_test_ duffel_live_ duffel_test_ fio-u-",
        digit=True,
    ),
    *_shapes("token", HEX, 32, "access-sandbox- access-production- access-development-"),
    *_shapes("token", TEXT, 36, "access-sandbox- access-production- access-development-", most=36, digit=True),
    *_shapes("token", TEXT, 36, "sdk- mob-", most=36, digit=True, but=re.compile(r"(?![0-9a-f]{8}-[0-9a-f]{4}-)")),
    *_shapes("token", _class("A-Za-z0-9$"), 40, "access_token$production$ access_token$sandbox$"),
    *_shapes("token", TEXT, 60, "sl. IGQV", digit=True),
    *_shapes("token", HEX, 40, "waka_ unkey_ polar_oat_ polar_pat_ rootly_"),
    *_shapes("token", TEXT, 30, "waka_ unkey_ polar_oat_ polar_pat_ rootly_ zpka_ tss_ ion_", digit=True),
    # URLs that are secrets themselves: anyone with the URL can post.
    *_shapes(
        "webhook",
        PATH,
        20,
        "hooks.slack.com/services/ hooks.slack.com/workflows/ hooks.slack.com/triggers/",
        keeps=True,
        bound=False,
    ),
    *_shapes("webhook", PATH, 40, "discord.com/api/webhooks/ discordapp.com/api/webhooks/", keeps=True, bound=False),
    *_shapes("webhook", PATH, 30, "webhook.office.com/webhookb2/ outlook.office.com/webhook/", keeps=True, bound=False),
    *_shapes("webhook", PATH, 10, "hooks.zapier.com/hooks/catch/ /with/key/", keeps=True, bound=False, digit=True),
    # Signed URLs: anyone with the URL can read or write its resource.
    *_shapes(
        "signature",
        IN_URL,
        20,
        "X-Amz-Signature= X-Amz-Credential= X-Amz-Security-Token= x-amz-signature= x-amz-credential=",
        keeps=True,
        bound=False,
    ),
    *_shapes(
        "signature",
        IN_URL,
        40,
        "X-Goog-Signature= x-goog-signature= Signature= &sig= ?sig= &Policy=",
        keeps=True,
        bound=False,
    ),
    *_shapes("signature", IN_URL, 20, "X-Goog-Credential= &se_sig= AWSAccessKeyId=", keeps=True, bound=False),
    *_shapes("key", BASE64_TEXT, 32, "AccountKey= SharedAccessKey= SharedAccessSignature=", keeps=True, bound=False),
)

NAMED_WORDS = (
    "key token secret password passwd passphrase passcode pwd pass credential credentials authorization cookie"
)
"""Words that end the names of credentials, in any case. :data:`NAMED` restricts some of them."""

# The text before the word decides: `api_key` names a credential, `primary_key` does not.
NAMED: Mapping[str, re.Pattern[str]] = {
    "key": re.compile(
        r"(?:api|secret|private|access|account|auth|encryption|signing|master|subscription|license|deploy|webhook)[_-]?\Z",
        re.IGNORECASE,
    ),
    "pass": re.compile(
        r"(?:db|database|smtp|mail|ftp|ssh|admin|root|user|redis|mysql|postgres|pg|proxy|login)[_-]\Z", re.IGNORECASE
    ),
}
NAME_REACH = 16

LIKE_A_VARIABLE = re.compile(r"[A-Z][A-Z0-9]{1,30}_\Z")
"""The text before ``KEY``, ``PASS``, … in the name of an environment variable."""

NO_VARIABLE = re.compile(
    r"(?:PRIMARY|FOREIGN|PUBLIC|CACHE|SORT|PARTITION|HASH|INDEX|UNIQUE|RANGE|GROUP|ORDER|MAP|DICT|OBJECT|S3|BUCKET|STATE"
    r"|SHORTCUT|HOT|MODIFIER|ARROW|FUNCTION|ROW|TEST|BY|FIRST|SECOND|LAST|TWO|ONE|MULTI)_\Z"
)
