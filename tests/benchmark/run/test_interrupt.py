"""Ctrl-C at a moment at which Python drops it."""

import os
import signal
import sys

import click
import pytest

from mednet_bench.cli import main as cli
from mednet_bench.core.interrupts import TerminatedError, defer_interrupts, remember_interrupts


@pytest.fixture(autouse=True)
def heed_interrupts():
    """Heed Ctrl-C also where the tests run as a shell's background job, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Dying:
    """Interrupts its own collection, where Python reports and drops a KeyboardInterrupt."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_dropped_is_raised_at_the_next_check():
    with remember_interrupts() as check:
        check()
        Dying()
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_is_raised_at_once_where_python_can():
    with pytest.raises(KeyboardInterrupt), remember_interrupts():
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_during_a_write_is_kept_as_well():
    with remember_interrupts() as check:
        with pytest.raises(KeyboardInterrupt), defer_interrupts():
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()


def test_a_background_job_that_ignores_interrupts_goes_on_ignoring_them():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with remember_interrupts() as check:
            signal.raise_signal(signal.SIGINT)
            check()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("error", "code", "word"), [(TerminatedError, 143, "Terminated"), (KeyboardInterrupt, 130, "Interrupted")]
)
def test_a_signal_at_a_prompt_ends_the_command_as_anywhere_else(
    error: type[BaseException],
    code: int,
    word: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def interrupt(*what: object) -> str:
        raise error

    monkeypatch.setattr("click.termui.visible_prompt_func", interrupt)
    monkeypatch.setattr(cli.cli, "main", lambda **_: click.prompt("Modality"))
    for name in ("fix_threads", "heed_sigterm"):
        monkeypatch.setattr(cli, name, lambda: None)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    assert f"{word}: what is finished is kept" in capsys.readouterr().err
