"""The first steps are measured in full here too, however slow the machine."""

from __future__ import annotations

from tests.client_hook.conftest import measure_all_of_the_first_steps

__all__ = ["measure_all_of_the_first_steps"]
