"""`sfi-zoo list`."""

from typing import Annotated

import typer

from sfi_zoo.commands.shared import AsJson, print_json


def list_command(
    pattern: Annotated[str, typer.Argument(help="Only names that match, * is anything.")] = "*",
    architectures: Annotated[
        bool, typer.Option("--architectures", help="Instead, what `sfi_zoo.create` builds untrained.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the models that come with the package, or the architectures.

    Example: sfi-zoo list 'convtasnet*'
    """
    from sfi_zoo.models import list_architectures

    if architectures:
        names = list_architectures(pattern)
    else:
        from sfi_zoo import hub

        names = hub.list_models(pattern)
    if as_json:
        print_json(names)
    else:
        for name in names:
            print(name)
