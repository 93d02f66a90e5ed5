"""Defines how Claude Code's processes are started: with which credentials, and without which variables."""

import json
from collections.abc import Mapping
from pathlib import Path

from auth.credentials.hosts import hosts_for
from auth.credentials.sources import REHEARSAL, SOURCES, Source, api_url, cli_settings, not_inherited
from engine.reach import Reach, reach_of
from engine.spawn import Spawn
from settings import Settings
from storage.private_files import make_private_folder, touch_private_file


def proxy_variables(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that send Claude Code's own traffic through the proxy at ``url``, except to loopback."""
    return dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), url) | none_for_loopback(environ)


def none_for_loopback(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make Claude Code connect to loopback addresses without a proxy."""
    here = ",".join(filter(None, ["localhost,127.0.0.1,::1", environ.get("NO_PROXY") or environ.get("no_proxy")]))
    return {"NO_PROXY": here, "no_proxy": here}


def reach_for(source: Source, environ: Mapping[str, str]) -> Reach:
    """Return the address of the API that Claude Code uses with these credentials in this environment."""
    url = api_url(source, environ)
    return Reach(source.kind) if url is None else reach_of(url, environ)


def rehearsal_environment(base_url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that make the CLI use the simulated API, and that hide every real credential from it."""
    nothing = {source.variable: "" for source in SOURCES if source.variable} | {"ANTHROPIC_CUSTOM_HEADERS": ""}
    api = {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "rehearsal"}
    return nothing | api | none_for_loopback(environ)


def spawn_for(settings: Settings, source: Source, environ: Mapping[str, str], env: Mapping[str, str]) -> Spawn:
    """Return how Claude Code's processes are started.

    They run in an empty folder. They store their state in Understudy's data folder if the source allows it, unless the
    user has set ``CLAUDE_CONFIG_DIR``. They inherit from ``environ``, and ``env`` overrides it.
    """
    folder = {}
    if source.own_config_dir and (source is REHEARSAL or "CLAUDE_CONFIG_DIR" not in environ):
        folder["CLAUDE_CONFIG_DIR"] = str(make_private_folder(settings.data_dir / "claude"))
    cwd = make_private_folder(settings.data_dir / "empty")
    return Spawn(
        bare=source.bare,
        cwd=cwd,
        env={**env, **folder},
        cli_path=settings.cli_path,
        settings=settings_file(settings.data_dir, cli_settings(source, settings.api_key_helper)),
        inherits=(*source.inherits, *settings.claude_env),
        not_inherited=not_inherited(source),
        hosts=hosts_for(source, {**environ, **env}, settings.claude_hosts),
    )


def settings_file(data_dir: Path, content: Mapping[str, str]) -> Path | None:
    """Write Claude Code's settings to a private file and return its path, None if there are none.

    On the command line, `ps` would show them to other users.
    """
    if not content:
        return None
    path = make_private_folder(data_dir / "claude") / "understudy-settings.json"
    touch_private_file(path)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
