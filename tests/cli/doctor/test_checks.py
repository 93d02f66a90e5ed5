import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auth.certificates.authority import FOLDER, Authority
from cli.doctor import checks
from cli.doctor.checks import Finding, run_checks
from settings import Settings
from storage.database import Database


def settings(tmp_path: Path, **more: Any) -> Settings:
    return Settings(**{"data_dir": tmp_path / "data", "listen": ("127.0.0.1", 0), **more})


def levels(found: Iterator[Finding]) -> list[str]:
    return [finding.level for finding in found]


def test_a_machine_on_which_all_is_well_has_no_fault(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "ANTHROPIC_API_KEY": "sk-ant-canary-0123456789"}
    found = list(run_checks(settings(tmp_path), env))
    assert {finding.level for finding in found} == {"ok"}
    assert len({finding.name for finding in found}) >= 9
    assert "canary" not in repr(found)


def test_a_check_that_breaks_is_a_fault_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> Iterator[Finding]:
        raise RuntimeError("no")
        yield

    monkeypatch.setattr(checks, "authority", broken)
    found = {finding.name: finding for finding in run_checks(settings(tmp_path, rehearsal=True), {})}
    assert found["certificate authority"].level == "fault"
    assert "RuntimeError: no" in found["certificate authority"].seen
    assert found["store"].level == "ok"


def test_an_old_python_is_a_fault() -> None:
    assert levels(checks.versions((3, 11))) == ["fault"]


@pytest.mark.parametrize(
    ("script", "level", "told"),
    [
        ("echo 2.0.0", "warning", "is 2.0.0"),
        ("echo what; exit 3", "fault", "ends with 3"),
        (None, "fault", "cannot be started"),
    ],
)
def test_another_claude_is_told(tmp_path: Path, script: str | None, level: str, told: str) -> None:
    program = tmp_path / "claude"
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o700)
    (finding,) = checks.claude(program, {"PATH": "/usr/bin:/bin"})
    assert finding.level == level
    assert told in finding.seen and finding.todo


def test_no_credentials_are_a_fault_with_the_way_to_some(tmp_path: Path) -> None:
    (finding,) = checks.credentials(settings(tmp_path), {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"})
    assert finding.level == "fault"
    assert "understudy auth login" in finding.todo


def test_a_key_that_others_can_read_is_a_fault(tmp_path: Path) -> None:
    made = Authority.open(tmp_path / "data" / FOLDER)
    assert levels(checks.authority(settings(tmp_path))) == ["ok"]
    made.key.chmod(0o644)
    (finding,) = checks.authority(settings(tmp_path))
    assert finding.level == "fault" and finding.todo == f"chmod 600 {made.key}"


def test_an_authority_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    made = Authority.open(tmp_path / "data" / FOLDER)
    made.certificate.write_text("nonsense")
    assert levels(checks.authority(settings(tmp_path))) == ["fault"]


def test_a_port_that_is_taken_is_a_fault(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        taken.settimeout(0)
        address = taken.getsockname()
        (finding,) = checks.ports(settings(tmp_path, listen=address))
    assert finding.level == "fault"
    assert levels(checks.ports(settings(tmp_path, listen=address))) == ["ok"]


@pytest.mark.parametrize(
    ("env", "level", "told"),
    [
        ({}, "ok", "no variable"),
        ({"HTTPS_PROXY": "http://me:secret-word@corp:3128"}, "warning", "corp in HTTPS_PROXY"),
        ({"NO_PROXY": "localhost,.openai.com"}, "warning", ".openai.com"),
        ({"no_proxy": "*"}, "warning", "*"),
        ({"NO_PROXY": "10.0.0.0/8 API.OpenAI.com:443"}, "warning", "API.OpenAI.com:443"),
        ({"NO_PROXY": "localhost,.corp.example", "HTTPS_PROXY": ""}, "ok", "no variable"),
        ({"ALL_PROXY": "nonsense"}, "warning", "ALL_PROXY"),
    ],
)
def test_proxy_variables_that_fight_ours_are_told(tmp_path: Path, env: dict[str, str], level: str, told: str) -> None:
    (finding,) = checks.proxies(settings(tmp_path), env)
    assert finding.level == level and told in finding.seen
    assert "secret-word" not in repr(finding)


def test_a_bundle_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    assert levels(checks.bundles({"SSL_CERT_FILE": str(tmp_path / "none.pem")})) == ["fault"]
    (tmp_path / "some.pem").write_text("")
    assert levels(checks.bundles({"SSL_CERT_FILE": str(tmp_path / "some.pem")})) == ["ok"]


@pytest.mark.parametrize(
    ("env", "level"),
    [
        ({"OPENAI_BASE_URL": "https://llm.example/v1"}, "warning"),
        ({"ANTHROPIC_BASE_URL": "https://gateway.example"}, "warning"),
        ({"OPENAI_BASE_URL": "https://eu.api.example/v1"}, "ok"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:8081/v1"}, "ok"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, "warning"),
        ({}, "ok"),
    ],
)
def test_base_urls_elsewhere_are_told(tmp_path: Path, env: dict[str, str], level: str) -> None:
    own = settings(tmp_path, hosts=("api.openai.com", "*.api.example"), base_url=("127.0.0.1", 8081))
    assert levels(checks.base_urls(own, env)) == [level]


def test_a_base_url_past_the_proxy_is_told_and_whether_something_is_there(tmp_path: Path) -> None:
    (found,) = checks.base_urls(settings(tmp_path), {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"})
    assert found.seen == "OPENAI_BASE_URL=http://127.0.0.1:1/v1 goes past this proxy, where nothing listens"


@pytest.mark.parametrize(("mode", "level"), [(0o777, "fault"), (0o755, "warning"), (0o711, "warning"), (0o700, "ok")])
def test_a_data_folder_is_its_owner_s_alone(tmp_path: Path, mode: int, level: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    assert levels(checks.data_folder(folder)) == [level]


def test_a_store_that_is_none_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    place = tmp_path / "data" / "understudy.db"
    Database.open(place).close()
    assert levels(checks.store(settings(tmp_path))) == ["ok"]
    place.write_text("no database")
    assert levels(checks.store(settings(tmp_path))) == ["fault"]
