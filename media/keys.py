"""The SRTP keys of one peer in the forms its worker uses them: what SET_KEYS carries."""

from media.aead import SALT_BYTES, AeadContext, derive_session_keys
from media.srtp import SrtpDirection, SrtpProfile, SrtpSession


class PeerKeys:
    """Both directions of one peer, from the master keys DTLS agreed on (each with its salt behind it).

    RTP to the peer is protected by OpenSSL directly where the profile allows it (`media.aead`); all else by libsrtp.

    *Owns*: the native contexts, until `close`; that must wait until the worker has let go of them.
    """

    def __init__(self, profile: SrtpProfile, remote: bytes, local: bytes) -> None:
        key_bytes = profile.key_bytes
        self.receive = SrtpSession(profile, remote[:key_bytes], remote[key_bytes:], SrtpDirection.INBOUND)
        # Repeats: a subscriber without RTX gets lost packets again under their own number.
        self.send = SrtpSession(
            profile, local[:key_bytes], local[key_bytes:], SrtpDirection.OUTBOUND, allow_repeat_tx=True
        )
        self.aead: AeadContext | None = None
        if profile is SrtpProfile.AEAD_AES_128_GCM:
            self.aead = AeadContext(*derive_session_keys(local[:key_bytes], local[key_bytes:]))

    @property
    def values(self) -> tuple[int, int, int]:
        """The values of SET_KEYS."""
        return self.receive.address, self.send.address, self.aead.address if self.aead is not None else 0

    @property
    def blob(self) -> bytes:
        """The blob of SET_KEYS."""
        return self.aead.salt if self.aead is not None else bytes(SALT_BYTES)

    def close(self) -> None:
        """Free everything now. Idempotent."""
        self.receive.close()
        self.send.close()
        if self.aead is not None:
            self.aead.close()
