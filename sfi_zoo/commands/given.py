"""What `sfi-zoo report` and `sfi-zoo study` are given: results folders and scores.json files, checked against each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfi_zoo.commands.printing import remark
from sfi_zoo.commands.shared import PROGRAM
from sfi_zoo.errors import InputError


def note(line: str) -> None:
    """A remark that changes nothing of what is done."""
    remark(f"{PROGRAM}: note: {line}")


@dataclass(frozen=True)
class Given:
    """What a command was given.

    Attributes:
        records: of all folders, each unit once.
        folders: the records of each, with its settings.
        scores: the content of each scores.json, by model.
        own: the models that were asked for by name or folder.
    """

    records: list[dict[str, Any]]
    folders: list[tuple[list[dict[str, Any]], dict[str, Any]]]
    scores: dict[str, dict[str, Any]]
    own: list[str]

    def of_folders(
        self,
        dataset: str | None = None,
        resamples: int = 0,
        rows_of_board: list[dict[str, Any]] | None = None,
    ) -> dict[str, dict[str, Any]]:
        """The models of the folders as a scores.json has them; arguments as in `sfi_zoo.metrics.reporting.report.scores_of`."""
        from sfi_zoo.metrics.reporting.report import scores_of

        found: dict[str, dict[str, Any]] = {}
        for own, made_with in self.folders:
            found |= scores_of(own, made_with, dataset, resamples, rows_of_board)
        return found


def read_given(paths: list[Path], with_zoo: bool = False) -> Given:
    """Results folders and scores.json files (or folders of models that have one), apart.

    Args:
        paths: of them.
        with_zoo: the scores of the bundled models too, but for those that are among the paths.

    Raises:
        InputError: what cannot be read, or a model that comes twice.
    """
    from sfi_zoo.hub.bundled import BUNDLED
    from sfi_zoo.hub.results import SCORES
    from sfi_zoo.metrics.reporting.beside import read_scores
    from sfi_zoo.metrics.scoring.records import MANIFEST

    def is_scores(path: Path) -> bool:
        return path.is_file() or (not (path / MANIFEST).exists() and (path / SCORES).is_file())

    folders = [path for path in paths if not is_scores(path)]
    records, each = read_results(folders) if folders else ([], [])
    scored = sorted({record["model"] for record in records})
    scores: dict[str, dict[str, Any]] = {}
    for path in (path for path in paths if is_scores(path)):
        name, content = read_scores(path)
        if name in scores or name in scored:
            raise InputError(f"{path}: {name} comes twice; give it once, or rename its folder")
        scores[name] = content
    own = [*scored, *scores]
    if with_zoo:
        for path in sorted(BUNDLED.glob(f"*/{SCORES}")):
            name, content = read_scores(path)
            if name in own:
                note(f"{name}: the scores that are given stand for those of the zoo")
            else:
                scores[name] = content
    return Given(records, each, scores, own)


def read_results(
    folders: list[Path],
) -> tuple[list[dict[str, Any]], list[tuple[list[dict[str, Any]], dict[str, Any]]]]:
    """The records of all folders, each unit once, and those of each folder with its settings.

    Raises:
        InputError: a folder without results, or two that differ on a unit, or were scored on different data.
    """
    from sfi_zoo.metrics.scoring.checks import flat
    from sfi_zoo.metrics.scoring.records import MANIFEST, key_of, read_manifest, read_records

    each = [(read_records(folder), read_manifest(folder)) for folder in folders]
    if not any(own for own, _ in each):
        raise InputError(f"{folders[0]}: no records yet; run `sfi-zoo score ... -o {folders[0]}`")
    for folder, (own, made_with) in zip(folders, each, strict=True):
        unknown = sorted({record["model"] for record in own} - made_with["models"].keys())
        if unknown:
            raise InputError(
                f"{folder}: has records of {', '.join(unknown)}, which its {MANIFEST} does not know"
            )
    first = flat(each[0][1]["data"])
    for folder, (_, made_with) in zip(folders, each, strict=True):
        here = flat(made_with["data"])
        apart = [name for name in {**first, **here} if here.get(name) != first.get(name)]
        if apart:
            said = ", ".join(f"{name} {here.get(name)} and {first.get(name)}" for name in apart)
            raise InputError(
                f"{folder} and {folders[0]} are of different data ({said}): a table of them would compare nothing; "
                "give one of them, or score both on the same songs"
            )
    margins = {made_with["measures"].get("margin") for _, made_with in each} - {None}
    if len(margins) > 1:
        raise InputError(
            f"these results have LEEs up to different margins, {sorted(map(str, margins))}: score them alike"
        )
    versions = sorted({made_with["sfi_zoo"] for _, made_with in each})
    if len(versions) > 1:
        note(f"scored by sfi_zoo {', '.join(versions)}: figures may differ by version")
    records: dict[Any, dict[str, Any]] = {}
    for record in (record for own, _ in each for record in own):
        if records.setdefault(key_of(record), record) != record:
            model, track, mode, rate = key_of(record)
            what = f"{model} on {track}, {mode} at {rate:g} Hz"
            raise InputError(f"two of these folders have different scores of {what}: give one of them")
    return list(records.values()), each
