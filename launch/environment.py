"""The environment variables that send a program through the proxy and make it trust our certificate.

All functions are pure: they take an environment and return another. ``ROWS`` lists every variable with its reason;
docs/wrapping.md explains the same to users.

**Which NO_PROXY entries are dropped.** Each tool matches these entries in its own way. One entry that one library
applies to an intercepted host would silently bypass the proxy, so we use the widest matching of all. An entry covers a
host if the host *ends* with the entry, without port and without a leading ``*.`` or ``.``: ``ai.com`` covers
api.openai.com, because requests matches like that. ``*`` matches anything, in an entry and in an intercepted host such
as ``*.example.com``; then the entry covers the host if any name matches both. An address range covers its addresses.
Dropping an entry costs little: the proxy tunnels other hosts untouched.
"""

import ipaddress
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from launch.trust import JAVA_STORE_PASSWORD, TrustFiles

NODE_SHIM = Path(__file__).with_name("node_proxy.cjs")
API_KEY_PLACEHOLDER = "understudy-placeholder"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "socks5": 1080, "socks5h": 1080}


@dataclass(frozen=True, slots=True)
class Facts:
    """The input for the values of ``ROWS``."""

    base: Mapping[str, str]
    proxy_url: str
    trust: TrustFiles
    hosts: Sequence[str]
    node_shim: Path | None
    upstream: bool


@dataclass(frozen=True, slots=True)
class Row:
    """Variables that get the same value. If ``value`` returns None, they stay as they are."""

    names: tuple[str, ...]
    value: Callable[[Facts], str | None]
    reason: str


@dataclass(frozen=True, slots=True)
class WrappedEnvironment:
    """An environment for a wrapped program.

    ``full`` is the whole environment, ``changes`` the variables that differ from the user's own. ``notes`` tell the
    user which of their own settings no longer have an effect.
    """

    full: dict[str, str]
    changes: dict[str, str]
    notes: tuple[str, ...]


def environment_for(
    base: Mapping[str, str],
    *,
    proxy_url: str,
    trust: TrustFiles,
    hosts: Sequence[str],
    node_shim: Path | None = NODE_SHIM,
    upstream: bool = False,
) -> WrappedEnvironment:
    """Compute the environment that sends a program through the proxy.

    ``base`` is the user's environment, ``proxy_url`` an http:// URL with a port, ``hosts`` the intercepted hosts
    (``*`` in one stands for anything), and ``node_shim`` None leaves old versions of Node alone. ``upstream``: the
    proxy itself goes through another one.
    """
    facts = Facts(base, proxy_url, trust, hosts, node_shim, upstream)
    wanted = {name: value for row in ROWS if (value := row.value(facts)) is not None for name in row.names}
    return WrappedEnvironment(
        full={**base, **wanted},
        changes={name: value for name, value in wanted.items() if base.get(name) != value},
        notes=tuple(_notes(facts)),
    )


# The functions for ``Row.value``.


def _proxy(facts: Facts) -> str:
    return facts.proxy_url


def _bundle(facts: Facts) -> str:
    return str(facts.trust.bundle)


def _extra(facts: Facts) -> str:
    return str(facts.trust.extra)


def _no_proxy(facts: Facts) -> str:
    entries = [*LOOPBACK, *no_proxy_entries(facts.base)]
    return ",".join(dict.fromkeys(entry for entry in entries if not _covers_any(entry, facts.hosts)))


def _node_options(facts: Facts) -> str | None:
    if facts.node_shim is None:
        return None
    # In NODE_OPTIONS, double quotes protect a part that contains spaces. A backslash escapes the next character.
    path = str(facts.node_shim).replace("\\", "\\\\").replace('"', '\\"')
    return _appended(facts.base.get("NODE_OPTIONS"), [f'--require "{path}"'])


def _java_options(facts: Facts) -> str:
    proxy = urlsplit(facts.proxy_url)
    direct = ["localhost", "127.*", "[::1]"]  # the JVM's own default
    own = re.search(r"-Dhttp\.nonProxyHosts=(\S+)", facts.base.get("JAVA_TOOL_OPTIONS", ""))
    direct += own[1].strip("\"'").split("|") if own else []
    options = [
        f"-Dhttps.proxyHost={proxy.hostname}",
        f"-Dhttps.proxyPort={_port(proxy)}",
        f"-Dhttp.proxyHost={proxy.hostname}",
        f"-Dhttp.proxyPort={_port(proxy)}",
        "-Dhttp.nonProxyHosts=" + "|".join(dict.fromkeys(h for h in direct if not _covers_any(h, facts.hosts))),
        f"-Djavax.net.ssl.trustStore={facts.trust.java_store}",
        "-Djavax.net.ssl.trustStoreType=PKCS12",
        f"-Djavax.net.ssl.trustStorePassword={JAVA_STORE_PASSWORD}",
    ]
    # If a setting occurs twice, the JVM uses the last one. So ours come after the user's own.
    return _appended(facts.base.get("JAVA_TOOL_OPTIONS"), [_java_quoted(option) for option in options])


def _php_settings(facts: Facts) -> str:
    # An empty entry stands for PHP's built-in folder. If a setting occurs twice, PHP uses the last one.
    own = facts.base.get("PHP_INI_SCAN_DIR", "").split(os.pathsep)
    ours = str(facts.trust.php_folder)
    return os.pathsep.join([*(folder for folder in own if folder != ours), ours])


def _api_key(facts: Facts) -> str | None:
    return None if facts.base.get("OPENAI_API_KEY") else API_KEY_PLACEHOLDER


ROWS = (
    Row(
        ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"),
        _proxy,
        "nearly every HTTP client asks these; curl reads only the lowercase one for http://",
    ),
    Row(("ALL_PROXY", "all_proxy"), _proxy, "read by httpx, and so by openai-python; a SOCKS proxy here would win"),
    Row(("NO_PROXY", "no_proxy"), _no_proxy, "an entry that covers an intercepted host silently goes past the proxy"),
    Row(("NODE_USE_ENV_PROXY",), lambda _: "1", "Node 22.21, 24 and later read HTTPS_PROXY only with this"),
    Row(
        ("NODE_OPTIONS",), _node_options, "earlier versions of Node know no proxy variables; the shim does it for them"
    ),
    Row(("NODE_EXTRA_CA_CERTS",), _extra, "Node, Bun and Deno add these to what they trust"),
    Row(("DENO_CERT",), _extra, "Deno ignores SSL_CERT_FILE"),
    Row(("SSL_CERT_FILE",), _bundle, "OpenSSL and most that is built on it: Python, curl, Go on Linux, Bun"),
    Row(("REQUESTS_CA_BUNDLE",), _bundle, "requests ignores SSL_CERT_FILE"),
    Row(("CURL_CA_BUNDLE",), _bundle, "curl, and requests where the one before is not set"),
    Row(("JAVA_TOOL_OPTIONS",), _java_options, "a JVM reads no other variable: not for the proxy, not for trust"),
    Row(
        ("PHP_INI_SCAN_DIR",), _php_settings, "PHP's curl reads the proxy variables, but for trust only PHP's settings"
    ),
    Row(("HTTPLIB2_CA_CERTS",), _bundle, "httplib2, which Google's API client uses, reads no other variable"),
    Row(
        ("GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO", "AWS_CA_BUNDLE", "PERL_LWP_SSL_CA_FILE"),
        _bundle,
        "tools that a program may start, each with a variable of its own",
    ),
    Row(
        ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "PIP_CERT", "npm_config_cafile"),
        _bundle,
        "the same, from their documentation",
    ),
    Row(
        ("WS_PROXY", "WSS_PROXY", "GLOBAL_AGENT_HTTP_PROXY", "npm_config_proxy", "npm_config_https_proxy"),
        _proxy,
        "WebSocket clients, npm's global-agent and npm itself",
    ),
    Row(("OPENAI_API_KEY",), _api_key, "OpenAI's clients refuse to start without a key; the proxy needs none"),
)


def _notes(facts: Facts) -> Iterable[str]:
    ours = _address(urlsplit(facts.proxy_url))
    overwritten = [
        name
        for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
        if (value := facts.base.get(name)) and _address_in(value) != ours
    ]
    if overwritten and not facts.upstream:
        yield (
            f"{', '.join(overwritten)} named another proxy. The program now goes through Understudy alone: what is not "
            "intercepted is connected to directly, not through that proxy, unless --upstream-proxy names it."
        )
    if dropped := covering(no_proxy_entries(facts.base), facts.hosts):
        yield f"Left out of NO_PROXY, since they cover an intercepted host: {', '.join(dropped)}."
    if "-Djavax.net.ssl.trustStore=" in facts.base.get("JAVA_TOOL_OPTIONS", ""):
        yield "JAVA_TOOL_OPTIONS named a trust store, in whose place a JVM now uses Understudy's."
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE"):
        host = urlsplit(facts.base.get(name, "")).hostname
        if host and not any(_globs_meet(host, pattern.lower()) for pattern in facts.hosts):
            yield f"{name} names {host}, which is not an intercepted host: what goes there is not answered by Claude."


def no_proxy_entries(base: Mapping[str, str]) -> list[str]:
    """Return the entries of NO_PROXY, in either case, each once."""
    text = ",".join(base.get(name, "") for name in ("NO_PROXY", "no_proxy"))
    return list(dict.fromkeys(entry for entry in re.split(r"[\s,]+", text) if entry))


def _appended(own: str | None, options: Sequence[str]) -> str:
    """Append options to the user's own, unless they are there: a wrapped program may start another wrapped one."""
    parts = [own.strip()] if own and own.strip() else []
    parts += [option for option in options if option not in (own or "")]
    return " ".join(parts)


def _java_quoted(option: str) -> str:
    """Quote an option for JAVA_TOOL_OPTIONS, which splits at white space and knows quotes but no escapes."""
    if not re.search(r"[\s'\"]", option):
        return option
    return "".join(f"'{part}'" if '"' in part else f'"{part}"' for part in re.split(r"('+)", option) if part)


# Matching the entries of NO_PROXY with hosts.


def covering(entries: Iterable[str], hosts: Sequence[str]) -> list[str]:
    """Return the entries of NO_PROXY that may cover an intercepted host."""
    return [entry for entry in entries if _covers_any(entry, hosts)]


def _covers_any(entry: str, hosts: Iterable[str]) -> bool:
    return any(covers(entry, host) for host in hosts)


def covers(entry: str, host: str) -> bool:
    """Whether any tool may apply an entry of NO_PROXY to an intercepted host.

    >>> covers(".openai.com", "api.openai.com"), covers("openai.org", "api.openai.com")
    (True, False)
    """
    name, pattern = _without_port(entry.lower()), _without_port(host.lower())
    if _in_range(name, pattern):
        return True
    name = name.removeprefix("*").removeprefix(".").removesuffix(".")
    return _globs_meet("*" + name, pattern)


def _without_port(text: str) -> str:
    text = re.sub(r"^[a-z][a-z0-9+]*://", "", text)
    if match := re.match(r"^\[(.*)\](?::\d+)?$", text):
        return match[1]
    return re.sub(r"^([^:]*):\d+$", r"\1", text)


def _in_range(network: str, address: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _globs_meet(one: str, other: str) -> bool:
    """Whether some text matches both patterns. ``*`` matches any text, also the empty one."""
    todo, seen = [(0, 0)], set()
    while todo:
        if (at := todo.pop()) in seen:
            continue
        seen.add(at)
        i, j = at
        if (i, j) == (len(one), len(other)):
            return True
        mine, yours = one[i : i + 1], other[j : j + 1]
        if mine == "*":  # it ends here, or matches one more character
            todo += [(i + 1, j)] + [(i, j + 1)] * bool(yours)
        if yours == "*":
            todo += [(i, j + 1)] + [(i + 1, j)] * bool(mine)
        if mine == yours != "":
            todo.append((i + 1, j + 1))
    return False


# The environment of Claude Code's own processes.


def scrub(base: Mapping[str, str], own_addresses: Collection[tuple[str, int]]) -> dict[str, str]:
    """Return an environment without the variables that name one of our own addresses.

    Claude Code must not send its requests through our own proxy, which waits for it. Variables that name the user's own
    proxy, at any other address, stay. All loopback addresses, ``0.0.0.0`` and ``::`` count as the same host.
    """
    own = {(_same_loopback(host), port) for host, port in own_addresses}
    kept = {name: value for name, value in base.items() if _address_in(value) not in own}
    if java := kept.get("JAVA_TOOL_OPTIONS"):
        kept["JAVA_TOOL_OPTIONS"] = _without_own_java_proxy(java, own)
        if not kept["JAVA_TOOL_OPTIONS"]:
            del kept["JAVA_TOOL_OPTIONS"]
    return kept


def scrub_overrides(base: Mapping[str, str], own_addresses: Collection[tuple[str, int]]) -> dict[str, str]:
    """Return the variables to set on top of ``base`` to get the result of ``scrub``.

    The Claude SDK adds its ``env`` to the inherited environment and cannot remove variables. So a variable that must go
    gets the empty string. Programs treat an empty proxy variable as unset.
    """
    kept = scrub(base, own_addresses)
    return {name: kept.get(name, "") for name, value in base.items() if kept.get(name) != value}


def _without_own_java_proxy(options: str, own: Collection[tuple[str, int]]) -> str:
    for scheme in ("https", "http"):
        host = re.search(rf"-D{scheme}\.proxyHost=(\S+)", options)
        port = re.search(rf"-D{scheme}\.proxyPort=(\d+)", options)
        if host and port and (_same_loopback(host[1]), int(port[1])) in own:
            options = options.replace(host[0], "").replace(port[0], "")
    return " ".join(options.split())


def _address_in(value: str) -> tuple[str, int] | None:
    """Return the host and port in a variable's value. The value is a URL, or ``host:port`` as in some proxy variables.

    None if it is neither.
    """
    if "://" not in value and not re.fullmatch(r"[\w.\-\[\]:@%]+:\d+/?", value):
        return None
    try:
        return _address(urlsplit(value if "://" in value else f"http://{value}"))
    except ValueError:
        return None


def _address(url: SplitResult) -> tuple[str, int]:
    return _same_loopback(url.hostname or ""), _port(url)


def _port(url: SplitResult) -> int:
    return url.port or DEFAULT_PORTS.get(url.scheme, 0)


def _same_loopback(host: str) -> str:
    host = host.strip("[]").lower()
    if host == "localhost":
        return "loopback"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return "loopback" if address.is_loopback or address.is_unspecified else str(address)
