"""What training starts from: new weights, a trained model's, or another model's filters; then statistics of the data."""

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sfi_zoo.data.tracks import Track, training_tracks
from sfi_zoo.errors import InputError
from sfi_zoo.hub import WeightsError, load, load_state
from sfi_zoo.hub.wording import shortened
from sfi_zoo.models import create
from sfi_zoo.models.base import Separator
from sfi_zoo.models.filterbank import FilterbankSeparator
from sfi_zoo.models.initialise import start_from
from sfi_zoo.models.open_unmix import OpenUnmix, OpenUnmixTarget
from sfi_zoo.training.excerpts import Excerpts, validation_excerpts
from sfi_zoo.training.recipe import FILTERS, Recipe, read_recipe
from sfi_zoo.training.trainer import Examples

DEVIATION_FLOOR = 0.05  # of a feature that is nearly silent in the data
SCALE_FLOOR = 1e-4  # of the largest deviation, as in openunmix


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
    """The model of a recipe with random weights."""
    settings = dict(recipe.model)
    torch.manual_seed(recipe.train.seed)
    model: Separator = create(settings.pop("architecture"), **settings)
    return model


def take_network(model: Separator, trained: Separator) -> None:
    """Gives a model the weights of a trained one, but for encoder and decoder.

    Raises:
        InputError: networks of other sizes.
    """
    own, network = model.state_dict(), trained.state_dict()
    filters = {name: value for name, value in own.items() if name.startswith(FILTERS)}
    network = {name: value for name, value in network.items() if not name.startswith(FILTERS)}
    try:
        load_state(model, filters | network)
    except WeightsError as error:
        names = shortened([name for found in error.problems.values() for name in found])
        raise InputError(f"the model to start from has another network: {names} differ") from None


@torch.no_grad()
def fit_to_data(model: Separator, mixtures: Iterable[Tensor]) -> None:
    """Statistics of the data that a network starts with: what its first layer gives has zero mean and unit variance in each feature.

    Args:
        model: a separator on a filter bank whose network begins with a norm, or an Open-Unmix; any other is left as it is.
        mixtures: (channels, time) each, at F0.

    Raises:
        InputError: no audio that is not silent.
    """
    heard = [mixture[None] for mixture in mixtures if mixture.any()]
    if not heard:
        raise InputError("the training excerpts are all silent")
    if isinstance(model, OpenUnmix):
        spectra = [model.encode(x).values.abs().unflatten(1, (model.config.channels, -1)) for x in heard]
        deviation, mean = torch.std_mean(torch.cat(spectra, dim=-1), dim=(0, 1, -1))
        for target in model.targets:
            assert isinstance(target, OpenUnmixTarget)
            seen = len(target.input_mean)
            target.input_mean.copy_(-mean[:seen])
            target.input_scale.copy_(1 / deviation[:seen].clamp(min=SCALE_FLOOR * float(deviation.max())))
        return
    norm = first_norm(model)
    if norm is None:
        return
    assert isinstance(model, FilterbankSeparator)
    norm.weight.fill_(1.0)
    norm.bias.fill_(0.0)
    normalised = torch.cat([norm(model.seen(model.encode(x).values)) for x in heard], dim=-1)
    deviation, mean = torch.std_mean(normalised, dim=(0, -1))
    norm.weight.copy_(1 / deviation.clamp(min=DEVIATION_FLOOR))
    norm.bias.copy_(-mean * norm.weight)


def first_norm(model: Separator) -> Any:
    """The norm that sees the latent of a separator on a filter bank, if it has a weight and a bias for each feature."""
    if not isinstance(model, FilterbankSeparator):
        return None
    for name in ("norm_1", "norm"):
        norm = getattr(model.masker, name, None)
        weight = getattr(norm, "weight", None)
        if weight is not None and weight.shape == (model.config.features,):
            return norm
    return None


def examples_of(recipe: Recipe, sources: Sequence[str], sample_rate: int) -> Examples:
    """The excerpts of a recipe.

    Args:
        recipe: its [data], [augment] and [train].
        sources: in the model's order.
        sample_rate: F0 in Hz.

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
        from sfi_zoo.training.stem_cache import cached_tracks

        shape = (sample_rate, data.channels)
        found, problems = cached_tracks(found, sources, *shape, data.cache, data.on_broken)
        skipped.extend(problems)
        return found

    train, valid = tracks("train"), tracks("valid")
    shape = (sources, sample_rate, data.seconds, data.channels)
    return Examples(
        Excerpts(train, *shape, recipe.augment, config.seed, config.steps * config.batch_size),
        validation_excerpts(valid, *shape, data.valid_excerpts),
        tuple(skipped),
    )
