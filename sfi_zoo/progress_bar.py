"""How far long work is, for somebody at a terminal."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """A progress bar on standard error, silent when that is not a terminal."""

    def __init__(self, title: str) -> None:
        """`title` is shown as it is, without markup."""
        console = Console(stderr=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task(title, total=None)

    def update(self, done: float, total: float | None) -> None:
        """How much is done, and in all where that is known: the `progress` argument of `separate` and `score_model`."""
        self._progress.update(self._task, completed=done, total=total)

    def __enter__(self) -> "ProgressBar":
        """Show it."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Wipe it."""
        self._progress.stop()
