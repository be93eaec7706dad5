"""Which signals interrupt, when, and what is left behind."""

from __future__ import annotations

import os
import signal

import pytest
import torch

from runtime import signals
from runtime.signals import Interrupted, check_interrupted, interrupt_at_once, interrupt_between_batches


def test_handlers_are_restored_and_nothing_stays_pending(monkeypatch):
    monkeypatch.setattr(signals, "REPEATED_SECONDS", 0)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted), interrupt_between_batches():
        os.kill(os.getpid(), signal.SIGTERM)
        torch.zeros(1)
    check_interrupted()
    with pytest.raises(Interrupted), interrupt_at_once():
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_repeated_signal_is_ignored_and_a_second_one_interrupts_at_once(monkeypatch):
    """Ctrl-C reaches a command and its child, and the command forwards it."""
    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    with pytest.raises(Interrupted, match="SIGTERM"), interrupt_between_batches():
        signal.raise_signal(signal.SIGTERM)
        now[0] += 0.1
        signal.raise_signal(signal.SIGTERM)
        is_interrupted = False
        try:
            now[0] += 2
            signal.raise_signal(signal.SIGTERM)
        except Interrupted:
            is_interrupted = True
    assert is_interrupted
    with pytest.raises(Interrupted), interrupt_at_once():
        now[0] += 2
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("block", [interrupt_between_batches, interrupt_at_once])
def test_a_closed_terminal_interrupts_as_sigterm_does_unless_sighup_is_ignored(block):
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under nohup
    with pytest.raises(Interrupted, match="SIGHUP") as caught, block():
        os.kill(os.getpid(), signal.SIGHUP)
        torch.zeros(1)
    assert caught.value.exit_code == 129
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with block():
            os.kill(os.getpid(), signal.SIGHUP)
            torch.zeros(1)
            signals.restore_handlers()
            os.kill(os.getpid(), signal.SIGHUP)
            torch.zeros(1)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_sigterm_and_sighup_of_an_ending_session_are_one_request(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    with pytest.raises(Interrupted, match="SIGTERM"), interrupt_between_batches():
        signal.raise_signal(signal.SIGTERM)
        now[0] += 0.1
        signal.raise_signal(signal.SIGHUP)
        now[0] += 0.1
