"""The command line, `sfi-zoo COMMAND`: a file of `sfi_zoo.commands` for each command.

Results go to standard output, everything else to standard error. Exit codes: 0, all done; 1, a part failed (some of several files or
tracks); 2, bad input, told in one line; 130 and 143, ended by SIGINT and SIGTERM: nothing half-written stays, and the same command goes on.
torch is imported inside the commands, so that `--help` is quick.
"""

import signal
import sys
from typing import Annotated, NoReturn

import typer

from sfi_zoo import __version__
from sfi_zoo.commands import printing
from sfi_zoo.commands.demo import demo_command
from sfi_zoo.commands.doctor import doctor_command
from sfi_zoo.commands.example import example_command
from sfi_zoo.commands.import_checkpoint import HELP, import_command
from sfi_zoo.commands.info import info_command
from sfi_zoo.commands.list import list_command
from sfi_zoo.commands.printing import remark, say
from sfi_zoo.commands.publish import publish_command
from sfi_zoo.commands.report import report_command, study_command
from sfi_zoo.commands.score import score_command
from sfi_zoo.commands.separate import separate_command
from sfi_zoo.commands.shared import PROGRAM, complain
from sfi_zoo.commands.train import train_command
from sfi_zoo.errors import InputError, ran_out_of_memory
from sfi_zoo.interruption import in_main_thread

TERMINATED = 128 + signal.SIGTERM
INTERRUPTED = 128 + signal.SIGINT

app = typer.Typer(
    name=PROGRAM,
    help="Separate music at any sampling frequency, and measure how independent of it a model is.",
    epilog="Names of commands, options and models complete with TAB after: sfi-zoo --install-completion. "
    "Exit codes: 0 all done, 1 a part failed, 2 bad input, 130 interrupted, 143 terminated.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("list")(list_command)
app.command("info")(info_command)
app.command("separate")(separate_command)
app.command("score")(score_command)
app.command("study")(study_command)
app.command("report")(report_command)
app.command("import", help=HELP)(import_command)
app.command("publish")(publish_command)
app.command("train")(train_command)
app.command("example")(example_command)
app.command("demo")(demo_command)
app.command("doctor")(doctor_command)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    before = signal.signal(signal.SIGTERM, _terminate) if in_main_thread() else None
    printing.begin()
    try:
        return _run(arguments)
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def _run(arguments: list[str] | None) -> int:
    code = 0
    try:
        app(args=arguments, prog_name=PROGRAM)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except (InputError, OSError) as error:
        complain(error)
        code = 2
    except (MemoryError, RuntimeError) as error:
        if not ran_out_of_memory(error):
            raise
        complain(
            InputError(
                "out of memory; end other programs, or take shorter pieces, fewer processes or a smaller model"
            )
        )
        code = 2
    except KeyboardInterrupt:
        code = INTERRUPTED
    try:
        note = printing.end()
        if note is not None:
            remark(f"{PROGRAM}: note: {note}")
    except BrokenPipeError:
        pass  # who reads it wants no more
    except OSError as error:
        complain(error)
        code = code or 1
    return code


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _terminate(*_: object) -> NoReturn:
    """SIGTERM unwinds like an interrupt, so that temporary files go."""
    raise SystemExit(TERMINATED)


if __name__ == "__main__":
    sys.exit(main())
