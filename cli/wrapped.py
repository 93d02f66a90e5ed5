"""Opens the certificate authority, and makes the environment that sends a program through the proxy.

This module does not import the proxy, so `understudy env` starts fast.
"""

import os
from pathlib import Path

from auth.certificates.authority import FOLDER, Authority, AuthorityError
from cli.fatal import fatal
from cli.log import log
from launch.environment import WrappedEnvironment, environment_for
from launch.trust import write_trust_files
from settings import Settings, write_address


def authority(settings: Settings) -> Authority:
    """Open the certificate authority. On an error, exit with one line on stderr."""
    try:
        return Authority.open(settings.data_dir / FOLDER, settings.hosts)
    except AuthorityError as error:
        raise fatal(str(error)) from None


def wrapped_environment(settings: Settings, proxy_address: tuple[str, int], directory: Path) -> WrappedEnvironment:
    """Return the environment that sends a program through the proxy and makes it trust our certificates.

    The certificate files that it names are written to ``directory``. If that fails, exit with one line on stderr.
    """
    try:
        trust = write_trust_files(directory, authority(settings).certificate, os.environ)
    except OSError as error:
        raise fatal(f"the certificate files cannot be written: {directory}: {error.strerror}") from None
    for warning in trust.warnings:
        log.warning("%s", warning)
    return environment_for(
        os.environ,
        proxy_url=f"http://{write_address(*proxy_address)}",
        trust=trust,
        hosts=settings.hosts,
        upstream=settings.upstream_proxy is not None,
    )
