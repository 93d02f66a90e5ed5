"""The hosts that a `claude` process needs with each source of credentials."""

from collections.abc import Mapping, Sequence

from auth.credentials.sources import HELPER, LOGIN, Source, api_url
from engine.destinations import api_host
from engine.spawn import Hosts

OF_A_LOGIN = ("api.anthropic.com", "platform.claude.com", "console.anthropic.com", "claude.ai", "claude.com")
"""Where Claude Code renews an OAuth login, and reads what it may use."""

OF_CLOUD_CREDENTIALS = (
    # AWS: security tokens, single sign-on, and the metadata of a machine or container.
    *("sts.*", "*.sts.*", "oidc.*", "portal.sso.*", "sso.*", "cognito-identity.*", "169.254.169.254", "169.254.170.*"),
    # Google.
    *("oauth2.googleapis.com", "sts.googleapis.com", "iamcredentials.googleapis.com", "accounts.google.com"),
    *("metadata.google.internal", "metadata"),
    # Microsoft.
    *("login.microsoftonline.com", "login.microsoft.com", "*.identity.azure.net"),
    # A program on this machine that has the credentials.
    *("localhost", "127.0.0.1", "::1"),
)
"""Where the clouds' own libraries get credentials."""


def hosts_for(source: Source, environ: Mapping[str, str], more: Sequence[str] = ()) -> Hosts:
    """Return the hosts for a source in this environment. ``more`` are further patterns.

    With a cloud, or with a command that prints a key, a process may reach any host: such commands may ask any host for
    credentials, and only Claude Code knows the host of a cloud's API.
    """
    url = api_url(source, environ)
    api = "*" if url is None else api_host(url)
    if source.is_cloud or source is HELPER:
        return Hosts((api,), (*OF_CLOUD_CREDENTIALS, *more) if source.is_cloud else tuple(more), any_other=True)
    login = OF_A_LOGIN if source is LOGIN or source.name == "oauth-token" else ()
    return Hosts((api,), (*login, *more))
