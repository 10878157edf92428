"""The defences of the wire protocol, each with the edit that takes it away and the test that notices.

The edit is exact text that stands once in its file; so a defence that moves or is reworded has to be found again here.
"""

from __future__ import annotations

from dataclasses import dataclass

WIRE = "transports/wire/"
PROTOCOLS = "transports/protocols/"
STREAMS = "test_streams.py::"
GATEWAY = "test_gateway_session.py::"
DEVICE = "test_device_session.py::"
FRAMED = "test_framed.py::"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One defence less. test is relative to transports/tests."""

    name: str
    file: str
    text: str
    replacement: str
    test: str


RECEIVE = WIRE + "receive_stream.py"
SEND = WIRE + "send_stream.py"
CONTROL = WIRE + "control_channel.py"
HANDSHAKE = WIRE + "gateway_handshake.py"
GATEWAY_SESSION = WIRE + "gateway_session.py"
DEVICE_SESSION = WIRE + "device_session.py"

MUTANTS: tuple[Mutant, ...] = (
    # -- acknowledgement and credit from stored
    Mutant(
        "ACK only what is stored",
        RECEIVE,
        "return (int(rejects), self.stored, self.window_bytes)",
        "return (int(rejects), self.expected, self.window_bytes)",
        STREAMS + "test_acknowledges_what_is_stored_never_what_arrived",
    ),
    Mutant(
        "stored comes from the sink",
        PROTOCOLS + "framed.py",
        "        if items is not None:\n",
        "        if items is not None:\n            self._session.stored(self._log.expected, now)\n",
        FRAMED + "test_gateway_killed_before_the_checkpoint_gets_the_bytes_again",
    ),
    Mutant(
        "credit counts from stored",
        RECEIVE,
        "room = self.stored + self.window_bytes - self.expected",
        "room = self.window_bytes",
        GATEWAY + "test_takes_no_more_than_the_credit_past_what_is_stored",
    ),
    Mutant(
        "a checkpoint of another epoch acknowledges nothing",
        PROTOCOLS + "framed.py",
        "if checkpoint.epoch == self._log.epoch:",
        "if checkpoint is not None:",
        FRAMED + "test_checkpoint_of_another_epoch_acknowledges_nothing",
    ),
    Mutant(
        "the half record is in the checkpoint",
        PROTOCOLS + "framed.py",
        "log.expected, log.tail, known.sid",
        "log.expected + len(log.tail), b'', known.sid",
        GATEWAY + "test_restarted_gateway_asks_for_what_follows_its_half_record",
    ),
    Mutant(
        "no ACK before a far jump is stored",
        RECEIVE,
        "if self.expected - self.stored >= HALF:",
        "if False:",
        GATEWAY + "test_nothing_is_acknowledged_while_a_far_jump_is_not_stored",
    ),
    # -- go-back-N
    Mutant(
        "REJ once per expected offset",
        RECEIVE,
        "if self.expected != self._rejected:",
        "if self.expected >= 0:",
        STREAMS + "test_missing_bytes_are_asked_for_once_per_offset",
    ),
    Mutant(
        "REJ not before everything is stored",
        RECEIVE,
        "return self._reject_wanted == self.expected == self.stored",
        "return self._reject_wanted == self.expected",
        GATEWAY + "test_rejects_once_and_only_after_everything_before_is_stored",
    ),
    Mutant(
        "one rewind per REJ",
        SEND,
        "if rejects and off != self._rejected:",
        "if rejects:",
        STREAMS + "test_reject_rewinds_once_per_offset",
    ),
    Mutant(
        "what is known is trimmed",
        RECEIVE,
        "payload = payload[-ahead:]",
        "payload = payload[0:]",
        STREAMS + "test_duplicates_are_trimmed_and_acknowledged_at_once",
    ),
    Mutant(
        "a duplicate is acknowledged at once",
        RECEIVE,
        "        if ahead < 0 or not payload:\n            self._ack_now = True\n",
        "        if ahead < 0 or not payload:\n",
        STREAMS + "test_duplicates_are_trimmed_and_acknowledged_at_once",
    ),
    Mutant(
        "the time-out sends again",
        SEND,
        "        self._kicked = True\n        self._rewind(self.una)\n",
        "        self._kicked = True\n",
        DEVICE + "test_lost_acknowledgement_is_made_up_by_the_time_out",
    ),
    Mutant(
        "the time-out doubles",
        SEND,
        "        self._rto.back_off()\n",
        "",
        STREAMS + "test_time_out_goes_back_to_una_and_doubles",
    ),
    Mutant(
        "Karn: no sample from what was sent twice",
        SEND,
        "            self.nxt = to\n        self._sample_end = None\n",
        "            self.nxt = to\n",
        STREAMS + "test_no_round_trip_is_measured_from_what_was_sent_twice",
    ),
    Mutant(
        "impossible ACKs are ignored",
        SEND,
        "if not self.una <= off <= self.sent:",
        "if not self.una <= off <= off:",
        DEVICE + "test_hostile_acknowledgements_change_nothing",
    ),
    Mutant(
        "frames end where messages end",
        SEND,
        "if self._cuts and end >= (border := self._border_after(off)):",
        "if self._cuts and end == (border := self._border_after(off)):",
        STREAMS + "test_frame_never_holds_bytes_of_two_messages",
    ),
    # -- credit
    Mutant(
        "send no more than the credit",
        SEND,
        "        elif end > self.limit:\n            end = self.limit\n",
        "        elif end > self.limit + (1 << 30):\n            end = self.limit\n",
        DEVICE + "test_log_stops_at_the_credit_and_asks",
    ),
    Mutant(
        "probe without credit",
        SEND,
        'return (DATA, 0, self.nxt, b"")',
        "return None",
        STREAMS + "test_waiting_without_credit_asks_each_time_out",
    ),
    Mutant(
        "a probe is always answered",
        RECEIVE,
        "        if empty:\n            self._ack_now = True\n",
        "",
        STREAMS + "test_probe_is_always_answered",
    ),
    # -- overwritten rings
    Mutant(
        "only SKIP while the ring has overwritten",
        SEND,
        "        if self.una < self.base:\n            return self._poll_skip(now)\n",
        "        if self.una < self.base and (skip := self._poll_skip(now)) is not None:\n            return skip\n",
        STREAMS + "test_overwritten_ring_sends_only_skip_until_it_is_acknowledged",
    ),
    Mutant(
        "SKIP again each time-out",
        SEND,
        "if self._skipping and not self._kicked:",
        "if self._skipping:",
        FRAMED + "test_lost_skip_is_said_again",
    ),
    Mutant(
        "SKIP counts what the receiver lacks",
        SEND,
        "if end > self.una), _MAX_RECORDS)",
        "if end > self.una + 20), _MAX_RECORDS)",
        STREAMS + "test_late_acknowledgement_of_data_makes_the_gap_smaller",
    ),
    Mutant(
        "a gateway that knows nothing does not make the loss unknown",
        SEND,
        "        if stored is not None:\n            self._settle(una)\n",
        "        self._settle(una)\n",
        STREAMS + "test_loss_is_still_known_after_a_gateway_that_knew_nothing",
    ),
    Mutant(
        "an old SKIP makes no gap",
        RECEIVE,
        "        if ahead <= 0:\n            self._ack_now = True\n            return None\n",
        "        if ahead <= 0:\n            self._ack_now = True\n            return self.expected\n",
        GATEWAY + "test_lost_acknowledgement_of_a_skip_makes_no_second_gap",
    ),
    Mutant(
        "a gap takes the half record along",
        PROTOCOLS + "log_reader.py",
        'self.expected, self.tail = end, b""\n\n    def end_epoch',
        "self.expected = end\n\n    def end_epoch",
        GATEWAY + "test_skip_is_a_gap_from_the_start_of_the_half_record",
    ),
    Mutant(
        "READY says what SKIP cannot",
        GATEWAY_SESSION,
        "ready.base - pending.stored_told >= HALF:",
        "ready.base - pending.stored_told < 0:",
        GATEWAY + "test_jump_beyond_what_offsets_can_say_is_taken_from_ready",
    ),
    Mutant(
        "a device leaves when no frame can say how far it ran",
        SEND,
        "return self.base - self.una >= HALF",
        "return False",
        STREAMS + "test_jump_that_no_frame_can_say_leaves_the_session",
    ),
    Mutant(
        "nobody rejects what a lossy sender lost",
        GATEWAY_SESSION,
        "if session.is_lossy and self.log.is_ahead(off):",
        "if False:",
        GATEWAY + "test_lossy_sender_is_never_asked_to_send_again",
    ),
    # -- silence
    Mutant(
        "the device's dead-man",
        DEVICE_SESSION,
        "_Session(welcome.sid, mtu, welcome.ka_ms / 1000,",
        "_Session(welcome.sid, mtu, 0.0,",
        DEVICE + "test_dead_man_leaves_after_three_keepalives_of_silence",
    ),
    Mutant(
        "only the own session holds the dead-man",
        DEVICE_SESSION,
        "        elif session is not None and sid == session.sid:\n            session.heard_at = now\n",
        "        elif session is not None:\n            session.heard_at = now\n",
        DEVICE + "test_good_frames_of_other_sessions_do_not_hold_the_dead_man",
    ),
    Mutant(
        "the gateway's keepalive ends a silent session",
        GATEWAY_SESSION,
        "return session.heard_at + SILENCE_KEEPALIVES * self._keepalive_s if",
        "return session.heard_at + 1000 * self._keepalive_s if",
        GATEWAY + "test_ping_after_a_keepalive_of_silence_and_the_end_after_three",
    ),
    Mutant(
        "PING also when only nothing was sent",
        GATEWAY_SESSION,
        "return max(min(session.sent_at, session.heard_at), session.pinged_at)",
        "return max(session.sent_at, session.heard_at, session.pinged_at)",
        GATEWAY + "test_device_that_only_listens_is_pinged_too",
    ),
    Mutant(
        "CTRL that nobody acknowledges ends the session",
        CONTROL,
        "STUCK_S: Final = 5.0",
        "STUCK_S: Final = 5000.0",
        GATEWAY + "test_requests_that_nobody_acknowledges_end_the_session",
    ),
    # -- whose session
    Mutant(
        "a HELLO is only an offer",
        GATEWAY_SESSION,
        "            self._end_away(self._current, now)\n        self._pending",
        '            self._leave("HELLO", now)\n        self._pending',
        GATEWAY + "test_current_session_lives_until_ready_of_the_pending_one",
    ),
    Mutant(
        "one offer for a row of HELLOs",
        HANDSHAKE,
        "if pending is not None and pending.continues(hello):",
        "if pending is not None and pending.hello == hello:",
        GATEWAY + "test_later_hellos_of_a_row_get_the_same_offer_with_their_own_echo",
    ),
    Mutant(
        "a copy of the HELLO just joined is ignored",
        GATEWAY_SESSION,
        "if hello == self._current.hello:",
        "if hello is self._current.hello:",
        GATEWAY + "test_copy_of_the_hello_just_joined_is_ignored",
    ),
    Mutant(
        "a lost READY brings the WELCOME again",
        GATEWAY_SESSION,
        "        elif type_ != RST and self._may_answer(now):\n            self._welcome(pending)\n",
        "",
        GATEWAY + "test_frame_of_the_pending_session_brings_the_welcome_again",
    ),
    Mutant(
        "frames of unknown sessions are reset",
        GATEWAY_SESSION,
        "        elif type_ != RST and self._may_answer(now):\n            self._put(RST",
        "        elif False:\n            self._put(RST",
        GATEWAY + "test_frame_of_an_unknown_session_is_reset_but_not_often",
    ),
    Mutant(
        "resets are not sent often",
        GATEWAY_SESSION,
        "if now < self._answered_at + ANSWER_INTERVAL_S:",
        "if False:",
        GATEWAY + "test_frame_of_an_unknown_session_is_reset_but_not_often",
    ),
    Mutant(
        "a quiet device learns at once that its session is over",
        GATEWAY_SESSION,
        "        if self.known.sid:\n",
        "        if False:\n",
        "test_replug.py::test_quiet_device_is_back_at_once_after_a_replug",
    ),
    Mutant(
        "listen first",
        GATEWAY_SESSION,
        "        if self.known.sid:\n",
        "        if True:\n",
        GATEWAY + "test_not_a_byte_is_sent_before_the_device_speaks",
    ),
    Mutant(
        "a restarted gateway does not count on",
        HANDSHAKE,
        "known.sid = next_sid(known.sid) if known.has_offered else _first_sid(rng, known)",
        "known.sid = next_sid(known.sid)",
        GATEWAY + "test_restarted_gateway_does_not_offer_the_id_that_its_dead_self_may_have_offered",
    ),
    Mutant(
        "a stale WELCOME is not taken",
        DEVICE_SESSION,
        "return first is not None and distance(welcome.echo_ms, first) >= 0 and",
        "return first is not None and",
        DEVICE + "test_stale_and_future_welcomes_are_not_taken",
    ),
    Mutant(
        "the row of HELLOs begins after the last session",
        DEVICE_SESSION,
        "        self._link.clear()\n        self._first_hello_ms = None\n",
        "        self._link.clear()\n",
        DEVICE + "test_welcome_from_before_the_last_session_is_stale",
    ),
    Mutant(
        "a ring without a name was not stored by anyone",
        DEVICE_SESSION,
        "if welcome.stored is not None and not (self.boot_id or self.epoch):",
        "if False:",
        DEVICE + "test_ring_without_a_name_cannot_have_been_stored",
    ),
    Mutant(
        "another WELCOME is ignored in session",
        DEVICE_SESSION,
        "        elif message.sid == session.sid:\n",
        "        else:\n",
        DEVICE + "test_welcome_of_another_session_is_ignored_in_session",
    ),
    # -- which boot, which epoch
    Mutant(
        "uptime going back is another boot",
        HANDSHAKE,
        "went_back = is_known and known.went_back(hello.uptime_ms)",
        "went_back = False",
        GATEWAY + "test_firmware_that_keeps_its_boot_id_over_a_reset_is_found_by_its_uptime",
    ),
    Mutant(
        "an unknown boot id is a new boot",
        HANDSHAKE,
        "boot_id, not is_known or went_back, hello",
        "boot_id, hello.boot_id == 0 or went_back, hello",
        GATEWAY + "test_unknown_boot_id_is_kept_and_counts_as_a_new_boot",
    ),
    Mutant(
        "a second READY is compared with the first",
        GATEWAY_SESSION,
        "case Ready() if _is_another(message, session.ready):",
        "case Ready() if False:",
        GATEWAY + "test_second_boot_that_took_the_same_offer_is_forgotten",
    ),
    Mutant(
        "a ring that ends before what is stored is forgotten",
        GATEWAY_SESSION,
        "if went_back or (not is_new_epoch and ready.next < self.log.expected):",
        "if went_back:",
        GATEWAY + "test_ring_that_ends_before_what_is_stored_is_forgotten",
    ),
    Mutant(
        "PONG with uptime going back is forgotten",
        GATEWAY_SESSION,
        "if self.known.went_back(message.uptime_ms):",
        "if False:",
        GATEWAY + "test_pong_with_uptime_going_back_is_forgotten",
    ),
    Mutant(
        "a PONG that nobody waits for says nothing",
        GATEWAY_SESSION,
        "case Pong(nonce=nonce) if nonce in (0, session.ping_nonce):",
        "case Pong(nonce=nonce):",
        GATEWAY + "test_stale_pong_says_nothing",
    ),
    Mutant(
        "FORGET takes the names away",
        DEVICE_SESSION,
        "            self.boot_id = self.epoch = 0\n",
        "            pass\n",
        DEVICE + "test_forget_makes_the_device_nobody_with_a_ring",
    ),
    Mutant(
        "an unknown epoch is not continued",
        GATEWAY_SESSION,
        "self.log.stored if pending.epoch == self.known.epoch else None",
        "self.log.stored",
        GATEWAY + "test_boot_id_zero_is_a_new_boot_in_a_new_epoch",
    ),
    Mutant(
        "bytes before base are a gap",
        PROTOCOLS + "framed.py",
        "if joining.is_new_epoch and ready.base > 0:",
        "if False:",
        GATEWAY + "test_unknown_epoch_is_taken_from_base_and_the_rest_is_a_gap",
    ),
    Mutant(
        "an epoch that ended unread is a gap",
        PROTOCOLS + "framed.py",
        "        if ended is not None:\n",
        "        if False:\n",
        FRAMED + "test_cold_reset_ends_the_epoch_with_a_gap_of_unknown_size",
    ),
    Mutant(
        "the new identity is durable before the first byte",
        PROTOCOLS + "framed.py",
        "        self._log.touch()\n        if joining.is_new_boot:",
        "        if joining.is_new_boot:",
        FRAMED + "test_joining_again_is_durable_too",
    ),
    # -- CTRL
    Mutant(
        "LIST before everything",
        PROTOCOLS + "framed.py",
        "only_own=not self._is_listed",
        "only_own=False",
        FRAMED + "test_nothing_is_asked_before_the_answer_to_list",
    ),
    Mutant(
        "every request ends with its session",
        PROTOCOLS + "framed.py",
        "        self._events += [RequestLost(request_id) for request_id in self._requests.close()]\n",
        "        self._requests.close()\n",
        FRAMED + "test_every_open_request_ends_when_the_link_goes",
    ),
    Mutant(
        "a request that is too big is refused before sending",
        PROTOCOLS + "requests.py",
        "    if size <= max_msg:\n",
        "    if size <= max_msg + 100000:\n",
        FRAMED + "test_start_that_is_too_big_is_refused_with_both_sizes_before_a_byte_is_sent",
    ),
    Mutant(
        "old news is not told after the list",
        PROTOCOLS + "framed.py",
        "for status in early if _is_news(status, listed)]",
        "for status in early]",
        FRAMED + "test_old_news_is_not_told_after_the_list",
    ),
    Mutant(
        "a request waits for an answer buffer",
        DEVICE_SESSION,
        "if session.control.room_bytes() < self.config.max_answer_bytes:",
        "if False:",
        DEVICE + "test_request_waits_while_the_answer_buffer_is_full",
    ),
    Mutant(
        "messages are bounded",
        CONTROL,
        "if len(self._partial) > self.rx.window_bytes:",
        "if len(self._partial) > 1 << 30:",
        GATEWAY + "test_control_message_without_end_is_bounded",
    ),
    Mutant(
        "lists are bounded",
        PROTOCOLS + "framed.py",
        "if self._pages > MAX_PAGES:",
        "if False:",
        FRAMED + "test_list_that_never_ends_ends_the_session",
    ),
    Mutant(
        "open requests are bounded",
        PROTOCOLS + "framed.py",
        "if len(self._requests) >= MAX_OPEN_REQUESTS:",
        "if False:",
        FRAMED + "test_too_many_requests_are_refused",
    ),
    Mutant(
        "the newest state of a slot is told",
        DEVICE_SESSION,
        "            self._notifications[key] = Notification(method, body)\n",
        "            self._notifications[len(self._notifications)] = Notification(method, body)\n",
        DEVICE + "test_only_the_newest_state_of_a_slot_is_told",
    ),
    # -- AWAY
    Mutant(
        "frames in flight do not end AWAY",
        GATEWAY_SESSION,
        "            current.heard_at = now\n            self._receive_inside",
        "            current.heard_at = now\n            self._end_away(current, now)\n            self._receive_inside",
        GATEWAY + "test_frames_in_flight_do_not_end_away",
    ),
    Mutant(
        "requests wait while the device is away",
        GATEWAY_SESSION,
        "        if session.away_until is None:\n            outgoing",
        "        if True:\n            outgoing",
        GATEWAY + "test_device_that_returns_goes_on_in_the_same_session",
    ),
    Mutant(
        "a device that stays away is lost",
        GATEWAY_SESSION,
        "AWAY_EXTRA_S: Final = 2.0",
        "AWAY_EXTRA_S: Final = 1000.0",
        GATEWAY + "test_device_that_does_not_come_back_in_time_is_lost",
    ),
    Mutant(
        "AWAY is bounded",
        GATEWAY_SESSION,
        "now + min(away.duration_ms / 1000, MAX_AWAY_S) + AWAY_EXTRA_S",
        "now + away.duration_ms / 1000 + AWAY_EXTRA_S",
        GATEWAY + "test_away_for_ever_is_bounded",
    ),
    Mutant(
        "a device says nothing else before it goes",
        DEVICE_SESSION,
        "        if self._away_end is None:\n            if self.log.must_leave():",
        "        if True:\n            if self.log.must_leave():",
        DEVICE + "test_says_nothing_else_while_it_waits_to_go",
    ),
    # -- the device's ring
    Mutant(
        "a start record always has room",
        DEVICE_SESSION,
        "return max(self.log.room_bytes() - self._reserve_bytes(), 0)",
        "return self.log.room_bytes()",
        DEVICE + "test_full_ring_keeps_room_for_a_start_record",
    ),
)
