"""`sfi-zoo info`."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sfi_zoo.commands.shared import AsJson, bundled, print_json


def info_command(
    name: Annotated[
        str, typer.Argument(help="A name from `sfi-zoo list`, a folder, or a Hub id.", autocompletion=bundled)
    ],
    as_json: AsJson = False,
) -> None:
    """Describe a model: sources, rates, size.

    Example: sfi-zoo info convtasnet_naf_fd.music4
    """
    from sfi_zoo import hub

    described = _describe(name, hub.load(name))
    if as_json:
        print_json(described)
        return
    table = Table(show_header=False, box=None)
    for key, value in described.items():
        table.add_row(key, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
    Console().print(table)


def _describe(name: str, model: Any) -> dict[str, Any]:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {
        "name": name,
        "architecture": type(model).__name__,
        "sources": list(model.sources),
        "sample_rate": model.sample_rate,
        "parameters": parameters,
    }
