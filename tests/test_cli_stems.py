"""`sfi-zoo separate` on folders: names, what is there already, short forms, streams, means of models, processes that share the files."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import sfi_zoo
from sfi_zoo import cli
from sfi_zoo.audio.containers import EXTENSIONS
from sfi_zoo.commands.separate_shared import Claim, check_memory, in_turn, place_among_processes, shared_out
from sfi_zoo.errors import InputError
from sfi_zoo.separation.averaged import Averaged
from sfi_zoo.separation.chunks import separate as separate_signal
from sfi_zoo.separation.naming import ENDINGS, Found, check_template, stem_names
from sfi_zoo.separation.options import SeparationOptions
from tests.half_separator import Half
from tests.tiny_separators import tiny

SIGNAL = np.random.default_rng(0).uniform(-0.2, 0.2, (4000, 2))

half = pytest.mark.usefixtures("hub_of_half")


def sound(name: str, rate: int = 8000, subtype: str | None = None) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(name, SIGNAL, rate, subtype)


def separate(*arguments: str) -> int:
    return cli.main(["separate", "-m", "half", "-o", "out", *arguments])


def written(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@half
def test_a_folder_gives_its_sound_files_and_with_recursive_those_below(folder: Path) -> None:
    for name in ("in/a.wav", "in/b/c.flac", "in/.hidden.wav", "in/.git/x.wav"):
        sound(name)
    Path("in/notes.txt").write_text("no sound")
    assert separate("in", "--stems", "drums") == 0
    assert written(folder / "out") == ["a/drums.wav"]
    assert separate("in", "--recursive", "--stems", "drums", "--overwrite") == 0
    assert written(folder / "out") == ["a/drums.wav", "c/drums.flac"]


@half
def test_stems_in_the_folder_itself_are_no_input(folder: Path) -> None:
    sound("in/a.wav")
    for _ in range(2):
        assert cli.main(["separate", "-m", "half", "-o", "in/out", "in", "-r", "--overwrite"]) == 0
    assert len(written(folder / "in" / "out")) == 4


@half
@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{stem}/{track}.{ext}", "drums/a.wav"),
        ("{track} - {stem}.{ext}", "a - drums.wav"),
        ("{model}/{folder}/{track}_{stem}.{ext}", "half/in/b/a_drums.wav"),
        ("{stem}.{ext}", "drums.wav"),
    ],
)
def test_names_are_as_the_template_says(template: str, name: str, folder: Path) -> None:
    sound("in/b/a.wav")
    assert separate("in", "-r", "--filename", template) == 0
    stems = [name.replace("drums", stem) for stem in ("bass", "drums", "other", "vocals")]
    assert written(folder / "out") == sorted(stems)


@half
def test_two_files_of_one_name_need_a_template(folder: Path, capsys: pytest.CaptureFixture) -> None:
    sound("in/one/a.wav")
    sound("in/two/a.wav")
    assert separate("in", "-r") == 2
    assert "--filename '{folder}/{track}/{stem}.{ext}'" in capsys.readouterr().err
    assert not Path("out").exists()
    assert separate("in", "-r", "--filename", "{folder}/{track}/{stem}.{ext}", "--stems", "bass") == 0
    assert written(folder / "out") == ["in/one/a/bass.wav", "in/two/a/bass.wav"]


@half
def test_nothing_is_replaced_without_a_word(folder: Path, capsys: pytest.CaptureFixture) -> None:
    sound("a.wav")
    assert separate("a.wav") == 0
    before = {name: (folder / "out" / name).stat().st_mtime_ns for name in written(folder / "out")}
    sound("b.wav")
    capsys.readouterr()
    assert separate("a.wav", "b.wav") == 2
    assert capsys.readouterr().err.startswith("sfi-zoo: out/a/vocals.wav: is there already; --skip-existing")
    assert written(folder / "out") == sorted(before)
    assert separate("a.wav", "b.wav", "--skip-existing") == 0
    assert capsys.readouterr().out.split() == [f"out/b/{name}.wav" for name in Half.sources]
    assert {name: (folder / "out" / name).stat().st_mtime_ns for name in before} == before
    assert separate("a.wav", "--overwrite") == 0
    assert {name: (folder / "out" / name).stat().st_mtime_ns for name in before} != before


@half
@pytest.mark.parametrize(
    ("options", "ending", "subtype"),
    [
        (["--flac"], ".flac", "PCM_16"),
        (["--mp3"], ".mp3", "MPEG_LAYER_III"),
        (["--float32"], ".wav", "FLOAT"),
        (["--int24"], ".wav", "PCM_24"),
        (["--flac", "--int24"], ".flac", "PCM_24"),
    ],
)
def test_short_forms(options: list[str], ending: str, subtype: str, folder: Path) -> None:
    sound("a.wav")
    assert separate("a.wav", *options) == 0
    assert soundfile.info(f"out/a/drums{ending}").subtype == subtype


@half
@pytest.mark.parametrize("kbits", [64, 128, 320])
def test_an_mp3_has_the_bit_rate_asked_for(kbits: int, folder: Path) -> None:
    soundfile.write("a.wav", np.resize(SIGNAL, (88200, 2)), 44100)
    assert separate("a.wav", "--mp3", "--mp3-bitrate", str(kbits), "--stems", "drums") == 0
    assert Path("out/a/drums.mp3").stat().st_size * 8 / 2000 == pytest.approx(kbits, rel=0.1)


@half
def test_no_vocals_is_a_name_for_the_rest(folder: Path) -> None:
    sound("a.wav")
    assert separate("a.wav", "--two-stems", "no_vocals") == 0
    assert written(folder / "out") == ["a/no_vocals.wav", "a/vocals.wav"]


@half
def test_standard_input_and_output(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture
) -> None:
    sound("a.wav", subtype="FLOAT")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path("a.wav").read_bytes())))
    assert cli.main(["separate", "-m", "half", "-o", "-", "--stems", "drums", "-"]) == 0
    out = capfdbinary.readouterr().out
    stem, rate = soundfile.read(io.BytesIO(out))
    assert rate == 8000
    np.testing.assert_allclose(stem, 0.25 * SIGNAL, atol=1e-6)
    assert written(folder) == ["a.wav"]


@half
def test_an_error_of_standard_input_names_no_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert separate("-") == 2
    assert capsys.readouterr().err == "sfi-zoo: standard input: is an empty file\n"


@half
@pytest.mark.skipif(not (shutil.which("ffmpeg") and shutil.which("ffprobe")), reason="needs ffmpeg")
def test_the_last_line_of_ffmpeg_is_told(folder: Path, capsys: pytest.CaptureFixture) -> None:
    """A file of its kind, without what should follow the head."""
    Path("cut.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(400))
    assert separate("cut.m4a") == 2
    told = capsys.readouterr().err
    assert told.startswith("sfi-zoo: cut.m4a: ") and "; ffmpeg: " in told and told.count("\n") == 1
    assert "Invalid data" in told.partition("; ffmpeg: ")[2] and "file:" not in told


BAD = [
    (["--filename", "../{stem}.{ext}"], "leads out of the folder"),
    (["--filename", "/tmp/{stem}.{ext}"], "leads out of the folder"),
    (["--filename", "{track}.{ext}"], "maps all stems onto one file"),
    (["--filename", "{stem}"], "must end in .{ext}"),
    (["--filename", "{stem!r}.{ext}"], "knows {track}"),
    (["--filename", "{song}/{stem}.{ext}"], "knows {track}, {stem}, {ext}, {model}, {folder} and no {song}"),
    (["--filename", "{stem.{ext}"], "--filename"),
    (["--above", "loud"], "above must be one of masks, equal, none; got loud"),
    (["--shifts", "0"], "shifts is 0"),
    (["--jobs", "0"], "--jobs 0"),
    (["--mp3", "--flac"], "mp3 and flac"),
    (["--mp3", "--int24"], "has no sample format"),
    (["--mp3-bitrate", "128"], "only with --mp3"),
    (["--overwrite", "--skip-existing"], "choose one of them"),
    (["--average"], "--average: takes several models"),
    (["--format", "avi"], "--format avi"),
    (["--clip", "wrap"], "clip must be one of"),
    (["--mode", "odd"], "unknown mode 'odd'; known: native, resample, none"),
    (["-o", "-"], "takes one stem of one file"),
    (["empty"], "empty: is a folder without sound files"),
    (["--stems", "drums", "--two-stems", "drums"], "leave --stems out"),
]


@pytest.mark.parametrize(("arguments", "reason"), BAD)
def test_a_mistake_is_told_before_any_work(
    arguments: list[str],
    reason: str,
    folder: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sfi_zoo.commands.separate_run", None)  # where work would begin
    sound("a.wav")
    Path("empty").mkdir()
    assert cli.main(["separate", "a.wav", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and reason in error
    assert written(folder) == ["a.wav"]


def test_mistakes_are_told_without_torch(folder: Path) -> None:
    """In a process of its own: no import of torch, soundfile or numpy on the way to the message."""
    sound("a.wav")
    code = (
        "import sys; from sfi_zoo.commands import separate; from sfi_zoo.separation import naming, options;"
        "print([x for x in ('torch', 'numpy', 'soundfile') if x in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600
    )
    assert done.stdout == "[]\n"


def test_a_folder_that_may_not_be_written_is_told_before_any_work(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK and access(path, mode))
    sound("a.wav")
    assert cli.main(["separate", "a.wav", "-o", "closed/out"]) == 2
    assert "closed/out: cannot be written (no permission" in capsys.readouterr().err


def test_two_stems_on_one_file_are_refused() -> None:
    with pytest.raises(InputError, match="two stems onto one file"):
        stem_names("{track}/{stem}.{ext}", Found(Path("a.wav")), ["Bass", "bass"])


@pytest.mark.parametrize("track", ["..", "...", ". ."])
def test_a_name_that_is_no_folder_is_refused(track: str) -> None:
    with pytest.raises(InputError, match="rename it"):
        stem_names("{track}/{stem}.{ext}", Found(Path(f"{track}.wav")), ["bass"])


def test_a_model_with_slashes_stays_in_the_folder() -> None:
    template = "{model}/{track}/{stem}.{ext}"
    check_template(template)
    assert stem_names(template, Found(Path("a.wav")), ["b"], "org/name@main") == ["org_name@main/a/b"]


def test_modes_are_the_models() -> None:
    """The command knows them without importing the models."""
    from sfi_zoo.commands import separate
    from sfi_zoo.models import adaptation

    assert separate.MODES == adaptation.MODES


def test_what_can_be_written_is_found_in_folders() -> None:
    assert set(EXTENSIONS.values()) <= ENDINGS


def test_averaged_models_give_the_mean_in_the_order_of_the_first() -> None:
    one, two = tiny("convtasnet", sources=("a", "b")), tiny("bsrnn", sources=("b", "a"))
    signal = torch.randn(1, 1, 8000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        mean = (one(signal, 8000) + two(signal, 8000)[:, [1, 0]]) / 2
        torch.testing.assert_close(Averaged([one, two])(signal, 8000), mean)
    assert Averaged([one, two]).frame_period is None


def test_models_of_different_sources_are_not_averaged() -> None:
    with pytest.raises(InputError, match="same sources: one gives a, b, another a, c"):
        Averaged([tiny("convtasnet"), tiny("convtasnet", sources=("a", "c"))])


def test_shifts_are_the_mean_over_delays() -> None:
    """A gain that depends on where a sample lies in a frame, cos: its mean over two delays of half a frame is none."""

    class Framed(torch.nn.Module):
        sources = ("a",)
        sample_rate = 8000
        frame_period = 0.005

        def forward(self, waveform: torch.Tensor, sample_rate: float) -> torch.Tensor:
            phase = torch.arange(waveform.shape[-1]) / (self.frame_period * sample_rate)
            return (waveform * (1 + torch.cos(2 * torch.pi * phase)))[:, None]

    signal = torch.randn(1, 9000, generator=torch.Generator().manual_seed(0))
    shifted = separate_signal(Framed(), signal, 8000, SeparationOptions(0.5, shifts=2))
    torch.testing.assert_close(shifted[0], signal, atol=1e-4, rtol=0)


def test_a_file_in_python(folder: Path) -> None:
    sound("a.wav", subtype="FLOAT")
    paths = sfi_zoo.separate_file("a.wav", "out", Half(), subtype="PCM_24", two_stems="drums")
    assert paths == [Path("out/a/drums.wav"), Path("out/a/rest.wav")]
    assert soundfile.info(paths[0]).subtype == "PCM_24"
    with pytest.raises(InputError, match="is there already"):
        sfi_zoo.separate_file("a.wav", "out", Half(), two_stems="drums")
    with pytest.raises(TypeError, match="two_stem"):
        sfi_zoo.separate_file("a.wav", "out", Half(), two_stem="drums")
    seen: list[float] = []
    model = tiny("convtasnet")
    paths = model.separate_file("a.wav", "other", progress=lambda done, total: seen.append(done))
    assert [path.name for path in paths] == ["a.wav", "b.wav"] and seen[-1] == 0.5
    stems = sum(soundfile.read(path)[0] for path in paths)
    np.testing.assert_allclose(stems, SIGNAL, atol=1e-6)


def test_a_place_among_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    assert place_among_processes() == (0, 1)
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "3")
    assert place_among_processes() == (1, 3)
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match="RANK=5, WORLD_SIZE=2"):
        place_among_processes()


def test_every_process_comes_to_every_file_its_own_first() -> None:
    orders = [shared_out(7, rank, 3) for rank in range(3)]
    assert all(sorted(order) == list(range(7)) for order in orders)
    assert [order[0] for order in orders] == [0, 3, 5]


def test_a_file_is_claimed_once_and_waited_for(tmp_path: Path) -> None:
    first, second = Claim(tmp_path, "a"), Claim(tmp_path, "a")
    assert first.take() and not second.take()
    first.release()
    assert second.take()
    answers = {0: [False, True], 1: [True], 2: [None]}
    assert list(in_turn([0, 1, 2], lambda number: answers[number].pop(0))) == [1, 0]


def test_jobs_beyond_the_memory_are_refused() -> None:
    check_memory(1, 1e18)
    with pytest.raises(InputError, match=r"--jobs 1000: each needs about 1000000.0 GB .* --jobs 1 fits"):
        check_memory(1000, 1e15)


def run(rank: int, world: int, *arguments: str, **options: str) -> subprocess.Popen:
    place = {"RANK": str(rank), "WORLD_SIZE": str(world)} if world > 1 else {}
    command = [sys.executable, "-m", "sfi_zoo.cli", "separate", "-m", "convtasnet_plain.music4", *arguments]
    return subprocess.Popen(command, env=os.environ | place | options, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_one_of_them_killed_give_what_one_gives(folder: Path) -> None:
    names = [f"in/{name}.wav" for name in ("a", "b", "c", "d", "été", "песня", "歌")]
    for number, name in enumerate(names):
        Path(name).parent.mkdir(exist_ok=True)
        signal = np.random.default_rng(number).uniform(-0.2, 0.2, (64000, 1))
        soundfile.write(name, signal, 16000)
    assert run(0, 1, "in", "-o", "one").wait() == 0
    processes = [run(rank, 2, "in", "-o", "two", "--json") for rank in range(2)]
    while not any(Path("two").rglob("*.wav")) and processes[0].poll() is None:
        pass
    processes[1].kill()
    report = json.loads(processes[0].communicate()[0])
    processes[1].wait()
    assert processes[0].returncode == 0 and len(report) >= 4
    # a killed process cannot take its own temporary folder away
    stems = [name for name in written(folder / "two") if not name.startswith(".sfi-zoo-")]
    assert stems == written(folder / "one")
    for name in written(folder / "one"):
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes(), name
