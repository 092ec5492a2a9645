"""Headers whose length is a placeholder, has wrapped or is out of date: all samples are read, and it is said; missing ones are refused."""

import io
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sfi_zoo import cli
from sfi_zoo.audio.io import probe, read, read_part
from sfi_zoo.data.layout import sound_files, stem_mp4_files, track_folders
from sfi_zoo.errors import InputError

SIGNAL = np.random.default_rng(0).uniform(-0.5, 0.5, (20_000, 2))
CASES = Path("/work/shared/cases")
FRAME = 4  # bytes of two channels of PCM_16

# container -> what marks the length, its place from there, its format, and what it counts beside the samples
PLACES = {
    "WAV": (b"data", 4, "<I", 0),
    "WAVEX": (b"data", 4, "<I", 0),
    "RF64": (b"ds64", 16, "<Q", 0),
    "AIFF": (b"SSND", 4, ">I", 8),
    "AU": (b".snd", 8, ">I", 0),
    "W64": (b"data\xf3\xac\xd3\x11", 16, "<Q", 24),
    "CAF": (b"data", 4, ">q", 4),
}
PLACEHOLDERS = {
    "<I": (0, 2**31, 2**31 - 1, 0x7FFFF000, 0x7FFFF000 - 4, 2**32 - 1, 2**32 - 40),
    "<Q": (0, 2**64 - 1, 2**63 - 1),
    ">I": (0, 2**31 - 1, 2**32 - 1),
    ">q": (0, -1),
}


def encoded(container: str, subtype: str = "PCM_16", signal: np.ndarray = SIGNAL) -> bytearray:
    file = io.BytesIO()
    soundfile.write(file, signal, 8000, subtype, format=container)
    return bytearray(file.getvalue())


def claiming(container: str, length: int, subtype: str = "PCM_16") -> bytearray:
    """A file whose header has this number in place of its length."""
    data = encoded(container, subtype)
    mark, offset, code, _ = PLACES[container]
    struct.pack_into(code, data, data.index(mark) + offset, length)
    return data


def saved(folder: Path, data: bytes | bytearray) -> Path:
    (folder / "x.snd").write_bytes(data)
    return folder / "x.snd"


def held(data: bytes | bytearray) -> torch.Tensor:
    return torch.from_numpy(soundfile.read(io.BytesIO(data), dtype="float32")[0].T)


def assert_read_whole(path: Path, expected: torch.Tensor) -> None:
    info = probe(path)
    assert info.note is not None and info.note.startswith(f"{path}: its header claims ")
    assert torch.equal(read(path)[0], expected)
    end = info.frames
    assert torch.equal(read_part(info, end - 10, end), expected[:, -10:])


@pytest.mark.parametrize(
    ("container", "length"), [(name, x) for name, place in PLACES.items() for x in PLACEHOLDERS[place[2]]]
)
def test_a_placeholder_is_no_length(container: str, length: int, tmp_path: Path) -> None:
    assert_read_whole(saved(tmp_path, claiming(container, length)), held(encoded(container)))


@pytest.mark.parametrize("container", PLACES)
def test_samples_beyond_what_the_header_claims_are_read(container: str, tmp_path: Path) -> None:
    path = saved(tmp_path, claiming(container, 500 * FRAME + PLACES[container][3]))
    assert_read_whole(path, held(encoded(container)))


@pytest.mark.parametrize("container", PLACES)
def test_samples_that_are_missing_are_refused(container: str, tmp_path: Path) -> None:
    path = saved(tmp_path, claiming(container, 30_000 * FRAME))
    with pytest.raises(InputError, match=f"^{path}: truncated, the header claims 1"):
        probe(path)


@pytest.mark.parametrize("container", PLACES)
def test_a_right_header_is_no_news(container: str, tmp_path: Path) -> None:
    assert probe(saved(tmp_path, encoded(container))).note is None


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "ULAW", "FLOAT", "PCM_24"])
@pytest.mark.parametrize("length", [0, 1024, 2**32 - 1])
def test_other_sample_formats_too(subtype: str, length: int, tmp_path: Path) -> None:
    expected = held(encoded("WAV", subtype))
    path = saved(tmp_path, claiming("WAV", length, subtype))
    assert torch.equal(read(path)[0], expected) and probe(path).note


@pytest.mark.parametrize(
    "rest",
    [
        b"LIST" + struct.pack("<I", 2000) + bytes(2000),
        b"abcd" + struct.pack("<I", 100) + b"x" * 100,
        *(b"TAG" + b"x" * 125, bytes(4096), b"ID3\x03" + b"x" * 500),
    ],
)
def test_what_follows_the_samples_is_not_read_as_samples(rest: bytes, tmp_path: Path) -> None:
    path = saved(tmp_path, encoded("WAV") + rest)
    assert probe(path).note is None and read(path)[0].shape == (2, 20_000)


@pytest.mark.parametrize("length", [0, 2**32 - 1, 0x7FFFF000, 5000 * FRAME])
@pytest.mark.parametrize("container", ["WAV", "AIFF"])
def test_chunks_behind_samples_of_no_known_length_are_not_read_as_samples(
    container: str, length: int, tmp_path: Path
) -> None:
    order = ">" if container == "AIFF" else "<"
    noise = np.random.default_rng(2).bytes(3001) + b"\0"
    tags = (
        b"LIST" + struct.pack(order + "I", 3001) + noise + b"id3 " + struct.pack(order + "I", 4) + b"ID3\x03"
    )
    path = saved(tmp_path, claiming(container, length, "PCM_16") + tags)
    assert torch.equal(read(path)[0], held(encoded(container))) and probe(path).note
    path = saved(
        tmp_path, claiming(container, length, "PCM_16") + tags[:-30] + bytes(26)
    )  # no chunks: samples, all read
    assert read(path)[0].shape[-1] > len(SIGNAL)


@pytest.mark.parametrize("block", [0, 1, 3, 2**16 - 1])
def test_a_wrong_size_of_a_frame_takes_no_samples(block: int, tmp_path: Path) -> None:
    data = claiming("WAV", 0)
    struct.pack_into("<H", data, 32, block)
    assert torch.equal(read(saved(tmp_path, data))[0], held(encoded("WAV")))


def test_bw64_is_rf64(tmp_path: Path) -> None:
    data = encoded("RF64")
    data[:4] = b"BW64"
    path = saved(tmp_path, data)
    assert torch.equal(read(path)[0], held(encoded("RF64"))) and probe(path).note is None


@pytest.mark.parametrize("tail", [b"", b"LIST" + struct.pack("<I", 4) + b"INFO"])
def test_a_wav_whose_size_wrapped_at_4_gib_is_read_to_its_end(tail: bytes, tmp_path: Path) -> None:
    path, beyond = tmp_path / "x.wav", 1000 * FRAME
    head = encoded("WAV")[:44]
    struct.pack_into("<I", head, 40, beyond)
    last = (SIGNAL[:1000] * 2**15).astype("<i2")
    with path.open("wb") as file:  # a hole of 4 GiB
        file.write(head)
        file.seek(44 + 2**32)
        file.write(last.tobytes() + tail)
    info = probe(path)
    assert info.frames == 2**32 // FRAME + 1000 and info.format == "WAV" and info.note
    part = read_part(info, info.frames - 1000, info.frames)
    assert np.array_equal(part.numpy().T * 2**15, last)


@pytest.mark.parametrize("claimed", [0, 1000])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_flac_is_as_long_as_its_frames(claimed: int, subtype: str, tmp_path: Path) -> None:
    data = encoded("FLAC", subtype)
    expected = held(data)
    data[21] &= 0xF0
    data[22:26] = struct.pack(">I", claimed)
    assert_read_whole(saved(tmp_path, data), expected)
    data += b"TAG" + b"x" * 125
    assert read(saved(tmp_path, data))[0].shape == expected.shape


def test_a_flac_without_a_length_that_is_cut_is_refused(tmp_path: Path) -> None:
    data = encoded("FLAC")
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    with pytest.raises(InputError, match="damaged or truncated"):
        read(saved(tmp_path, data[: len(data) - 1000]))


def mp3(signal: np.ndarray, *, count: int | None = None) -> bytes:
    """An MP3 with this number of frames in its header; none at all where it is None."""
    file = io.BytesIO()
    soundfile.write(
        file, signal, 8000, "MPEG_LAYER_III", format="MP3", bitrate_mode="VARIABLE", compression_level=0.1
    )
    data = bytearray(file.getvalue())
    place = max(data.find(b"Xing"), data.find(b"Info"))
    data[place : place + 4] = b"\0" * 4 if count is None else data[place : place + 4]
    if count is not None:
        data[place + 8 : place + 12] = struct.pack(">I", count)
    return bytes(data)


@pytest.mark.parametrize("order", [1, -1])
def test_an_mp3_without_a_length_is_read_to_its_end(order: int, tmp_path: Path) -> None:
    """Loud and quiet halves have other rates of bits: the guess from the first is wrong."""
    loud, quiet = mp3(SIGNAL), mp3(SIGNAL * 1e-4)
    path = saved(tmp_path, b"".join([loud, quiet][::order]))
    assert read(path)[0].shape[-1] > 2 * len(SIGNAL)


def test_an_mp3_longer_than_its_header_says_is_read_to_its_end(tmp_path: Path) -> None:
    path = saved(tmp_path, mp3(SIGNAL, count=5))
    assert read(path)[0].shape[-1] >= len(SIGNAL) and "claims 5 frames" in str(probe(path).note)


def compressed(container: str, subtype: str) -> bytearray:
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, (48_000, 2))
    file = io.BytesIO()
    soundfile.write(file, noise, 48_000, subtype, format=container)
    return bytearray(file.getvalue())


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_file_with_a_page_that_is_damaged_or_gone_is_refused(subtype: str, tmp_path: Path) -> None:
    data = compressed("OGG", subtype)
    pages = [match.start() for match in re.finditer(b"OggS", data)]
    assert probe(saved(tmp_path, data)).note is None
    assert probe(saved(tmp_path, data + b"TAG" + bytes(125))).note is None
    assert len(pages) >= 5
    flipped, hole, without = data.copy(), data.copy(), data.copy()
    flipped[pages[-2] + 2000] ^= 1
    hole[pages[-2] - 700 : pages[-2] + 700] = bytes(1400)
    del without[pages[-3] : pages[-2]]
    broken = [flipped, hole, without, data[:-1], data[: pages[-1] + 40], data[: pages[-2] + 500]]
    for number, bad in enumerate(broken):
        with pytest.raises(InputError, match=r"x\.snd: damaged.*Ogg page"):
            probe(saved(tmp_path, bad))
            pytest.fail(f"{number} was taken")


def test_an_ogg_file_without_its_last_page_is_read_and_it_is_said(tmp_path: Path) -> None:
    data = compressed("OGG", "VORBIS")
    path = saved(tmp_path, data[: data.rindex(b"OggS")])
    info = probe(path)
    assert info.note is not None and "its last page is missing" in info.note
    assert 0 < read(path)[0].shape[-1] == info.frames < 48_000


def test_an_mp3_with_fewer_frames_than_its_header_says_is_told(tmp_path: Path) -> None:
    data = compressed("MP3", "MPEG_LAYER_III")
    assert probe(saved(tmp_path, data + bytes(1000))).note is None
    middle = len(data) // 2
    for cut in (data[:middle], data[:-1], data[:middle] + data[middle + 777 :]):
        assert re.search(
            r"header claims \d+ frames of MP3, it holds \d+", str(probe(saved(tmp_path, cut)).note)
        )


def test_an_mp3_that_a_decoder_gives_up_in_its_middle_is_refused(tmp_path: Path) -> None:
    data = compressed("MP3", "MPEG_LAYER_III")
    middle = len(data) // 2
    with pytest.raises(InputError, match="samples end at"):
        read(saved(tmp_path, data[:middle] + bytes(2000) + data[middle + 2000 :]))


def test_an_mp3_that_goes_on_at_another_rate_is_refused_not_cut(tmp_path: Path) -> None:
    first = compressed("MP3", "MPEG_LAYER_III")
    file = io.BytesIO()
    soundfile.write(file, SIGNAL, 32_000, "MPEG_LAYER_III", format="MP3")
    with pytest.raises(InputError, match="samples end at"):
        read(saved(tmp_path, first + file.getvalue()))


def test_flac_files_in_a_row_are_refused_not_cut(tmp_path: Path) -> None:
    first, second = encoded("FLAC"), encoded("FLAC", signal=SIGNAL[:7000])
    for between in (b"", bytes(100)):
        with pytest.raises(InputError, match="several FLAC files in a row"):
            probe(saved(tmp_path, first + between + second))


def test_a_chained_ogg_file_is_refused_not_cut(tmp_path: Path) -> None:
    one = encoded("OGG", "VORBIS")
    read(saved(tmp_path, one))
    with pytest.raises(InputError, match="several streams in a row"):
        probe(saved(tmp_path, one + one))


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
@pytest.mark.parametrize("ending", ["m4a", "webm", "mkv"])
def test_what_libsndfile_cannot_open_is_read_by_ffmpeg(ending: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.tile(SIGNAL, (5, 1)), 48000)
    path = tmp_path / f"x.{ending}"
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(tmp_path / "x.wav"), str(path)], check=True)
    info = probe(path)
    whole, rate = read(path)
    assert rate == 48000 and abs(whole.shape[-1] - 5 * len(SIGNAL)) < 2500
    assert whole.shape == (2, info.frames)
    assert torch.equal(read_part(info, 500, 900), whole[:, 500:900])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 3])
    with pytest.raises(InputError, match=f"^{path}: ") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_without_ffmpeg_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (tmp_path / "x.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(500))
    with pytest.raises(InputError, match=r"x\.m4a: not a sound file .*; install ffmpeg"):
        probe(tmp_path / "x.m4a")


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
def test_ffmpeg_follows_no_playlist(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "secret.wav", SIGNAL, 8000)
    lists = {"a.m3u8": f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n"}
    lists["b.txt"] = f"ffconcat version 1.0\nfile '{tmp_path}/secret.wav'\n"
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match="not a sound file"):
            probe(tmp_path / name)


@pytest.mark.usefixtures("hub_of_half")
def test_separate_says_it_in_one_line(folder: Path, capsys: pytest.CaptureFixture) -> None:
    saved(folder, claiming("WAV", 0)).rename("x.wav")
    assert cli.main(["separate", "-m", "half", "-o", "out", "--format", "wav", "x.wav"]) == 0
    assert capsys.readouterr().err.startswith("sfi-zoo: note: x.wav: its header claims 0 bytes of samples")
    assert {soundfile.info(path).frames for path in Path("out/x").iterdir()} == {20_000}


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    for name in ("vocals.wav", "._vocals.wav", ".DS_Store", "._x.stem.mp4"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7")
    (tmp_path / ".cache").mkdir()
    assert list(sound_files(tmp_path)) == ["vocals"]
    assert track_folders(tmp_path) == stem_mp4_files(tmp_path) == {}


@pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared cases")
@pytest.mark.parametrize("name", ["flac_no_length.flac", "wav_piped_24bit_stereo.wav", "wav_size_0.wav"])
def test_the_shared_cases(name: str) -> None:
    whole, rate = read(CASES / name)
    assert whole.shape[-1] == 16_000 and rate == 16_000 and probe(CASES / name).note
