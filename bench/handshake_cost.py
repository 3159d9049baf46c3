"""What one DTLS handshake costs the server, in CPU time of the thread that does it: `python -m bench.handshake_cost`.

Both sides run in one thread without a network; only the server's calls are counted, its `DtlsTransport` included.
"""

import sys
import time
from dataclasses import dataclass

from relay.certificate import Certificate
from relay.dtls import DtlsConnected, DtlsRole, DtlsTransport, Fingerprint


@dataclass(slots=True)
class _Stopwatch:
    """Adds up the CPU time of this thread inside its `with` blocks."""

    total_ns: int = 0
    started_ns: int = 0

    def __enter__(self) -> None:
        self.started_ns = time.thread_time_ns()

    def __exit__(self, *_: object) -> None:
        self.total_ns += time.thread_time_ns() - self.started_ns


def measure_handshake_cpu_ns(handshakes: int, server_role: DtlsRole) -> float:
    """Return the mean CPU time of the server's part of a handshake."""
    server_certificate, client_certificate = Certificate.generate(), Certificate.generate()
    server_announced = [Fingerprint("sha-256", server_certificate.fingerprint())]
    client_announced = [Fingerprint("sha-256", client_certificate.fingerprint())]
    client_role = DtlsRole.CLIENT if server_role is DtlsRole.SERVER else DtlsRole.SERVER
    stopwatch = _Stopwatch()
    for _ in range(handshakes):
        client = DtlsTransport(client_certificate, client_role, server_announced)
        with stopwatch:
            server = DtlsTransport(server_certificate, server_role, client_announced)
            server.start(0)
            flight = server.datagrams_to_send()
        client.start(0)
        while True:
            for datagram in flight:
                client.receive_datagram(datagram, 0)
            flight = client.datagrams_to_send()
            if not flight:
                break
            with stopwatch:
                for datagram in flight:
                    server.receive_datagram(datagram, 0)
                flight = server.datagrams_to_send()
        with stopwatch:
            event = server.next_event()
        assert isinstance(event, DtlsConnected)
        with stopwatch:
            server.close()
    return stopwatch.total_ns / handshakes


def main() -> None:
    """Print the cost in both roles."""
    measure_handshake_cpu_ns(20, DtlsRole.SERVER)  # contexts, caches, frequency
    for role in DtlsRole:
        cost_ns = measure_handshake_cpu_ns(1000, role)
        sys.stdout.write(f"relay as DTLS {role.value}: {cost_ns / 1e6:.3f} ms of CPU per handshake\n")


if __name__ == "__main__":
    main()
