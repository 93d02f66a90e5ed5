"""How Claude Code's processes are started with credentials, and what they are kept from."""

import json
from collections.abc import Mapping
from pathlib import Path

from auth.credentials.sources import REHEARSAL, SOURCES, Source, api_url, cli_settings, not_inherited
from engine.reach import Reach, reach_of
from engine.spawn import Spawn
from settings import Settings
from storage.private_files import make_private_folder, touch_private_file


def proxy_variables(url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what sends Claude Code's own traffic through another proxy, but for what is on this machine."""
    return dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), url) | none_for_loopback(environ)


def none_for_loopback(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what has Claude Code reach this machine without any proxy."""
    here = ",".join(filter(None, ["localhost,127.0.0.1,::1", environ.get("NO_PROXY") or environ.get("no_proxy")]))
    return {"NO_PROXY": here, "no_proxy": here}


def reach_for(source: Source, environ: Mapping[str, str]) -> Reach:
    """Return where the API is that Claude Code asks with these credentials and this environment."""
    url = api_url(source, environ)
    return Reach(source.kind) if url is None else reach_of(url, environ)


def rehearsal_environment(base_url: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what makes the CLI ask the rehearsal, and keeps every real credential from it."""
    nothing = {source.variable: "" for source in SOURCES if source.variable} | {"ANTHROPIC_CUSTOM_HEADERS": ""}
    api = {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "rehearsal"}
    return nothing | api | none_for_loopback(environ)


def spawn_for(settings: Settings, source: Source, environ: Mapping[str, str], env: Mapping[str, str]) -> Spawn:
    """Return how Claude Code's processes are started: in an empty folder, their state in ours where that can be.

    ``environ`` is what they inherit from, ``env`` what is laid over it.
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
    )


def settings_file(data_dir: Path, content: Mapping[str, str]) -> Path | None:
    """Write Claude Code's settings where only we can read them; on its command line `ps` would show them."""
    if not content:
        return None
    path = make_private_folder(data_dir / "claude") / "understudy-settings.json"
    touch_private_file(path)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
