"""The relay's DTLS certificate, and the fingerprints by which WebRTC names one (RFC 8122, RFC 8827 section 6.5).

One self-signed ECDSA P-256 certificate serves all peers; it is made at start, or loaded so that several nodes or
restarts share one. Nobody checks its names, dates or issuer: the fingerprint in the session description is the trust.

Not here: the TLS certificate of the web server.
"""

import datetime as dt
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from relay.errors import LocalProtocolError, RemoteProtocolError

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

# Strongest first: RFC 8122 section 5 has a verifier use the strongest that the peer gave. MD5 and SHA-1 are refused.
DIGESTS: Final[dict[str, hashes.HashAlgorithm]] = {
    "sha-512": hashes.SHA512(),
    "sha-384": hashes.SHA384(),
    "sha-256": hashes.SHA256(),
}
_VALIDITY: Final = dt.timedelta(days=3650)  # a relay may run for years; nothing verifies the dates
_CLOCK_SKEW: Final = dt.timedelta(days=1)
_MINIMUM_RSA_BITS: Final = 2048  # below it OpenSSL's security level 2 refuses to serve


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """An `a=fingerprint` attribute as it stands in a session description; not yet judged."""

    algorithm: str
    value: str


class FingerprintVerifier:
    """Decides whether a certificate is the one that a session description announced.

    Of the fingerprints given, those of the strongest hash function count, and one of them must match.
    Raises RemoteProtocolError("invalid_fingerprint") when there is none we accept or one of those is ill-formed.
    """

    def __init__(self, fingerprints: Sequence[Fingerprint]) -> None:
        for algorithm, digest in DIGESTS.items():
            values = [one.value for one in fingerprints if one.algorithm.lower() == algorithm]
            if values:
                self.algorithm = algorithm
                self._expected = [_parse_digest_untrusted(value, digest.digest_size) for value in values]
                return
        raise RemoteProtocolError(
            "invalid_fingerprint",
            f"a=fingerprint with one of {', '.join(DIGESTS)} is needed, found "
            f"{', '.join(repr(one.algorithm) for one in fingerprints) or 'none'}",
        )

    def accepts(self, digest: bytes) -> bool:
        """Whether this digest (by `algorithm`) of the presented certificate was announced."""
        return any(hmac.compare_digest(digest, expected) for expected in self._expected)


class Certificate:
    """A certificate and its private key, as `cryptography` objects that pyOpenSSL takes.

    Raises LocalProtocolError when the two do not belong together or DTLS cannot use them.
    """

    def __init__(self, x509_certificate: x509.Certificate, private_key: PrivateKey) -> None:
        try:
            belong_together = x509_certificate.public_key() == private_key.public_key()
        except (ValueError, UnsupportedAlgorithm) as error:
            raise LocalProtocolError(f"the certificate's public key cannot be used: {error}") from error
        if not belong_together:
            raise LocalProtocolError("the certificate and the private key do not belong together")
        if isinstance(private_key, rsa.RSAPrivateKey) and private_key.key_size < _MINIMUM_RSA_BITS:
            raise LocalProtocolError(
                f"the RSA key has {private_key.key_size} bits; use at least {_MINIMUM_RSA_BITS}, or better ECDSA P-256"
            )
        self.x509_certificate: Final = x509_certificate
        self.private_key: Final = private_key
        self._fingerprints: dict[str, str] = {}  # every answer needs one

    @classmethod
    def generate(cls) -> Self:
        """Make a self-signed ECDSA P-256 certificate with a random name."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, secrets.token_hex(8))])
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_SKEW)
            .not_valid_after(now + _VALIDITY)
        )
        return cls(builder.sign(key, hashes.SHA256()), key)

    @classmethod
    def from_pem(cls, certificate_pem: bytes, private_key_pem: bytes) -> Self:
        """Load from PEM text; of several certificates the first counts.

        Raises LocalProtocolError saying which of the two is wrong and what it should be.
        """
        try:
            certificate = x509.load_pem_x509_certificate(certificate_pem)
        except ValueError as error:
            raise LocalProtocolError(
                f"the certificate is not PEM; it should begin with '-----BEGIN CERTIFICATE-----' ({error})"
            ) from error
        try:
            key = serialization.load_pem_private_key(private_key_pem, password=None)
        except TypeError as error:
            raise LocalProtocolError("the private key is encrypted; store it without a passphrase") from error
        except ValueError as error:
            raise LocalProtocolError(
                f"the private key is not PEM; it should begin with '-----BEGIN PRIVATE KEY-----' ({error})"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise LocalProtocolError(
                "the private key is neither ECDSA nor RSA; WebRTC peers need ECDSA P-256"
            )
        return cls(certificate, key)

    @classmethod
    def from_pem_files(cls, certificate_path: Path, private_key_path: Path) -> Self:
        """Load from two PEM files. Raises LocalProtocolError as `from_pem`, and when a file cannot be read."""
        try:
            certificate_pem = certificate_path.read_bytes()
            private_key_pem = private_key_path.read_bytes()
        except OSError as error:
            raise LocalProtocolError(f"cannot read {error.filename}: {error.strerror}") from error
        return cls.from_pem(certificate_pem, private_key_pem)

    def to_pem(self) -> tuple[bytes, bytes]:
        """Return the certificate and the unencrypted private key as PEM text."""
        key_pem = self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self.x509_certificate.public_bytes(serialization.Encoding.PEM), key_pem

    def fingerprint(self, algorithm: str = "sha-256") -> str:
        """Return the fingerprint for `a=fingerprint`: upper-case hexadecimal octets with colons.

        Raises LocalProtocolError for a hash function other than those of `DIGESTS`.
        """
        name = algorithm.lower()
        if name not in self._fingerprints:
            if name not in DIGESTS:
                raise LocalProtocolError(f"no fingerprint by {algorithm!r}; use one of {', '.join(DIGESTS)}")
            self._fingerprints[name] = self.x509_certificate.fingerprint(DIGESTS[name]).hex(":").upper()
        return self._fingerprints[name]


def _parse_digest_untrusted(value: str, size_bytes: int) -> bytes:
    octets = value.split(":")
    try:
        digest = bytes.fromhex("".join(octets))
    except ValueError:
        digest = b""
    if len(digest) != size_bytes or len(octets) != size_bytes:
        raise RemoteProtocolError(
            "invalid_fingerprint",
            f"a=fingerprint must have {size_bytes} hexadecimal octets with colons between",
        )
    return digest
