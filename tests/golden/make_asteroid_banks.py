"""Makes banks_*.pt and banks.golden.safetensors with asteroid's own code: SuDoRM-RF, and its filter banks under other networks.

    python3 -m venv env; env/bin/pip install asteroid==0.7.0 requests torch safetensors "setuptools<80"
    env/bin/python tests/golden/make_asteroid_banks.py

For each file NAME the golden file holds NAME.latent, NAME.masks and NAME.stems.
"""

from pathlib import Path

import torch
from asteroid.models import ConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFImprovedNet, SuDORMRFNet
from safetensors.torch import save_file

HERE = Path(__file__).parent
CONV = {"n_src": 2, "n_blocks": 2, "n_repeats": 1, "bn_chan": 4, "hid_chan": 6, "skip_chan": 3}
DPRNN = {"n_src": 2, "bn_chan": 4, "hid_size": 3, "chunk_size": 10, "n_repeats": 1}
DPT = {"n_src": 2, "n_heads": 2, "ff_hid": 5, "chunk_size": 12, "n_repeats": 1}
SUDO = {"n_src": 2, "bn_chan": 4, "num_blocks": 2, "upsampling_depth": 3, "kernel_size": 11}
VARIANTS = {
    "conv_stft": (ConvTasNet, CONV | {"fb_name": "stft", "n_filters": 20, "kernel_size": 16}),
    "conv_analytic": (ConvTasNet, CONV | {"fb_name": "analytic_free", "n_filters": 9, "kernel_size": 16}),
    "conv_sinc": (
        ConvTasNet,
        CONV | {"fb_name": "param_sinc", "n_filters": 8, "kernel_size": 21, "stride": 10, "min_low_hz": 30},
    ),
    "dprnn_sinc": (DPRNNTasNet, DPRNN | {"fb_name": "param_sinc", "n_filters": 8, "kernel_size": 16}),
    "dprnn_stft": (DPRNNTasNet, DPRNN | {"fb_name": "stft", "n_filters": 16, "kernel_size": 16}),
    "dptnet_analytic": (DPTNet, DPT | {"fb_name": "analytic_free", "n_filters": 8, "kernel_size": 15}),
    "sudo": (SuDORMRFNet, SUDO | {"n_filters": 8}),
    "sudo_even": (
        SuDORMRFNet,
        SUDO | {"n_filters": 6, "kernel_size": 12, "bn_chan": 6, "mask_act": "sigmoid"},
    ),
    "sudo_sinc": (SuDORMRFNet, SUDO | {"n_filters": 8, "fb_name": "param_sinc", "sample_rate": 16000}),
    "sudo_improved": (SuDORMRFImprovedNet, SUDO | {"n_filters": 7, "n_src": 3, "upsampling_depth": 4}),
    "sudo_improved_stft": (
        SuDORMRFImprovedNet,
        SUDO | {"fb_name": "stft", "n_filters": 22, "kernel_size": 21, "stride": 10, "n_src": 1},
    ),
}


def mixture():
    """(1, 1, time): a chirp; the same formula is in the test."""
    n = torch.arange(703, dtype=torch.float64)
    return ((0.02 * n**1.5).sin() * 0.5 + (0.9 * n).sin() * 0.1)[None, None].float()


def main():
    golden = {}
    for name, (cls, options) in VARIANTS.items():
        torch.manual_seed(0)
        model = cls(**options).eval()
        for parameter in model.parameters():  # norms, slopes and biases away from where they start
            parameter.data.add_(
                (5 if "sinc" in name and parameter.shape[1:] == (1,) else 0.1) * torch.randn_like(parameter)
            )
        torch.save(model.serialize(), HERE / f"banks_{name}.pt")
        with torch.no_grad():
            latent = model.forward_encoder(mixture())
            golden[f"{name}.latent"] = latent[0]
            golden[f"{name}.masks"] = model.forward_masker(latent)[0]
            golden[f"{name}.stems"] = model(mixture())[0]
    save_file({k: v.contiguous() for k, v in golden.items()}, HERE / "banks.golden.safetensors")


if __name__ == "__main__":
    main()
