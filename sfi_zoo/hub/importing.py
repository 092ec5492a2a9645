"""Checkpoints that other projects have published become folders that `load` opens."""

from collections.abc import Sequence
from pathlib import Path

from sfi_zoo.errors import InputError
from sfi_zoo.hub.download import HUB_ID, fetch
from sfi_zoo.hub.folder import write
from sfi_zoo.hub.model_card import Source, model_card
from sfi_zoo.hub.published import find

SEEDS = (40, 42, 44, 47)  # of the published SFI Conv-TasNets


def import_checkpoint(
    source: str | Path,
    out_dir: str | Path,
    seed: int | None = None,
    *,
    sample_rate: int | None = None,
    sources: Sequence[str] | None = None,
    mask: str | None = None,
    layers: int | None = None,
    config: str | Path | None = None,
    activation: str | None = None,
    bins: int | None = None,
) -> Path:
    """Converts a checkpoint that another project has published into a folder that `load` opens.

    What wrote the file is told by its content; `sfi_zoo.importers.formats` lists what can be imported, and what to give. Nothing in it is
    executed.

    Args:
        source: a file; a folder, where a format is one; the name of a model of others in the zoo (`sfi-zoo list`); a Hub id such as
            "tnkmr/sfi_convtasnet_fd_mgf_musdb18hq" or that of an asteroid model (its pytorch_model.bin); or a bundle of
            torchaudio, "torchaudio:CONVTASNET_BASE_LIBRI2MIX".
        out_dir: the folder to make.
        seed: which of the trainings (40, 42, 44, 47) of a published SFI Conv-TasNet on the Hub; 42 when omitted.
        sample_rate: F0 in Hz, for files that do not say it.
        sources: names of the sources in output order; else those the file has, or source_1, source_2, ...
        mask: what makes the masks, "relu" or "sigmoid": a state dict of torchaudio does not say it.
        layers: blocks per repeat of a state dict of torchaudio; needed where it has not 24 of them (3 repeats of 8).
        config: the YAML file that belongs to a checkpoint, where it has one.
        activation: of a Spleeter: "relu", or "elu", which its published networks of four and five stems have.
        bins: that a Spleeter sees: 1024, or 1536 in its 16 kHz editions.

    Returns:
        The folder.

    Raises:
        InputError: no such source, or a file that cannot be imported safely or exactly.
    """
    from sfi_zoo.importers.checkpoint import BUNDLE, convert_bundle, convert_checkpoint
    from sfi_zoo.importers.settings import Given

    out_dir, path = Path(out_dir), Path(source)
    origin = f"{'folder' if path.is_dir() else 'file'} {path.name}"
    names = None if sources is None else tuple(sources)
    yaml = None if config is None else Path(config)
    given = Given(sample_rate, names, layers, mask, activation, bins, yaml)
    bundle = str(source).removeprefix(BUNDLE) if str(source).startswith(BUNDLE) else None
    if seed is not None and (bundle is not None or path.exists()):
        raise InputError(f"--seed {seed}: {source} is one model, seeds select within a Hub repository")
    others = None if path.exists() else find(str(source))
    if others is not None:
        from sfi_zoo.hub.first_use import card_of, convert, source_files

        if given != Given() or seed is not None:
            raise InputError(f"{source}: a model of the zoo says all by itself; give no options with it")
        imported = convert(others, source_files(others))
        return write(imported.model, out_dir, False, card_of(others, imported), replace_card=True)
    if bundle is not None:
        imported, origin = convert_bundle(bundle, given), f"torchaudio.pipelines.{bundle}"
    elif path.exists():
        imported = convert_checkpoint(path, given)
    else:
        repo, revision, file = _published(str(source), seed)
        imported = convert_checkpoint(fetch(repo, file, revision), given)
        origin = f"https://huggingface.co/{repo}, {file}"
    options = {"seed": seed, "sample-rate": sample_rate, "mask": mask, "layers": layers, "bins": bins}
    options |= {"activation": activation, "config": None if yaml is None else yaml.name}
    options |= {"sources": None if names is None else ",".join(names)}
    said = "".join(f" --{key} {value}" for key, value in options.items() if value is not None)
    command = f"sfi-zoo import {source}{said} -o {out_dir.name}"
    card = Source(origin, command, imported.about, imported.license)
    return write(
        imported.model, out_dir, False, model_card(out_dir.name, imported.model, card), replace_card=True
    )


def _published(source: str, seed: int | None) -> tuple[str, str | None, str]:
    """Repository, revision and checkpoint file of a Hub id."""
    match = HUB_ID.fullmatch(source)
    if match is None:
        raise InputError(f"{source}: no such file, and not a Hub id (org/name)")
    name = match[1].split("/")[1].removesuffix("_musdb18hq")
    if not name.startswith("sfi_convtasnet_"):
        if seed is not None:
            raise InputError(f"--seed {seed}: only a published sfi_convtasnet_... has seeds, not {source}")
        return match[1], match[2], "pytorch_model.bin"
    if seed is not None and seed not in SEEDS:
        raise InputError(f"--seed {seed}: published seeds are {', '.join(map(str, SEEDS))}")
    seed = 42 if seed is None else seed
    return (
        match[1],
        match[2],
        f"dataset=musdb18_32000,model={name},seed={seed},time_length=8.0/best_checkpoint",
    )
