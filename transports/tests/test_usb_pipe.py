"""Opening, claiming, stalls and losses, in the order in which a device sees them."""

from __future__ import annotations

import errno
import threading
from array import array
from dataclasses import replace

import pytest

from transports import usb as door
from transports.errors import LinkBusy, LinkError, LinkLost, LinkNotFound, LinkPermissionDenied, LinkTimeout
from transports.tests.fake_libusb import IN, OUT, WIRELET, FakeDevice, FakeLibusb, usb_error
from transports.usb import BulkPipe, open_error, pipe_of
from transports.usb_bursts import TRANSFER_BYTES
from transports.usb_lane import MAX_STALLS


def opened(device: FakeDevice) -> BulkPipe:
    return pipe_of(FakeLibusb(device), "board")


def read(pipe: BulkPipe) -> bytes:
    """What one transfer brings, which may be nothing."""
    if pipe.can_read:
        pipe.begin_read(array("B", bytes(TRANSFER_BYTES)))
    while True:
        pipe.wait()
        for buffer, count in pipe.received():
            return bytes(buffer[:count])


def write(device: FakeDevice, pipe: BulkPipe, data: bytes) -> None:
    """Until the device has it."""
    pipe.begin_write(memoryview(data))
    while data not in device.out_transfers:
        pipe.wait()
        pipe.look_at_written()


# -- opening


def test_the_interface_is_claimed_and_given_back() -> None:
    device = FakeDevice()
    opened(device).release()
    assert device.log == ["claim 0", "release 0", "close"]


def test_a_kernel_driver_gives_way_and_gets_its_interface_back() -> None:
    device = FakeDevice(kernel_drivers={0})
    opened(device).release()
    assert device.log == ["detach 0", "claim 0", "release 0", "attach 0", "close"]
    assert device.kernel_drivers == {0}


def test_a_kernel_driver_gets_its_interface_back_when_the_claim_fails() -> None:
    device = FakeDevice(kernel_drivers={0}, claimed={0})
    with pytest.raises(OSError, match="EBUSY"):
        opened(device)
    assert device.log == ["detach 0", "claim 0", "attach 0", "close"]


def test_another_alternate_setting_is_chosen_after_the_claim() -> None:
    device = FakeDevice(settings=(replace(WIRELET, endpoints=()), replace(WIRELET, alternate=1)))
    opened(device).release()
    assert device.log == ["claim 0", "alternate 0 1", "release 0", "close"]


def test_a_device_without_the_interface_is_left_alone() -> None:
    device = FakeDevice(settings=(replace(WIRELET, triple=(3, 0, 0)),))
    with pytest.raises(LinkError, match=r"^board: the device has no interface of class ff, subclass 57, protocol 01$"):
        opened(device)
    assert device.log == ["close"]


def test_a_device_that_gives_no_strings_is_no_matter_of_permission() -> None:
    """pyusb says "no langid (permission issue, ...)" for it."""
    with pytest.raises(LinkError, match=r"^board: interface 0 is '', not 'wirelet/1'$"):
        opened(FakeDevice(strings={}))


def test_a_device_that_has_just_come_is_waited_for() -> None:
    device = FakeDevice(is_configured=False)
    threading.Timer(0.05, setattr, (device, "is_configured", True)).start()
    opened(device).release()
    assert device.log == ["claim 0", "release 0", "close"]


def test_a_device_that_is_never_configured_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "SETTLE_S", 0)
    with pytest.raises(LinkNotFound, match=r"^board: the kernel has not configured the device$"):
        opened(FakeDevice(is_configured=False))


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (errno.EACCES, LinkPermissionDenied, "board: no permission to open the device"),
        (errno.EPERM, LinkPermissionDenied, "board: no permission to open the device"),
        (errno.EBUSY, LinkBusy, "board: another process or kernel driver holds the interface"),
        (errno.ENOENT, LinkNotFound, "board: the device is gone"),
        (errno.ENODEV, LinkNotFound, "board: the device is gone"),
        (errno.EIO, LinkNotFound, "board: the device is gone"),
        (errno.ETIMEDOUT, LinkTimeout, "board: the device does not answer"),
        (errno.ENOMEM, LinkError, "board: ENOMEM"),
    ],
)
def test_a_refusal_says_what_it_is(number: int, kind: type[LinkError], text: str) -> None:
    told = open_error("/no/such/node", "board", usb_error(number))
    assert type(told) is kind
    assert str(told) == text


# -- transfers


def test_a_burst_of_full_packets_ends_with_an_empty_one_that_is_no_data() -> None:
    device = FakeDevice()
    pipe = opened(device)
    device.say(bytes(1024))
    device.say(b"next")
    assert [len(read(pipe)), len(read(pipe))] == [1024, 4]


def test_full_packets_without_an_end_are_late_and_not_lost() -> None:
    """SPEC.md wants an empty packet after them; who forgets it waits for the time-out."""
    device = FakeDevice()
    pipe = opened(device)
    device.say(bytes(512), ends=False)
    assert len(read(pipe)) == 512


def test_silence_is_no_data() -> None:
    pipe = opened(FakeDevice())
    assert read(pipe) == b""


def test_a_stall_of_what_comes_is_cleared_and_gone_on_after() -> None:
    device = FakeDevice()
    pipe = opened(device)
    device.stall(IN)
    device.say(b"in")
    assert b"".join([read(pipe), read(pipe)]) == b"in"
    assert device.log == ["claim 0", f"clear {IN:02x}"]


def test_what_a_stall_ended_is_sent_again_in_its_order() -> None:
    device = FakeDevice()
    pipe = opened(device)
    device.stall(OUT)
    pipe.begin_write(memoryview(b"first"))
    write(device, pipe, b"second")
    assert device.out_transfers == [b"first", b"second"]
    assert device.log == ["claim 0", f"clear {OUT:02x}"]


def test_one_read_and_two_writes_are_under_way_and_no_more() -> None:
    pipe = opened(FakeDevice())
    pipe.begin_read(array("B", bytes(TRANSFER_BYTES)))
    assert not pipe.can_read
    pipe.begin_write(memoryview(b"first"))
    assert pipe.can_write
    pipe.begin_write(memoryview(b"second"))
    assert not pipe.can_write


def test_an_endpoint_that_stalls_for_ever_is_given_up() -> None:
    device = FakeDevice()
    pipe = opened(device)
    device.stall(OUT, times=1000)
    with pytest.raises(LinkLost, match=r"^board: stalled$"):
        write(device, pipe, b"x")
    assert device.log.count(f"clear {OUT:02x}") == MAX_STALLS


def test_what_came_before_the_loss_of_the_other_direction_is_there() -> None:
    device = FakeDevice()
    pipe = opened(device)
    pipe.begin_read(array("B", bytes(TRANSFER_BYTES)))
    device.say(bytes(512), ends=False)
    pipe.begin_write(memoryview(b"x"))
    pipe.wait()
    device.unplug()
    with pytest.raises(LinkLost):
        pipe.begin_write(memoryview(b"y"))
    assert [count for _, count in pipe.last()] == [512]


def test_what_the_transfer_of_an_unplug_brought_comes_once() -> None:
    device = FakeDevice()
    pipe = opened(device)
    pipe.begin_read(array("B", bytes(TRANSFER_BYTES)))
    device.say(bytes(512), ends=False)
    pipe.wake()
    pipe.wait()
    device.unplug()
    pipe.wait()
    received = pipe.received()
    assert next(received)[1] == 512
    with pytest.raises(LinkLost, match=r"^board: unplugged$"):
        next(received)
    assert list(pipe.last()) == []


def test_stalls_with_bytes_between_them_may_be_many() -> None:
    device = FakeDevice()
    pipe = opened(device)
    for _ in range(2 * MAX_STALLS):
        device.stall(IN)
        assert read(pipe) == b""
        device.say(b"still here")
        assert read(pipe) == b"still here"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENODEV, errno.ESHUTDOWN])
def test_every_word_for_an_unplug_is_the_same(number: int) -> None:
    device = FakeDevice()
    pipe = opened(device)
    device.unplug(number)
    with pytest.raises(LinkLost, match=r"^board: unplugged$"):
        read(pipe)
    with pytest.raises(LinkLost, match=r"^board: unplugged$"):
        write(device, pipe, b"x")
    pipe.release()


def test_a_device_that_goes_while_a_stall_is_cleared_is_unplugged(monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice()
    pipe = opened(device)
    device.stall(IN)

    def go(*_: object) -> None:
        raise usb_error(errno.ENODEV)

    monkeypatch.setattr(FakeLibusb, "clear_halt", go)
    with pytest.raises(LinkLost, match=r"^board: unplugged$"):
        read(pipe)


def test_an_error_that_nobody_knows_ends_the_link_with_its_words() -> None:
    device = FakeDevice()
    pipe = opened(device)
    device.unplug(errno.EOVERFLOW)
    with pytest.raises(LinkLost, match=r"^board: Value too large for defined data type$"):
        read(pipe)
