"""Pickles by grammar: programs of opcodes that fit together, with one way or more in which reading them could cost time or memory."""

import io
import struct
import zipfile
from collections.abc import Callable
from random import Random

NAMES = (
    b"collections\nOrderedDict\n",
    b"collections\ndefaultdict\n",
    b"builtins\nset\n",
    b"omegaconf\nDictConfig\n",
    b"omegaconf.listconfig\nListConfig\n",
    b"omegaconf.nodes\nAnyNode\n",
    b"torch._utils\n_rebuild_tensor_v2\n",
    b"torch._utils\n_rebuild_parameter\n",
    b"torch\nFloatStorage\n",
    b"torch.torch_version\nTorchVersion\n",
    b"_codecs\nencode\n",
    b"numpy\nndarray\n",
    b"numpy\ndtype\n",
    b"typing\nAny\n",
)


def number(value: int) -> bytes:
    """LONG1."""
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return (
        b"\x8a" + bytes([len(data)]) + data
        if len(data) < 256
        else b"\x8b" + struct.pack("<I", len(data)) + data
    )


def text(value: str) -> bytes:
    """BINUNICODE."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def call(name: bytes, arguments: bytes) -> bytes:
    """A function of a tuple."""
    return b"c" + name + arguments + b"R"


def put(place: int) -> bytes:
    """LONG_BINPUT."""
    return b"r" + struct.pack("<I", place)


def get(place: int) -> bytes:
    """LONG_BINGET."""
    return b"j" + struct.pack("<I", place)


def tensor(storage: bytes, sizes: bytes, strides: bytes, offset: bytes = b"K\x00") -> bytes:
    """A record of a tensor."""
    place = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n" + storage + b"tQ"
    return call(NAMES[6], b"(" + place + offset + sizes + strides + b"\x89Nt")


def pickled(random: Random) -> bytes:
    """A checkpoint, most of them in a zip file."""
    body = random.choice(FAMILIES)(random)
    protocol = b"\x80" + bytes([random.choice((2, 2, 3, 4, 5))])
    program = protocol + body + b"."
    if random.random() < 0.2:
        return program
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("x/data.pkl", program)
        for key in range(random.choice((0, 1, 3))):
            archive.writestr(f"x/data/{key}", bytes(random.choice((0, 4, 4000, 400_000))))
    return made.getvalue()


def _many(random: Random) -> int:
    return random.choice((10, 1000, 30_000, 120_000))


def _repeated(random: Random) -> bytes:
    """Something small, very often."""
    small = (
        b"]",
        b"}",
        b"\x8f",
        b")",
        b"N",
        b"(",
        b"K\x01",
        b"X\x01\x00\x00\x00x",
        b"\x8a\xff" + b"\x7f" * 255,
    )
    chosen = random.choice(
        (*small, *(b"c" + name for name in NAMES), call(NAMES[3], b")"), call(NAMES[0], b")"))
    )
    return b"(" + chosen * (_many(random) * 3) + random.choice((b"l", b"t", b"d", b"0" * 9))


def _nested(random: Random) -> bytes:
    """Containers in containers, or one that holds another one twice."""
    depth = random.choice((50, 90, 110, 5000, 90_000))
    if random.random() < 0.5:
        return random.choice(
            (b"]" * depth + b"a" * (depth - 1), b"(" * depth + b"l" * depth, b")" + b"\x85" * depth)
        )
    twice = b")" + b"".join(
        put(n) + b"0" + get(n) + get(n) + b"\x86" for n in range(random.choice((20, 60, 3000)))
    )
    use = (
        b"",
        b"N\x86\x85R",
        b"}" + get(1) + b"Ns",
        b"\x8f(" + get(1) + b"\x90",
        tensor(b"K\x01", get(3), get(3)),
    )
    return twice + random.choice(use)


def _keys(random: Random) -> bytes:
    """Keys of all kinds, some of which collide."""
    count = random.choice((100, 20_000, 60_000))
    kind = random.randrange(7)
    keys: list[Callable[[int], bytes]] = [
        lambda n: number(n * (2**61 - 1)),
        lambda n: number(n << random.choice((8, 32, 52))),
        lambda n: number(n) + number(n * 2**31) + b"\x86",
        lambda n: b"G" + struct.pack(">d", float(2.0 ** (n % 1000))),
        lambda n: text(f"{n}" * random.choice((1, 300))),
        lambda n: tensor(number(n), b")", b")"),
        lambda n: call(NAMES[3], b")") + b"\x85",
    ]
    made = [keys[kind](n) for n in range(min(count, 5000 if kind > 3 else count))]
    match random.randrange(4):
        case 0:
            return b"}(" + b"".join(key + b"N" for key in made) + b"u"
        case 1:
            return b"}" + b"".join(key + b"Ns" for key in made)
        case 2:
            return b"\x8f(" + b"".join(made) + b"\x90"
        case _:
            return b"(" + b"".join(key + b"N" for key in made) + b"d"


def _copied(random: Random) -> bytes:
    """A large thing that a function, or the state of an object, copies again and again."""
    size, times = _many(random), _many(random)
    large = b"(" + b"K\x01" * size + random.choice((b"l", b"t"))
    if random.random() < 0.6:
        large = b"}(" + b"".join(b"J" + struct.pack("<i", n) + b"N" for n in range(size)) + b"u"
    if random.random() < 0.3:
        large = b"}" + text(random.choice(("_content", "_val"))) + large + b"s"
    use = random.choice(
        (
            call(random.choice(NAMES[:3]), get(0) + b"\x85"),
            call(NAMES[1], b"N" + get(0) + b"\x86"),
            call(NAMES[3], b")") + get(0) + b"b",
            call(NAMES[3], b")") + get(0) + get(0) + b"\x86b",
            b"]" + b"(" + get(0) * 20 + b"e",
        )
    )
    return large + put(0) + b"0(" + use * times + b"l"


def _tensors(random: Random) -> bytes:
    """Tensors with sizes that no storage has, many dimensions, one storage for all, or numbers of many digits."""
    numel = random.choice((0, 1, 1000, 100_000, 2**40, 2**63))
    place = random.choice((text("0"), text("1"), text("x" * 100))) + text("cpu") + number(numel)
    large = random.choice((1, 1000, 2**31, 2**63, 2 ** (8 * 200), 2 ** (8 * 900)))
    dimensions = random.choice((1, 2, 17, 5000))
    sizes = b"(" + number(large) * dimensions + b"t" if random.random() < 0.5 else number(numel) + b"\x85"
    strides = random.choice((sizes, b"(" + number(0) * dimensions + b"t", number(1) + b"\x85"))
    record = tensor(place, sizes, strides, number(random.choice((0, 0, 0, 1, large))))
    count = random.choice((1, 3, 941))
    items = b"".join(text(f"w{n}") + record for n in range(count if len(record) * count < 2**22 else 1))
    state = b"}(" + items + b"u"
    return b"}" + text("state_dict") + state + b"s" if random.random() < 0.5 else state


def _texts(random: Random) -> bytes:
    """Texts that take more memory than bytes, lines without an end, digits."""
    size = random.choice((10, 60_000, 70_000, 3_000_000))
    match random.randrange(5):
        case 0:
            return b"(" + text("\U0001f600" * (size // 4)) * random.choice((1, 20)) + b"l"
        case 1:
            return b"I" + b"9" * size + b"\n"
        case 2:
            return b"L" + b"9" * size + b"L\n"
        case 3:
            return call(b"_codecs\nencode\n", text("a" * size) + text("latin1") + b"\x86")
        case _:
            return b"V" + b"x" * size + b"\n"


def _any(random: Random) -> bytes:
    """A random value of the grammar."""

    def value(depth: int) -> bytes:
        if depth == 0 or random.random() < 0.2:
            return random.choice(
                (b"N", b"\x88", b"K\x07", text("state_dict"), number(random.getrandbits(70)), b")", b"]")
            )
        inside = [value(depth - 1) for _ in range(random.randrange(4))]
        joined, name, few = b"".join(inside), random.choice(NAMES), [value(0) for _ in range(3)]
        kinds = (
            b"(" + joined + b"t",
            b"](" + joined + b"e",
            b"}(" + b"".join(random.choice((text("args"), few[0])) + x for x in inside) + b"u",
            call(name, b"(" + joined + b"t"),
            call(random.choice(NAMES[3:6]), b")") + b"}(" + text("_content") + (joined or b"N") + b"ub",
            tensor(text("0") + text("cpu") + number(1), *few),
            (joined or b"N") + put(random.randrange(5)),
        )
        return random.choice(kinds)

    return value(random.randrange(2, 9))


FAMILIES = (_repeated, _nested, _keys, _copied, _tensors, _texts, _any, _any)
