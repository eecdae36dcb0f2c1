import threading

from slates.circuit import Circuit


class Clock:
    now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def test_a_circuit_that_never_failed_lets_everybody_through() -> None:
    circuit = Circuit()
    assert [circuit.lets_through() for _ in range(3)] == [True, True, True]


def test_after_a_failure_one_caller_a_pause_may_try() -> None:
    clock = Clock()
    circuit = Circuit(pause_s=1.0, clock=clock)
    circuit.failed()
    clock.now_s += 0.9
    assert not circuit.lets_through()
    clock.now_s += 0.1
    assert [circuit.lets_through() for _ in range(3)] == [True, False, False]
    clock.now_s += 1.0
    assert [circuit.lets_through() for _ in range(3)] == [True, False, False]


def test_a_success_lets_everybody_through_again() -> None:
    circuit = Circuit(pause_s=1.0, clock=Clock())
    circuit.failed()
    circuit.worked()
    assert [circuit.lets_through() for _ in range(3)] == [True, True, True]


def test_while_somebody_watches_nobody_else_tries() -> None:
    clock = Clock()
    circuit = Circuit(pause_s=1.0, clock=clock)
    watched = threading.Event(), threading.Event()

    def watch() -> None:
        circuit.watch()
        circuit.failed()
        watched[0].set()
        assert watched[1].wait(10)
        assert circuit.lets_through()  # at any time

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert watched[0].wait(10)
    clock.now_s += 9.9
    assert not circuit.lets_through()
    clock.now_s += 0.1  # the watcher has not called for ten seconds: it is gone
    assert [circuit.lets_through() for _ in range(2)] == [True, False]
    watched[1].set()
    watcher.join()
    circuit.worked()
    assert circuit.lets_through()
