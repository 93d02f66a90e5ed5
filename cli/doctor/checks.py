"""The checks. Each yields one or more findings. No check changes anything, and none uses the network."""

import datetime
import importlib.metadata
import os
import platform
import re
import shutil
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from cryptography import x509

from addons.hosts import is_loopback, matches
from auth.certificates.authority import FOLDER, Authority, AuthorityError
from auth.credentials.sources import SourceError
from auth.credentials.status import find_cli, status
from engine.spawn import VERIFIED_CLI
from launch.base_urls import BASE_URLS, base_urls_past, listens
from launch.environment import covering, no_proxy_entries
from settings import Settings, hide_password, write_address
from storage.database import Database, StoreError

type Level = Literal["ok", "warning", "fault"]

MIN_FREE_BYTES = 500 * 1024 * 1024
CLI_TIMEOUT_S = 20.0
SOON = datetime.timedelta(days=30)

PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE", "DENO_CERT")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``todo`` says how to fix it; "" if there is nothing to do."""

    name: str
    level: Level
    seen: str
    todo: str = ""


type Check = Callable[[], Iterator[Finding]]


def run_checks(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield the findings of all checks. If a check raises an exception, that is a fault, and the others still run."""
    checks: tuple[tuple[str, Check], ...] = (
        ("versions", lambda: versions(sys.version_info[:2])),
        ("claude", lambda: claude(settings.cli_path, environ)),
        ("credentials", lambda: credentials(settings, environ)),
        ("certificate authority", lambda: authority(settings)),
        ("ports", lambda: ports(settings)),
        ("proxies", lambda: proxies(settings, environ)),
        ("certificate variables", lambda: bundles(environ)),
        ("base URLs", lambda: base_urls(settings, environ)),
        ("data folder", lambda: data_folder(settings.data_dir)),
        ("store", lambda: store(settings)),
    )
    for name, check in checks:
        try:
            yield from check()
        except Exception as error:
            yield Finding(name, "fault", f"the check failed: {type(error).__name__}: {error}")


def versions(python: tuple[int, ...]) -> Iterator[Finding]:
    """Check the versions of Python, mitmproxy and the SDK."""
    found = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("mitmproxy", "claude-agent-sdk"))
    told = f"Python {'.'.join(map(str, python))}, {found}, {platform.system()} {platform.machine()}"
    if python < (3, 12):
        yield Finding("versions", "fault", told, "Understudy needs Python 3.12 or newer")
    else:
        yield Finding("versions", "ok", told)


def claude(cli_path: Path | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check that the `claude` program exists, starts, and has the tested version."""
    try:
        program = find_cli(cli_path)
    except SourceError as error:
        yield Finding("claude", "fault", str(error), "reinstall Understudy (its SDK has `claude`), or set cli_path")
        return
    env = {name: environ[name] for name in ("PATH", "HOME", "TMPDIR", "SYSTEMROOT", "TEMP") if name in environ}
    try:
        done = subprocess.run(
            [program, "--version"], env=env, capture_output=True, text=True, timeout=CLI_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = getattr(error, "strerror", None) or "it does not answer"
        yield Finding("claude", "fault", f"{program} cannot be started: {reason}", "is it built for this machine?")
        return
    match = re.match(r"\s*(\d+\.\d+\.\d+)", done.stdout)
    if done.returncode or match is None:
        yield Finding("claude", "fault", f"{program} --version ends with {done.returncode}", "reinstall it")
    elif match[1] != VERIFIED_CLI:
        told = f"{program} is {match[1]}; Understudy was tested with {VERIFIED_CLI}"
        yield Finding("claude", "warning", told, "unset cli_path to use the `claude` that comes with Understudy")
    else:
        yield Finding("claude", "ok", f"{match[1]}, {program}")


def credentials(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check that there are credentials for Claude Code. No API is asked."""
    if settings.rehearsal:
        yield Finding("credentials", "ok", "the rehearsal needs none")
        return
    found = status(
        environ, forced=settings.provider, api_key_helper=settings.api_key_helper, cli_path=settings.cli_path
    )
    if not found.usable:
        todo = "set ANTHROPIC_API_KEY, or run `understudy auth login`; without an account: --rehearsal"
        yield Finding("credentials", "fault", "none were found", todo)
    else:
        told = f"{found.used.kind} ({found.used.found_in})"
        yield Finding("credentials", "ok", f"{told}; `understudy auth status --check` tests them")


def authority(settings: Settings) -> Iterator[Finding]:
    """Check the certificate authority, if it exists."""
    name = "certificate authority"
    try:
        found = Authority.at(settings.data_dir / FOLDER, settings.hosts)
    except AuthorityError as error:
        yield Finding(name, "fault", str(error), "use --host only with names that a certificate can be limited to")
        return
    if not found.key.exists():
        yield Finding(name, "ok", "none yet; the first start makes one")
        return
    mode = stat.S_IMODE(found.key.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        yield Finding(name, "fault", f"others can read its key {found.key} ({mode:o})", f"chmod 600 {found.key}")
        return
    try:
        certificate = x509.load_pem_x509_certificate(found.certificate.read_bytes())
    except (OSError, ValueError):
        yield Finding(name, "fault", f"{found.certificate} cannot be read", "run `understudy ca rotate`")
        return
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    told = f"for {', '.join(found.permitted)} only, until {certificate.not_valid_after_utc:%Y-%m-%d}"
    if left < SOON:
        todo = "the next start replaces it; programs that trust it must then trust the new one"
        yield Finding(name, "warning", told, todo)
    else:
        yield Finding(name, "ok", told)


def ports(settings: Settings) -> Iterator[Finding]:
    """Check that the ports are free, or that an Understudy already listens there."""
    for door, address in (("listen", settings.listen), ("base_url", settings.base_url)):
        if address is None or address[1] == 0:
            continue
        where = write_address(*address)
        if _is_ours(address):
            yield Finding("ports", "ok", f"an Understudy answers at {where}")
            continue
        try:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            with socket.create_server(address, family=family):
                yield Finding("ports", "ok", f"{where} is free for {door}")
        except OSError as error:
            todo = f"stop the program that listens there, or set another {door}"
            yield Finding("ports", "fault", f"{where} cannot be opened for {door}: {error.strerror}", todo)


def _is_ours(address: tuple[str, int]) -> bool:
    """Return whether an Understudy answers at an address, as a proxy or as the base-URL door."""
    url = f"http://{write_address(*address)}"
    through = build_opener(ProxyHandler({"http": url}))
    direct = build_opener(ProxyHandler({}))
    for opener, asked in ((through, "http://understudy.local/health"), (direct, f"{url}/health")):
        try:
            with opener.open(Request(asked), timeout=2) as answer:  # noqa: S310 - http, to this machine
                if b'"rehearsal"' in answer.read(1000):
                    return True
        except (URLError, OSError, ValueError):
            continue
    return False


def proxies(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check for proxy variables that send an app past Understudy, or send Understudy through another proxy."""
    own = write_address(*settings.listen)
    others = {name: environ[name] for name in PROXIES if environ.get(name) and own not in environ[name]}
    if others:
        name, value = next(iter(others.items()))
        host = urlsplit(value if "://" in value else f"http://{value}").hostname
        todo = "`understudy run` replaces them for the app; if Understudy itself needs this proxy, use --upstream-proxy"
        yield Finding("proxies", "warning", f"{', '.join(others)} set another proxy ({host} in {name})", todo)
    past = {
        name: entries
        for name in ("NO_PROXY", "no_proxy")
        if (entries := covering(no_proxy_entries({name: environ.get(name, "")}), settings.hosts))
    }
    for name, entries in past.items():
        told = f"{name} has {', '.join(entries)}, so apps use no proxy for {', '.join(settings.hosts)}"
        yield Finding("proxies", "warning", told, "`understudy run` removes it; otherwise remove it yourself")
    if not (others or past):
        yield Finding("proxies", "ok", "no variable sets another proxy or bypasses this one")


def bundles(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check the variables that name certificate files."""
    missing = [name for name in BUNDLES if environ.get(name) and not Path(environ[name]).is_file()]
    for name in missing:
        todo = "correct or unset it: programs that read it may trust no certificate at all"
        yield Finding("certificate variables", "fault", f"{name} names {environ[name]}, which is not a file", todo)
    if not missing:
        named = [name for name in BUNDLES if environ.get(name)]
        yield Finding("certificate variables", "ok", f"{', '.join(named)} are files" if named else "none are set")


def base_urls(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Check for variables that send OpenAI's clients, or Claude Code, to another address."""
    named = [name for name in BASE_URLS if environ.get(name)]
    past = base_urls_past(environ, [address for address in (settings.base_url,) if address is not None])
    for name, (url, at) in past.items():
        nobody = "" if listens(at) else ", where nothing listens"
        yield Finding("base URLs", "warning", f"{name}={hide_password(url)} goes past this proxy{nobody}", "unset it")
    elsewhere = {
        name: host
        for name in named
        if (host := urlsplit(environ[name]).hostname) and not (matches(host, settings.hosts) or is_loopback(host))
    }
    for name, host in elsewhere.items():
        todo = f"unset it, or add --host {host}"
        yield Finding(
            "base URLs", "warning", f"{name} sends apps to {host}, which Understudy does not answer for", todo
        )
    claudes = "" if settings.rehearsal else environ.get("ANTHROPIC_BASE_URL")
    if claudes:
        told = f"ANTHROPIC_BASE_URL sends Claude Code to {urlsplit(claudes).hostname}"
        yield Finding("base URLs", "warning", told, "unset it, unless you want that")
    if not (elsewhere or past or claudes):
        told = "they send OpenAI's clients to Understudy" if named else "none are set"
        yield Finding("base URLs", "ok", told)


def data_folder(folder: Path) -> Iterator[Finding]:
    """Check the data folder: others cannot read it, it is writable, and the disk has room."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        yield Finding("data folder", "fault", f"{place} is not writable", "set data_dir to a folder that you can write")
        return
    mode = stat.S_IMODE(folder.stat().st_mode) if folder.exists() else 0o700
    free = shutil.disk_usage(place).free
    told = f"{folder}, {free // (1024 * 1024)} MB free"
    if os.name == "posix" and mode & 0o022:
        yield Finding("data folder", "fault", f"others can write to {folder} ({mode:o})", f"chmod 700 {folder}")
    elif os.name == "posix" and mode & 0o055:
        # Earlier versions made the folder with the umask's mode. The secret files in it were always private.
        yield Finding("data folder", "warning", f"others can look into {folder} ({mode:o})", f"chmod 700 {folder}")
    elif free < MIN_FREE_BYTES:
        yield Finding("data folder", "warning", told, "free some space for recordings and stored data")
    else:
        yield Finding("data folder", "ok", told)


def store(settings: Settings) -> Iterator[Finding]:
    """Check that the database opens, if it exists."""
    place = settings.store_place()
    shown = "postgresql://…" if str(place).startswith("postgresql") else str(place)
    if isinstance(place, Path) and not place.exists():
        yield Finding("store", "ok", "none yet; the first start makes one")
        return
    try:
        Database.open(place).close()
    except StoreError as error:
        yield Finding("store", "fault", str(error), "is `store` right? did a newer Understudy make it?")
    else:
        yield Finding("store", "ok", f"{shown} opens")
