"""What to expect of a model, in three sentences: how well and where it fails, what happens above its band, which rate to use.

They stand in its card, in `sfi-zoo info` and on the page. Every figure is from its `scores.json` and `config.json`.
"""

from pathlib import Path

from sfi_zoo.hub.catalogue import Row, read_row

BEGIN = "<!-- what to expect: from scores.json, by tools/what_to_expect.py -->"
END = "<!-- end of what to expect -->"


def sentences(row: Row) -> tuple[str, str, str]:
    """One sentence each on quality, on the band above the model's, and on the rate to use."""
    edge = row.sample_rate / 2000
    above = (
        f"It hears up to {edge:g} kHz at most, half the rate it was trained at; what a file has above is shared among the stems as the"
        ' octave below it (`above="none"` leaves it out).'
    )
    rate = f"Use the rate that the file has, from 4 to 192 kHz: stems come at the same one{_lost(row)}."
    return _quality(row), above, rate


def paragraph(row: Row) -> str:
    """The sentences, one a line."""
    return "\n".join(f"- {sentence}" for sentence in sentences(row))


def _quality(row: Row) -> str:
    if row.gained_db is None or not row.by_source:
        return (
            "It has not been scored here: the paper and the authors say what to expect of it at the rate it was trained at, and"
            " `sfi-zoo score` measures it on songs of yours."
        )
    gains = sorted(row.by_source.items(), key=lambda gain: -gain[1])
    (best, most), (worst, least) = gains[0], gains[-1]
    where = f" ({row.scored_on})" if row.scored_on else ""
    spread = ""
    if len(gains) > 1:
        failing = ", which is worse than the mixture" * (least < 0)
        spread = (
            f" Of the stems, {best} gains most ({most:.1f} dB) and {worst} least ({least:.1f} dB{failing})."
        )
    return (
        f"On {row.tracks} tracks{where} its stems are {row.gained_db:.1f} dB (SI-SDR) closer to the true ones than the mixture is."
        f"{spread} Expect less of sounds unlike those it was trained on."
    )


def _lost(row: Row) -> str:
    if row.lost_db is None:
        return ""
    return f", and at rates other than {row.sample_rate / 1000:g} kHz at most {max(row.lost_db, 0.0):.1f} dB were lost"


def with_expectations(card: str, row: Row) -> str:
    """A card with these sentences: where they stood, or before its first section.

    Args:
        card: Markdown.
        row: of the model.
    """
    if BEGIN in card and END in card:
        return card[: card.index(BEGIN)] + _block(row) + card[card.index(END) + len(END) :]
    first = card.find("\n## ")
    first = len(card) if first < 0 else first
    return f"{card[:first].rstrip()}\n\n{section(row)}\n{card[first:]}"


def section(row: Row) -> str:
    """For a card that has none."""
    return f"## What to expect\n\n{_block(row)}"


def _block(row: Row) -> str:
    return f"{BEGIN}\n\n{paragraph(row)}\n\n{END}"


def update_card(folder: Path) -> None:
    """Puts them into the card of a model's folder; all else stays as it is."""
    from sfi_zoo.whole_files import write_text

    card = folder / "README.md"
    write_text(card, with_expectations(card.read_text(encoding="utf-8"), read_row(folder)))
