"""How far long work is, for somebody at a terminal."""

import os

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """A progress bar on standard error, silent when that is no terminal; of several processes (RANK, see torchrun) the first draws."""

    def __init__(self, title: str) -> None:
        """`title` is shown as it is, without markup."""
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        hidden = not console.is_terminal or os.environ.get("RANK", "0") != "0"
        self._progress = Progress(*columns, console=console, transient=True, disable=hidden)
        self._task = self._progress.add_task(title, total=None, note="")

    def update(self, done: float, total: float | None, note: str = "") -> None:
        """How much is done, and in all where that is known: the `progress` argument of `separate` and `score_model`."""
        self._progress.update(self._task, completed=done, total=total, note=note)

    def line(self, text: str) -> None:
        """A line that stays, above the bar; also where there is no terminal."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> "ProgressBar":
        """Show the bar."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Wipe the bar away."""
        self._progress.stop()
