"""What training starts from: new weights, a trained model's, or another model's filters; then statistics of the data."""

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from sfi_zoo.data.tracks import Track, training_tracks
from sfi_zoo.errors import InputError
from sfi_zoo.hub import WeightsError, load, load_state
from sfi_zoo.models import create
from sfi_zoo.models.base import Separator
from sfi_zoo.models.parts.initialise import start_from
from sfi_zoo.models.parts.limits import check_sizes, outlining
from sfi_zoo.models.parts.tcn import TCNBlock
from sfi_zoo.models.weights import UNBUILDABLE
from sfi_zoo.training.collections import patterns_of, track_shares
from sfi_zoo.training.excerpts import Excerpts, balanced_excerpts
from sfi_zoo.training.recipe import FILTERS, Recipe, read_recipe
from sfi_zoo.training.stem_cache import cached_tracks
from sfi_zoo.training.trainer import Examples
from sfi_zoo.wording import first_line, shortened


def starting_model(recipe: Recipe, place: Path | None = None) -> tuple[Separator, dict[str, float]]:
    """The model of a recipe, with the weights that its training starts from.

    Args:
        recipe: with `train.start`, `train.filters_like`, or without.
        place: folder that a recipe named there is relative to.

    Returns:
        The model, and how far its filters are from those of `filters_like` (see `start_from`).

    Raises:
        InputError: settings that no model has, or a start that does not fit.
    """
    model = new_model(recipe)
    if recipe.train.start:
        take_network(model, load(recipe.train.start))
    if not recipe.train.filters_like:
        return model, {}
    name = recipe.train.filters_like
    reference = new_model(read_recipe((place or Path()) / name)) if name.endswith(".toml") else load(name)
    with torch.random.fork_rng():
        return model, start_from(model, reference)


def new_model(recipe: Recipe) -> Separator:
    """The model of a recipe with random weights; its sizes are checked before anything is built.

    Raises:
        InputError: settings that no model has.
    """
    outlined(recipe)
    with _settings_told(recipe):
        torch.manual_seed(recipe.train.seed)
        return _created(recipe)


def outlined(recipe: Recipe) -> Separator:
    """The model of a recipe without the memory of its weights: what it separates, and at which rate.

    Raises:
        InputError: settings that no model has.
    """
    with _settings_told(recipe), outlining():
        check_sizes({name: value for name, value in recipe.model.items() if name != "architecture"})
        return _created(recipe)


def _created(recipe: Recipe) -> Separator:
    settings = dict(recipe.model)
    return create(settings.pop("architecture"), **settings)


@contextmanager
def _settings_told(recipe: Recipe) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except UNBUILDABLE as error:
        raise InputError(f"[model] {recipe.model['architecture']}: {first_line(error)}") from None


def take_network(model: Separator, trained: Separator) -> None:
    """Gives a model the weights of a trained one, but for encoder and decoder.

    A deeper TCN (more `repeats`, or `layers` of its only repeat) computes at its start what the trained one does: blocks that it has beyond
    the others begin with outputs of zero, as in Net2Net (T. Chen et al., ICLR 2016). Other networks must have the same blocks.

    Raises:
        InputError: networks of other sizes.
    """
    reach, own_reach = _dilations(trained), _dilations(model)
    moved = shortened([name for name, value in reach.items() if own_reach.get(name, value) != value])
    if moved:
        raise InputError(f"the model to start from has other dilations: {moved}; add repeats, keep layers")
    own, network = model.state_dict(), trained.state_dict()
    filters = {name: value for name, value in own.items() if name.startswith(FILTERS)}
    network = {name: value for name, value in network.items() if not name.startswith(FILTERS)}
    try:
        load_state(model, filters | _further_blocks(model, network) | network)
    except WeightsError as error:
        names = shortened([name for found in error.problems.values() for name in found])
        raise InputError(f"the model to start from has another network: {names} differ") from None


def _further_blocks(model: Separator, network: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of TCN blocks that `network` lacks: those that end a block are zero, so that it adds nothing."""
    found: dict[str, Tensor] = {}
    for place, module in model.named_modules():
        if isinstance(module, TCNBlock):
            weights = {f"{place}.{name}": value for name, value in module.state_dict().items()}
            ends = (f"{place}.residual.", f"{place}.skip.")
            found |= {
                k: torch.zeros_like(x) if k.startswith(ends) else x
                for k, x in weights.items()
                if k not in network
            }
    return found


def _dilations(model: Separator) -> dict[str, object]:
    modules = {name: getattr(module, "dilation", None) for name, module in model.named_modules()}
    return {name: x for name, x in modules.items() if x is not None and not name.startswith(FILTERS)}


def fit_to_data(model: Separator, mixtures: Iterable[Tensor]) -> None:
    """Gives a model the statistics of the data that it starts with, see `Separator.fit_statistics`.

    Args:
        model: a separator.
        mixtures: (channels, time) each, at F0; silent ones do not count.

    Raises:
        InputError: no audio that is not silent.
    """
    heard = [mixture for mixture in mixtures if mixture.any()]
    if not heard:
        raise InputError("the training excerpts are all silent")
    model.fit_statistics(heard)


def examples_of(
    recipe: Recipe,
    sources: Sequence[str],
    sample_rate: int,
    report: Callable[[int, int], None] | None = None,
) -> Examples:
    """The excerpts of a recipe.

    Args:
        recipe: its [data], [augment] and [train].
        sources: in the model's order.
        sample_rate: F0 in Hz.
        report: told how many tracks of a split are in the cache, of how many.

    Raises:
        InputError: no tracks, or broken ones that the recipe does not skip.
    """
    data, config = recipe.data, recipe.train
    skipped: list[str] = []

    def tracks(split: str) -> Sequence[Track]:
        found, problems = training_tracks(data.folder, split, sources, data.on_broken)
        skipped.extend(problems)
        found = [track for track in found if fnmatch.fnmatch(track.name, data.only)]
        if not found:
            raise InputError(
                f"[data] only = {data.only!r}: no {split} track in {data.folder} has such a name"
            )
        if not data.cache:
            return found
        shape = (sample_rate, data.channels)
        found, problems = cached_tracks(found, sources, *shape, data.cache, data.on_broken, report)
        skipped.extend(problems)
        return found

    train, valid = tracks("train"), tracks("valid")
    shape = (sources, sample_rate, data.seconds, data.channels)
    patterns = patterns_of(data.collections)
    shares = track_shares(train, patterns, data.temperature) if data.temperature < 1 else None
    count = config.steps * config.batch_size
    return Examples(
        Excerpts(train, *shape, recipe.augment, config.seed, count, shares),
        balanced_excerpts(valid, patterns, *shape, data.valid_excerpts),
        tuple(skipped),
    )
