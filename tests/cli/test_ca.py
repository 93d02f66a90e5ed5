import dataclasses
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner, Result

from auth.certificates.authority import Authority
from cli.ca import PLATFORMS, ca_command, instructions
from settings import Settings


def understudy_ca(settings: Settings, *arguments: str) -> Result:
    return CliRunner().invoke(ca_command(lambda config: settings), arguments)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("a person's data"), hosts=("api.openai.com", "*.example.com"))


@pytest.fixture(scope="module")
def authority(settings: Settings) -> Authority:
    return Authority.open(settings.data_dir / "ca", settings.hosts)


def test_path_is_that_of_the_certificate_alone(settings: Settings, authority: Authority) -> None:
    done = understudy_ca(settings, "path")

    assert (done.exit_code, done.stdout) == (0, f"{authority.certificate}\n")


def test_the_first_command_makes_the_authority(tmp_path: Path) -> None:
    done = understudy_ca(Settings(data_dir=tmp_path), "path")

    assert Path(done.stdout.strip()).is_file()


def test_the_configuration_file_is_handed_on(settings: Settings, authority: Authority, tmp_path: Path) -> None:
    named: list[Path | None] = []

    def load(config: Path | None) -> Settings:
        named.append(config)
        return settings

    for arguments in (["path"], ["show", "--config", str(tmp_path)], ["install-help", "--config", str(tmp_path)]):
        CliRunner().invoke(ca_command(load), arguments)

    assert named == [None, tmp_path, tmp_path]


def test_show_says_what_may_be_signed_and_until_when(settings: Settings, authority: Authority) -> None:
    shown = understudy_ca(settings, "show").stdout

    root = authority.root()
    assert f"subject      {root.subject.rfc4514_string()}" in shown
    assert f"to {root.not_valid_after_utc:%Y-%m-%d}" in shown
    assert "signs for    only api.openai.com, example.com and names below; no IP addresses" in shown


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_fingerprint_is_the_one_that_openssl_shows(settings: Settings, authority: Authority) -> None:
    command = ["openssl", "x509", "-in", str(authority.certificate), "-noout", "-fingerprint", "-sha256"]
    theirs = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]

    assert f"SHA-256      {theirs}" in understudy_ca(settings, "show").stdout


def test_show_as_json_is_for_programs(settings: Settings, authority: Authority) -> None:
    shown = json.loads(understudy_ca(settings, "show", "--json").stdout)

    root = x509.load_pem_x509_certificate(Path(shown["certificate"]).read_bytes())
    assert root == authority.root()
    assert shown["sha256"] in understudy_ca(settings, "show").stdout.replace(":", "").lower()
    assert shown["permitted"] == ["api.openai.com", "example.com"]
    assert (shown["not_before"], shown["not_after"], shown["subject"]) == (
        root.not_valid_before_utc.isoformat(),
        root.not_valid_after_utc.isoformat(),
        root.subject.rfc4514_string(),
    )


def test_install_help_says_that_it_is_not_needed_and_how_little_is_trusted(
    settings: Settings, authority: Authority
) -> None:
    words = " ".join(understudy_ca(settings, "install-help").stdout.split())

    assert "Programs that `understudy run` starts do not need this." in words
    assert "can sign only for api.openai.com, example.com and for names below them" in words


@pytest.mark.parametrize("platform", PLATFORMS)
def test_install_help_tells_each_platform_how_to_install_and_to_undo_it(
    settings: Settings, authority: Authority, platform: str
) -> None:
    shown = understudy_ca(settings, "install-help", platform).stdout

    assert PLATFORMS[platform].title in shown
    assert "{" not in shown
    assert PLATFORMS[platform].quote(str(authority.certificate)) in shown
    assert shown.index("to undo it") > shown.index(PLATFORMS[platform].title)
    assert not [other.title for name, other in PLATFORMS.items() if name != platform and other.title in shown]


def test_install_help_is_for_every_platform_unless_one_is_named(settings: Settings, authority: Authority) -> None:
    shown = understudy_ca(settings, "install-help").stdout

    assert all(platform.title in shown for platform in PLATFORMS.values())


def test_a_path_with_spaces_and_quotes_survives_a_shell(settings: Settings, authority: Authority) -> None:
    lines = instructions(authority, [PLATFORMS["debian"]]).splitlines()

    (command,) = [line for line in lines if " install " in line]
    assert shlex.split(command)[:5] == ["sudo", "install", "-m", "644", str(authority.certificate)]


@pytest.mark.skipif(shutil.which("keytool") is None, reason="keytool is not installed")
def test_the_lines_for_java_do_what_they_say(settings: Settings, authority: Authority, tmp_path: Path) -> None:
    store = f"-keystore {tmp_path / 'store'}"  # in place of the JDK's own
    add, remove = (
        lines[0].format(path=shlex.quote(str(authority.certificate))).replace("-cacerts", store)
        for lines in (PLATFORMS["java"].install, PLATFORMS["java"].remove)
    )

    statuses = [
        subprocess.run(
            shlex.split(line), capture_output=True, check=False, env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        )
        for line in (add, remove, remove)
    ]

    assert [done.returncode == 0 for done in statuses] == [True, True, False]


def test_a_platform_that_is_not_known_is_refused_with_those_that_are(settings: Settings) -> None:
    done = understudy_ca(settings, "install-help", "plan9")

    assert done.exit_code == 2
    assert "'plan9'; use one of debian, fedora, macos" in done.stderr


def test_rotate_shows_the_new_authority_and_where_the_old_one_is(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    before = understudy_ca(settings, "show").stdout

    done = understudy_ca(settings, "rotate")

    assert done.exit_code == 0
    assert understudy_ca(settings, "show").stdout in done.stdout
    assert before not in done.stdout
    assert f"kept in {tmp_path / 'ca' / 'old'}. Programs that trust the old one must trust this one" in done.stdout


def test_rotate_speaks_of_no_old_authority_where_there_was_none(tmp_path: Path) -> None:
    done = understudy_ca(Settings(data_dir=tmp_path), "rotate")

    assert done.exit_code == 0
    assert "kept" not in done.stdout


@pytest.mark.parametrize("command", ["path", "show", "install-help", "rotate"])
def test_an_error_is_one_line(settings: Settings, command: str) -> None:
    done = understudy_ca(dataclasses.replace(settings, hosts=("api.openai.com", "*.com")), command)

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("understudy: ")
    assert done.stderr.count("\n") == 1
    assert "'*.com'" in done.stderr
