"""`sfi-zoo publish`."""

import sys
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from sfi_zoo.commands.shared import PROGRAM, AsJson, bundled, print_json, print_table


def publish_command(
    name: Annotated[str, typer.Argument(help="A bundled name or a folder.", autocompletion=bundled)],
    to: Annotated[str, typer.Option(help="Repository on the Hub, org/name; made if it is not there.")],
    yes: Annotated[
        bool, typer.Option("--yes", help="Send it; without, only show what would be sent.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Only you, or your organisation, see it.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send a model to the Hugging Face Hub, or show what would be sent.

    The folder must load, hold nothing but a model, no secrets, and a card with a licence. Log in first: hf auth login.

    Example: sfi-zoo publish my_model --to me/my_model --yes
    """
    from huggingface_hub import constants

    from sfi_zoo.hub.publishing import Destination, parcel, send

    found = parcel(name, to)
    url = send(found.folder, Destination(to, private or None)) if yes else None
    if as_json:
        files = [
            {"name": file, "bytes": size, "sha256": found.sha256(file)} for file, size in found.sizes.items()
        ]
        print_json({"to": to, "private": private, "files": files, "card": found.metadata, "sent": url})
        return
    if url is not None:
        print(url)
        return
    print(f"{found.folder} to {constants.ENDPOINT}/{to}{', private' * private}")
    table = Table(box=SIMPLE)
    table.add_column("file")
    table.add_column("bytes", justify="right")
    for file, size in found.sizes.items():
        table.add_row(file, f"{size:,}")
    table.add_row("in all", f"{sum(found.sizes.values()):,}")
    print_table(table)
    print("\n".join(_head(found.metadata)))
    print(f"{PROGRAM}: nothing was sent; --yes sends it", file=sys.stderr)


def _head(metadata: dict[str, Any]) -> list[str]:
    """The head of a card, results counted instead of listed."""
    lines = ["head of the card:"]
    for key, value in metadata.items():
        if key == "model-index":
            results = [result for model in value for result in model["results"]]
            figures = sum(len(result["metrics"]) for result in results)
            shown: Any = f"{figures} figures of {len(results)} results"
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list) else value
        lines.append(f"  {key}: {shown}")
    return lines
