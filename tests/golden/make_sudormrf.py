"""Makes sudormrf.golden.safetensors with asteroid's own code, which is not installed: its wheels are unpacked beside.

pip install --no-deps --target asteroid asteroid==0.7.0 asteroid-filterbanks
pip install --target asteroid requests
python tests/golden/make_sudormrf.py asteroid
"""

import sys
import types
from pathlib import Path

import torch
from safetensors.torch import save_file

SIZE = {"n_src": 3, "bn_chan": 6, "num_blocks": 2, "n_filters": 12, "kernel_size": 21}
VARIANTS = {
    "original": {"upsampling_depth": 3, "mask_act": "softmax"},
    "improved": {"upsampling_depth": 4, "mask_act": "relu"},
}


def import_models(folder):
    """asteroid's SuDoRM-RF without the packages above it, which import all that asteroid has."""
    sys.path.insert(0, str(folder))
    for name in ("asteroid", "asteroid.models"):
        package = types.ModuleType(name)
        package.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = package
    from asteroid.models import sudormrf

    return {"original": sudormrf.SuDORMRFNet, "improved": sudormrf.SuDORMRFImprovedNet}


def main():
    models = import_models(Path(sys.argv[1]).resolve())
    golden, counts = {}, {}
    for name, options in VARIANTS.items():
        torch.manual_seed(0)
        model = models[name](**SIZE, **options).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # norms, PReLUs and biases away from where they start
                parameter.add_(0.1 * torch.randn_like(parameter))
            if name == "improved":  # the authors' has one slope for all channels, asteroid's one for each
                for block in model.masker.sm:
                    block.final_norm.act.weight.fill_(block.final_norm.act.weight[0].item())
            mixture = torch.randn(2, 1, 640)
            latent = model.forward_encoder(mixture)
            golden[f"{name}.mixture"], golden[f"{name}.latent"] = mixture, latent
            golden[f"{name}.masks"] = model.masker(latent)
            golden[f"{name}.masks_of_29_frames"] = model.masker(latent[..., :29])  # asteroid cuts, as we do
            golden[f"{name}.estimate"] = model(mixture)
        state = {key: value for key, value in model.state_dict().items() if "encoder.encoder" not in key}
        golden |= {f"{name}.state.{key}": value for key, value in state.items()}
        for levels in (4, 5):
            full = models[name](2, upsampling_depth=levels)
            counts[f"{name}.{levels}"] = str(sum(p.numel() for p in full.parameters()))
    golden = {key: value.clone() for key, value in golden.items()}
    save_file(golden, Path(__file__).parent / "sudormrf.golden.safetensors", counts)


if __name__ == "__main__":
    main()
