import datetime
import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from mitmproxy.certs import CertStore

from auth.authority import BASENAME, KEY_SIZE, Authority, AuthorityError

posix = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_in_another_process(directory: Path) -> bytes:
    return Authority.open(directory).certificate.read_bytes()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("made") / "authority")


def key_and_certificate(days: int) -> tuple[bytes, bytes]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now + datetime.timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, encryption)
    return secret, certificate.public_bytes(serialization.Encoding.PEM)


def test_a_new_authority_is_named_so_that_people_recognise_it(made: Authority) -> None:
    subject = x509.load_pem_x509_certificate(made.certificate.read_bytes()).subject

    assert subject.rfc4514_string() == "O=Understudy,CN=Understudy"


@posix
def test_nobody_else_can_read_the_key(made: Authority) -> None:
    assert (mode(made.directory), mode(made.key)) == (0o700, 0o600)


def test_the_certificate_file_holds_no_key(made: Authority) -> None:
    assert b"PRIVATE" not in made.certificate.read_bytes()


def test_mitmproxy_finds_the_authority_in_its_confdir(made: Authority) -> None:
    store = CertStore.from_store(made.directory, BASENAME, KEY_SIZE)

    assert store.default_ca.to_pem() == made.certificate.read_bytes()


def test_nothing_half_made_is_left_behind(made: Authority) -> None:
    names = {path.name for path in made.directory.iterdir()}

    assert names == {f"mitmproxy-{rest}" for rest in ("ca.pem", "ca-cert.pem", "ca-cert.cer", "dhparam.pem")}


def test_opening_again_loads_the_same_authority(made: Authority) -> None:
    before = made.key.read_bytes()

    again = Authority.open(made.directory)

    assert (again, again.key.read_bytes()) == (made, before)


def test_processes_that_start_at_once_agree_on_one_authority(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        seen = pool.map(open_in_another_process, [tmp_path / "authority"] * 3, chunksize=1)

    assert len(set(seen)) == 1


def test_a_lost_certificate_file_is_written_again_from_the_key_file(made: Authority) -> None:
    before = made.certificate.read_bytes()
    made.certificate.unlink()

    Authority.open(made.directory)

    assert made.certificate.read_bytes() == before


def test_a_certificate_file_of_another_authority_is_put_right(made: Authority) -> None:
    before = made.certificate.read_bytes()
    made.certificate.write_bytes(key_and_certificate(9)[1])

    Authority.open(made.directory)

    assert made.certificate.read_bytes() == before


@posix
def test_a_key_that_others_could_read_is_made_private(made: Authority) -> None:
    made.key.chmod(0o644)

    Authority.open(made.directory)

    assert mode(made.key) == 0o600


def test_where_there_are_no_hard_links_the_files_are_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError("no links on this file system")

    monkeypatch.setattr(Path, "hardlink_to", refuse)

    authority = Authority.open(tmp_path / "authority")

    assert Authority.open(tmp_path / "authority") == authority


def test_a_key_file_that_appears_meanwhile_is_not_overwritten(made: Authority) -> None:
    before = made.key.read_bytes()

    made._create()

    assert made.key.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no key and certificate"),
        (b"not a key", "no key and certificate"),
        (key_and_certificate(9)[0], "no key and certificate"),
        (key_and_certificate(9)[1], "no key and certificate"),
        (key_and_certificate(9)[0] + key_and_certificate(9)[1], "does not belong to its key"),
        (b"".join(key_and_certificate(-1)), "expired on"),
    ],
    ids=["empty", "nonsense", "only a key", "only a certificate", "two halves of two", "expired"],
)
def test_a_broken_key_file_is_reported_with_what_to_do(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "mitmproxy-ca.pem").write_bytes(content)

    with pytest.raises(AuthorityError, match=f"mitmproxy-ca.pem .*{said}.*Move it away"):
        Authority.open(tmp_path)


def test_a_directory_that_cannot_be_made_is_reported_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(AuthorityError, match=r"needs a directory that it can write: .*file/authority"):
        Authority.open(tmp_path / "file" / "authority")


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root writes anywhere")
def test_a_directory_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(AuthorityError, match="Permission denied"):
        Authority.open(tmp_path)
