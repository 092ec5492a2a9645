"""YAML by grammar: what makes much of little, and what is no number."""

from random import Random

MOST = 2**17  # bytes: more is refused by its size
NUMBERS = (
    "1",
    "-1",
    "0x1f",
    "0b1",
    "1:1",
    "1:1.5",
    "1e-4",
    "1e999",
    ".nan",
    ".inf",
    "9" * 5000,
    "0x" + "f" * 60_000,
    "1" + ":1" * 30_000,
)
TAGS = (
    "",
    "",
    "",
    "!!python/tuple ",
    "!!python/object:os.system ",
    "!!set ",
    "!!omap ",
    "!!binary ",
    "!!int ",
    "!new:os.system ",
    "!ref ",
)
WORDS = (
    "a",
    "x y",
    "'q'",
    '"\\x41"',
    "~",
    "true",
    "2001-01-01",
    "<<",
    "=",
    "instruments",
    "audio",
    "model",
    "sample_rate",
)


def yaml_text(random: Random) -> bytes:
    """A file, mostly of mappings that name what stands before them."""
    lines = [f"k{number}: {_named(random, number)}" for number in range(random.choice((1, 5, 40, 400)))]
    match random.randrange(8):
        case 0:
            lines.append("deep: " + random.choice("[{") * random.choice((10, 100, 60_000)))
        case 1:
            lines += lines[:1]  # a key twice
        case 2:
            lines.append(random.choice(("- ", "? ", "? - ", "---\n", "#\n")) * random.choice((10, 30_000)))
    return "\n".join(lines).encode()[: random.choice((MOST, MOST, MOST + 1, 100))]


def _named(random: Random, number: int) -> str:
    """A value with an anchor of its own, made of the values before."""
    before = [f"*a{place}" for place in range(max(0, number - 2), number)] or ["1"]
    names = [random.choice(before) for _ in range(random.choice((1, 2, 9)))]
    kind = random.randrange(6)
    value = {
        0: f"[{', '.join(names)}]",
        1: f"{{x: {names[0]}, y: {names[-1]}}}",
        2: f"{{<<: [{', '.join(names)}], z: 1}}",
        3: f"{{? {names[0]} : 1}}",
        4: random.choice(NUMBERS),
        5: random.choice(WORDS),
    }[kind]
    return f"&a{number} {random.choice(TAGS)}{value}"
