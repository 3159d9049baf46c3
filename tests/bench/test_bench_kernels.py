"""`relay bench kernels`: every kernel and its twin do the same to the same packets, and are timed."""

import pytest
from typer.testing import CliRunner

from bench.__main__ import app
from bench.command import EXIT_FAILED, EXIT_USAGE
from bench.kernel_cases import open_cases
from bench.kernels import KernelsResult, KernelTime


def test_every_kernel_and_every_twin_gets_every_packet_and_every_frame_right():
    with open_cases() as cases:
        assert len(cases) == len({case.name for case in cases}) == 22
        for case in cases:
            for _ in range(2):  # the second goes on where the first ended
                assert case.kernel(100)() == 100 * case.per_round, case.name
                assert case.twin(10)() == 10 * case.per_round, case.name


def test_the_table_has_what_was_chosen(tmp_path):
    result = CliRunner().invoke(
        app,
        ["kernels", "--only", "parse_rtp", "--repeats", "1", "--plot", str(tmp_path / "plot.png")],
        env={"COLUMNS": "120"},
    )
    assert result.exit_code == 0, result.output
    assert "parse_rtp" in result.output
    assert "find_peer" not in result.output
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_ratio_is_that_of_the_two_times():
    result = KernelsResult({}, (KernelTime("x", 2.0, 300.0, 0.1),))
    assert result.table().rows == [("x", "2.0", "300", "[bold]150", "10%")]
    assert [(reading.name, reading.value) for reading in result.readings()] == [("x", 2.0)]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--repeats", "0"], EXIT_USAGE, "--repeats is 0; it must be between 1 and 1000"),
        (["--only", "opus"], EXIT_FAILED, "no kernel is named so"),
    ],
)
def test_kernels_refuses_what_it_cannot_do(arguments, code, told):
    result = CliRunner().invoke(app, ["kernels", *arguments])
    assert result.exit_code == code
    assert told in result.output
