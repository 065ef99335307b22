"""Whether hooks could be heard: the time since the server began, the clock was set or the machine slept."""

from __future__ import annotations

from server.diagnosis.listening import Listening


class Clocks:
    """A steady clock and one on the wall, moved by the test."""

    def __init__(self) -> None:
        self.steady, self.wall = 100.0, 1_790_000_000.0
        self.listening = Listening(90, lambda: self.steady, lambda: self.wall)

    def go_on(self, seconds: float, jump: float = 0.0) -> None:
        """Lets time pass; the clock on the wall also jumps."""
        self.steady += seconds
        self.wall += seconds + jump


def test_a_server_listens_for_a_while_before_silence_counts() -> None:
    clocks = Clocks()
    assert clocks.listening.unbroken()
    clocks.go_on(89)
    assert not clocks.listening.long_enough()
    clocks.go_on(2)
    assert clocks.listening.unbroken()
    assert clocks.listening.long_enough()


def test_a_clock_that_was_set_or_a_machine_that_slept_begins_anew() -> None:
    for jump in (3_600, -3_600):
        clocks = Clocks()
        clocks.go_on(91, jump=jump)
        assert not clocks.listening.unbroken()
        assert not clocks.listening.long_enough()
        clocks.go_on(91)
        assert clocks.listening.unbroken()
        assert clocks.listening.long_enough()
