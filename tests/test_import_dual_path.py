"""SepFormer of SpeechBrain, DPRNN and DPTNet of asteroid, imported, against numbers of the packages (tests/golden/make_dual_path.py)."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sfi_zoo.errors import InputError
from sfi_zoo.hub import import_checkpoint, load
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from sfi_zoo.models.parts.segments import joined, segmented
from tests.signals import band_limited, relative_error

HERE = Path(__file__).parent / "golden"
FILES = {
    name: HERE / f"dualpath_{name}.pt" for name in ("dprnn_two", "dprnn_one", "dptnet_two", "dptnet_three")
}
FILES |= {name: HERE / name for name in ("sepformer_two", "sepformer_one")}


def mixture():
    """Of make_dual_path.py."""
    n = torch.arange(703, dtype=torch.float64)
    return ((0.02 * n**1.5).sin() * 0.5 + (0.9 * n).sin() * 0.1)[None, None].float()


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dual")
    return {name: load(import_checkpoint(file, folder / name)) for name, file in FILES.items()}


@pytest.mark.parametrize("name", FILES)
def test_an_imported_checkpoint_gives_the_packages_numbers(name, imported):
    golden = load_file(HERE / "dualpath.golden.safetensors")[name]
    with torch.no_grad():
        ours = imported[name](mixture())[0, :, 0]
    covered = golden.shape[-1]  # what the last frame covers; asteroid's are filled up with zeros as ours
    assert relative_error(ours[:, :covered], golden) < 1e-5
    assert not ours[:, covered:].any()


def test_rates_are_those_of_the_files(imported):
    assert [imported[name].sample_rate for name in FILES] == [8000, 16000, 8000, 16000, 8000, 16000]


@pytest.mark.parametrize("name", FILES)
def test_it_is_sampling_frequency_independent(name, imported):
    """A signal below 2950 Hz, float64: estimates at 1.5 F0 and at F0 agree where both have a sample."""
    model = imported[name]
    twin = type(model)(model.config).eval().double()
    twin.load_state_dict(model.state_dict())
    trained, higher = model.trained_rate, model.trained_rate * 3 // 2
    common = math.gcd(trained, higher)
    with torch.no_grad():
        a, b = (twin(band_limited(f), f)[..., :: f // common] for f in (higher, trained))
    assert relative_error(a, b) < 1e-4


@pytest.mark.parametrize(
    ("frames", "segment", "hop", "padding"),
    [(23, 8, 4, "half"), (24, 8, 4, "half"), (4, 8, 4, "half"), (23, 9, 4, "whole"), (5, 10, 3, "whole")],
)
def test_segments_are_cut_and_joined_frame_by_frame(frames, segment, hop, padding):
    """Against loops over frames."""
    x = torch.randn(2, 3, frames, dtype=torch.float64)
    cut = segmented(x, segment, hop, padding)
    left = segment if padding == "whole" else hop
    total = torch.zeros(2, 3, frames, dtype=torch.float64)
    for s in range(cut.shape[-1]):
        for k in range(segment):
            frame = s * hop + k - left
            inside = 0 <= frame < frames
            assert torch.equal(
                cut[:, :, k, s], x[:, :, frame] if inside else torch.zeros(2, 3, dtype=torch.float64)
            )
            if inside:
                total[:, :, frame] += cut[:, :, k, s]
    assert torch.allclose(joined(cut, frames, hop, padding), total)
    if padding == "half":
        assert torch.allclose(total, 2 * x)


# files ------------------------------------------------------------------------------------------------------------------


def changed(tmp_path, change, name="dprnn_two"):
    content = read_checkpoint(FILES[name])
    change(content)
    torch.save(content, tmp_path / "file.bin")
    return tmp_path / "file.bin"


def args(**values):
    return lambda content: content["model_args"].update(values)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("dprnn_two", args(use_mulcat=True), "use_mulcat=True"),
        ("dprnn_two", args(mask_act="softmax"), "over the features"),
        ("dprnn_two", args(rnn_type="transformer"), "rnn must be one of lstm, gru, rnn"),
        ("dprnn_two", args(hid_size=4), r"shape masker\.net\.0\.intra_RNN\.rnn\.weight_ih_l0"),
        ("dprnn_two", args(chunk_size="long"), "chunk_size='long', not int"),
        ("dprnn_two", args(hop_size=100), "segment_hop must be at most"),
        ("dprnn_two", args(norm_type="gGN"), "norm_type='gGN'"),
        ("dprnn_two", args(magic=1), "magic"),
        ("dptnet_two", args(n_heads=3), r"n_filters \(8\) is no multiple of n_heads \(3\)"),
        ("dptnet_two", args(ff_activation="gelu"), "ff_activation='gelu'"),
        ("dptnet_two", lambda c: c["state_dict"].pop("masker.layers.1.0.norm_ff.beta"), r"misses masker\.layers\.1\.0\.norm_ff\.beta"),
        ("dptnet_two", lambda c: c.update(model_name="DCUNet"), "'DCUNet' of asteroid; of its models ConvTasNet, DPRNNTasNet, DPTNet"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_of_asteroid_is_named(name, change, reason, tmp_path):
    with pytest.raises(InputError, match=reason) as caught:
        import_checkpoint(changed(tmp_path, change, name), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_wrappers_of_asteroids_are_taken_off(tmp_path, imported):
    def wrap(content):
        content["state_dict"] = {f"module._orig_mod.{k}": v for k, v in content["state_dict"].items()}

    model = load(import_checkpoint(changed(tmp_path, wrap), tmp_path / "out"))
    assert all(torch.equal(v, imported["dprnn_two"].state_dict()[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("dual_path.Encoder", "resepformer.Encoder", "has new:speechbrain.lobes.models.resepformer.Encoder where SepFormer has Encoder"),
        ("!new:speechbrain.lobes.models.dual_path.Decoder", "!new:os.system", "has new:os.system where"),
        ("!new:speechbrain.lobes.models.dual_path.Dual_Path_Model", "!apply:eval", "has apply:eval where"),
        ("!ref <num_spks>", "!ref <nobody>", "'<nobody>', which is not a name"),
        ("num_spks: 2\n", "num_spks: !ref <num_spks>\n", "refers to itself"),
        ("skip_around_intra: true", "skip_around_intra: false", "skip_around_intra=False, not True"),
        ("stride: 8", "stride: 4", "kernel and stride are not 16 and 8"),
        ("K: 10", "K: 11", "a segment of 2 segment_hop"),
        ("norm: ln", "norm: cln", "norm='cln'"),
        ("K: 10", "memory: 10", "has memory in Dual_Path_Model"),
        ("d_ffn: 7", "d_ffn: 9", r"pos_ffn\.ffn\.0\.weight"),
        ("sample_rate: 8000", "sample_rate: fast", "sample_rate='fast'"),
        ("sample_rate: 8000\n", "", "does not say its sample rate"),
        ("num_layers: 1\n", "num_layers: 3\n", r"misses masknet\.dual_mdl\.0\.inter_mdl\.mdl\.layers\.1"),
    ],
)  # fmt: skip
def test_what_cannot_be_imported_of_speechbrain_is_named(old, new, reason, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(FILES["sepformer_two"], folder)
    text = (folder / "hyperparams.yaml").read_text()
    assert old in text
    (folder / "hyperparams.yaml").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=reason) as caught:
        import_checkpoint(folder, tmp_path / "out")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["encoder", "masknet", "decoder"])
def test_a_missing_file_is_named(part, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(FILES["sepformer_two"], folder)
    (folder / f"{part}.ckpt").unlink()
    with pytest.raises(InputError, match=rf"no {part}\.ckpt"):
        import_checkpoint(folder, tmp_path / "out")


def test_other_positions_are_refused(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(FILES["sepformer_two"], folder)
    state = read_checkpoint(folder / "masknet.ckpt")
    key = next(key for key in state if key.endswith("pos_enc.pe"))
    torch.save(state | {key: state[key] + 0.1}, folder / "masknet.ckpt")
    with pytest.raises(InputError, match="not what SepFormer adds for positions"):
        import_checkpoint(folder, tmp_path / "out")
