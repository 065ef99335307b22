"""The bus: what reaches whom, what is merged, and that nobody waits for a slow reader."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from server.live import MAX_WAITING, Change, Live, Subscription


def play(scene: Coroutine[Any, Any, None]) -> None:
    """Runs a scene in a thread of its own: the browser tests leave a running loop in the main one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, scene).result()


async def take(subscription: Subscription, count: int) -> list[Change]:
    return [await asyncio.wait_for(anext(subscription), 5) for _ in range(count)]


def test_a_change_reaches_the_run_and_all_but_no_other_run() -> None:
    async def scene() -> None:
        live = Live()
        with live.subscribe("a") as one, live.subscribe(None) as everything, live.subscribe("b") as other:
            live.publish("a", "data", 3)
            assert await take(one, 1) == await take(everything, 1) == [Change("a", "data", 3)]
            live.publish("b", "data", 9)
            assert await take(other, 1) == [Change("b", "data", 9)]

    play(scene())


def test_what_waits_is_merged_to_the_newest_of_each_kind() -> None:
    async def scene() -> None:
        live = Live()
        with live.subscribe("a") as changes:
            for step in range(1_000):
                live.publish("a", "data", step)
            live.publish("a", "findings", 999)
            assert await take(changes, 2) == [Change("a", "data", 999), Change("a", "findings", 999)]

    play(scene())


def test_it_wakes_a_reader_from_another_thread() -> None:
    async def scene() -> None:
        live = Live()
        with live.subscribe("a") as changes:
            waiting = asyncio.create_task(anext(changes))
            await asyncio.sleep(0)
            await asyncio.to_thread(live.publish, "a", "state", 5)
            assert await asyncio.wait_for(waiting, 5) == Change("a", "state", 5)

    play(scene())


def test_changes_are_handed_on_at_most_once_a_pause() -> None:
    async def scene() -> None:
        live = Live()
        loop = asyncio.get_running_loop()
        with live.subscribe("a", pause_s=0.1) as changes:
            live.publish("a", "data", 1)
            await take(changes, 1)
            begun = loop.time()
            live.publish("a", "data", 2)
            await take(changes, 1)
            assert loop.time() - begun >= 0.09

    play(scene())


def test_a_reader_that_lets_too_much_wait_is_ended() -> None:
    async def scene() -> None:
        live = Live()
        with live.subscribe(None) as changes:
            for number in range(MAX_WAITING + 1):
                live.publish(f"run-{number}", "data", 0)
            assert live.listeners == 0
            assert [change async for change in changes] == []

    play(scene())


def test_close_ends_every_reader_and_those_that_come_later() -> None:
    async def scene() -> None:
        live = Live()
        with live.subscribe("a") as changes:
            waiting = asyncio.create_task(_collect(changes))
            await asyncio.sleep(0)
            live.close()
            assert await asyncio.wait_for(waiting, 5) == []
        with live.subscribe("a") as later:
            assert await asyncio.wait_for(_collect(later), 5) == []

    play(scene())


def test_a_reader_that_leaves_is_forgotten() -> None:
    async def scene() -> None:
        live = Live()
        with live.subscribe("a"):
            assert live.listeners == 1
        assert live.listeners == 0

    play(scene())


def test_publishing_goes_on_when_the_loop_of_a_reader_is_gone() -> None:
    live = Live()

    async def leave_without_saying() -> None:
        live.subscribe("a")

    thread = threading.Thread(target=lambda: asyncio.run(leave_without_saying()))
    thread.start()
    thread.join()
    live.publish("a", "data", 1)
    assert live.listeners == 0


async def _collect(subscription: Subscription) -> list[Change]:
    return [change async for change in subscription]


def test_where_changes_were_lost_every_reader_is_sent_back_and_may_come_again() -> None:
    async def scene() -> None:
        live = Live()
        with live.subscribe("a") as one:
            live.renew()
            with pytest.raises(StopAsyncIteration):
                await asyncio.wait_for(anext(one), 5)
        with live.subscribe("a") as again:
            live.publish("a", "data", 4)
            assert await take(again, 1) == [Change("a", "data", 4)]

    play(scene())
