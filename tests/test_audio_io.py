"""Sound files: what is read, what is written, and that a file is whole or not there."""

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sfi_zoo.audio.formats import choose_format
from sfi_zoo.audio.io import AudioInfo, probe, read, read_blocks
from sfi_zoo.audio.writers import StemWriter, write
from sfi_zoo.errors import InputError

SIGNAL = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 5000))


def wav(path: Path, subtype: str = "PCM_16", **header: tuple[int, str, int]) -> Path:
    """A WAV whose header bytes are replaced: (offset, struct format, value)."""
    soundfile.write(path, SIGNAL.T, 8000, subtype)
    data = bytearray(path.read_bytes())
    for offset, code, value in header.values():
        struct.pack_into(code, data, offset, value)
    path.write_bytes(data)
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def flac(path: Path) -> Path:
    soundfile.write(path, np.tile(SIGNAL.T, (20, 1)), 8000)
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def rf64_claiming(frames: int, path: Path) -> Path:
    soundfile.write(path, SIGNAL.T, 8000, "PCM_16", format="RF64")
    data = bytearray(path.read_bytes())
    struct.pack_into("<QQQ", data, data.index(b"ds64") + 8, frames * 4 + 100, frames * 4, frames)
    return written(path, bytes(data))


def without_samples(path: Path) -> Path:
    soundfile.write(path, SIGNAL.T[:0], 8000, "PCM_16")
    return path


def saved(path: Path, container: str) -> Path:
    soundfile.write(path, SIGNAL.T, 8000, "PCM_16", format=container)
    return path


UNREADABLE = {
    "missing": (lambda folder: folder / "x.wav", "no such file"),
    "a folder": (lambda folder: folder, "folder"),
    "empty": (lambda folder: written(folder / "x.wav", b""), "empty file"),
    "text": (lambda folder: written(folder / "x.wav", b"not a sound\n" * 50), "not a sound file"),
    "text named mp3": (lambda folder: written(folder / "x.mp3", b"not a sound\n" * 50), "Format not rec"),
    "headerless": (lambda folder: written(folder / "x.raw", bytes(1000)), "not a sound file"),
    "a device": (lambda folder: Path("/dev/zero"), "not a regular file"),
    "no samples": (lambda folder: without_samples(folder / "x.wav"), "no samples"),
    "0 Hz": (lambda folder: wav(folder / "x.wav", rate=(24, "<I", 0)), "0 Hz"),
    "no channels": (lambda folder: wav(folder / "x.wav", channels=(22, "<H", 0)), "not a sound file"),
    "a cut WAV": (lambda folder: cut(wav(folder / "x.wav")), "truncated"),
    "a cut AIFF": (lambda folder: cut(saved(folder / "x.aiff", "AIFF")), "truncated"),
    "a cut AU": (lambda folder: cut(saved(folder / "x.au", "AU")), "truncated"),
    "a cut W64": (lambda folder: cut(saved(folder / "x.w64", "W64")), "truncated"),
    "2^40 samples": (lambda folder: rf64_claiming(2**40, folder / "x.wav"), "truncated"),
    "a cut header": (lambda folder: cut(wav(folder / "x.wav"), 0.001), "not a sound file"),
    "a cut FLAC": (lambda folder: cut(flac(folder / "x.flac")), "truncated"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_an_unreadable_file_is_one_line_with_its_name_and_the_reason(case: str, tmp_path: Path) -> None:
    make, reason = UNREADABLE[case]
    path = make(tmp_path)
    with pytest.raises(InputError, match=reason) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_blocks_are_bounded_by_what_is_there_not_by_the_header(tmp_path: Path) -> None:
    claim = AudioInfo(wav(tmp_path / "x.wav"), 8000, 2, 2**40, "WAV", "PCM_16")
    with pytest.raises(InputError, match="truncated"):
        list(read_blocks(claim))


def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", size=(40, "<I", 0xFFFFFFFF))
    assert read(path)[0].shape == (2, 5000)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_is_refused_with_its_place(value: float, tmp_path: Path) -> None:
    signal = SIGNAL.copy()
    signal[1, 4000] = value
    soundfile.write(tmp_path / "x.wav", signal.T, 8000, "FLOAT")
    with pytest.raises(InputError, match=r"x\.wav: .* at 0\.500 s, channel 2"):
        list(read_blocks(probe(tmp_path / "x.wav"), 1000))


def test_blocks_are_the_file(tmp_path: Path) -> None:
    path = wav(tmp_path / "x.wav", "FLOAT")
    blocks = list(read_blocks(probe(path), 999))
    torch.testing.assert_close(torch.cat(blocks, -1), torch.from_numpy(SIGNAL).float())


@pytest.mark.parametrize("container", ["mp3", "ogg", "flac"])
def test_blocks_of_a_compressed_file_join_without_a_seam(container: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{container}"
    write(path, np.tile(SIGNAL, (1, 10)), 44100)
    whole = torch.from_numpy(soundfile.read(path, dtype="float32")[0].T)
    assert torch.equal(torch.cat(list(read_blocks(probe(path), 777)), -1), whole)


LOSSLESS = [
    ("wav", "PCM_U8"),
    ("wav", "PCM_16"),
    ("wav", "PCM_24"),
    ("wav", "PCM_32"),
    ("wav", "FLOAT"),
    ("wav", "DOUBLE"),
    ("flac", "PCM_S8"),
    ("flac", "PCM_16"),
    ("flac", "PCM_24"),
    ("aiff", "PCM_S8"),
    ("aiff", "PCM_24"),
    ("caf", "PCM_16"),
    ("w64", "PCM_24"),
]


@pytest.mark.parametrize(("container", "subtype"), LOSSLESS)
def test_what_is_read_and_written_again_is_the_same_bits(
    container: str, subtype: str, tmp_path: Path
) -> None:
    first, second = tmp_path / f"1.{container}", tmp_path / f"2.{container}"
    soundfile.write(first, np.clip(SIGNAL.T * 2.2, -1, 1), 8000, subtype)
    waveform, rate = read(first)
    write(second, waveform.numpy(), rate, subtype)
    assert torch.equal(read(second)[0], waveform)


def info(container: str, subtype: str, channels: int = 2) -> AudioInfo:
    return AudioInfo(Path("x"), 44100, channels, 1000, container, subtype)


@pytest.mark.parametrize(
    ("source", "rate", "asked", "expected"),
    [
        (info("WAV", "PCM_24"), 44100, None, ("WAV", "PCM_24")),
        (info("WAV", "DOUBLE"), 44100, None, ("WAV", "DOUBLE")),
        (info("WAV", "IMA_ADPCM"), 44100, None, ("WAV", "PCM_16")),
        (info("WAVEX", "PCM_24", 6), 44100, None, ("WAVEX", "PCM_24")),
        (info("FLAC", "PCM_16"), 44100, None, ("FLAC", "PCM_16")),
        (info("FLAC", "PCM_16"), 48000, "wav", ("WAV", "PCM_16")),
        (info("WAV", "FLOAT"), 44100, "flac", ("FLAC", "PCM_24")),
        (info("WAV", "PCM_16"), 44100, "ogg", ("OGG", "VORBIS")),
        (info("MP3", "MPEG_LAYER_III"), 44100, None, ("MP3", "MPEG_LAYER_III")),
        (info("MP3", "MPEG_LAYER_III"), 96000, None, ("WAV", "PCM_16")),
        (info("OGG", "OPUS"), 48000, None, ("OGG", "OPUS")),
        (info("OGG", "OPUS"), 44100, None, ("OGG", "VORBIS")),
        (info("FLAC", "PCM_24", 9), 44100, "wav", ("WAV", "PCM_24")),
        (info("SDS", "PCM_16"), 44100, None, ("WAV", "PCM_16")),
    ],
)
def test_stems_keep_container_and_depth_where_they_can(source, rate, asked, expected) -> None:
    output = choose_format(source, rate, 1000, asked)
    assert (output.format, output.subtype) == expected


def test_a_container_that_nobody_asked_for_is_told() -> None:
    output = choose_format(info("MP3", "MPEG_LAYER_III"), 96000, 1000)
    assert output.note == "x: mp3 cannot hold the stems, they are written as wav PCM_16"


def test_a_wav_beyond_4_gib_is_an_rf64() -> None:
    assert choose_format(info("WAV", "PCM_16"), 44100, 2**30).format == "RF64"


@pytest.mark.parametrize(
    ("asked", "subtype", "reason"),
    [
        ("avi", None, "--format avi: not one of"),
        (None, "PCM_17", "--subtype PCM_17: not one of"),
        ("mp3", None, "mp3 cannot hold 96000 Hz"),
        ("flac", "FLOAT", "flac float cannot hold"),
    ],
)
def test_a_format_that_cannot_be_is_refused(asked, subtype, reason) -> None:
    with pytest.raises(InputError, match=reason):
        choose_format(info("WAV", "PCM_16"), 96000, 1000, asked, subtype)


def stem_writer(folder: Path, container: str = "WAV", subtype: str = "PCM_16") -> StemWriter:
    output = choose_format(info(container, subtype), 8000, 1000)
    return StemWriter(folder, ["a", "b"], output, 8000, 2)


def test_stems_appear_when_the_last_sample_is_written(tmp_path: Path) -> None:
    with stem_writer(tmp_path / "out" / "song") as writer:
        writer.write(np.stack([SIGNAL, -SIGNAL]))
        assert not (tmp_path / "out" / "song").exists()
    assert sorted(path.name for path in (tmp_path / "out" / "song").iterdir()) == ["a.wav", "b.wav"]


def test_stems_of_an_earlier_run_are_replaced_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "song").mkdir()
    (tmp_path / "song" / "a.wav").write_text("old")
    (tmp_path / "song" / "notes.txt").write_text("mine")
    with stem_writer(tmp_path / "song") as writer:
        writer.write(np.stack([SIGNAL, -SIGNAL]))
    assert sorted(path.name for path in (tmp_path / "song").iterdir()) == ["a.wav", "b.wav", "notes.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError, OSError])
def test_after_an_error_nothing_stays(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), stem_writer(tmp_path / "out" / "song") as writer:
        writer.write(np.stack([SIGNAL, -SIGNAL]))
        raise error
    assert list(tmp_path.iterdir()) == []


def test_after_an_error_the_stems_of_an_earlier_run_are_still_there(tmp_path: Path) -> None:
    with stem_writer(tmp_path / "song") as writer:
        writer.write(np.stack([SIGNAL, -SIGNAL]))
    with pytest.raises(InputError), stem_writer(tmp_path / "song"):
        raise InputError
    assert sorted(path.name for path in (tmp_path / "song").iterdir()) == ["a.wav", "b.wav"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: is a file"), stem_writer(tmp_path / "file" / "song"):
        pass


def test_a_folder_in_the_place_of_a_stem_is_refused(tmp_path: Path) -> None:
    (tmp_path / "song" / "a.wav").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a\.wav: is a folder"), stem_writer(tmp_path / "song"):
        pass


@pytest.mark.parametrize(("container", "subtype"), [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_24")])
def test_peaks_are_reported_and_only_integers_clip(container: str, subtype: str, tmp_path: Path) -> None:
    loud = np.full((2, 1000), 0.25)
    loud[0, 500:503] = [1.5, -2.0, 1.0]
    with stem_writer(tmp_path / "song", container, subtype) as writer:
        writer.write(np.stack([loud, loud]))
    clipped = 0 if subtype == "FLOAT" else 2
    assert [(report.peak, report.clipped) for report in writer.reports] == [(2.0, clipped)] * 2


def test_a_clipped_sample_stays_at_full_scale(tmp_path: Path) -> None:
    write(tmp_path / "x.wav", np.array([[3.0, -3.0]]), 8000, "PCM_16")
    assert soundfile.read(tmp_path / "x.wav", dtype="int16")[0].tolist() == [32767, -32768]


@pytest.mark.parametrize(
    ("name", "reason"),
    [("x.txt", "must end in"), ("x", "must end in"), ("x.mp3", "cannot hold 96000 Hz")],
)
def test_a_name_that_no_container_fits_is_refused(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=reason):
        write(tmp_path / name, SIGNAL, 96000)


def test_a_spool_gives_back_the_disk_as_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from sfi_zoo.audio import spool as module

    monkeypatch.setattr(module, "_FILE_BYTES", 1000)
    blocks = [torch.full((2, n), float(n)) for n in (1, 100, 200, 5, 300, 7)]
    with module.Spool() as spool:
        for block in blocks[:5]:
            spool.append(block)
        files = list(spool._files)
        assert len(files) == 2
        assert torch.equal(spool.popleft(), blocks[0])
        spool.append(blocks[5])
        for block in blocks[1:]:
            assert torch.equal(spool.popleft(), block)
        assert [file.closed for file in files] == [True, True] and len(spool) == 0
