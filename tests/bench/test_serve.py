import pytest

from bench.errors import BenchError
from bench.serve import Load, read_wrk

SAID = """\
Running 1s test @ http://127.0.0.1:8000
  Latency Distribution
     50%  812.00us
     75%    1.10ms
     90%    2.00ms
     99%    1.25s
  1234 requests in 1.00s, 5.00MB read
  Non-2xx or 3xx responses: 3
Requests/sec:   1234.56
Transfer/sec:      5.00MB
"""


def test_what_wrk_prints_is_read_in_milliseconds() -> None:
    assert read_wrk(SAID) == Load(1234.56, 0.812, 1250.0, 3)
    assert read_wrk(SAID.replace("1.25s", "1.25s ")) == read_wrk(SAID)  # so that columns are as wide as with ms
    assert read_wrk(SAID.replace("  Non-2xx or 3xx responses: 3\n", "")).failed == 0


def test_a_run_without_figures_is_an_error() -> None:
    with pytest.raises(BenchError, match="no speed"):
        read_wrk("unable to connect")
