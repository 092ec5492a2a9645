"""Makes msst_*.pt, msst_*.yaml and msst.golden.safetensors with the code of pymss-core 0.1, which reads checkpoints of MSST.

python3 -m venv env; env/bin/pip install torch safetensors pyyaml; env/bin/pip install --no-deps pymss-core==0.1
env/bin/python tests/golden/make_msst.py
"""

from pathlib import Path

import torch
import yaml
from pymss_core.modules.bs_roformer.bs_roformer import BSRoformer
from pymss_core.modules.bs_roformer.mel_band_roformer import MelBandRoformer
from safetensors.torch import save_file

HERE = Path(__file__).parent
SMALL = {
    "dim": 8,
    "depth": 2,
    "heads": 2,
    "dim_head": 6,
    "stft_n_fft": 128,
    "stft_hop_length": 32,
    "mlp_expansion_factor": 1,
}
SMALL |= {"stft_win_length": 128, "flash_attn": True}
VARIANTS = {
    "bs_two": (BSRoformer, {"stereo": True, "num_stems": 2, "freqs_per_bands": (2, 2, 4, 8, 16, 33)}),
    "bs_mono": (
        BSRoformer,
        {"freqs_per_bands": (5, 10, 50), "time_transformer_depth": 1, "freq_transformer_depth": 1}
        | {
            "stft_normalized": True,
            "mask_estimator_depth": 3,
            "stft_win_length": 100,
            "use_shared_bias": True,
        },
    ),
    "mel_four": (
        MelBandRoformer,
        {"stereo": True, "num_stems": 4, "num_bands": 10, "mask_estimator_depth": 2, "sample_rate": 16000},
    ),
    "mel_one": (
        MelBandRoformer,
        {
            "stereo": True,
            "num_bands": 6,
            "time_transformer_depth": 1,
            "freq_transformer_depth": 1,
            "sample_rate": 44100,
        },
    ),
}
STEMS = ("vocals", "drums", "bass", "other")


def mixture(channels):
    """(1, channels, time): noise of a formula, nothing at first, then very quiet, then not; the same formula is in the test."""
    n = torch.arange(3000, dtype=torch.float64)
    gain = 1e-5 * (n > 500) + (n > 1000)
    x = torch.stack(
        [(((n + 1) * 12.9898 + 78.233 * c).sin() * 43758.5453).frac() * gain for c in range(channels)]
    )
    return x[None].float()


def main():
    golden = {}
    for name, (cls, own) in VARIANTS.items():
        torch.manual_seed(0)
        options = SMALL | own
        model = cls(**options, match_input_audio_length=True) if cls is MelBandRoformer else cls(**options)
        for key, value in model.state_dict().items():
            if "rotary" not in key:
                value.add_(0.1 * torch.randn_like(value))
        torch.save(model.eval().state_dict(), HERE / f"msst_{name}.pt")
        rate, count = options.get("sample_rate", 44100), options.get("num_stems", 1)
        training = {
            "instruments": list(STEMS[: max(count, 2)]),
            "target_instrument": None if count > 1 else "vocals",
        }
        config = {
            "audio": {
                "chunk_size": 2 * rate,
                "sample_rate": rate,
                "num_channels": 2 if options.get("stereo") else 1,
            }
        }
        config |= {"model": options, "training": training, "inference": {"batch_size": 1}}
        (HERE / f"msst_{name}.yaml").write_text(yaml.dump(config))
        with torch.no_grad():
            estimates = model(mixture(2 if options.get("stereo") else 1))
        golden[name] = estimates.reshape(count, -1, 3000).contiguous()
    save_file(golden, HERE / "msst.golden.safetensors")


if __name__ == "__main__":
    main()
