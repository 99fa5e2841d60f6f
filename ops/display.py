"""What `make demo` and `make local` show, and how they end."""

from __future__ import annotations

import signal
import textwrap
import time
from collections.abc import Callable
from types import FrameType

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from ops.services.stack import LocalStack

_ASK_SECONDS, _SILENT_SECONDS = 5.0, 15.0
_WHY_SILENT = (
    "Other programs may keep this machine busy, or writers wait for each other. Send again what "
    "failed meanwhile. If it stays silent: Ctrl-C, and start again; nothing is lost."
)


class Display:
    """Live progress on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status = ""
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def status(self, text: str) -> None:
        """What is being done at the moment."""
        if text == self._status:
            return
        self._status = text
        if self.console.is_terminal:
            self._live.update(Spinner("dots", text=Text(text)))
        else:
            self.console.print(Text(f"  {text}"), soft_wrap=True)

    def line(self, text: str, style: str = "") -> None:
        """Something that stays on the screen; a terminal's lines end between words."""
        if self.console.is_terminal:
            text = "\n".join(_wrapped(line, self.console.width) for line in text.split("\n"))
        self.console.print(Text(text, style=style), soft_wrap=True)


def _wrapped(line: str, width: int) -> str:
    """What is longer than a line, such as an address or a path, stays in one piece."""
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False,
        replace_whitespace=False, drop_whitespace=True,
    )  # fmt: skip


class Silence:
    """Says once when Airflow has stopped answering, and once when it answers again.

    Parameters
    ----------
    is_answering : callable
        Asks it.
    say : callable
        Takes a sentence for people.
    now : callable
        Seconds that only grow.
    """

    def __init__(
        self, is_answering: Callable[[], bool], say: Callable[[str], None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._is_answering, self._say, self._now = is_answering, say, now
        self._answered_at = self._asked_at = now()
        self._was_said = False

    def look(self) -> None:
        """Ask if it is time to."""
        if self._now() - self._asked_at < _ASK_SECONDS:
            return
        is_answering = self._is_answering()
        self._asked_at = at = self._now()
        silent_seconds = at - self._answered_at
        if is_answering:
            if self._was_said:
                self._say(f"Airflow answers again, after {silent_seconds:.0f} s")
            self._answered_at, self._was_said = at, False
        elif silent_seconds >= _SILENT_SECONDS and not self._was_said:
            self._say(f"Airflow has not answered for {silent_seconds:.0f} s. {_WHY_SILENT}")
            self._was_said = True


def watch(stack: LocalStack, display: Display) -> None:
    """Start again what dies, and say what does not answer, until Ctrl-C.

    Raises
    ------
    StackError
        If a part dies again and again.
    """
    silence = Silence(stack.is_answering, lambda text: display.line(text, "yellow"))
    try:
        while True:
            silence.look()
            for dead in stack.revive():
                display.line(f"{dead} had ended and was started again", "yellow")
            time.sleep(0.5)
    except KeyboardInterrupt:
        display.status("stopping")


def stop_like_ctrl_c(*numbers: signal.Signals) -> None:
    """Have these signals raise KeyboardInterrupt in this process."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, stop)
