"""Where Claude Code's credentials come from, and how a process must be started for each.

The CLI reads its credentials itself; here it is decided which of them it gets to see. That cannot be left to it: with
an API key and a bearer token both set it sends both, each in its header, and an API key beside a helper's goes out
with the helper's. So the first source of :data:`PROVIDERS` that is there wins, and :func:`environment` takes the
others away.

The source changes the recipe, too: ``--bare`` drops Claude Code's reminder blocks but does not work with a login by
OAuth (facts F2–F4), and a login that `claude` itself keeps lives in the person's own configuration folder.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class SourceError(Exception):
    """The source that was asked for cannot be had. The message says what is missing, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Source:
    """One place credentials come from.

    ``kind`` is what a person reads, ``name`` what they type. ``variable`` chooses it: the credential itself, or for a
    cloud the switch that is on; None: no variable does. ``bare``: the CLI takes ``--bare``. ``own_config_dir``: the CLI
    keeps its state in a folder of ours, not the person's ``~/.claude``. ``secrets`` are the variables that hold
    secrets, ``others`` those that belong to it and hold none. ``base_url`` is where its address can be set.
    ``skip_auth``, when on, leaves the credentials to a gateway, which may then know the person by a bearer token.
    ``inherits`` are patterns of all the variables that its cloud's own libraries read.
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
        """Whether ``variable`` is a switch, and the credentials are the cloud's own."""
        return self.variable is not None and self.variable not in self.secrets


_AWS_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")
_AWS = ("AWS_REGION", "AWS_PROFILE")
_GOOGLE = ("GOOGLE_APPLICATION_CREDENTIALS",)  # a path
BEARER = "ANTHROPIC_AUTH_TOKEN"
API_URL = "https://api.anthropic.com"


# What the clouds' libraries read: more than the documents of Claude Code name, and more with each of their versions.
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
    """Return a cloud provider, whose variables are all named after ``word`` (``use``, where its switch is not)."""
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


# The clouds in the CLI's own order of preference, then what else the CLI would mix (the module's docstring).
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
"""The sources that a variable chooses."""

HELPER = Source("API key helper", None, bare=True, own_config_dir=True, name="api-key-helper")
"""A command that prints the key: Claude Code's setting ``apiKeyHelper``, ours ``api_key_helper``."""

LOGIN = Source("claude login", None, bare=False, own_config_dir=False, name="login")
"""What is left when nothing is set: a login that `claude` itself keeps, if there is one."""

LOGIN_FILE = ".credentials.json"
"""Where `claude` keeps its login in its folder, except on macOS."""

REHEARSAL = Source("rehearsal", "ANTHROPIC_API_KEY", bare=True, own_config_dir=True)

_AFTER_KEY = next(n for n, source in enumerate(SOURCES) if source.name == "auth-token")
PROVIDERS: tuple[Source, ...] = (*SOURCES[:_AFTER_KEY], HELPER, *SOURCES[_AFTER_KEY:], LOGIN)
"""Every source, in the order in which they are looked for: the first that is there is used."""


def find_source(environ: Mapping[str, str], *, forced: str | None = None, api_key_helper: str | None = None) -> Source:
    """Return where the CLI will take its credentials from: the first source that is there, or the one ``forced``.

    LOGIN is returned where nothing else is; whether there is a login is for `claude` to say.
    Raises SourceError when the forced one is unknown or has no credentials.
    """
    if forced is not None:
        return _forced(forced, environ, api_key_helper)
    return next(iter(found_sources(environ, api_key_helper=api_key_helper)), LOGIN)


def found_sources(environ: Mapping[str, str], *, api_key_helper: str | None = None) -> list[Source]:
    """Return every source that has something set for it, the one that wins first. LOGIN is never among them."""
    return [source for source in PROVIDERS if _is_there(source, environ, api_key_helper)]


def are_surely_missing(
    environ: Mapping[str, str],
    *,
    forced: str | None = None,
    api_key_helper: str | None = None,
    system: str = sys.platform,
) -> bool:
    """Whether there is surely nothing for Claude Code to log in with: no variable, no helper, no file of a login.

    It starts nothing. On macOS a login lies in the keychain, which only Claude Code can ask: nothing is sure there.
    Raises SourceError.
    """
    if system == "darwin" or find_source(environ, forced=forced, api_key_helper=api_key_helper) is not LOGIN:
        return False
    home = environ.get("USERPROFILE" if system == "win32" else "HOME", "")
    folder = environ.get("CLAUDE_CONFIG_DIR") or (str(Path(home, ".claude")) if home else "")
    return bool(folder) and not Path(folder, LOGIN_FILE).exists()


def environment(source: Source, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what to lay over ``environ`` so that the CLI finds this source and no other: ``""`` for the others'."""
    kept = {source.variable, *source.others}
    if source.skip_auth and switched_on(environ, source.skip_auth):
        kept.add(BEARER)
    return {s.variable: "" for s in SOURCES if s.variable and s.variable not in kept and environ.get(s.variable)}


def not_inherited(source: Source) -> frozenset[str]:
    """Return the variables of the other sources, which the CLI is not to see: their switches and their secrets."""
    own = {source.variable, source.skip_auth, source.base_url, *source.secrets, *source.others}
    if source.skip_auth:
        own.add(BEARER)
    others = {name for s in SOURCES for name in (s.variable, s.skip_auth, *s.secrets) if name}
    return frozenset(others - own)


def api_url(source: Source, environ: Mapping[str, str]) -> str | None:
    """Return the address that Claude Code asks with this source; None for a cloud, whose address only it knows."""
    return environ.get(source.base_url, "").strip() or (None if source.is_cloud else API_URL)


def cli_settings(source: Source, api_key_helper: str | None) -> dict[str, str]:
    """Return the settings that Claude Code must be started with (``--settings``) for this source."""
    return {"apiKeyHelper": api_key_helper} if source is HELPER and api_key_helper else {}


def switched_on(environ: Mapping[str, str], variable: str) -> bool:
    """Whether the CLI takes a switch for on."""
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
