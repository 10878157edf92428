"""What may stand below `link: {ssh: ...}`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from transports.driver import BadOption, DurationS
from transports.ssh_options import JumpOptions, SshOptions, hops

USUAL = SshOptions(host="rack2.lab", user="wirelet", identity_file="/etc/wirelet/id", known_hosts="/etc/wirelet/known_hosts")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("host", "rack 2"),
        ("host", "root@rack2"),
        ("user", "-oProxyCommand=reboot"),
        ("user", ""),
        ("port", 0),
        ("port", 65536),
        ("command", "  "),
        ("command", "x" * 5000),
        ("keepalive", DurationS(0.5)),
        ("keepalive", DurationS(301)),
    ],
)
def test_an_impossible_value_is_told_with_its_option(option: str, value: Any) -> None:
    with pytest.raises(BadOption) as caught:
        replace(USUAL, **{option: value})
    assert caught.value.option == option


def test_there_is_no_login_without_a_key() -> None:
    with pytest.raises(ValueError, match="needs identityFile, or agent"):
        replace(USUAL, identity_file=None)
    assert replace(USUAL, identity_file=None, agent="env").agent == "env"


def test_a_jump_host_takes_from_the_target_what_it_does_not_say() -> None:
    jump, target = hops(replace(USUAL, jump=JumpOptions(host="gate", user="jump", port=2222)))
    assert (jump.host, jump.port, jump.user, jump.identity_file, jump.known_hosts) == (
        "gate",
        2222,
        "jump",
        "/etc/wirelet/id",
        "/etc/wirelet/known_hosts",
    )
    assert target.name == "ssh://wirelet@rack2.lab"
    (own,) = hops(USUAL)
    assert own == target


def test_a_name_has_what_tells_two_targets_apart() -> None:
    (target,) = hops(replace(USUAL, host="fe80::1", port=2022))
    assert target.name == "ssh://wirelet@[fe80::1]:2022"
    assert target.known_as == "[fe80::1]:2022"
