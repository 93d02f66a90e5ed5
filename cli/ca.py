"""`understudy ca`: show the certificate authority, print how to trust it, or replace it."""

import json
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Protocol

import typer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from auth.certificates.authority import FOLDER, Authority, AuthorityError
from cli.options import AsJson, ConfigFile

INTRODUCTION = """\
Programs that `understudy run` starts do not need this. Programs in a shell that loaded `understudy env` do not need it
either. Environment variables make them trust the authority. These commands are for all other programs.
The authority can sign only for {names} and for names below them. It cannot sign for other hosts or for IP
addresses. It is valid until {end:%Y-%m-%d}. Understudy replaces it before that date. You must then trust the new one.
"""


class TrustSettings(Protocol):
    """The part of the settings that is needed here."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts that Understudy answers for."""

    @property
    def data_dir(self) -> Path:
        """The data folder. The authority has its own folder in it."""


@dataclass(frozen=True, slots=True)
class Platform:
    """The shell commands that make a platform trust the root certificate, and those that undo it.

    They can contain ``{path}`` (the certificate's file, quoted) and ``{name}`` (its common name).
    """

    title: str
    install: Sequence[str]
    remove: Sequence[str]
    quote: Callable[[str], str] = shlex.quote


def _windows_quote(path: str) -> str:
    return f'"{path}"'  # a path on Windows cannot contain a double quote


PLATFORMS = {
    "debian": Platform(
        "Debian, Ubuntu and related systems: the system's store (curl, wget, Go, OpenSSL)",
        [
            "sudo install -m 644 {path} /usr/local/share/ca-certificates/understudy.crt",
            "sudo update-ca-certificates",
        ],
        ["sudo rm /usr/local/share/ca-certificates/understudy.crt", "sudo update-ca-certificates --fresh"],
    ),
    "fedora": Platform(
        "Fedora, RHEL and related systems: the system's store (curl, wget, Go, OpenSSL, the packaged Java)",
        ["sudo install -m 644 {path} /etc/pki/ca-trust/source/anchors/understudy.pem", "sudo update-ca-trust"],
        ["sudo rm /etc/pki/ca-trust/source/anchors/understudy.pem", "sudo update-ca-trust"],
    ),
    "macos": Platform(
        "macOS: your login keychain (Safari, Chrome, Swift, Go)",
        ["security add-trusted-cert -r trustRoot -p ssl -k ~/Library/Keychains/login.keychain-db {path}"],
        ['security delete-certificate -t -c "{name}" ~/Library/Keychains/login.keychain-db'],
    ),
    "windows": Platform(
        "Windows: your own store (Edge, Chrome, .NET, PowerShell, Go)",
        ["certutil -user -addstore Root {path}"],
        ['certutil -user -delstore Root "{name}"'],
        _windows_quote,
    ),
    "nss": Platform(
        "Firefox, and Chromium on Linux: their stores are NSS databases (Debian: apt install libnss3-tools). For "
        "Firefox replace sql:$HOME/.pki/nssdb with sql: and its profile folder",
        ['certutil -d "sql:$HOME/.pki/nssdb" -A -n understudy -t C,, -i {path}'],
        ['certutil -d "sql:$HOME/.pki/nssdb" -D -n understudy'],
    ),
    "java": Platform(
        "Java: the store of the JDK that `keytool` belongs to (9 or later), for all programs that run on it",
        ["keytool -importcert -noprompt -cacerts -storepass changeit -alias understudy -file {path}"],
        ["keytool -delete -cacerts -storepass changeit -alias understudy"],
    ),
    "node": Platform(
        "Node.js has no certificate store; an environment variable adds the file",
        ["export NODE_EXTRA_CA_CERTS={path}"],
        ["unset NODE_EXTRA_CA_CERTS"],
    ),
    "python": Platform(
        "Python: requests and httpx have their own store (certifi); these variables replace it with a bundle",
        [
            'cat "$(python -m certifi)" {path} > ~/understudy-bundle.pem',
            "export SSL_CERT_FILE=~/understudy-bundle.pem REQUESTS_CA_BUNDLE=~/understudy-bundle.pem",
        ],
        ["unset SSL_CERT_FILE REQUESTS_CA_BUNDLE", "rm ~/understudy-bundle.pem"],
    ),
}


def ca_command(load: Callable[[Path | None], TrustSettings]) -> typer.Typer:
    """Return the commands. ``load`` reads the settings; it gets the path of ``--config``, or None."""
    ca = typer.Typer(
        no_args_is_help=True, help="Show, install or replace the certificate authority that programs must trust."
    )

    @ca.command()
    def path(config: ConfigFile = None) -> None:
        """Print the path of the certificate that programs must trust."""
        typer.echo(_open(load(config)).certificate)

    @ca.command()
    def show(
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Show the authority, how long it is valid, and which hosts it can sign for."""
        authority = _open(load(config))
        typer.echo(as_json_text(authority) if as_json else as_text(authority))

    @ca.command("install-help")
    def install_help(
        platform: Annotated[
            str | None, typer.Argument(metavar="PLATFORM", help=f"One of {', '.join(PLATFORMS)}. Default: all.")
        ] = None,
        config: ConfigFile = None,
    ) -> None:
        """Print the commands that make a system or a runtime trust the authority. Nothing is changed."""
        if platform is not None and platform not in PLATFORMS:
            raise _fatal(f"there is no help for {platform!r}; use one of {', '.join(PLATFORMS)}")
        chosen = PLATFORMS if platform is None else {platform: PLATFORMS[platform]}
        typer.echo(instructions(_open(load(config)), chosen.values()))

    @ca.command()
    def rotate(config: ConfigFile = None) -> None:
        """Replace the authority with a new one. Programs that trust the old one must then trust the new one."""
        settings = load(config)
        try:
            authority = Authority.at(settings.data_dir / FOLDER, settings.hosts)
            authority.rotate()
            typer.echo(as_text(authority))
        except AuthorityError as error:
            raise _fatal(str(error)) from None
        kept = f" The old one is kept in {authority.old}." if authority.old.exists() else ""
        typer.echo(
            f"\nThis authority is new.{kept} Programs that trust the old one must trust this one "
            "(`understudy ca install-help`). Restart each running `understudy serve`."
        )

    return ca


def as_text(authority: Authority) -> str:
    """Describe an authority as text."""
    root = authority.root()
    return "\n".join(
        (
            f"subject      {root.subject.rfc4514_string()}",
            f"SHA-256      {fingerprint(root)}",
            f"valid        {root.not_valid_before_utc:%Y-%m-%d} to {root.not_valid_after_utc:%Y-%m-%d}",
            f"signs for    only {', '.join(authority.permitted)} and names below; no IP addresses",
            f"certificate  {authority.certificate}",
        )
    )


def as_json_text(authority: Authority) -> str:
    """Describe an authority as JSON. Times are ISO 8601 in UTC. Each permitted name also permits the names below it."""
    root = authority.root()
    described = {
        "subject": root.subject.rfc4514_string(),
        "sha256": root.fingerprint(hashes.SHA256()).hex(),
        "not_before": root.not_valid_before_utc.isoformat(),
        "not_after": root.not_valid_after_utc.isoformat(),
        "permitted": list(authority.permitted),
        "certificate": str(authority.certificate),
    }
    return json.dumps(described, indent=2)


def fingerprint(certificate: x509.Certificate) -> str:
    """Return a certificate's SHA-256 as browsers and `openssl x509 -fingerprint` write it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def instructions(authority: Authority, platforms: Iterable[Platform]) -> str:
    """Return the commands that make each platform trust an authority, and those that undo it."""
    root = authority.root()
    (name,) = root.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = [INTRODUCTION.format(names=", ".join(authority.permitted), end=root.not_valid_after_utc)]
    for platform in platforms:
        path = platform.quote(str(authority.certificate))
        install, remove = (
            [f"    {line.format(path=path, name=name.value)}" for line in lines]
            for lines in (platform.install, platform.remove)
        )
        text += [platform.title, *install, "  to undo it:", *remove, ""]
    return "\n".join(text).rstrip()


def _open(settings: TrustSettings) -> Authority:
    try:
        return Authority.open(settings.data_dir / FOLDER, settings.hosts)
    except AuthorityError as error:
        raise _fatal(str(error)) from None


def _fatal(message: str) -> typer.Exit:
    typer.echo(f"understudy: {message}", err=True)
    return typer.Exit(2)
