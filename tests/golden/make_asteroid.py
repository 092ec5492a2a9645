"""Makes asteroid_*.bin and asteroid.golden.safetensors with asteroid's own code, in an environment of its own.

    python3 -m venv env; env/bin/pip install asteroid==0.7.0 requests torch==2.13.0 safetensors "setuptools<80"
    env/bin/python tests/golden/make_asteroid.py

(where torchaudio's extension does not fit torch, remove its lib folder: it is not used.)
"""

from pathlib import Path

import torch
from asteroid.models import ConvTasNet, DPRNNTasNet
from safetensors.torch import save_file

HERE = Path(__file__).parent
SIZE = {
    "n_filters": 12,
    "kernel_size": 16,
    "stride": 8,
    "n_blocks": 2,
    "n_repeats": 2,
    "bn_chan": 6,
    "hid_chan": 8,
    "skip_chan": 5,
}
VARIANTS = {
    "global_relu": {"n_src": 2, "norm_type": "gLN", "mask_act": "relu", "encoder_activation": "relu"},
    "no_skip_softmax": {"n_src": 3, "norm_type": "fgLN", "mask_act": "softmax", "skip_chan": 0},
    "causal_cumulative": {"n_src": 2, "norm_type": "cgLN", "causal": True, "sample_rate": 16000.0},
    "causal_frame": {"n_src": 4, "norm_type": "gLN", "causal": True, "conv_kernel_size": 4},
    "batch_linear": {"n_src": 1, "norm_type": "bN", "mask_act": "linear", "conv_kernel_size": 5, "stride": 5},
}
FULL = {
    "default": {"n_src": 2},
    "three": {"n_src": 3},
    "no_skip": {"n_src": 2, "skip_chan": 0},
    "uneven": {"n_src": 4, "kernel_size": 32, "stride": 16, "n_filters": 128, "bn_chan": 64, "hid_chan": 96}
    | {"skip_chan": 48, "n_blocks": 4, "n_repeats": 2},
}


def main():
    golden = {}
    for name, options in VARIANTS.items():
        torch.manual_seed(0)
        model = ConvTasNet(**{**SIZE, **options})
        for value in model.state_dict().values():
            if value.is_floating_point():  # norms and running means away from one and zero
                value.add_(0.1 * torch.randn_like(value).abs())
        torch.save(model.eval().serialize(), HERE / f"asteroid_{name}.bin")
        mixture = torch.randn(2, 1, 603)
        with torch.no_grad():
            golden[f"{name}.mixture"] = mixture
            golden[f"{name}.latent"] = model.forward_encoder(mixture)
            golden[f"{name}.estimate"] = model(mixture)
    other = DPRNNTasNet(2, n_filters=8, bn_chan=4, hid_size=4, chunk_size=10, n_repeats=1)
    torch.save(other.serialize(), HERE / "asteroid_other.bin")
    counts = {
        name: sum(p.numel() for p in ConvTasNet(**options).parameters()) for name, options in FULL.items()
    }
    counts = {name: str(count) for name, count in counts.items()}
    save_file({k: v.contiguous() for k, v in golden.items()}, HERE / "asteroid.golden.safetensors", counts)


if __name__ == "__main__":
    main()
