"""The model-index of a card, the results that the Hub reads, from the scores.json of a scoring run."""

import math
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sfi_zoo.errors import InputError
from sfi_zoo.hub.figures import gained_db
from sfi_zoo.hub.folder import CARD
from sfi_zoo.strict_json import read_json
from sfi_zoo.whole_files import replacing
from sfi_zoo.wording import first_line

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

SCORES = "scores.json"
MUSIC = "music source separation"
GAINED = ("si_sdr_improvement", "SI-SDR improvement (dB), mean over sources")
METRICS = {
    "si_sdr_db": ("si_sdr", "SI-SDR (dB)"),
    "si_sdr_lost_db": ("si_sdr_lost", "SI-SDR lost against the estimate at F0 (dB)"),
    "mask_lee_db": ("mask_lee", "mask LEE (dB, our reading of arXiv:2506.03550)"),
    "predictor_lee_db": ("predictor_lee", "predictor LEE (dB, our reading of arXiv:2506.03550)"),
    "masked_latent_lee_db": ("masked_latent_lee", "masked-latent LEE (dB, our reading of arXiv:2506.03550)"),
}


def fill_model_index(folder: Path, dataset: str, dataset_name: str) -> None:
    """Puts the native rows of a folder's scores.json into the head of its card; the rest of the card stays as it is.

    What is gained is there at F0 alone, the one figure of `sfi_zoo.hub.figures`. Results at other SFs have another `config` of the data:
    the Hub's client takes those that differ in a name only for one.

    Args:
        folder: of a model, with README.md and scores.json.
        dataset: id of the data on the Hub, or a short name.
        dataset_name: for people.

    Raises:
        InputError: no scores, or no card.
    """
    from huggingface_hub import metadata_load, metadata_save
    from huggingface_hub.repocard_data import eval_results_to_model_index

    try:
        scores = read_json(folder / SCORES)
        gained, task = gained_db(scores), task_of(folder)
        results = [
            result
            for row in scores["rows"]
            if row["mode"] == "native"
            for result in _results(row, gained, task, (dataset, dataset_name))
        ]
        head: dict[str, Any] = metadata_load(folder / CARD) or {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder}: {SCORES} or {CARD} cannot be read ({first_line(error)})") from None
    if not results:
        raise InputError(f"{folder / SCORES}: has no results of the native mode")
    head["model-index"] = eval_results_to_model_index(folder.name, results)
    with replacing(folder / CARD) as draft:
        shutil.copy(folder / CARD, draft)
        metadata_save(draft, head)


def task_of(folder: Path) -> str:
    """What a model is for, in the Hub's words: of models of others by their source.json ("speech: enhancement"), of ours music."""
    from sfi_zoo.hub.published import SOURCE

    if not (folder / SOURCE).exists():
        return MUSIC
    kind, _, what = str(read_json(folder / SOURCE).get("task", "")).partition(": ")
    return f"{kind} {what}" if kind != "music" and what else MUSIC


def _results(
    row: dict[str, Any], gained: float | None, task: str, dataset: tuple[str, str]
) -> list["EvalResult"]:
    """What a native row says, each figure by itself; none that is not finite. `dataset`: its id, and its name for people."""
    from huggingface_hub import EvalResult

    figures = [(*GAINED, gained if row["sample_rate"] == row["trained_rate"] else None)]
    figures += [(kind, name, row.get(key)) for key, (kind, name) in METRICS.items()]
    return [
        EvalResult(
            task_type="audio-to-audio",
            task_name=task,
            dataset_type=dataset[0],
            dataset_name=dataset[1],
            dataset_config=f"{row['sample_rate']:g} Hz",
            metric_type=kind,
            metric_name=name,
            metric_value=float(f"{value:.6g}"),
        )
        for kind, name, value in figures
        if isinstance(value, int | float) and math.isfinite(value)
    ]
