"""A gateway and the modem lines: boards whose reset pin hangs on them run on whatever happens to the gateway."""

from __future__ import annotations

from guest.ft232 import Lines, Opened
from guest.gateway import assert_counted, await_more, counter, is_running, serial_boards
from guest.stand import Stand


def test_a_gateway_that_comes_and_goes_resets_no_board(stand: Stand) -> None:
    adapter = stand.ft232("W2001")
    adapter.board("board-a", has_auto_reset=True)
    adapter.await_plugged()
    adapter.happened()
    gateway = stand.gateway(serial_boards(adapter.by_id), counter("counter"))
    before = gateway.await_pod("counter", is_running)
    happened = [happening for happening in adapter.happened() if isinstance(happening, Opened | Lines)]
    assert happened[:2] == [Opened(), Lines(dtr=True, rts=True)]

    gateway.close()
    gateway.start()
    after = gateway.await_pod("counter", is_running)

    assert (after["uid"], after["restarts"]) == (before["uid"], 0)
    assert adapter.boots() == []


def test_same_pod_and_log_after_an_ft232_was_pulled(stand: Stand) -> None:
    adapter = stand.ft232("W2002")
    adapter.board("board-a")
    adapter.await_plugged()
    gateway = stand.gateway(serial_boards(adapter.by_id), counter("counter"))
    before = gateway.await_pod("counter", is_running)
    log = gateway.follow_log("counter")
    log.wait_for("\n20\n")

    adapter.unplug()
    adapter.await_unplugged()
    gateway.await_device("board-0", "Disconnected")
    adapter.plug()
    adapter.await_plugged()
    after = gateway.await_pod("counter", is_running)
    await_more(log)

    assert (after["uid"], after["restarts"]) == (before["uid"], 0)
    assert_counted(log.output)


def test_two_adapters_without_serial_numbers_are_told_apart_by_their_ports(stand: Stand) -> None:
    adapters = [stand.ft232(""), stand.ft232("")]
    for adapter, name in zip(adapters, ("board-a", "board-b"), strict=True):
        adapter.board(name)
    before = [adapter.await_plugged() for adapter in adapters]
    gateway = stand.gateway(serial_boards(*(adapter.by_path for adapter in adapters)), counter("on-a", 0), counter("on-b", 1))
    pods = [gateway.await_pod(name, is_running) for name in ("on-a", "on-b")]

    for adapter in adapters:
        adapter.unplug()
        adapter.await_unplugged()
    gateway.await_device("board-0", "Disconnected")
    gateway.await_device("board-1", "Disconnected")
    for adapter in reversed(adapters):
        adapter.plug()
        adapter.await_plugged()

    assert [adapter.await_plugged() for adapter in adapters] == before[::-1]
    after = [gateway.await_pod(name, is_running) for name in ("on-a", "on-b")]
    assert [(pod["uid"], pod["restarts"]) for pod in after] == [(pod["uid"], 0) for pod in pods]
