"""A finished run of `sfi-zoo train` on ../shared/music becomes a folder of hub_configs: weights as float16, card, log and recipe.

    python tools/bundle_row.py runs/convtasnet_mgf_native recipes/convtasnet_mgf_native.toml
    python tools/bundle_row.py runs/convtasnet_mgf_native recipes/convtasnet_mgf_native.toml --dead-fill level --data MUSIC
    python tools/bundle_row.py runs/convtasnet_mgf_projects recipes/convtasnet_mgf_projects.toml --average-with convtasnet_mgf_hours.music4

With --alive-norm or --dead-fill the row is the same weights with another treatment of dead features, which needs no training; levels of
the fill are measured on the training songs of --data. --gate-db turns down sources so far below the mixture (sfi_zoo.models.parts.gate).
--average-with MODEL gives the mean of the run's weights and of those that it began with (M. Wortsman et al., arXiv:2109.01903), which
keeps what the start knew. Scores come from `sfi-zoo score`, and into the card from `sfi-zoo report --cards`.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import sfi_zoo
from sfi_zoo.hub.model_card import usage
from sfi_zoo.models.base import Separator
from sfi_zoo.models.parts.dead_features import calibrate, treated
from sfi_zoo.training.recipe import Recipe, read_recipe
from sfi_zoo.training.start import examples_of

HUB = Path(__file__).resolve().parents[1] / "hub_configs"
LICENCE = """## Data and licence

Weights: CC BY-SA 4.0, because they were trained with PJS. Two real singers in all: scores say little about unseen voices, and nothing
comparable with MUSDB18.

- "Everything is Free" by Software-Entwicklungskit, CC0 1.0.
- PJS: phoneme-balanced Japanese singing-voice corpus, (c) Junya Koguchi and Shinnosuke Takamichi, CC BY-SA 4.0; with accompaniments
  rendered from sampled instruments: MuldjordKit (Lars Muldjord, CC BY 4.0), Karoryfer, FreePats, Sonic Pi and uzu kits (CC0 / public
  domain), Splendid Grand Piano (public domain).
"""
MIDI_LICENCE = """- Songs of the Freedoom project (MIDI), BSD 3-clause, rendered with the sound fonts FluidR3 GM (Frank Wen, MIT) and
  MuseScore General (S. Christian Collins, MIT); phrases of the training vocals above are sung over them.
"""
PACKAGES_LICENCE = """- Songs and words out of packages of the Debian archive, each under its own free licence (Artistic, BSD,
  CC BY-SA, GPL, zlib, GFDL); `tools/music4/sources.json` has them by file, with authors and checksums: tracker
  modules of games and demo songs of LMMS, and the speech of Fish Fillets, KLettres, KTuberling and Hedgewars, which
  a vocoder makes sing{more}.
"""
CARD = """---
library_name: sfi-zoo
pipeline_tag: audio-to-audio
license: cc-by-sa-4.0
tags:
- audio-source-separation
- music-source-separation
- sampling-frequency-independent
- {architecture}
---

# {name}

{about} Separates {sources} at any sampling frequency from 4 to 192 kHz. Trained at {rate:g} kHz, {parameters:.2f} M parameters, stored as
float16.

{usage}
## Training

    {command}

{training}

{licence}"""


def about_recipe(path: Path) -> str:
    """The comment at a recipe's head."""
    return path.read_text().splitlines()[0].removeprefix("# ")


def training_text(recipe: Recipe, log: list[dict[str, object]]) -> str:
    """Steps, start and last validation of a run."""
    config, last = recipe.train, log[-1]
    best = max(
        log, key=lambda record: record.get("valid_score") or 0.0
    )  # the step that is published; of old logs the last one
    best = best if "valid_score" in best else last
    score = best["valid_si_sdr_improvement"]
    assert isinstance(score, dict)
    start = f", from the network of `{config.start}`" if config.start else ""
    return (
        f"{last['step']} steps of {config.batch_size} x {recipe.data.seconds:g} s, seed {config.seed}{start}; the whole recipe is in "
        f"`recipe.json`, the log in `training_log.jsonl`. SI-SDR improvement on the validation excerpts at step {best['step']}, in dB: "
        + ", ".join(f"{source} {value:.2f}" for source, value in score.items())
        + "."
    )


def average(model: Separator, name: str, parser: argparse.ArgumentParser) -> None:
    """The mean of a model's weights and of those of another, in place."""
    start = sfi_zoo.load(name)
    weights, other = model.state_dict(), start.state_dict()
    shapes = [{k: x.shape for k, x in some.items()} for some in (weights, other)]
    if model.sources != start.sources or shapes[0] != shapes[1]:
        parser.error(f"--average-with {name}: it has other sources or weights than the run")
    model.load_state_dict({k: (x + other[k]) / 2 for k, x in weights.items()})


def treatment_text(args: argparse.Namespace) -> str:
    """What was done to the weights after training."""
    text = ""
    if args.average_with:
        text += f" Weights: the mean of those of the best step and of `{args.average_with}`."
    ways = ["alive_norm"] * args.alive_norm + [f"dead_fill = {args.dead_fill}"] * bool(args.dead_fill)
    if ways:
        text += f" Not retrained: dead features are treated by {' and '.join(ways)}."
    if args.gate_db is not None:
        text += f" Sources {-args.gate_db:g} dB below the mixture are turned down (`gate_db`)."
    return text


def command_of(args: argparse.Namespace) -> str:
    """The commands that make the row."""
    run = args.recipe.stem
    given = {
        "--average-with": args.average_with,
        "--dead-fill": args.dead_fill and f"{args.dead_fill} --data MUSIC",
        "--gate-db": None if args.gate_db is None else f"{args.gate_db:g}",
    }
    options = [f"{name} {value}" for name, value in given.items() if value]
    if args.alive_norm:
        options.append("--alive-norm")
    command = f"sfi-zoo train {args.recipe} --data MUSIC -o {run}"
    if not options:
        return command
    return f"{command}\n    python tools/bundle_row.py {run} {args.recipe} {' '.join(options)} --name {args.name}"


def main() -> None:
    """Bundle one run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--hub", type=Path, default=HUB)
    parser.add_argument("--average-with", help="a model with the same weights, by name or folder")
    parser.add_argument("--alive-norm", action="store_true")
    parser.add_argument("--dead-fill", choices=("noise", "level"))
    parser.add_argument("--gate-db", type=float)
    parser.add_argument("--data", type=Path)
    parser.add_argument(
        "--more", default="", help="what else of packages it was trained on, for the card's licence"
    )
    args = parser.parse_args()
    recipe = read_recipe(args.recipe)
    model, about = sfi_zoo.load(args.run / "model"), about_recipe(args.recipe)
    if args.average_with:
        average(model, args.average_with, parser)
    asked = {"alive_norm": args.alive_norm or None, "dead_fill": args.dead_fill, "gate_db": args.gate_db}
    settings = {key: value for key, value in asked.items() if value is not None}
    if settings:
        model = treated(model, **settings)
    about += treatment_text(args)
    if args.dead_fill:
        plan = read_recipe(args.recipe).as_dict()
        plan["data"]["folder"] = str(args.data)
        from sfi_zoo.training.recipe import recipe_from

        examples = examples_of(recipe_from(plan), model.sources, model.trained_rate)
        calibrate(model, (examples.train[i].sum(0) for i in range(32)))
    name = args.name or f"{args.recipe.stem}.music4"
    log = [json.loads(line) for line in (args.run / "log.jsonl").read_text().splitlines()]
    count = sum(p.numel() for p in model.parameters()) / 1e6
    card = CARD.format(
        architecture=model.architecture,
        name=name,
        usage=usage(name),
        about=about,
        sources=", ".join(model.sources[:-1]) + " and " + model.sources[-1],
        rate=model.trained_rate / 1000,
        parameters=count,
        command=command_of(args),
        training=training_text(recipe, log),
        licence=LICENCE
        + MIDI_LICENCE * ("MIDI" in recipe.data.collections)
        + PACKAGES_LICENCE.format(more=args.more) * ("REAL" in recipe.data.collections),
    )
    with tempfile.TemporaryDirectory(dir=args.hub) as work:
        folder = Path(work) / name
        sfi_zoo.save(model, folder, half=True)
        (folder / "README.md").write_text(card)
        (folder / "recipe.json").write_text(json.dumps(recipe.as_dict(), indent=1) + "\n")
        shutil.copy(args.run / "log.jsonl", folder / "training_log.jsonl")
        target = args.hub / name
        if target.exists():
            if not (target / "recipe.json").exists():
                parser.error(f"{target} is not of this script; it stays")
            shutil.rmtree(target)
        folder.rename(target)
    size = (target / "model.safetensors").stat().st_size
    print(f"{target}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
