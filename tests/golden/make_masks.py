"""Makes masks.golden.safetensors: masks that the packages predict with the checkpoints that lie here, which other scripts made.

    python3 -m venv env; env/bin/pip install asteroid==0.7.0 speechbrain==1.1.2 torch safetensors pyyaml
    env/bin/pip install --no-deps pymss-core==0.1
    env/bin/python tests/golden/make_masks.py

(sources, features, frames) each; of the RoFormers every STEP-th frame, complex, features in the order (channel, bin).
"""

import sys
from pathlib import Path

import torch
import yaml
from asteroid.models import BaseModel
from safetensors.torch import load_file, save_file
from speechbrain.lobes.models.dual_path import Dual_Path_Model, Encoder, SBTransformerBlock

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import make_dual_path  # noqa: E402
import make_msst  # noqa: E402

STEP = 7


def asteroid(file, mixture):
    """Masks of a file of `serialize()`, ours, which is why it is unpickled."""
    model = BaseModel.from_pretrained(torch.load(file, weights_only=False)).eval()
    return model.forward_masker(model.forward_encoder(mixture))[0]


def sepformer(name):
    """Masks of a folder of `make_dual_path`."""
    sources, kernel, width, segment, position, before, _ = make_dual_path.SEPFORMER[name]
    options = {"use_positional_encoding": position, "norm_before": before, "d_ffn": 7, "dropout": 0}
    intra, inter = (SBTransformerBlock(layers, width, 2, **options) for layers in (2, 1))
    settings = {"num_layers": 2, "K": segment, "num_spks": sources, "linear_layer_after_inter_intra": False}
    encoder, masknet = Encoder(kernel, width), Dual_Path_Model(width, width, intra, inter, **settings)
    for part, module in {"encoder": encoder, "masknet": masknet}.items():
        state = torch.load(HERE / name / f"{part}.ckpt", weights_only=True)
        state = {k: v for k, v in state.items() if not k.endswith("pe")}  # made, and cut in the file
        lost = module.load_state_dict(state, strict=False)
        assert not lost.unexpected_keys
        assert all(key.endswith("pe") for key in lost.missing_keys)
        module.eval()
    return masknet(encoder(make_dual_path.mixture()))[:, 0]


def roformer(name):
    """Masks of a file of `make_msst`, averaged where mel bands overlap."""
    cls, _ = make_msst.VARIANTS[name]
    options = yaml.unsafe_load((HERE / f"msst_{name}.yaml").read_text())["model"]  # our own file
    mel = cls is make_msst.MelBandRoformer
    model = cls(**options, match_input_audio_length=True) if mel else cls(**options)
    model.load_state_dict(torch.load(HERE / f"msst_{name}.pt", weights_only=True))
    found = []
    core = model._forward_mask_core
    model._forward_mask_core = lambda x: found.append(core(x)) or found[-1]
    channels = 2 if options.get("stereo") else 1
    model.eval()(make_msst.mixture(channels))
    masks = torch.view_as_complex(found[0][0].contiguous())
    if mel:
        count = options["stft_n_fft"] // 2 + 1
        total = torch.zeros(len(masks), channels * count, masks.shape[-1], dtype=masks.dtype)
        total.index_add_(1, model.freq_indices, masks)
        masks = total / model.num_bands_per_channel_freq.flatten()[:, None].clamp(min=1e-8)
    masks = masks[..., ::STEP]
    return torch.cat([masks[:, c::channels] for c in range(channels)], dim=1)  # was (bin, channel)


@torch.no_grad()
def main():
    mixtures = load_file(HERE / "asteroid.golden.safetensors")
    masks = {}
    for file in sorted(HERE.glob("asteroid_*.bin")):
        if f"{file.stem.removeprefix('asteroid_')}.mixture" in mixtures:
            masks[file.stem] = asteroid(file, mixtures[f"{file.stem.removeprefix('asteroid_')}.mixture"])
    for file in sorted(HERE.glob("dualpath_*.pt")):
        masks[file.stem] = asteroid(file, make_dual_path.mixture()[None])
    masks |= {name: sepformer(name) for name in make_dual_path.SEPFORMER}
    masks |= {f"msst_{name}": roformer(name) for name in make_msst.VARIANTS}
    save_file({k: v.contiguous() for k, v in masks.items()}, HERE / "masks.golden.safetensors")


if __name__ == "__main__":
    main()
