"""What a pickle may cost until it is refused: two seconds of CPU, and 200 MB beyond its own size."""

import struct
from pathlib import Path
from random import Random

import pytest

from sfi_zoo.errors import InputError
from sfi_zoo.importers.checkpoint import convert_checkpoint
from sfi_zoo.importers.safe_unpickle import read_checkpoint
from sfi_zoo.importers.settings import Given
from tests.cpu_time import cpu_seconds
from tests.fuzz.pickles import FAMILIES, NAMES, call, get, number, pickled, put, tensor, text
from tests.test_robustness_files import archive

SECONDS, MEMORY = 2.0, 200e6
CASES = Path("/work/shared/cases")
BIG = b"}(" + b"".join(b"J" + struct.pack("<i", n) + b"N" for n in range(50_000)) + b"u" + put(0) + b"0"
HOSTILE = {
    "2,000,000 sets": b"(" + b"\x8f" * 2_000_000 + b"l",
    "200,000 nested lists": b"(" + b"]" * 200_000 + b"l",
    "a list that is made a set 30,000 times": (
        b"(" + b"K\x01" * 150_000 + b"l" + put(0) + b"0(" + call(NAMES[2], get(0) + b"\x85") * 30_000 + b"l"
    ),
    "keys of one hash": b"}(" + b"".join(number(k * (2**61 - 1)) + b"N" for k in range(60_000)) + b"u",
    "a state that is copied 30,000 times": BIG
    + b"("
    + (call(NAMES[3], b")") + get(0) + b"b") * 30_000
    + b"l",
    "a configuration that is copied 30,000 times": (
        BIG
        + b"}"
        + text("_content")
        + get(0)
        + b"s"
        + put(1)
        + b"0("
        + (call(NAMES[3], b")") + get(1) + b"b") * 30_000
        + b"l"
    ),
    "100,000 objects": b"(" + call(NAMES[3], b")") * 100_000 + b"l",
    "40,000 dimensions": tensor(text("0") + text("cpu") + b"K\x01", *[b"(" + b"K\x01" * 40_000 + b"t"] * 2),
    "a record as a key": b"}" + tensor(b"K\x01", b")", b")") + b"Ns",
    "a number of 65,000 digits": b"I" + b"9" * 65_000 + b"\n",
}


def peak() -> int:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


def cost(path: Path) -> tuple[float, float]:
    """Seconds of CPU and bytes beyond the file's size that importing takes; what it raises is one line."""
    with cpu_seconds() as spent:
        Path("/proc/self/clear_refs").write_text("5")
        before = peak()
        try:
            convert_checkpoint(path, Given(None, None, None, None))
        except InputError as error:
            assert "\n" not in str(error)
    return spent[0], peak() - before - path.stat().st_size


needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads memory from /proc")


@needs_proc
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_pickle_is_cheap(what: str, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(archive(b"\x80\x02" + HOSTILE[what] + b"."))
    seconds, memory = cost(tmp_path / "x")
    assert seconds <= SECONDS and memory <= MEMORY


@needs_proc
@pytest.mark.parametrize("seed", range(12))
def test_pickles_by_grammar_are_cheap(seed: int, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(pickled(Random(f"test {seed}")))
    seconds, memory = cost(tmp_path / "x")
    assert seconds <= SECONDS and memory <= MEMORY
    assert len(FAMILIES) >= 7


@needs_proc
def test_many_tensors_of_one_storage_take_it_once(tmp_path: Path) -> None:
    record = tensor(text("0") + text("cpu") + number(10**6), number(10**6) + b"\x85", b"K\x01\x85")
    state = b"}(" + b"".join(text(f"w{n}") + record for n in range(900)) + b"u"
    (tmp_path / "x").write_bytes(archive(b"\x80\x02" + state + b".", **{"x/data/0": bytes(4 * 10**6)}))
    seconds, memory = cost(tmp_path / "x")
    assert seconds <= SECONDS and memory <= 50e6
    with pytest.raises(InputError, match="they repeat its storages"):
        read_checkpoint(tmp_path / "x")


def test_an_archive_with_a_million_entries_is_refused_at_once(tmp_path: Path) -> None:
    entry = bytearray(archive(b"N."))
    start, end = entry.index(b"PK\x01\x02"), entry.index(b"PK\x05\x06")
    listed = bytes(entry[start:end]) * 100_000
    struct.pack_into("<I", entry, end + 12, len(listed))
    (tmp_path / "x").write_bytes(entry[:start] + listed + entry[end:])
    with cpu_seconds() as spent, pytest.raises(InputError, match="list of entries"):
        read_checkpoint(tmp_path / "x")
    assert spent[0] < SECONDS


@needs_proc
@pytest.mark.skipif(not CASES.is_dir(), reason="needs the shared cases")
@pytest.mark.parametrize("name", ["b1_record_key_dag.pth", "b12_int_small_memo.pth"])
def test_the_shared_cases(name: str) -> None:
    with pytest.raises(InputError, match=r"^[^\n]+$"):
        convert_checkpoint(CASES / name, Given(None, None, None, None))
    seconds, memory = cost(CASES / name)
    assert seconds <= 1 and memory <= MEMORY
