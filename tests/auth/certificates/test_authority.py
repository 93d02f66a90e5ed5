import datetime
import logging
import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from filelock import FileLock
from mitmproxy.certs import CertStore

from auth.certificates.authority import BASENAME, KEY_SIZE, NAME, Authority, AuthorityError

posix = pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_in_another_process(directory: Path) -> tuple[bytes, bytes]:
    authority = Authority.open(directory)
    return authority.key.read_bytes(), authority.certificate.read_bytes()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("made") / "authority")


def key_and_certificate(days: int) -> tuple[bytes, bytes]:
    """Make an authority as mitmproxy does, for all hosts; return its two halves as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, "Understudy"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, NAME)]
    )
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


def chain_of(authority: Authority) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(authority.key.read_bytes())


def extension[T: x509.ExtensionType](certificate: x509.Certificate, kind: type[T]) -> tuple[T, bool]:
    found = certificate.extensions.get_extension_for_class(kind)
    return found.value, found.critical


def test_a_new_authority_is_named_so_that_people_recognise_it(made: Authority) -> None:
    root = made.root()

    part = root.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest.hex()[:8]
    assert root.subject.rfc4514_string() == f"O=Understudy,CN=Understudy root {part}"
    assert chain_of(made)[0].subject.rfc4514_string() == "O=Understudy,CN=Understudy"


@pytest.mark.parametrize("link", [0, 1], ids=["the signer", "the root"])
def test_both_certificates_are_limited_to_the_hosts_critically(made: Authority, link: int) -> None:
    value, critical = extension(chain_of(made)[link], x509.NameConstraints)

    assert critical
    assert value.permitted_subtrees == [x509.DNSName("api.openai.com")]
    assert [str(name.value) for name in value.excluded_subtrees or ()] == ["0.0.0.0/0", "::/0"]


@pytest.mark.parametrize(("link", "path_length"), [(0, 0), (1, 1)], ids=["the signer", "the root"])
def test_neither_certificate_is_good_for_more_than_it_must(made: Authority, link: int, path_length: int) -> None:
    certificate = chain_of(made)[link]

    usage, usage_is_critical = extension(certificate, x509.KeyUsage)
    assert extension(certificate, x509.BasicConstraints) == (
        x509.BasicConstraints(ca=True, path_length=path_length),
        True,
    )
    assert (usage.key_cert_sign, usage.crl_sign, usage_is_critical) == (True, True, True)
    assert not (usage.digital_signature or usage.key_encipherment or usage.key_agreement or usage.data_encipherment)
    assert list(extension(certificate, x509.ExtendedKeyUsage)[0]) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_the_root_signed_the_signer_and_its_key_is_nowhere(made: Authority) -> None:
    signer, root = chain_of(made)

    signer.verify_directly_issued_by(root)
    key = serialization.load_pem_private_key(made.key.read_bytes(), None)
    assert key.public_key() == signer.public_key() != root.public_key()
    assert sum(path.read_bytes().count(b"PRIVATE KEY-----") for path in made.directory.iterdir()) == 2  # begin and end


def test_an_authority_lasts_two_years(made: Authority) -> None:
    for certificate in chain_of(made):
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == datetime.timedelta(days=730)
        assert certificate.not_valid_before_utc < datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)


@posix
def test_nobody_else_can_read_the_key(made: Authority) -> None:
    assert (mode(made.directory), mode(made.key)) == (0o700, 0o600)


def test_the_certificate_file_holds_no_key(made: Authority) -> None:
    assert b"PRIVATE" not in made.certificate.read_bytes()


def test_mitmproxy_finds_the_authority_in_its_confdir(made: Authority) -> None:
    store = CertStore.from_store(made.directory, BASENAME, KEY_SIZE)

    assert [certificate.to_cryptography() for certificate in store.default_chain_certs] == chain_of(made)
    assert made.certificate.read_bytes() == made.root().public_bytes(serialization.Encoding.PEM)


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


def test_without_hard_links_files_are_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        (b"".join(key_and_certificate(9)).replace(b"RSA PRIVATE", b"EC PRIVATE"), "no key and certificate"),
    ],
    ids=["empty", "nonsense", "only a key", "only a certificate", "two halves of two", "a key of another kind"],
)
def test_a_broken_key_file_is_reported_with_what_to_do(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "mitmproxy-ca.pem").write_bytes(content)

    with pytest.raises(AuthorityError, match=f"mitmproxy-ca.pem .*{said}.*Move it away"):
        Authority.open(tmp_path)


def test_a_directory_that_cannot_be_made_is_reported_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(AuthorityError, match=r"cannot be used: .*file/authority"):
        Authority.open(tmp_path / "file" / "authority")


@posix
@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root writes anywhere")
def test_a_directory_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    with pytest.raises(AuthorityError, match="Permission denied"):
        Authority.open(tmp_path)


def old_keys(authority: Authority) -> list[bytes]:
    return [path.read_bytes() for path in authority.old.iterdir()] if authority.old.exists() else []


def test_an_authority_for_all_hosts_is_replaced_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    unlimited = b"".join(key_and_certificate(3000))
    (tmp_path / "mitmproxy-ca.pem").write_bytes(unlimited)

    authority = Authority.open(tmp_path)

    (kept,) = authority.old.iterdir()
    assert kept.read_bytes() == unlimited
    assert kept.name.startswith(f"{datetime.datetime.now(datetime.UTC):%Y-}")
    assert len(chain_of(authority)) == 2
    assert "it could sign for every host" in caplog.text
    assert f"must be told to trust the new, {authority.certificate}" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


@posix
def test_rotation_keeps_the_modes_of_files_and_folders(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Authority.open(tmp_path).rotate()

    authority = Authority.open(tmp_path)

    assert [mode(path) for path in (tmp_path, authority.old, *authority.old.iterdir(), authority.key)] == [
        0o700,
        0o700,
        0o600,
        0o600,
    ]


def moved_in(tmp_path: Path, hosts: tuple[str, ...]) -> Path:
    """Put an authority for some hosts where the one for OpenAI's own belongs."""
    other = Authority.open(tmp_path / "other", hosts)
    place = tmp_path / "place"
    place.mkdir()
    (place / other.key.name).write_bytes(other.key.read_bytes())
    return place


def test_an_authority_limited_to_other_hosts_is_replaced_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = moved_in(tmp_path, ("a.example",))
    before = (place / "mitmproxy-ca.pem").read_bytes()

    authority = Authority.open(place)

    assert old_keys(authority) == [before]
    assert "it was limited to a.example, and the hosts are api.openai.com" in caplog.text


def test_an_authority_near_its_end_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("auth.certificates.authority.LIFETIME", datetime.timedelta(days=31))
    monkeypatch.setattr("auth.certificates.authority.RENEWED_BEFORE_END", datetime.timedelta(0))
    before = Authority.open(tmp_path).key.read_bytes()
    monkeypatch.undo()

    authority = Authority.open(tmp_path)

    assert old_keys(authority) == [before]
    assert "its end is near or past" in caplog.text


def test_an_authority_not_yet_near_its_end_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth.certificates.authority.LIFETIME", datetime.timedelta(days=34))
    before = Authority.open(tmp_path).key.read_bytes()
    monkeypatch.undo()

    authority = Authority.open(tmp_path)

    assert (authority.key.read_bytes(), old_keys(authority)) == (before, [])


def test_a_limited_authority_without_its_root_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority.open(tmp_path)
    without_root = authority.key.read_bytes().removesuffix(authority.certificate.read_bytes())
    authority.key.write_bytes(without_root)

    Authority.open(tmp_path)

    assert old_keys(authority) == [without_root]
    assert "not those that Understudy makes" in caplog.text


def test_a_signer_with_the_root_of_another_is_replaced(tmp_path: Path) -> None:
    authority, other = Authority.open(tmp_path / "a"), Authority.open(tmp_path / "b")
    mixed = authority.key.read_bytes().removesuffix(authority.certificate.read_bytes()) + other.certificate.read_bytes()
    authority.key.write_bytes(mixed)

    Authority.open(tmp_path / "a")

    assert old_keys(authority) == [mixed]


def test_an_authority_that_somebody_else_made_is_not_touched(tmp_path: Path) -> None:
    CertStore.create_store(tmp_path, BASENAME, KEY_SIZE, organization="A company", cn="Its authority")
    before = (tmp_path / "mitmproxy-ca.pem").read_bytes()

    with pytest.raises(AuthorityError, match="Understudy did not make"):
        Authority.open(tmp_path)

    assert (tmp_path / "mitmproxy-ca.pem").read_bytes() == before


def test_processes_that_find_an_old_authority_at_once_agree_on_one_successor(tmp_path: Path) -> None:
    unlimited = b"".join(key_and_certificate(3000))
    (tmp_path / "mitmproxy-ca.pem").write_bytes(unlimited)

    with multiprocessing.get_context("spawn").Pool(3) as pool:
        seen = pool.map(open_in_another_process, [tmp_path] * 3, chunksize=1)

    assert len(set(seen)) == 1
    assert old_keys(Authority.at(tmp_path)) == [unlimited]


def test_a_process_that_waited_uses_the_authority_made_by_the_other(tmp_path: Path) -> None:
    before = Authority.open(tmp_path).key.read_bytes()

    chain = Authority.at(tmp_path)._replace()

    assert (Authority.at(tmp_path).key.read_bytes(), chain) == (before, chain_of(Authority.at(tmp_path)))
    assert old_keys(Authority.at(tmp_path)) == []


def test_a_certificate_written_during_a_rotation_is_put_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority.open(tmp_path)
    really = Authority._derive
    rotations = [authority.rotate]

    def derive(self: Authority, chain: list[x509.Certificate]) -> None:
        if rotations:
            rotations.pop()()  # by another process, between our reading and our writing
        really(self, chain)

    monkeypatch.setattr(Authority, "_derive", derive)

    Authority.open(tmp_path)

    assert authority.certificate.read_bytes() == authority.root().public_bytes(serialization.Encoding.PEM)


def test_the_key_is_there_at_every_moment_of_a_rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority.open(tmp_path)
    really, missing = Path.replace, []

    def replace(self: Path, target: Path) -> Path:
        missing.append(not authority.key.exists())
        done = really(self, target)
        missing.append(not authority.key.exists())
        return done

    monkeypatch.setattr(Path, "replace", replace)

    authority.rotate()

    assert missing
    assert not any(missing)


def test_rotating_makes_another_key_and_another_root(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority.open(tmp_path)
    before, root = authority.key.read_bytes(), authority.root()

    authority.rotate()

    assert old_keys(authority) == [before]
    assert authority.root().subject != root.subject
    assert authority.certificate.read_bytes() == authority.root().public_bytes(serialization.Encoding.PEM)
    assert "was replaced, as was asked for" in caplog.text


def test_rotating_replaces_what_cannot_even_be_read(tmp_path: Path) -> None:
    (tmp_path / "mitmproxy-ca.pem").write_bytes(b"not a key")

    Authority.at(tmp_path).rotate()

    assert old_keys(Authority.open(tmp_path)) == [b"not a key"]


def test_rotating_what_is_not_there_makes_it(tmp_path: Path) -> None:
    authority = Authority.at(tmp_path / "new")

    authority.rotate()

    assert Authority.open(tmp_path / "new") == authority
    assert old_keys(authority) == []


def test_other_hosts_have_an_authority_of_their_own_beside_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first = Authority.open(tmp_path)
    before = first.key.read_bytes()

    second = Authority.open(tmp_path, ("api.openai.com", "*.example.com"))

    assert second.directory == tmp_path / "for-api.openai.com+example.com"
    assert extension(chain_of(second)[0], x509.NameConstraints)[0].permitted_subtrees == [
        x509.DNSName("api.openai.com"),
        x509.DNSName("example.com"),
    ]
    assert (first.key.read_bytes(), old_keys(first)) == (before, [])
    assert f"({tmp_path}) must be told to trust this one too" in caplog.text


def test_the_order_and_number_of_hosts_do_not_matter(tmp_path: Path) -> None:
    hosts = ("b.example", "a.example", "*.a.example")

    assert Authority.at(tmp_path, hosts) == Authority.at(tmp_path, ("a.example", "b.example"))


def test_many_hosts_still_have_a_folder_that_a_file_system_takes(tmp_path: Path) -> None:
    many = tuple(f"host-{number}.{'x' * 60}.example" for number in range(50))

    folders = {Authority.at(tmp_path, many[:end]).directory.name for end in (48, 49, 50)}

    assert len(folders) == 3
    assert max(map(len, folders)) < 128


@pytest.mark.parametrize("hosts", [("api.openai.com", "*.com"), ("10.0.0.5",), ()], ids=["a TLD", "no name", "none"])
def test_hosts_that_no_authority_can_be_limited_to_are_refused(tmp_path: Path, hosts: tuple[str, ...]) -> None:
    with pytest.raises(AuthorityError, match=r"'\*\.com' would permit|must be limited to at least one host"):
        Authority.open(tmp_path, hosts)

    assert list(tmp_path.iterdir()) == []


def test_an_address_among_the_hosts_is_said_not_to_be_trusted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    authority = Authority.open(tmp_path, ("api.openai.com", "10.0.0.5"))

    assert authority.directory == tmp_path
    assert "no app will trust https://10.0.0.5" in caplog.text


def test_a_lock_that_is_never_released_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth.certificates.authority.LOCK_S", 0.01)
    authority = Authority.open(tmp_path)

    with FileLock(tmp_path / ".lock"), pytest.raises(AuthorityError, match="lock"):
        authority.rotate()
