"""The DTLS certificate: made, stored, loaded, named by its fingerprint."""

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from relay.certificate import DIGESTS, Certificate, Fingerprint, FingerprintVerifier
from relay.errors import LocalProtocolError, RemoteProtocolError

CERTIFICATE = Certificate.generate()


def pem_of(key, encryption=None):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


def test_generated_certificates_are_ecdsa_p256_and_differ():
    assert isinstance(CERTIFICATE.private_key.curve, ec.SECP256R1)
    assert CERTIFICATE.fingerprint() != Certificate.generate().fingerprint()


@pytest.mark.parametrize("algorithm", ["sha-256", "SHA-384", "sha-512"])
def test_fingerprint_is_the_digest_of_the_der_form(algorithm):
    der = CERTIFICATE.x509_certificate.public_bytes(serialization.Encoding.DER)
    digest = hashlib.new(algorithm.lower().replace("-", ""), der).hexdigest().upper()
    expected = ":".join(digest[at : at + 2] for at in range(0, len(digest), 2))
    assert CERTIFICATE.fingerprint(algorithm) == expected


@pytest.mark.parametrize("algorithm", ["sha-1", "md5", ""])
def test_fingerprint_refuses_weak_hashes(algorithm):
    with pytest.raises(LocalProtocolError, match="sha-256"):
        CERTIFICATE.fingerprint(algorithm)


def test_certificate_survives_files(tmp_path):
    certificate_path, key_path = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate_pem, key_pem = CERTIFICATE.to_pem()
    certificate_path.write_bytes(certificate_pem)
    key_path.write_bytes(key_pem)
    assert Certificate.from_pem_files(certificate_path, key_path).fingerprint() == CERTIFICATE.fingerprint()


def test_missing_file_is_named(tmp_path):
    with pytest.raises(LocalProtocolError, match=r"cannot read .*absent\.pem: No such file"):
        Certificate.from_pem_files(tmp_path / "absent.pem", tmp_path / "key.pem")


GOOD_CERTIFICATE, GOOD_KEY = CERTIFICATE.to_pem()


@pytest.mark.parametrize(
    ("certificate_pem", "key_pem", "message"),
    [
        (b"", GOOD_KEY, "the certificate is not PEM"),
        (GOOD_KEY, GOOD_KEY, "the certificate is not PEM"),
        (GOOD_CERTIFICATE.replace(b"M", b"?"), GOOD_KEY, "the certificate is not PEM"),
        (GOOD_CERTIFICATE, b"garbage", "the private key is not PEM"),
        (GOOD_CERTIFICATE, GOOD_CERTIFICATE, "the private key is not PEM"),
        (GOOD_CERTIFICATE, Certificate.generate().to_pem()[1], "do not belong together"),
        (GOOD_CERTIFICATE, pem_of(ed25519.Ed25519PrivateKey.generate()), "neither ECDSA nor RSA"),
        (
            GOOD_CERTIFICATE,
            pem_of(ec.generate_private_key(ec.SECP256R1()), serialization.BestAvailableEncryption(b"secret")),
            "is encrypted",
        ),
    ],
)
def test_bad_pem_is_said_to_be_bad(certificate_pem, key_pem, message):
    with pytest.raises(LocalProtocolError, match=message):
        Certificate.from_pem(certificate_pem, key_pem)


def self_signed(key):
    template = CERTIFICATE.x509_certificate
    builder = x509.CertificateBuilder(template.subject, template.subject, key.public_key(), 1)
    builder = builder.not_valid_before(template.not_valid_before_utc).not_valid_after(
        template.not_valid_after_utc
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_rsa_is_loaded_unless_it_is_weak():
    strong, weak = (rsa.generate_private_key(65537, bits) for bits in (2048, 1024))
    assert Certificate.from_pem(self_signed(strong), pem_of(strong)).fingerprint()
    with pytest.raises(LocalProtocolError, match="the RSA key has 1024 bits"):
        Certificate.from_pem(self_signed(weak), pem_of(weak))


def digest_of(certificate, algorithm):
    return certificate.x509_certificate.fingerprint(DIGESTS[algorithm])


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_verifier_accepts_the_announced_certificate_only(algorithm):
    value = CERTIFICATE.fingerprint(algorithm)
    for spelled in (Fingerprint(algorithm, value), Fingerprint(algorithm.upper(), value.lower())):
        verifier = FingerprintVerifier([spelled])
        assert verifier.algorithm == algorithm
        assert verifier.accepts(digest_of(CERTIFICATE, algorithm))
        assert not verifier.accepts(digest_of(Certificate.generate(), algorithm))
        assert not verifier.accepts(b"")


def test_verifier_goes_by_the_strongest_hash_announced():
    other = Certificate.generate()
    verifier = FingerprintVerifier(
        [
            Fingerprint("sha-1", "00"),
            Fingerprint("sha-256", CERTIFICATE.fingerprint()),
            Fingerprint("sha-384", other.fingerprint("sha-384")),
        ]
    )
    assert verifier.algorithm == "sha-384"
    assert verifier.accepts(digest_of(other, "sha-384"))
    assert not verifier.accepts(digest_of(CERTIFICATE, "sha-384"))


def test_verifier_accepts_any_of_several_of_one_hash():
    several = [Fingerprint("sha-256", one.fingerprint()) for one in (Certificate.generate(), CERTIFICATE)]
    assert FingerprintVerifier(several).accepts(digest_of(CERTIFICATE, "sha-256"))


@pytest.mark.parametrize(
    "fingerprints",
    [
        [],
        [Fingerprint("sha-1", ":".join(["AB"] * 20))],
        [Fingerprint("md5", ":".join(["AB"] * 16))],
        [Fingerprint("sha-256", "")],
        [Fingerprint("sha-256", CERTIFICATE.fingerprint()[:-3])],
        [Fingerprint("sha-256", CERTIFICATE.fingerprint().replace(":", ""))],
        [Fingerprint("sha-256", CERTIFICATE.fingerprint()[:-1] + "\N{SNOWMAN}")],
        [Fingerprint("sha-256", CERTIFICATE.fingerprint()), Fingerprint("sha-512", "no")],
    ],
)
def test_verifier_refuses_what_names_no_certificate(fingerprints):
    with pytest.raises(RemoteProtocolError) as caught:
        FingerprintVerifier(fingerprints)
    assert caught.value.code == "invalid_fingerprint"


@given(algorithm=st.text(max_size=10) | st.sampled_from([*DIGESTS]), value=st.text(max_size=120))
def test_verifier_has_one_error_for_any_text(algorithm, value):
    with pytest.raises(RemoteProtocolError):
        FingerprintVerifier([Fingerprint(algorithm, value)])
