"""The measurement of the handshake's cost."""

import pytest

from bench.handshake_cost import measure_handshake_cpu_ns
from relay.dtls import DtlsRole


@pytest.mark.parametrize("role", DtlsRole)
def test_measure_counts_the_servers_side_of_real_handshakes(role):
    assert 10_000 < measure_handshake_cpu_ns(5, role) < 100_000_000
