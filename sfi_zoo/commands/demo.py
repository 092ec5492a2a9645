"""`sfi-zoo demo`."""

from pathlib import Path
from typing import Annotated

import typer

from sfi_zoo.commands.shared import Device, available, bundled
from sfi_zoo.hub.bundled import DEFAULT_MODEL


def demo_command(
    model: Annotated[
        str,
        typer.Option(
            "-m",
            "--model",
            help="Model that is chosen at first: a name, folder or Hub id.",
            autocompletion=bundled,
        ),
    ] = DEFAULT_MODEL,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(help="Port to listen on; default: the first free one from 7860 on.", min=1, max=65535),
    ] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Serve it at a public address of gradio.live too.")
    ] = False,
    device: Device = None,
    results: Annotated[
        Path | None,
        typer.Option(
            help="Show the leaderboard of these scores: a folder that `sfi-zoo report --scores-json DIR` wrote.",
            metavar="DIR",
        ),
    ] = None,
) -> None:
    """Serve a page: separate songs, hear and see the stems, compare the models. Ends with Ctrl-C.

    Example: sfi-zoo demo --port 7860
    """
    from sfi_zoo.demo.app import serve

    serve(host, port, share, model, available(device), results)
