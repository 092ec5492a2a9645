"""`sfi-zoo list`."""

from typing import Annotated

import typer

from sfi_zoo.commands.shared import AsJson, print_json
from sfi_zoo.errors import InputError


def list_command(
    pattern: Annotated[str, typer.Argument(help="Only names that match, * is anything.")] = "*",
    architectures: Annotated[
        bool, typer.Option("--architectures", help="Instead, what `sfi_zoo.create` builds untrained.")
    ] = False,
    published: Annotated[
        bool,
        typer.Option("--published", help="Instead, checkpoints of others, and how to import and score them."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the models that come with the package, the architectures, or checkpoints that others have published.

    Example: sfi-zoo list 'convtasnet*'
    """
    from sfi_zoo.models import list_architectures

    if architectures and published:
        raise InputError("--architectures and --published are two lists; ask for one")
    if published:
        show_published(pattern, as_json)
        return
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


def show_published(pattern: str, as_json: bool) -> None:
    """Names, and the commands that make and score a folder of each."""
    from dataclasses import asdict

    from sfi_zoo.hub.published import list_published

    rows = list_published(pattern)
    if as_json:
        commands = [{"import": row.import_command, "score": row.score_command} for row in rows]
        print_json([asdict(row) | command for row, command in zip(rows, commands, strict=True)])
        return
    for row in rows:
        print(f"{row.name}: {row.about} ({row.license}; {row.source})")
        print(f"    {row.import_command}")
        print(f"    {row.score_command}")
