"""`sfi-zoo publish`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table

from sfi_zoo.commands.printing import remark, say, say_json, say_table
from sfi_zoo.commands.shared import PROGRAM, AsJson, bundled
from sfi_zoo.errors import InputError

if TYPE_CHECKING:
    from sfi_zoo.hub.publishing import Parcel


def publish_command(
    to: Annotated[
        str,
        typer.Option(help="Repository on the Hub, org/name; it is created if needed. With --kit: org alone."),
    ],
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="A bundled name or a folder. With --kit: any number; all bundled models when omitted.",
            autocompletion=bundled,
            metavar="[NAME]...",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Send it. Without this option nothing is sent, only shown.")
    ] = False,
    private: Annotated[
        bool, typer.Option("--private", help="Make it visible only to you or your organisation.")
    ] = False,
    kit: Annotated[
        Path | None,
        typer.Option(
            help="Write all that goes online into a new folder, and send nothing: models, Space, data set card, collection.",
            metavar="DIR",
        ),
    ] = None,
    package: Annotated[
        str,
        typer.Option(help="With --kit: the requirement that cards and the Space give to pip."),
    ] = "sfi-zoo[demo]",
    as_json: AsJson = False,
) -> None:
    """Send a model to the Hugging Face Hub, or show what would be sent.

    The folder must load, hold nothing but a model, no secrets, and a card with a licence. Log in first: hf auth login.

    Example: sfi-zoo publish my_model --to me/my_model --yes
    """
    if kit is not None:
        _kit(kit, to, names or [], package, as_json, {"--yes": yes, "--private": private})
        return
    if not names or len(names) > 1:
        raise InputError(f"publish sends one model, got {len(names or [])} names; --kit DIR takes several")
    from huggingface_hub import constants

    from sfi_zoo.hub.publishing import Destination, parcel, send

    found = parcel(names[0], to)
    url = send(found.folder, Destination(to, private or None)) if yes else None
    if as_json:
        say_json({"to": to, "private": private, **_contents(found), "sent": url})
        return
    if url is not None:
        say(url)
        return
    say(f"{found.folder} to {constants.ENDPOINT}/{to}{', private' * private}")
    table = Table(box=SIMPLE)
    table.add_column("file")
    table.add_column("bytes", justify="right")
    for file, size in found.sizes.items():
        table.add_row(file, f"{size:,}")
    table.add_row("in all", f"{sum(found.sizes.values()):,}")
    say_table(table)
    say("\n".join(_head(found.metadata)))
    remark(f"{PROGRAM}: nothing was sent; --yes sends it")


def _kit(
    out: Path, namespace: str, names: list[str], package: str, as_json: bool, refused: dict[str, bool]
) -> None:
    """Writes the kit and says what is in it."""
    given = [option for option, is_given in refused.items() if is_given]
    if given:
        raise InputError(
            f"--kit sends nothing, so it does not take {', '.join(given)}; see README.md in the kit"
        )
    from sfi_zoo.hub.bundled import list_models
    from sfi_zoo.hub.kit import write_kit

    parcels = write_kit(out, namespace, names or list_models(), package)
    if as_json:
        say_json({"kit": str(out), "models": {p.folder.name: _contents(p) for p in parcels}})
        return
    for found in parcels:
        say(f"{found.folder}: {sum(found.sizes.values()):,} bytes")
    say(out / "README.md")


def _contents(found: "Parcel") -> dict[str, Any]:
    """Files and card of what would be sent, for programs."""
    files = [
        {"name": file, "bytes": size, "sha256": found.sha256(file)} for file, size in found.sizes.items()
    ]
    return {"files": files, "card": found.metadata}


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
