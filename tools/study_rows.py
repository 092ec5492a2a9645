"""The rows of the study: what is scored. `ROWS` are those of the plan; `LATER` and `MADE` came after it, see docs/study_plan.md.

A row is a set of weights and what is done with it. Rows of `MADE` are what people do: a published design, kernels interpolated in the
plainest way, a hop in whole samples, another resampler.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import sfi_zoo
from sfi_zoo.audio.resampling import RESAMPLER_TYPES, Resampler, Soxr, TrainableKernel
from sfi_zoo.filters.interpolated import InterpolatedKernels
from sfi_zoo.models.base import Separator
from sfi_zoo.models.filterbank import FilterbankSeparator

ROOT = Path(__file__).resolve().parents[1]
HUB, KERNEL = ROOT / "hub_configs", ROOT / "docs" / "study" / "trainable_kernel.safetensors"
MODES = ("native", "resample")
NOISE = {"noise_40_db": 1e-2, "noise_25_db": 10 ** (-25 / 20)}  # root mean square, of that of the signal


@dataclass(frozen=True)
class Row:
    """A row of the study.

    Attributes:
        weights: a folder of `hub_configs`, without ".music4" where it has it.
        family: rows of one name share what was trained; intervals draw families.
        changes: of its config.json: what else people do with such weights.
        treat: what else is done to the model that was loaded; it returns the model.
        modes: in which it is scored; "resample:NAME" has another resampler than soxr.
    """

    weights: str
    family: str
    changes: dict[str, Any] = field(default_factory=dict)
    treat: Callable[[Any], Separator] | None = None
    modes: tuple[str, ...] = MODES


REFERENCE = {"flavour": "reference"}  # published designs: strides rounded, half-sample centres, no gain for F
ROWS = {
    "bsrnn": Row("bsrnn", "bsrnn"),
    "bsroformer": Row("bsroformer", "bsroformer"),
    "convtasnet_mgf_band": Row("convtasnet_mgf_band", "mgf_band"),
    "convtasnet_mgf_band_alive": Row("convtasnet_mgf_band_alive", "mgf_band_alive"),
    "convtasnet_mgf_fill": Row("convtasnet_mgf_fill", "mgf_native"),
    "convtasnet_mgf_native": Row("convtasnet_mgf_native", "mgf_native"),
    "convtasnet_mgf_pjs": Row("convtasnet_mgf_pjs", "mgf_pjs"),
    "convtasnet_mpgtf": Row("convtasnet_mpgtf", "mpgtf"),
    "convtasnet_naf_fd": Row("convtasnet_naf_fd", "naf_fd"),
    "convtasnet_naf_td": Row("convtasnet_naf_td", "naf_td"),
    "convtasnet_plain": Row("convtasnet_plain", "plain"),
    "convtasnet_plain_linear": Row("convtasnet_plain", "plain", REFERENCE),  # kernels interpolated linearly
    "convtasnet_td_mgf": Row("convtasnet_td_mgf", "td_mgf"),
    "openunmix": Row("openunmix", "openunmix"),
    "sudormrf": Row("sudormrf", "sudormrf"),
}
LATER = {  # other weights: those that the plan left out, and those of others
    "convtasnet_fd_mgf": Row("convtasnet_fd_mgf", "fd_mgf"),
    "convtasnet_mgf_alive": Row("convtasnet_mgf_alive", "mgf_native"),
    "convtasnet_mgf_band_fill": Row("convtasnet_mgf_band_fill", "mgf_band"),
    "convtasnet_mgf_base": Row("convtasnet_mgf_base", "mgf_base"),
    "convtasnet_mgf_hours": Row("convtasnet_mgf_hours", "mgf_hours"),
    "convtasnet_mgf_wide": Row("convtasnet_mgf_wide", "mgf_wide"),
    "spleeter.2stems": Row("spleeter.2stems", "spleeter"),
}


class NearestKernels(InterpolatedKernels):
    """Digital kernels of which each tap at F is the nearest one at F0: the crudest interpolation there is."""

    def reference_taps(self, num_taps: int, sample_rate: float) -> Tensor:
        """As that of linear interpolation: (C, num_taps) float64."""
        kernels = self._kernels(torch.empty(0, dtype=torch.float64))
        spacing, length = self.sample_rate / sample_rate, kernels.shape[-1]
        index = torch.arange(num_taps, dtype=torch.float64)
        places = ((index - (num_taps - 1) / 2) * spacing + (length - 1) / 2).round().long()
        inside = (places >= 0) & (places < length)
        return (spacing * kernels[:, places.clamp(0, length - 1)] * inside).flip(-1)


@torch.no_grad()
def interpolated(model: FilterbankSeparator, nearest: bool = False) -> Separator:
    """The same network between the digital kernels that encoder and decoder have at F0, interpolated at F: linearly, or to the nearest."""
    settings: dict[str, Any] = {"encoder_filters": {}, "decoder_filters": {}, "filters": "interpolated"}
    config = replace(model.config, design="time", **REFERENCE, **settings)
    plain: FilterbankSeparator = type(model)(config).eval()
    state = {name: x for name, x in model.state_dict().items() if not name.startswith(("encoder", "decoder"))}
    for side in ("encoder", "decoder"):
        taps = getattr(model, side).weights(model.trained_rate)[0][0].flip(-1)
        bank = NearestKernels if nearest else InterpolatedKernels
        getattr(plain, side).filters = bank(len(taps), model.trained_rate, weight=taps)
        state[f"{side}.filters.weight"] = taps
    plain.load_state_dict(state)
    return plain


def nearest(model: FilterbankSeparator) -> Separator:
    """`interpolated` to the nearest tap."""
    return interpolated(model, nearest=True)


def whole_hops(model: Any) -> Separator:
    """Hops in whole samples at F: frames drift against those at F0 (at 11.025 kHz alone, where they are none)."""
    pair = ("encoder", "decoder") if isinstance(model, FilterbankSeparator) else ("stft", "istft")
    for side in pair:
        getattr(model, side).stride_mode = "round"
    return model  # type: ignore[no-any-return]


class Interpolation(Resampler):
    """Straight lines between samples, as `numpy.interp` draws them; no filter keeps out images or aliases."""

    def _resample(self, x: Tensor, rate_in: float | Tensor, rate_out: float | Tensor, length: int) -> Tensor:
        places = torch.arange(length, dtype=torch.float64) * (float(rate_in) / float(rate_out))
        below = places.floor().long().clamp(max=x.shape[-1] - 1)
        part = (places - below).to(x.dtype)
        left, right = x[..., below], x[..., (below + 1).clamp(max=x.shape[-1] - 1)]
        return left + part * (right - left)


class WithNoise(Soxr):
    """soxr, then white noise: the third baseline of arXiv 2601.14684, of which we know the abstract; the level is ours."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level

    @property
    def way_back(self) -> Resampler:
        """soxr alone: what was added was for the model."""
        return Soxr()

    def _resample(self, x: Tensor, rate_in: float | Tensor, rate_out: float | Tensor, length: int) -> Tensor:
        y = super()._resample(x, rate_in, rate_out, length)
        noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(0), dtype=y.dtype)
        return y + self.level * y.square().mean(-1, keepdim=True).sqrt() * noise


def _trained() -> Resampler:
    """The kernel that tools/study_kernel.py trained, with `convtasnet_mgf_native`."""
    kernel = TrainableKernel()
    kernel.deviation = nn.Parameter(load_file(KERNEL)["deviation"], requires_grad=False)
    return kernel


RESAMPLERS: dict[str, Callable[[], Resampler]] = {
    "torchaudio": RESAMPLER_TYPES["torchaudio"],  # its default: a kernel six zero crossings wide
    "noisy_kernel": RESAMPLER_TYPES["noisy_kernel"],
    "soxr_quick": lambda: Soxr("QQ"),  # cubic
    "linear": Interpolation,
    "trained_kernel": _trained,
    **{name: (lambda level=level: WithNoise(level)) for name, level in NOISE.items()},  # type: ignore[misc]
}
BANKS = (
    *("convtasnet_mgf_native", "convtasnet_mgf_band", "convtasnet_mgf_pjs", "convtasnet_mpgtf"),
    *("convtasnet_naf_fd", "convtasnet_naf_td", "convtasnet_td_mgf", "sudormrf"),
)
HEARD = ("convtasnet_mgf_native", "bsrnn", "openunmix")


def _made() -> dict[str, Row]:
    found: dict[str, Row] = {}

    def add(weights: str, name: str, **how: Any) -> None:
        found[f"{weights}_{name}"] = Row(weights, ROWS[weights].family, **how)

    native = ("native",)
    for weights in (*BANKS[:4], "sudormrf"):
        add(weights, "reference", changes=REFERENCE, modes=native)
    for weights in BANKS:
        add(weights, "linear", treat=interpolated, modes=native)
    for weights in (*BANKS[::2], "convtasnet_plain"):
        add(weights, "nearest", treat=nearest, modes=native)
    add("convtasnet_td_mgf", "native", changes={"flavour": "native"}, modes=native)
    for weights in HEARD:
        add(weights, "whole_hops", treat=whole_hops, modes=native)
    for weights in ("bsrnn", "bsroformer"):
        add(weights, "silent", changes={"absent": "silent"}, modes=native)
        add(weights, "alive_norm", changes={"alive_norm": True}, modes=native)
    for resampler in RESAMPLERS:
        for weights in HEARD:
            add(weights, f"by_{resampler}", modes=(f"resample:{resampler}",))
    return found


MADE = _made()
ALL = ROWS | LATER | MADE


def load(row: Row) -> Separator:
    """The model of a row. Rows that only their modes tell apart are one model."""
    RESAMPLER_TYPES.update(RESAMPLERS)  # type: ignore[arg-type]
    return _loaded(row.weights, tuple(row.changes.items()), row.treat)


@cache
def _loaded(weights: str, changes: tuple[tuple[str, Any], ...], treat: Any) -> Separator:
    folder = HUB / f"{weights}.music4"
    if not folder.is_dir():  # of others: fetched on first use
        return sfi_zoo.load(weights)
    if not changes:
        model = sfi_zoo.load(folder).eval()
        return model if treat is None else treat(model)  # type: ignore[no-any-return]
    with tempfile.TemporaryDirectory() as changed:
        for name in ("config.json", "model.safetensors"):
            shutil.copy(folder / name, changed)
        config = json.loads((folder / "config.json").read_text("utf-8")) | dict(changes)
        (Path(changed) / "config.json").write_text(json.dumps(config), "utf-8")
        return sfi_zoo.load(Path(changed))
