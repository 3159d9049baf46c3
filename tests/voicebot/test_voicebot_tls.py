"""``wss``: the server's certificate is checked."""

import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from scripted_server import welcome
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

import voicebot
from signaling.messages import encode_server


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate and its key for 127.0.0.1, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "relay.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@asynccontextmanager
async def open_tls_server(certificate: Path) -> AsyncIterator[str]:
    """Welcome whoever comes; yield the URL."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def greet(request: WebSocketRequest) -> None:
        websocket = await request.accept()
        await websocket.send_message(encode_server(welcome(1)))
        with pytest.raises(ConnectionClosed):
            await websocket.get_message()

    async def swallow_failed_handshakes(task_status: trio.TaskStatus) -> None:
        # trio-websocket lets a client that hangs up in its TLS handshake take the whole server down.
        try:
            await serve_websocket(greet, "127.0.0.1", 0, context, task_status=task_status)
        except* trio.BrokenResourceError:
            pass

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            server = await nursery.start(swallow_failed_handshakes)
            yield f"wss://127.0.0.1:{server.port}/ws"
            nursery.cancel_scope.cancel()


async def test_trusted_server_is_connected_to(certificate: Path) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    async with (
        open_tls_server(certificate) as url,
        voicebot.connect(url, ssl_context=trusting) as connection,
    ):
        assert connection.welcome == welcome(1)


async def test_untrusted_server_is_refused(certificate: Path) -> None:
    async with open_tls_server(certificate) as url:
        with pytest.raises(voicebot.ConnectError, match="certificate verify failed"):
            async with voicebot.connect(url):
                pytest.fail("trusted a stranger")
