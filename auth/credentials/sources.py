"""The sources of Claude Code's credentials, and how Claude Code must be started for each source.

The CLI reads its credentials itself. This module decides which credentials it can see, because the CLI does not choose
one: if an API key and a bearer token are set, it sends both, each in its header. If an API key and a helper are set, it
sends both keys. So the first source of :data:`PROVIDERS` that is present is used, and :func:`environment` hides the
others.

The options of the CLI depend on the source, too. ``--bare`` removes Claude Code's reminder blocks, but does not work
with an OAuth login (facts F2–F4). A login that `claude` itself stores is in the user's own configuration folder.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.spawn import API_URL


class SourceError(Exception):
    """The requested source cannot be used. The message says what is missing, and contains no secret."""


@dataclass(frozen=True, slots=True)
class Source:
    """One source of credentials.

    - ``kind`` is its name in messages, ``name`` its name on the command line.
    - ``variable`` selects the source: it holds the credential, or for a cloud it is a switch. None: no variable does.
    - ``bare``: the CLI is started with ``--bare``.
    - ``own_config_dir``: the CLI stores its state in a folder of Understudy, not in the user's ``~/.claude``.
    - ``secrets`` are its variables that hold secrets, ``others`` its variables that hold none.
    - ``base_url`` is the variable for its base URL.
    - ``skip_auth`` is a switch. If it is on, a gateway adds the credentials, and a bearer token may identify the user
      to that gateway.
    - ``inherits`` are patterns of the variables that the cloud's own libraries read.
    """

    kind: str
    variable: str | None
    bare: bool
    own_config_dir: bool
    name: str = ""
    secrets: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    base_url: str = "ANTHROPIC_BASE_URL"
    skip_auth: str | None = None
    inherits: tuple[str, ...] = ()

    @property
    def is_cloud(self) -> bool:
        """Whether ``variable`` is a switch, and the cloud's own libraries find the credentials."""
        return self.variable is not None and self.variable not in self.secrets


_AWS_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")
_AWS = ("AWS_REGION", "AWS_PROFILE")
_GOOGLE = ("GOOGLE_APPLICATION_CREDENTIALS",)  # a path
BEARER = "ANTHROPIC_AUTH_TOKEN"


# The variables that the clouds' libraries read. Claude Code's documentation lists fewer, and new versions read more.
_OF_AWS = ("AWS_*",)
_OF_GOOGLE = ("GOOGLE_*", "GCLOUD_*", "GCP_*", "CLOUDSDK_*", "GCE_METADATA_*", "CLOUD_ML_REGION", "VERTEX_REGION_*")
_OF_AZURE = ("AZURE_*", "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IMDS_ENDPOINT", "MSI_ENDPOINT", "MSI_SECRET")


def _cloud(
    kind: str,
    name: str,
    word: str,
    secrets: tuple[str, ...],
    others: tuple[str, ...],
    inherits: tuple[str, ...],
    use: str = "",
) -> Source:
    """Return a cloud provider. The names of its variables contain ``word``; those of its switches ``use``, if given."""
    return Source(
        kind,
        f"CLAUDE_CODE_USE_{use or word}",
        bare=True,
        own_config_dir=True,
        name=name,
        secrets=secrets,
        others=others,
        base_url=f"ANTHROPIC_{word}_BASE_URL",
        skip_auth=f"CLAUDE_CODE_SKIP_{use or word}_AUTH",
        inherits=inherits,
    )


# First the clouds, in the CLI's own order. Then the sources that the CLI would mix (see the module's docstring).
SOURCES: tuple[Source, ...] = (
    _cloud("Amazon Bedrock", "bedrock", "BEDROCK", _AWS_SECRETS, (*_AWS, "CLAUDE_CODE_USE_MANTLE"), _OF_AWS),
    _cloud(
        "Microsoft Foundry",
        "foundry",
        "FOUNDRY",
        ("ANTHROPIC_FOUNDRY_API_KEY", "ANTHROPIC_FOUNDRY_AUTH_TOKEN"),
        ("ANTHROPIC_FOUNDRY_RESOURCE",),
        _OF_AZURE,
    ),
    _cloud(
        "Claude Platform on AWS",
        "anthropic-aws",
        "AWS",
        ("ANTHROPIC_AWS_API_KEY", *_AWS_SECRETS[:3]),
        (*_AWS, "ANTHROPIC_AWS_WORKSPACE_ID"),
        _OF_AWS,
        use="ANTHROPIC_AWS",
    ),
    _cloud(
        "Claude Platform on Google Cloud",
        "anthropic-google-cloud",
        "GOOGLE_CLOUD",
        (),
        (*_GOOGLE, "ANTHROPIC_GOOGLE_CLOUD_PROJECT", "ANTHROPIC_GOOGLE_CLOUD_LOCATION"),
        _OF_GOOGLE,
        use="ANTHROPIC_GOOGLE_CLOUD",
    ),
    _cloud("Amazon Bedrock (Mantle)", "mantle", "BEDROCK_MANTLE", _AWS_SECRETS, _AWS, _OF_AWS, use="MANTLE"),
    _cloud(
        "Google Vertex AI",
        "vertex",
        "VERTEX",
        (),
        (*_GOOGLE, "ANTHROPIC_VERTEX_PROJECT_ID", "CLOUD_ML_REGION"),
        _OF_GOOGLE,
    ),
    Source("API key", "ANTHROPIC_API_KEY", True, True, "api-key", ("ANTHROPIC_API_KEY",)),
    Source("bearer token", BEARER, True, True, "auth-token", (BEARER,)),
    Source("OAuth token", "CLAUDE_CODE_OAUTH_TOKEN", False, True, "oauth-token", ("CLAUDE_CODE_OAUTH_TOKEN",)),
)
"""The sources that a variable selects."""

HELPER = Source("API key helper", None, bare=True, own_config_dir=True, name="api-key-helper")
"""A command that prints the API key. Claude Code's setting is ``apiKeyHelper``, Understudy's ``api_key_helper``."""

LOGIN = Source("claude login", None, bare=False, own_config_dir=False, name="login")
"""A login that `claude` itself stores. It is used when no other source is present, and may be missing as well."""

LOGIN_FILE = ".credentials.json"
"""The file in its configuration folder where `claude` stores its login, except on macOS."""

REHEARSAL = Source("rehearsal", "ANTHROPIC_API_KEY", bare=True, own_config_dir=True)

_AFTER_KEY = next(n for n, source in enumerate(SOURCES) if source.name == "auth-token")
PROVIDERS: tuple[Source, ...] = (*SOURCES[:_AFTER_KEY], HELPER, *SOURCES[_AFTER_KEY:], LOGIN)
"""Every source, in order of preference: the first one that is present is used."""


def find_source(environ: Mapping[str, str], *, forced: str | None = None, api_key_helper: str | None = None) -> Source:
    """Return the source that the CLI will use: the one named ``forced``, or else the first that is present.

    If none is present, return LOGIN. This function does not check whether `claude` has a login.
    Raises SourceError if the forced source is unknown or has no credentials.
    """
    if forced is not None:
        return _forced(forced, environ, api_key_helper)
    return next(iter(found_sources(environ, api_key_helper=api_key_helper)), LOGIN)


def found_sources(environ: Mapping[str, str], *, api_key_helper: str | None = None) -> list[Source]:
    """Return every source that is present, in order of preference. LOGIN is never among them."""
    return [source for source in PROVIDERS if _is_there(source, environ, api_key_helper)]


def are_surely_missing(
    environ: Mapping[str, str],
    *,
    forced: str | None = None,
    api_key_helper: str | None = None,
    system: str = sys.platform,
) -> bool:
    """Whether Claude Code certainly has no credentials: no variable, no helper and no login file.

    This starts no program. On macOS the login is in the keychain, which only Claude Code can read, so the result there
    is always False. Raises SourceError.
    """
    if system == "darwin" or find_source(environ, forced=forced, api_key_helper=api_key_helper) is not LOGIN:
        return False
    home = environ.get("USERPROFILE" if system == "win32" else "HOME", "")
    folder = environ.get("CLAUDE_CONFIG_DIR") or (str(Path(home, ".claude")) if home else "")
    return bool(folder) and not Path(folder, LOGIN_FILE).exists()


def environment(source: Source, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the changes to ``environ`` that hide all other sources from the CLI: each selecting variable is ``""``."""
    kept = {source.variable, *source.others}
    if source.skip_auth and switched_on(environ, source.skip_auth):
        kept.add(BEARER)
    return {s.variable: "" for s in SOURCES if s.variable and s.variable not in kept and environ.get(s.variable)}


def not_inherited(source: Source) -> frozenset[str]:
    """Return the variables of the other sources that the CLI must not inherit: their switches and their secrets."""
    own = {source.variable, source.skip_auth, source.base_url, *source.secrets, *source.others}
    if source.skip_auth:
        own.add(BEARER)
    others = {name for s in SOURCES for name in (s.variable, s.skip_auth, *s.secrets) if name}
    return frozenset(others - own)


def api_url(source: Source, environ: Mapping[str, str]) -> str | None:
    """Return the base URL that Claude Code uses with this source. None for a cloud whose URL only Claude Code knows."""
    return environ.get(source.base_url, "").strip() or (None if source.is_cloud else API_URL)


def cli_settings(source: Source, api_key_helper: str | None) -> dict[str, str]:
    """Return the settings (``--settings``) that Claude Code needs for this source."""
    return {"apiKeyHelper": api_key_helper} if source is HELPER and api_key_helper else {}


def switched_on(environ: Mapping[str, str], variable: str) -> bool:
    """Whether the CLI considers a switch to be on."""
    return environ.get(variable, "").strip().lower() in ("1", "true", "yes", "on")


def _is_there(source: Source, environ: Mapping[str, str], api_key_helper: str | None) -> bool:
    if source.variable is None:
        return source is HELPER and bool(api_key_helper)
    if source.is_cloud:
        return switched_on(environ, source.variable)
    return bool(environ.get(source.variable, "").strip())


def _forced(name: str, environ: Mapping[str, str], api_key_helper: str | None) -> Source:
    source = next((source for source in PROVIDERS if source.name == name), None)
    if source is None:
        known = ", ".join(source.name for source in PROVIDERS)
        raise SourceError(f"there is no provider {name!r}; there are {known}")
    if source is LOGIN or _is_there(source, environ, api_key_helper):
        return source
    if source is HELPER:
        raise SourceError(f"{source.kind}: there is none; set api_key_helper to the command that prints the key")
    wanted = f"{source.variable}=1" if source.is_cloud else f"{source.variable}"
    raise SourceError(f"{source.kind}: nothing is set for it; it needs {wanted}")
