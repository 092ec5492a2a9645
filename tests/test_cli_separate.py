"""`sfi-zoo separate`: what it prints, what it writes, and what a mistake looks like."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sfi_zoo import cli
from tests.half_separator import Half

SIGNAL = np.random.default_rng(0).uniform(-0.2, 0.2, (2, 20000))


pytestmark = pytest.mark.usefixtures("hub_of_half")


def sound(
    name: str, rate: int = 44100, subtype: str | None = None, scale: float = 1.0, channels: int = 2
) -> None:
    signal = np.resize(SIGNAL, (channels, SIGNAL.shape[1])) * scale
    soundfile.write(name, signal.T, rate, subtype)


def separate(*arguments: str) -> int:
    return cli.main(["separate", "-m", "half", "-o", "out", *arguments])


RAW = ("--consistency", "none", "--no-ceiling", "--above", "none")  # what the model gives, and nothing else


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_stems_go_to_a_folder_named_after_the_file(folder: Path) -> None:
    sound("song.wav")
    assert separate("song.wav") == 0
    assert written(folder / "out") == [f"song/{name}.wav" for name in ("bass", "drums", "other", "vocals")]


def test_the_written_paths_are_printed(folder: Path, capsys: pytest.CaptureFixture) -> None:
    sound("song.wav")
    separate("song.wav")
    assert capsys.readouterr().out.split() == [f"out/song/{name}.wav" for name in Half.sources]


def test_away_from_a_terminal_standard_error_is_silent(folder: Path, capsys: pytest.CaptureFixture) -> None:
    sound("song.wav")
    separate("song.wav")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize(
    ("name", "rate", "subtype"),
    [
        ("song.wav", 8000, "PCM_U8"),
        ("song.wav", 11025, "PCM_16"),
        ("song.wav", 96000, "PCM_24"),
        ("song.wav", 192000, "FLOAT"),
        ("song.flac", 44100, "PCM_24"),
    ],
)
def test_stems_keep_rate_channels_length_and_depth(
    name: str, rate: int, subtype: str, channels: int, folder: Path
) -> None:
    sound(name, rate, subtype, channels=channels)
    separate(name)
    stem = soundfile.info(f"out/song/drums{Path(name).suffix}")
    assert (stem.samplerate, stem.channels, stem.frames, stem.subtype) == (rate, channels, 20000, subtype)


@pytest.mark.parametrize(("name", "rate"), [("song.mp3", 44100), ("song.ogg", 48000)])
def test_a_lossy_file_gives_wav_stems_at_its_rate(
    name: str, rate: int, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    sound(name, rate)
    assert separate(name) == 0
    stem = soundfile.info("out/song/vocals.wav")
    assert (stem.samplerate, stem.channels, stem.subtype) == (rate, 2, "PCM_16")
    assert capsys.readouterr().err == ""


def test_stems_are_the_shares_of_the_file(folder: Path) -> None:
    sound("song.wav", subtype="FLOAT")
    separate("song.wav", "--chunk-seconds", "0.2", *RAW)
    mixture = soundfile.read("song.wav")[0]
    for name, share in zip(Half.sources, Half.shares, strict=True):
        np.testing.assert_array_equal(soundfile.read(f"out/song/{name}.wav")[0], share * mixture)


@pytest.mark.parametrize(("rate", "frames"), [(8000, 3628), (48000, 21769), (96000, 43537)])
def test_sample_rate_resamples_first(rate: int, frames: int, folder: Path) -> None:
    sound("song.wav", subtype="PCM_24")
    separate("song.wav", "--sample-rate", str(rate))
    stem = soundfile.info("out/song/bass.wav")
    assert (stem.samplerate, stem.frames, stem.subtype) == (rate, frames, "PCM_24")


def test_only_the_stems_asked_for_are_written(folder: Path) -> None:
    sound("song.wav")
    separate("song.wav", "--stems", "drums, vocals")
    assert written(folder / "out") == ["song/drums.wav", "song/vocals.wav"]


def test_format_and_subtype_are_as_asked(folder: Path) -> None:
    sound("song.wav")
    separate("song.wav", "--format", "flac", "--subtype", "pcm_24")
    assert soundfile.info("out/song/drums.flac").subtype == "PCM_24"


def test_silence_gives_silent_stems(folder: Path) -> None:
    sound("song.wav", scale=0)
    separate("song.wav")
    assert not soundfile.read("out/song/drums.wav")[0].any()


@pytest.fixture
def loud(folder: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A file whose first stem has its peak at 1.6, and the second one at 0.2."""
    monkeypatch.setattr(Half, "shares", (8, 1, 0, 0))
    sound("song.wav")
    return soundfile.read("song.wav")[0]


@pytest.mark.parametrize("chunk", ["12", "0.2"])
def test_what_would_clip_is_scaled_with_all_stems_and_told(
    chunk: str, loud: np.ndarray, capsys: pytest.CaptureFixture
) -> None:
    assert separate("song.wav", "--chunk-seconds", chunk, *RAW) == 0
    note = capsys.readouterr().err
    assert note.startswith("sfi-zoo: note: out/song/vocals.wav: peak 1.6") and "scaled by 0.62" in note
    for name, share in (("vocals", 8), ("drums", 1)):
        stem = soundfile.read(f"out/song/{name}.wav")[0]
        np.testing.assert_allclose(stem, share * loud / (8 * np.abs(loud).max()), atol=2**-15)


def test_clamping_is_told(loud: np.ndarray, capsys: pytest.CaptureFixture) -> None:
    assert separate("song.wav", "--clip", "clamp", *RAW) == 0
    note = capsys.readouterr().err
    assert note.startswith("sfi-zoo: note: out/song/vocals.wav: peak 1.6") and "clipped" in note
    np.testing.assert_allclose(soundfile.read("out/song/drums.wav")[0], loud, atol=2**-15)


def test_float_files_keep_what_is_beyond_full_scale(loud: np.ndarray, capsys: pytest.CaptureFixture) -> None:
    assert separate("song.wav", "--subtype", "FLOAT", *RAW) == 0
    assert capsys.readouterr().err == ""
    np.testing.assert_allclose(soundfile.read("out/song/vocals.wav")[0], 8 * loud, rtol=1e-6)


def test_two_stems_are_one_and_the_sum_of_the_others(folder: Path) -> None:
    sound("song.wav", subtype="FLOAT")
    assert separate("song.wav", "--two-stems", "drums", *RAW) == 0
    assert written(folder / "out") == ["song/drums.wav", "song/rest.wav"]
    mixture = soundfile.read("song.wav")[0]
    np.testing.assert_array_equal(soundfile.read("out/song/drums.wav")[0], 0.25 * mixture)
    np.testing.assert_allclose(soundfile.read("out/song/rest.wav")[0], 0.75 * mixture, atol=1e-7)


@pytest.mark.parametrize("options", [["--consistency", "equal"], ["--consistency", "energy"], ["--rescale"]])
def test_stems_that_do_not_sum_to_the_mixture_are_made_to(
    options: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Half, "shares", (0.25, 0.125, 0.0625, 0.0625))
    sound("song.wav", subtype="FLOAT")
    assert separate("song.wav", "--chunk-seconds", "0.2", *options) == 0
    stems = [soundfile.read(f"out/song/{name}.wav")[0] for name in Half.sources]
    np.testing.assert_allclose(np.sum(stems, 0), soundfile.read("song.wav")[0], atol=1e-6)
    assert written(folder / "out") == [f"song/{name}.wav" for name in sorted(Half.sources)]


def test_batches_and_precision_do_not_change_stems_of_a_simple_model(folder: Path) -> None:
    sound("song.wav", subtype="FLOAT")
    assert (
        separate("song.wav", "--chunk-seconds", "0.1", "--batch-size", "3", "--dtype", "float64", *RAW) == 0
    )
    np.testing.assert_allclose(soundfile.read("out/song/vocals.wav")[0], 0.5 * soundfile.read("song.wav")[0])


def test_threads_are_as_many_as_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("torch.set_num_threads", asked.append)
    sound("song.wav")
    separate("song.wav")
    separate("song.wav", "--threads", "1")
    assert asked == [1]


def corrupt(offset: int, code: str, value: int) -> None:
    sound("x.wav")
    data = bytearray(Path("x.wav").read_bytes())
    struct.pack_into(code, data, offset, value)
    Path("x.wav").write_bytes(data)


def with_sample(value: float) -> None:
    signal = SIGNAL.copy()
    signal[0, -1] = value
    soundfile.write("x.wav", signal.T, 44100, "FLOAT")


def halved(name: str) -> None:
    sound(name)
    data = Path(name).read_bytes()
    Path(name).write_bytes(data[: len(data) // 2])


BAD = {
    "missing": ("x.wav", lambda: None, "no such file"),
    "empty": ("x.wav", lambda: Path("x.wav").touch(), "empty"),
    "text": ("x.wav", lambda: Path("x.wav").write_text("text\n" * 99), "not a sound file"),
    "zero samples": ("x.wav", lambda: soundfile.write("x.wav", np.zeros((0, 2)), 44100), "no samples"),
    "nan": ("x.wav", lambda: with_sample(np.nan), "nan"),
    "infinity": ("x.wav", lambda: with_sample(np.inf), "inf"),
    "0 Hz": ("x.wav", lambda: corrupt(24, "<I", 0), "0 Hz"),
    "1 GHz": ("x.wav", lambda: corrupt(24, "<I", 10**9), "1000000000 Hz is outside"),
    "2 kHz": ("x.wav", lambda: corrupt(24, "<I", 2000), "2000 Hz is outside"),
    "folder": ("x", lambda: Path("x").mkdir(), "folder"),
    "truncated wav": ("x.wav", lambda: halved("x.wav"), "truncated"),
    "truncated flac": ("x.flac", lambda: halved("x.flac"), "truncated"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line_code_2_and_no_output(
    case: str, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    name, make, reason = BAD[case]
    make()
    assert separate(name) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith(f"sfi-zoo: {name}: ") and reason in captured.err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["-o", "song.wav/out"], "song.wav: is a file"),
        (["-o", "song.wav"], "song.wav: is a file"),
        (["-o", "/proc/out"], "/proc/out/song: cannot be written"),
        (["--sample-rate", "1000"], "--sample-rate 1000"),
        (["--stems", "piano"], "--stems piano: this model gives vocals, drums, bass, other"),
        (["--format", "avi"], "--format avi"),
        (["--subtype", "PCM_99"], "--subtype PCM_99"),
        (["--chunk-seconds", "0"], "chunk_seconds is 0"),
        (["--overlap-seconds", "7"], "overlap_seconds is 7"),
        (["--batch-size", "0"], "batch_size is 0"),
        (["--dtype", "int8"], "dtype must be one of float32, float64, bfloat16, float16; got int8"),
        (["--threads", "0"], "--threads 0"),
        (["--clip", "wrap"], "clip must be one of rescale, clamp; got wrap"),
        (["--consistency", "loud"], "consistency must be one of equal, energy; got loud"),
        (["--two-stems", "piano"], "two_stems is piano: this model gives vocals, drums, bass, other"),
        (["--two-stems", "drums", "--stems", "bass"], "leave --stems out"),
        (["--device", "nowhere"], "--device nowhere"),
        (["-m", "none"], "-m half -m none: --average gives their mean"),
    ],
)
def test_a_bad_option_is_one_line_code_2_and_no_output(
    arguments: list[str], reason: str, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    sound("song.wav")
    assert separate("song.wav", *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and reason in captured.err
    assert written(folder) == ["song.wav"]


def test_a_model_that_is_not_there_is_one_line(folder: Path, capsys: pytest.CaptureFixture) -> None:
    sound("song.wav")
    assert cli.main(["separate", "-m", "none", "-o", "out", "song.wav"]) == 2
    assert capsys.readouterr().err == "sfi-zoo: none: no such model\n" and written(folder) == ["song.wav"]


def test_an_mp3_that_ends_early_is_told(folder: Path, capsys: pytest.CaptureFixture) -> None:
    halved("x.mp3")
    assert separate("x.mp3") == 0
    assert "note: x.mp3: ends at 0.2 s, its header says 0.5 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["[red]a b[bold].wav", "été.wav", "-odd.wav", "a.b.c.wav", "x" * 250 + ".wav"]
)
def test_odd_names_are_names(name: str, folder: Path) -> None:
    sound(name)
    assert separate("--", name) == 0
    assert Path("out", Path(name).stem, "drums.wav").exists()


def test_a_name_that_is_not_text_is_one_line(folder: Path, capsys: pytest.CaptureFixture) -> None:
    sound("x.wav")
    name = os.fsdecode(b"\xff.wav")
    Path("x.wav").rename(name)
    assert separate(name) == 2
    assert "its name is not valid text" in capsys.readouterr().err


def test_one_bad_file_does_not_stop_the_others(folder: Path, capsys: pytest.CaptureFixture) -> None:
    sound("a.wav")
    sound("c.wav")
    assert separate("a.wav", "b.wav", "c.wav") == 1
    assert capsys.readouterr().err == "sfi-zoo: b.wav: no such file\n"
    assert {path.name for path in Path("out").iterdir()} == {"a", "c"}


def test_two_files_of_one_name_are_refused(folder: Path, capsys: pytest.CaptureFixture) -> None:
    sound("a.wav")
    sound("a.flac")
    assert separate("a.wav", "a.flac") == 2
    assert capsys.readouterr().err.startswith("sfi-zoo: a.flac: its stems would replace those of a.wav")


def test_a_stem_never_replaces_its_source(folder: Path) -> None:
    (folder / "out" / "drums").mkdir(parents=True)
    sound("out/drums/drums.wav")
    before = Path("out/drums/drums.wav").read_bytes()
    assert separate("out/drums/drums.wav") == 2
    assert Path("out/drums/drums.wav").read_bytes() == before


def test_an_interrupt_is_130_and_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Half, "forward", interrupt)
    sound("song.wav")
    assert separate("song.wav") == 130
    assert written(folder) == ["song.wav"]
