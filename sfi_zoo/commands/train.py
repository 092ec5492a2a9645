"""`sfi-zoo train`."""

import os
from pathlib import Path
from typing import Annotated

import typer

from sfi_zoo.commands.printing import say
from sfi_zoo.commands.shared import Device, available, checked_threads, complain
from sfi_zoo.errors import InputError

CALIBRATION = 16  # excerpts


def train_command(
    recipe: Annotated[
        Path, typer.Argument(help="A TOML file, or the name of one of the package's.", metavar="RECIPE")
    ],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder like MUSDB18: train/<track>/vocals.wav ...; else the recipe's."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the run: run again, it goes on.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Folder for decoded tracks; else the recipe's.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, examples and noise; else the recipe's.")
    ] = None,
    stop_at: Annotated[int | None, typer.Option(help="Stop after so many steps; run again to go on.")] = None,
    threads: Annotated[int | None, typer.Option(help="Per process, on a CPU.")] = None,
    device: Device = None,
) -> None:
    """Train a separator by a recipe, or go on where a run was stopped; the best model is in OUT/model.

    More processes: accelerate launch --multi_gpu --num_processes N -m sfi_zoo.cli train ... (on a CPU, too), or torchrun.

    Example: sfi-zoo train recipes/convtasnet_mgf_native.toml --data MUSDB18HQ -o runs/convtasnet_mgf_native
    """
    from dataclasses import replace

    import torch

    try:
        from accelerate import PartialState
    except ImportError:
        raise InputError("training needs accelerate: pip install -e '.[train]'") from None
    from sfi_zoo.data.tracks import check_split
    from sfi_zoo.progress_bar import ProgressBar
    from sfi_zoo.training.processes import check_launch
    from sfi_zoo.training.recipe import read_recipe, recipe_file
    from sfi_zoo.training.start import examples_of, fit_to_data, outlined, starting_model
    from sfi_zoo.training.trainer import train

    available(device)
    check_launch()
    first = os.environ.get("RANK", "0") == "0"
    if threads is not None:
        torch.set_num_threads(checked_threads(threads))
    recipe = recipe_file(recipe)
    plan = read_recipe(recipe)
    given = {"folder": data, "cache": cache}
    changes = {name: str(path) for name, path in given.items() if path is not None}
    plan = replace(plan, data=replace(plan.data, **changes))  # type: ignore[arg-type]
    if seed is not None:
        plan = replace(plan, train=replace(plan.train, seed=seed))
    if not plan.data.folder:
        raise InputError("no data: give --data FOLDER, or folder in the recipe's [data]")
    check_split(plan.data.folder, "train", outlined(plan).sources)  # before memory is taken for a model
    model, apart = starting_model(plan, recipe.parent)
    for part, error in apart.items() if first else ():
        say(f"{part}: filters start {error:.1%} apart from those of {plan.train.filters_like}")
    with ProgressBar("reading tracks") as bar:
        examples = examples_of(plan, model.sources, model.trained_rate, bar.update)
    for problem in examples.skipped if first else ():
        complain(InputError(f"left out: {problem}"))
    if not plan.train.start:
        some = range(min(CALIBRATION, plan.train.steps * plan.train.batch_size))
        fit_to_data(model, (examples.train[i].sum(0) for i in some))
    with ProgressBar(recipe.stem) as bar:

        def report(step: int, steps: int, figures: dict[str, float]) -> None:
            shown = f"loss {figures['loss']:.2f}, {figures['step_seconds']:.2f} s a step"
            place = f"step {step} of {steps}"
            bar.update(step, steps, f"{place}, {shown}")
            if "valid" in figures:
                bar.line(f"{place}: {shown}, improvement {figures['valid']:.2f} dB")

        done = train(
            model,
            examples,
            plan,
            out or Path("runs") / recipe.stem,
            report=report,
            device=device,
            stop_at=stop_at,
        )
    state = PartialState()
    if state.is_main_process:
        best = "none yet" if done.best is None else f"{done.best:.2f} dB"
        shared = f" by {state.num_processes} processes" if state.num_processes > 1 else ""
        say(f"{done.step} steps{shared}; best SI-SDR improvement on the validation excerpts: {best}")
