"""Converts host patterns to X.509 Name Constraints, which limit the names that an authority may sign for.

RFC 5280, section 4.2.1.10, has no wildcards. A permitted DNS name is a subtree: the name itself and all names below it.
So ``api.openai.com`` also permits ``eu.api.openai.com``, and ``*.example.com`` also permits ``example.com``. Each
pattern is converted to the smallest subtree that contains all names that the pattern matches.
"""

import functools
import ipaddress
from collections.abc import Iterable, Sequence

from cryptography import x509
from publicsuffixlist import PublicSuffixList

from settings import OPENAI_HOSTS

# These must be excluded explicitly: DNS constraints do not apply to certificates for an IP address.
EVERY_ADDRESS = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


def permitted_names(hosts: Iterable[str]) -> tuple[str, ...]:
    """Return the DNS subtrees that contain the hosts, sorted, without those that are inside another.

    Two sets of hosts with the same result need the same authority. IP addresses are left out, because the authority
    does not sign for them. Raises ValueError, with the pattern in the message, if no subtree contains it, or only a
    subtree in which anybody can register a name.
    """
    names = {_subtree(host) for host in hosts if not is_address(host)}
    return tuple(sorted(name for name in names if not any(_is_below(name, other) for other in names)))


def is_address(host: str) -> bool:
    """Whether a host is an IP address, or a pattern of IPv4 addresses (``10.0.*``)."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return all(part.isdigit() or part == "*" for part in host.split(".")) and any(map(str.isdigit, host))
    return True


def name_constraints(permitted: Sequence[str]) -> x509.NameConstraints:
    """Return the extension that permits these DNS subtrees and excludes every address."""
    return x509.NameConstraints(
        permitted_subtrees=[x509.DNSName(name) for name in permitted],
        excluded_subtrees=[x509.IPAddress(network) for network in EVERY_ADDRESS],
    )


def constraints_of(certificate: x509.Certificate) -> x509.NameConstraints | None:
    """Return a certificate's Name Constraints. None if it has none, or if they are not marked as critical."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return None
    return extension.value if extension.critical else None


def names_in(constraints: x509.NameConstraints) -> tuple[str, ...]:
    """Return the permitted DNS subtrees of an extension."""
    return tuple(name.value for name in constraints.permitted_subtrees or () if isinstance(name, x509.DNSName))


def _subtree(pattern: str) -> str:
    """Return the smallest subtree that contains a pattern: the labels after its last wildcard, in ASCII.

    Raises ValueError as :func:`permitted_names` does.
    """
    labels = pattern.rstrip(".").lower().split(".")
    starred = [number for number, label in enumerate(labels) if "*" in label]
    name = ".".join(labels[starred[-1] + 1 :] if starred else labels)
    if not name:
        raise ValueError(f"{pattern!r} keeps to no domain")
    try:
        name = name.encode("idna").decode("ascii")  # the form in which mitmproxy puts a name into a certificate
    except UnicodeError as error:
        raise ValueError(f"{pattern!r} is no host name: {error}") from None
    if name not in OPENAI_HOSTS and _public_suffixes().is_public(name):
        raise ValueError(f"{pattern!r} would permit every name in .{name}; name the hosts, or one domain of theirs")
    return name


def _is_below(name: str, other: str) -> bool:
    return name.endswith(f".{other}")


@functools.cache
def _public_suffixes() -> PublicSuffixList:
    """Read the Public Suffix List (https://publicsuffix.org), but only the suffixes of domain registries.

    Names that are not on it are private to a network, such as ``localhost`` or ``corp``. Reading it takes some 40 ms.
    """
    return PublicSuffixList(accept_unknown=False, only_icann=True)
