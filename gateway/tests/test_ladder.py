"""The stop ladder goes up one rung at a time, and never while another run lives on the board."""

from __future__ import annotations

from gateway.devices.ladder import PATIENT_SESSIONS, REPEAT_STOP_S, STEP_DEADLINE_S, STOP_MARGIN_S, Rung, StopOrder, next_rung

BOTH = frozenset({Rung.RESET, Rung.POWER_CYCLE})


def climb(
    order: StopOrder, until: float, *, has_session: bool = True, is_alone: bool = True, hooks: frozenset[Rung] = BOTH
) -> list[tuple[float, Rung]]:
    """What a shell would do from now 0 to until, with nothing ever answering."""
    now, steps = 0.0, []
    while now <= until:
        rung, ask_again = next_rung(order, now, has_session=has_session, is_alone=is_alone, hooks=hooks)
        if rung is None:
            if ask_again is None:
                break
            now = ask_again
            continue
        steps.append((now, rung))
        if rung is Rung.STOP:
            order.sent(now)
        else:
            order.climbed.append(rung)
            order.climbed_at = now
    return steps


def test_a_board_that_answers_nothing_goes_through_every_rung() -> None:
    first = 30 + STOP_MARGIN_S
    assert climb(StopOrder(0.0, 30.0), until=first + 3 * STEP_DEADLINE_S) == [
        (0.0, Rung.STOP),
        (first, Rung.REBOOT),
        (first + STEP_DEADLINE_S, Rung.RESET),
        (first + 2 * STEP_DEADLINE_S, Rung.POWER_CYCLE),
        (first + 3 * STEP_DEADLINE_S, Rung.DIRTY),
    ]


def test_without_hooks_a_board_is_dirty_after_reboot_and_stop_is_repeated() -> None:
    steps = climb(StopOrder(0.0, 0.0), until=60, hooks=frozenset())
    assert [rung for _, rung in steps] == [Rung.STOP, Rung.REBOOT, Rung.DIRTY, *[Rung.STOP] * (len(steps) - 3)]
    assert steps[-1][0] - steps[-2][0] == REPEAT_STOP_S


def test_other_runs_on_the_board_keep_the_ladder_on_its_first_rung() -> None:
    steps = climb(StopOrder(0.0, 1.0), until=45, is_alone=False)
    assert {rung for _, rung in steps} == {Rung.STOP}
    assert len(steps) > 2


def test_a_pulled_cable_without_hooks_waits_for_the_device() -> None:
    assert climb(StopOrder(0.0, 1.0), until=1000, has_session=False, hooks=frozenset()) == []


def test_a_hook_works_while_the_cable_is_out() -> None:
    steps = climb(StopOrder(0.0, 1.0), until=60, has_session=False, hooks=frozenset({Rung.POWER_CYCLE}))
    assert [rung for _, rung in steps] == [Rung.POWER_CYCLE, Rung.DIRTY]


def test_grace_only_shrinks_and_stop_is_sent_again() -> None:
    order = StopOrder(0.0, 30.0, stop_sent_at=0.0)
    assert not order.shorten(60.0, now=1.0)
    assert order.shorten(2.0, now=5.0)
    assert next_rung(order, 5.0, has_session=True, is_alone=True, hooks=BOTH) == (Rung.STOP, None)
    assert order.remaining_grace_s(6.0) == 1.0


def test_a_stop_that_goes_out_after_the_grace_has_its_margin() -> None:
    order = StopOrder(0.0, 1.0)
    assert next_rung(order, 500.0, has_session=True, is_alone=True, hooks=BOTH) == (Rung.STOP, None)
    order.sent(500.0)
    assert next_rung(order, 500.5, has_session=True, is_alone=True, hooks=BOTH) == (None, 500.0 + STOP_MARGIN_S)
    assert next_rung(order, 500.0 + STOP_MARGIN_S, has_session=True, is_alone=True, hooks=BOTH) == (Rung.REBOOT, None)


def test_a_flapping_cable_does_not_keep_the_hooks_away() -> None:
    order = StopOrder(0.0, 0.0)
    for session in range(PATIENT_SESSIONS):
        order.ask_again()
        assert next_rung(order, session, has_session=True, is_alone=True, hooks=BOTH) == (Rung.STOP, None)
        order.sent(session)
    order.ask_again()
    lost_at = session + STOP_MARGIN_S
    assert next_rung(order, lost_at, has_session=False, is_alone=True, hooks=BOTH) == (Rung.RESET, None)
    order.sent(lost_at)
    assert next_rung(order, lost_at, has_session=True, is_alone=True, hooks=BOTH) == (Rung.REBOOT, None)
