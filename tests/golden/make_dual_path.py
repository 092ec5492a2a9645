"""Makes dualpath_*.pt, sepformer_*/ and dualpath.golden.safetensors with the code of asteroid 0.7.0 and SpeechBrain 1.1.2.

python3 -m venv env; env/bin/pip install asteroid==0.7.0 speechbrain==1.1.2 torch safetensors
env/bin/python tests/golden/make_dual_path.py
"""

from pathlib import Path

import torch
from asteroid.models import DPRNNTasNet, DPTNet
from safetensors.torch import save_file
from speechbrain.lobes.models.dual_path import Decoder, Dual_Path_Model, Encoder, SBTransformerBlock

HERE = Path(__file__).parent
ASTEROID = {
    "dprnn_two": (
        DPRNNTasNet,
        {"n_src": 2, "n_filters": 8, "bn_chan": 6, "hid_size": 5, "chunk_size": 10, "n_repeats": 2},
    ),
    "dprnn_one": (
        DPRNNTasNet,
        {
            "n_src": 1,
            "n_filters": 7,
            "bn_chan": 4,
            "hid_size": 3,
            "chunk_size": 9,
            "hop_size": 4,
            "n_repeats": 1,
        }
        | {"rnn_type": "GRU", "num_layers": 2, "bidirectional": False, "norm_type": "cLN", "mask_act": "relu"}
        | {"sample_rate": 16000, "kernel_size": 12, "stride": 5, "encoder_activation": "relu"},
    ),
    "dptnet_two": (
        DPTNet,
        {"n_src": 2, "n_filters": 8, "n_heads": 2, "ff_hid": 5, "chunk_size": 12, "n_repeats": 2},
    ),
    "dptnet_three": (
        DPTNet,
        {
            "n_src": 3,
            "n_filters": 8,
            "n_heads": 4,
            "ff_hid": 3,
            "chunk_size": 10,
            "hop_size": 3,
            "n_repeats": 1,
        }
        | {"mask_act": "softmax", "bidirectional": False, "sample_rate": 16000},
    ),
}
SEPFORMER = {
    "sepformer_two": (2, 16, 8, 10, True, True, 8000),
    "sepformer_one": (1, 12, 6, 8, False, False, 16000),
}
YAML = """# as published: objects are made where SpeechBrain reads it
sample_rate: {rate}
num_spks: {sources}
Encoder: &id003 !new:speechbrain.lobes.models.dual_path.Encoder
  kernel_size: {kernel}
  out_channels: {width}
SBtfintra: &id001 !new:speechbrain.lobes.models.dual_path.SBTransformerBlock
  num_layers: 2
  d_model: {width}
  nhead: 2
  d_ffn: 7
  dropout: 0
  use_positional_encoding: {positions}
  norm_before: {before}
SBtfinter: !new:speechbrain.lobes.models.dual_path.SBTransformerBlock
  num_layers: 1
  d_model: {width}
  nhead: 2
  d_ffn: 7
  dropout: 0
  use_positional_encoding: {positions}
  norm_before: {before}
MaskNet: !new:speechbrain.lobes.models.dual_path.Dual_Path_Model
  num_spks: !ref <num_spks>
  in_channels: {width}
  out_channels: {width}
  num_layers: 2
  K: {segment}
  intra_model: *id001
  inter_model: !ref <SBtfinter>
  norm: ln
  linear_layer_after_inter_intra: false
  skip_around_intra: true
Decoder: !new:speechbrain.lobes.models.dual_path.Decoder
  in_channels: {width}
  out_channels: 1
  kernel_size: {kernel}
  stride: {stride}
  bias: false
modules:
  encoder: *id003
  decoder: !ref <Decoder>
  masknet: !ref <MaskNet>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
  loadables:
    encoder: !ref <Encoder>
"""


def mixture():
    """(1, time): a chirp; the same formula is in the test."""
    n = torch.arange(703, dtype=torch.float64)
    return ((0.02 * n**1.5).sin() * 0.5 + (0.9 * n).sin() * 0.1)[None].float()


def moved(model):
    """Away from ones and zeros."""
    for key, value in model.state_dict().items():
        if value.is_floating_point() and not key.endswith("pe"):
            value.add_(0.1 * torch.randn_like(value))
    return model.eval()


def main():
    golden = {}
    for name, (cls, options) in ASTEROID.items():
        torch.manual_seed(0)
        model = moved(cls(**options))
        torch.save(model.serialize(), HERE / f"dualpath_{name}.pt")
        with torch.no_grad():
            golden[name] = model(mixture()[None])[0]
    for name, (sources, kernel, width, segment, position, before, rate) in SEPFORMER.items():
        torch.manual_seed(0)
        options = {"use_positional_encoding": position, "norm_before": before, "d_ffn": 7, "dropout": 0}
        intra, inter = (SBTransformerBlock(layers, width, 2, **options) for layers in (2, 1))
        settings = {
            "num_layers": 2,
            "K": segment,
            "num_spks": sources,
            "linear_layer_after_inter_intra": False,
        }
        parts = {
            "encoder": moved(Encoder(kernel, width)),
            "masknet": moved(Dual_Path_Model(width, width, intra, inter, **settings)),
            "decoder": moved(Decoder(width, 1, kernel_size=kernel, stride=kernel // 2, bias=False)),
        }
        (HERE / name).mkdir(exist_ok=True)
        for part, module in parts.items():
            state = {k: v[:, :50] if k.endswith("pe") else v for k, v in module.state_dict().items()}
            torch.save({k: v.clone() for k, v in state.items()}, HERE / name / f"{part}.ckpt")
        values = {"rate": rate, "sources": sources, "kernel": kernel, "width": width, "segment": segment}
        values |= {"positions": str(position).lower(), "before": str(before).lower(), "stride": kernel // 2}
        (HERE / name / "hyperparams.yaml").write_text(YAML.format(**values))
        with torch.no_grad():
            latent = parts["encoder"](mixture())
            stems = [parts["decoder"](latent * mask) for mask in parts["masknet"](latent)]
        golden[name] = torch.stack([stem.flatten() for stem in stems])
    save_file(
        {key: value.contiguous() for key, value in golden.items()}, HERE / "dualpath.golden.safetensors"
    )


if __name__ == "__main__":
    main()
