"""What the doctor reads of the kernel's tables."""

from __future__ import annotations

import pytest

from gateway.doctor.openers import Holder
from gateway.doctor.ports import ending_of, kernel_consoles
from gateway.doctor.sshd import Limits, limits_of


def test_the_kernels_consoles_are_read_from_its_table() -> None:
    table = "ttyS0                -W- (EC p a)    4:64\ntty0                 -WU (E  p  )    4:1\n"
    assert kernel_consoles(table) == {"ttyS0", "tty0"}
    assert kernel_consoles("") == set()


@pytest.mark.parametrize(
    ("command", "unit", "fix"),
    [
        ("agetty", "serial-getty@ttyAMA0.service", "to have a board there: systemctl mask --now serial-getty@ttyAMA0.service"),
        ("gpsd", "gpsd.service", "end it: systemctl stop gpsd.service"),
        ("picocom", "", "end it: kill 812"),
    ],
)
def test_a_service_is_ended_as_one_so_that_it_does_not_come_back(command: str, unit: str, fix: str) -> None:
    assert ending_of(Holder("/dev/ttyAMA0", 812, command, unit)) == fix


LISTENER = "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups \n"


@pytest.mark.parametrize(
    ("said", "limits"),
    [
        (
            f"{LISTENER}maxstartups 2:30:100\nmaxsessions 10\nclientaliveinterval 0\n",
            Limits(10, 0),
        ),  # the file was changed and not read yet
        ("maxstartups 2:30:100\nclientaliveinterval 15\n", Limits(2, 15)),
        (LISTENER, Limits(10, None)),
        ("This account is for git only.\n", Limits()),
        ("", Limits()),
    ],
)
def test_what_sshd_allows_is_read_from_whatever_it_tells(said: str, limits: Limits) -> None:
    assert limits_of(said) == limits
