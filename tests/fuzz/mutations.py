"""How inputs are damaged: bytes, settings, safetensors headers, pickles in zip files."""

import io
import json
import pickletools
import struct
import zipfile
from random import Random
from typing import Any

WIDTHS = ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))
HOSTILE_NAMES = (
    "../../escaped",
    "/tmp/escaped",
    "..",
    ".",
    "a/b",
    "a\\b",
    "C:escaped",
    "a\0b",
    "x" * 5000,
    "a\nb",
    "\u202e",
    "\udcff",
)
HOSTILE_VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 2**15, 2**31 - 1, 2**31, 2**40, 2**63, 10**400, -(2**63)),
    *(
        0.5,
        1e-300,
        1e300,
        -0.0,
        float("nan"),
        float("inf"),
        True,
        False,
        None,
        "",
        [],
        {},
        [[]],
        [None],
        {"a": {}},
    ),
    *("linear", "relu", "native", "reference", "time", "frequency", *HOSTILE_NAMES),
)
# Calls, sizes and places in memory that no checkpoint has, and what makes them worse: repeated, nested.
HOSTILE_OPCODES = (
    *(
        b"cposix\nsystem\n(S'touch escaped'\ntR",
        b"cbuiltins\neval\n",
        b"c__builtin__\ngetattr\n",
        b"\x82\x01",
        b"Pid\n",
        b"Q",
    ),
    *(
        b"r\xff\xff\xff\x7f",
        b"r\xff\xff\xff\x03",
        b"j\xff\xff\xff\xff",
        b"2" * 99,
        b"0" * 9,
        b"(" * 5000,
        b"]a" * 200,
        b"t",
        b"}",
        b"s",
        b"u",
        b"b",
    ),
    *(opcode + struct.pack("<Q", 2**40) for opcode in (b"\x8d", b"\x8e", b"\x96", b"\x95")),
    *(
        b"\x8b" + struct.pack("<i", 2**31 - 1),
        b"\x8a\xff",
        b"\x88",
        b"N",
        b"\x93",
        b"\x81",
        b"R",
        b"\x85" * 2000,
        b")" + b"2\x86" * 60,
    ),
)


def damaged(data: bytes, random: Random, other: bytes = b"") -> bytes:
    """One to six changes of bytes, most of them in the head."""
    content = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        _damage(content, random, other)
    return bytes(content)


def _damage(content: bytearray, random: Random, other: bytes) -> None:
    head = len(content) if random.random() < 0.3 else min(len(content), 200)
    place = random.randrange(max(1, head))
    length = random.choice((1, 2, 4, 8, 64))
    match random.randrange(8):
        case 0:
            content[place : place + 1] = bytes([random.randrange(256)])
        case 1:
            del content[random.randrange(len(content) + 1) :]
        case 2:
            del content[place : place + length]
        case 3:
            content[place:place] = random.randbytes(length)
        case 4:
            content[place:place] = content[place : place + length]
        case 5 if other:
            start = random.randrange(len(other))
            content[place:] = other[start:]
        case _:
            width, code = random.choice(WIDTHS)
            value = random.choice(
                (0, 1, 2, 255, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)
            ) % 2 ** (8 * width)
            content[place : place + width] = struct.pack(random.choice("<>") + code, value)


def changed(value: Any, random: Random) -> Any:  # noqa: PLR0911
    """A JSON value with one thing in it replaced, removed, renamed or repeated."""
    if isinstance(value, dict) and value and random.random() < 0.9:
        key = random.choice(sorted(value))
        rest = {k: v for k, v in value.items() if k != key}
        match random.randrange(12):
            case 0:
                return rest
            case 1:
                return rest | {random.choice(HOSTILE_NAMES): value[key]}
            case _:
                return value | {key: changed(value[key], random)}
    if isinstance(value, list) and value and random.random() < 0.7:
        place = random.randrange(len(value))
        match random.randrange(4):
            case 0:
                return value * random.choice((2, 3, 1000))
            case 1:
                return value[:place]
            case _:
                return [*value[:place], changed(value[place], random), *value[place + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and random.random() < 0.5:
        return random.choice((value + 1, value - 1, value * 2, value // 2, value * 1000, -value))
    return random.choice(HOSTILE_VALUES)


def json_text(value: Any, random: Random) -> bytes:
    """JSON, now and then no longer."""
    text = json.dumps(value).encode("utf-8", "surrogatepass")
    match random.randrange(20):
        case 0:
            return damaged(text, random)
        case 1:
            return b'{"a":' * 10 ** random.randrange(2, 6) + text
        case 2:
            return text[:-1] + b', "architecture": "bsrnn"}'
    return text


def safetensors(data: bytes, random: Random) -> bytes:
    """A safetensors file whose header says something else."""
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    if random.random() < 0.3:
        return damaged(data, random)
    for _ in range(random.choice((1, 1, 2, 5))):
        header = changed(header, random)
    text = json_text(header, random)
    claimed = len(text) if random.random() < 0.9 else random.choice((0, 1, 2**31, 2**40, 2**64 - 1))
    return struct.pack("<Q", claimed) + text + (damaged(body, random) if random.random() < 0.1 else body)


def checkpoint(data: bytes, random: Random) -> bytes:
    """A `torch.save` file with other bytes, other opcodes or other entries."""
    if random.random() < 0.3:
        return damaged(data, random)
    if data[:2] != b"PK":
        return pickled(data, random)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    root = next(name for name in entries if name.endswith("data.pkl"))
    if random.random() < 0.8:
        entries[root] = pickled(entries[root], random)
    else:
        name = random.choice(sorted(entries))
        content = entries.pop(name)
        renamed = random.choice(
            (None, "../../escaped", "/escaped", name + "x", "data.pkl", "x/data.pkl", name)
        )
        if renamed:
            entries[renamed] = damaged(content, random) if content and renamed == name else content
    made = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if random.random() < 0.03 else zipfile.ZIP_STORED
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return made.getvalue()


def pickled(data: bytes, random: Random) -> bytes:
    """A pickle with an opcode removed, repeated, altered, or a hostile one beside it."""
    if random.random() < 0.2:
        return damaged(data, random)
    places = [place for _, _, place in pickletools.genops(data) if place is not None]
    index = random.randrange(1, len(places) - 1)
    start, end = places[index], places[index + 1]
    opcode, hostile = data[start:end], random.choice(HOSTILE_OPCODES)
    altered = opcode[:1] + random.randbytes(len(opcode) - 1)
    chosen = random.choice(
        (b"", opcode * 2, hostile + opcode, opcode + hostile, altered, damaged(opcode, random))
    )
    return data[:start] + chosen + data[end:]


def other_length(data: bytes, random: Random) -> bytes:
    """A sound file with another length in its header; now and then cut, or with more behind it."""
    content = bytearray(data)
    lengths = (
        0,
        1,
        8,
        24,
        100,
        2**31,
        2**31 - 1,
        0x7FFFF000,
        2**32 - 1,
        2**63 - 1,
        2**64 - 1,
        len(data),
        len(data) // 2,
    )
    fields = [
        (b"data", 4, "<I"),
        (b"ds64", 16, "<Q"),
        (b"SSND", 4, ">I"),
        (b".snd", 8, ">I"),
        (b"data", 16, "<Q"),
        (b"data", 4, ">Q"),
    ]
    fields += [
        (b"fLaC", 22, ">I"),
        (b"RIFF", 4, "<I"),
        (b"FORM", 4, ">I"),
        (b"ds64", 8, "<Q"),
        (b"COMM", 10, ">I"),
    ]
    for mark, offset, code in random.sample(fields, len(fields)):
        place = content.find(mark) + offset
        if place >= offset and random.random() < 0.6 and place + 8 < len(content):
            struct.pack_into(code, content, place, random.choice(lengths) % 2 ** (8 * struct.calcsize(code)))
    if random.random() < 0.3:
        content[:4] = content[:4].replace(b"RF64", b"BW64")
    tails = (b"", b"", bytes(100), random.randbytes(700), b"LIST\4\0\0\0INFO", b"TAG" + bytes(125))
    return bytes(content[: random.choice((None, None, None, -50, 60))]) + random.choice(tails)


RECIPE = """[model]
architecture = "convtasnet"
sources = ["vocals", "drums"]
[data]
seconds = 1.0
[train]
steps = 3
"""


def recipe(random: Random) -> bytes:
    """A recipe with a line that it should not have."""
    nested = random.choice((10, 900, 20_000))
    values = (
        *(
            "1e8",
            "1000000",
            "100000000",
            "-1",
            "9" * 5000,
            "nan",
            "inf",
            "[" * nested + "]" * nested,
            '"x"',
            "[]",
            "{}",
            "true",
        ),
        *(
            '"/dev/zero"',
            '"recipe.toml"',
            '"other.toml"',
            '"a\\u0000b"',
            '"../../../etc/passwd"',
            '""',
            "1979-05-27",
        ),
    )
    keys = (
        "features",
        "layers",
        "kernel_size",
        "repeats",
        "sample_rate",
        "steps",
        "extends",
        "seconds",
        "batch_size",
        "blocks",
    )
    keys += (
        "hidden",
        "bottleneck",
        "workers",
        "seed",
        "cache",
        "sources",
        "architecture",
        "filters_like",
        "start",
        "x",
    )
    lines = RECIPE.splitlines()
    for _ in range(random.choice((1, 1, 2, 4))):
        key, value = random.choice(keys), random.choice(values)
        place = 0 if key == "extends" else random.randrange(len(lines) + 1)
        lines.insert(place, f"{key} = {value}")
    text = "\n".join(lines).encode()
    return damaged(text, random) if random.random() < 0.1 else text
