"""Hostile files and names: what they claim takes no memory and no time, where they point to is not written to."""

import io
import json
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from sfi_zoo import cli, hub
from sfi_zoo.errors import InputError
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from sfi_zoo.metrics.reporting.report import write_scores
from tests.tiny_separators import tiny

CLAIMED = 2**40  # samples


@pytest.fixture
def little_memory() -> Iterator[None]:
    """256 MiB of address space beyond what is taken already."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**28, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def sound(container: str, subtype: str = "PCM_16") -> bytearray:
    file = io.BytesIO()
    soundfile.write(file, np.full((500, 2), 0.1), 8000, subtype, format=container)
    return bytearray(file.getvalue())


def w64() -> bytearray:
    data = sound("W64")
    place = data.index(b"data\xf3\xac\xd3\x11") + 16
    data[place : place + 8] = struct.pack("<Q", CLAIMED * 4)
    return data


def rf64() -> bytearray:
    data = sound("RF64")
    place = data.index(b"ds64") + 8
    data[place : place + 24] = struct.pack("<QQQ", CLAIMED * 4 + 100, CLAIMED * 4, CLAIMED)
    return data


def caf() -> bytearray:
    data = sound("CAF")
    place = data.index(b"data") + 4
    data[place : place + 8] = struct.pack(">q", CLAIMED * 4)
    return data


def flac() -> bytearray:
    data = sound("FLAC")
    place = 8 + 13  # STREAMINFO: 36 bits of the number of samples, the most there are
    data[place : place + 5] = bytes([data[place] | 0x0F, 255, 255, 255, 255])
    return data


def au() -> bytearray:
    data = sound("AU")
    data[8:12] = struct.pack(">I", 2**32 - 2**16)
    return data


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
@pytest.mark.usefixtures("hub_of_half", "little_memory")
@pytest.mark.parametrize("make", [w64, rf64, caf, flac, au])
def test_a_header_that_claims_a_trillion_samples_takes_no_memory(
    make: Callable[[], bytearray], folder: Path, capsys: pytest.CaptureFixture
) -> None:
    Path("x.snd").write_bytes(make())
    assert cli.main(["separate", "-m", "half", "-o", "out", "x.snd"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("sfi-zoo: x.snd: ") and error.count("\n") == 1
    assert list(folder.iterdir()) == [folder / "x.snd"]


def archive(pickled: bytes, **entries: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        file.writestr("x/data.pkl", pickled)
        for name, content in entries.items():
            file.writestr(name, content)
    return made.getvalue()


TUPLES = b")" + b"".join(
    b"q\x010h\x01h\x01\x86" for _ in range(60)
)  # a tuple that holds a tuple twice, 60 deep: 2^60 to hash
PICKLES = {
    "a memo of 2^31 entries": b"\x80\x02}r\xff\xff\xff\x7f.",
    "a text of 2^40 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
    "bytes of 2^40": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "a bytearray of 2^33": b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b"x.",
    "a frame of 2^40 bytes": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"}.",
    "a key that is hashed for ever": b"\x80\x02}" + TUPLES + b"Ns.",
    "keys that are hashed for ever": b"\x80\x02}(" + TUPLES + b"Nu.",
    "a set hashed for ever": b"\x80\x04\x8f(" + TUPLES + b"\x90.",
    "a frozen set hashed for ever": b"\x80\x04(" + TUPLES + b"\x91.",
    "a set made of a list": b"\x80\x02cbuiltins\nset\n](" + TUPLES + b"e\x85R.",
    "an ordered dict made of a list": b"\x80\x02ccollections\nOrderedDict\n](" + TUPLES + b"N\x86e\x85R.",
    "lists in lists": b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b".",
}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("what", PICKLES)
def test_a_pickle_cannot_ask_for_memory_or_time(what: str, packed: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(archive(PICKLES[what]) if packed else PICKLES[what])
    with suppress(InputError):
        read_checkpoint(tmp_path / "file")


def test_a_setting_that_would_be_written_out_for_ever_is_told_shortly(tmp_path: Path) -> None:
    golden = torch.load(Path(__file__).parent / "golden" / "asteroid_global_relu.bin", weights_only=False)
    golden["model_args"]["norm_type"] = pickle.loads(b"\x80\x02" + TUPLES + b".")
    torch.save(golden, tmp_path / "file")
    with pytest.raises(InputError, match="norm_type") as caught:
        hub.import_checkpoint(tmp_path / "file", tmp_path / "out", sample_rate=8000)
    assert len(str(caught.value)) < 2000


def test_tensors_of_one_storage_cannot_be_more_than_a_model_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfi_zoo.importers.safe_unpickle.MOST_WEIGHTS", 10_000)
    base = torch.zeros(1000)
    torch.save({f"w{i}": base.view(10, 100) for i in range(11)}, tmp_path / "file")
    with pytest.raises(InputError, match="more than 10000 weights"):
        read_checkpoint(tmp_path / "file")


def test_entries_of_an_archive_are_names_not_paths(folder: Path) -> None:
    pickled = pickle.dumps({"a": 1}, 2)
    made = archive(pickled, **{"../escaped": b"x", "/tmp/escaped": b"x", "x/data/../../escaped": b"x"})
    Path("file").write_bytes(made)
    assert read_checkpoint("file") == {"a": 1}
    assert list(folder.iterdir()) == [folder / "file"] and not (folder.parent / "escaped").exists()


def test_entries_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    data = archive(pickle.dumps({}, 2), **{"x/data/0": bytes(10_000)})
    start = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    entry = data[start : data.index(b"PK\x05\x06")]
    copies = b"".join(entry.replace(b"x/data/0", b"x/data/%d" % number) for number in range(1, 10))
    end = bytearray(data[start + len(entry) :])
    end[8:12] = struct.pack("<HH", 11, 11)
    end[12:16] = struct.pack("<I", struct.unpack("<I", end[12:16])[0] + len(copies))
    (tmp_path / "file").write_bytes(data[: start + len(entry)] + copies + end)
    with pytest.raises(InputError, match=r"larger than the file|Overlapped|differ"):
        read_checkpoint(tmp_path / "file")


@pytest.mark.parametrize(
    "name",
    ["../../escaped", "/escaped", "..", ".", " ", "a/b", "a\\b", "C:x", "a\0b", "a\nb", "x" * 300, "\x1b[2J"],
)
@pytest.mark.parametrize("architecture", ["convtasnet", "openunmix"])
def test_a_source_cannot_be_named_like_a_path(architecture: str, name: str, folder: Path) -> None:
    made = hub.save(tiny(architecture), folder / "model")
    config = json.loads((made / "config.json").read_text()) | {"sources": ["a", name]}
    (made / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="cannot name a file"):
        hub.load(made)


@pytest.mark.usefixtures("hub_of_half")
@pytest.mark.parametrize("name", ["...wav", "..wav"])
def test_a_file_whose_name_without_ending_is_a_folder_above(
    name: str, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    (folder / "in").mkdir()
    soundfile.write(folder / "in" / name, np.full(400, 0.1), 8000, format="WAV")
    assert cli.main(["separate", "-m", "half", "-o", "in/out", f"in/{name}"]) == 2
    assert "rename it" in capsys.readouterr().err
    assert [path.name for path in folder.rglob("*")] == ["in", name]


@pytest.mark.parametrize("model", ["..", "x/..", "/", ""])
def test_scores_of_a_model_named_like_a_path_are_not_written(model: str, folder: Path) -> None:
    record = {"model": model, "track": "t", "mode": "native", "sample_rate": 8000, "trained_rate": 8000}
    settings = {"data": {}, "sfi_zoo": "", "torch": "", "measures": {}, "models": {model: ""}}
    with pytest.raises(InputError, match="cannot name a folder"):
        write_scores([record | {"failed": "x"}], settings, folder / "hub_configs")
    assert list(folder.iterdir()) == []


def test_what_a_message_repeats_of_a_file_is_text_and_short(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    cli.main(["info", "\x1b[2J\x07" + "x" * 5000])
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error[:-1].isprintable() and len(error) < 1100
