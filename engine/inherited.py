"""The environment variables that the `claude` program gets from the proxy's environment.

An agent may run `printenv`, and so may an MCP server that it starts. The proxy's environment holds secrets of its own
(``UNDERSTUDY_STORE_KEY``) and of other programs. So `claude` gets only the variables that Claude Code, proxies, TLS,
the locale and the system need. :func:`auth.credentials.sources.inherited` adds the variables for the credentials in
use, and the setting ``claude_env`` adds any others.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

# Patterns of names in capitals. Names are compared in capitals, because Windows has only those, and proxy variables
# are used in both forms.
NAMES = (
    # The user and their folders.
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TEMP", "TMP", "TERM"),
    *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"),
    # Language and time.
    *("LANG", "LANGUAGE", "LC_*", "TZ", "TZDIR"),
    # Proxies and TLS.
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("NODE_EXTRA_CA_CERTS", "NODE_USE_SYSTEM_CA", "NODE_TLS_REJECT_UNAUTHORIZED"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NIX_SSL_CERT_FILE"),
    # Settings of Claude Code, without its credentials and without those that choose a cloud.
    *("CLAUDE_*", "ANTHROPIC_*", "API_TIMEOUT_MS", "BASH_DEFAULT_TIMEOUT_MS", "BASH_MAX_TIMEOUT_MS"),
    *("BASH_MAX_OUTPUT_LENGTH", "MAX_MCP_OUTPUT_TOKENS", "MCP_TIMEOUT", "USE_BUILTIN_RIPGREP"),
    # How the system finds its libraries.
    *("LD_LIBRARY_PATH", "NIX_LD", "NIX_LD_LIBRARY_PATH", "__CF_USER_TEXT_ENCODING"),
    # What every Windows program needs.
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "OS", "USERNAME", "USERPROFILE", "USERDOMAIN"),
    *("HOMEDRIVE", "HOMEPATH", "APPDATA", "LOCALAPPDATA", "ALLUSERSPROFILE", "PROGRAMDATA", "PROGRAMFILES*"),
    *("PROGRAMW6432", "COMMONPROGRAMFILES*", "COMMONPROGRAMW6432", "NUMBER_OF_PROCESSORS", "PROCESSOR_*"),
)

NEVER = ("UNDERSTUDY_*",)
"""Our own settings, such as the key that encrypts the store."""


def inherited(environ: Mapping[str, str], more: Iterable[str] = (), without: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables of ``environ`` that the program gets.

    ``more`` are further patterns of names (for fnmatch, in any case). ``without`` are names that are left out although
    a pattern of NAMES allows them. A pattern in ``more`` allows them again. NEVER overrides everything.
    """
    wanted = tuple(pattern.upper() for pattern in more)
    hidden = {name.upper() for name in without}

    def is_on(name: str) -> bool:
        return not _fits(name, NEVER) and (_fits(name, wanted) or (_fits(name, NAMES) and name not in hidden))

    return {name: value for name, value in environ.items() if is_on(name.upper())}


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
