"""Where things lie in a data set of the MUSDB layout: `<subset>/<track>/<source>.wav`, or `<subset>/<track>.stem.mp4`.

The validation tracks are a folder `valid` beside `train`, or are in `train` and named: in `mus.yaml` (the setup file of the `musdb`
package) under `validation_tracks`, or, without that file, they are those of MUSDB18.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from sfi_zoo.audio.io import AudioInfo
from sfi_zoo.errors import InputError

SUFFIXES = (".wav", ".flac", ".ogg", ".aiff", ".aif")
MIXTURE = "mixture"
SETUP = "mus.yaml"
STEM_MP4 = ".stem.mp4"
STEM_IDS = {
    "mixture": 0,
    "drums": 1,
    "bass": 2,
    "other": 3,
    "vocals": 4,
}  # streams of a stem.mp4 file of MUSDB18
# The validation tracks of MUSDB18 and MUSDB18-HQ, as the musdb package has them.
MUSDB18_VALID = (
    "Actions - One Minute Smile",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Johnny Lokke - Promises & Lies",
    "Patrick Talbot - A Reason To Leave",
    "Triviul - Angelsaint",
    "Alexander Ross - Goodbye Bolero",
    "Fergessen - Nos Palpitants",
    "Leaf - Summerghost",
    "Skelpolu - Human Mistakes",
    "Young Griffo - Pennies",
    "ANiMAL - Rockshow",
    "James May - On The Line",
    "Meaxic - Take A Step",
    "Traffic Experiment - Sirens",
)


def track_folders(folder: Path) -> dict[str, Path]:
    """Name and folder of each track, sorted by name."""
    return {path.name: path for path in _shown(folder) if path.is_dir()}


def stem_mp4_files(folder: Path) -> dict[str, Path]:
    """Name and file of each track of MUSDB18, sorted by name."""
    return {path.name.removesuffix(STEM_MP4): path for path in _shown(folder) if path.name.endswith(STEM_MP4)}


def sound_files(folder: Path) -> dict[str, Path]:
    """Stem (or "mixture") and file, sorted by name."""
    return {path.stem: path for path in _shown(folder) if path.suffix.lower() in SUFFIXES}


def _shown(folder: Path) -> list[Path]:
    """What is not hidden: macOS puts `._<name>` beside what it copies to other disks."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def check_agree(infos: Sequence[AudioInfo]) -> None:
    """Files of one track have the same sample rate and length.

    Raises:
        InputError: they do not.
    """
    first = infos[0]
    for info in infos[1:]:
        if (info.sample_rate, info.frames) != (first.sample_rate, first.frames):
            raise InputError(
                f"{info.path}: has {info.frames} samples at {info.sample_rate} Hz,"
                f" {first.path.name} {first.frames} at {first.sample_rate} Hz; they must agree"
            )


def as_channels(signal: Tensor, channels: int) -> Tensor:
    """(channels of the file, time) -> (channels, time): as it is, or the mean in every channel."""
    if len(signal) == channels:
        return signal
    return signal.mean(0, keepdim=True).expand(channels, -1)


def validation_names(root: Path) -> tuple[str, ...]:
    """Names of the tracks in `train` that are kept for validation.

    Raises:
        InputError: a setup file that cannot be read.
    """
    path = root / SETUP
    if not path.exists():
        return MUSDB18_VALID
    import yaml

    try:
        setup = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read as YAML ({reason})") from None
    names = setup.get("validation_tracks", []) if isinstance(setup, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{path}: validation_tracks must be a list of names of tracks")
    return tuple(names)


def musdb_tracks(root: Path, subset: str) -> dict[str, Any]:
    """The stem.mp4 tracks of a subset, by name, as objects of `musdb`.

    Raises:
        InputError: see `import_musdb`.
    """
    return {track.name: track for track in import_musdb(root).DB(root=str(root), subsets=subset)}


def import_musdb(path: Path) -> Any:
    """The package `musdb`, for the stem.mp4 files at `path`.

    Raises:
        InputError: it is not installed, or ffmpeg, which it needs.
    """
    try:
        import musdb
    except ImportError:
        raise InputError(f"{path}: stem.mp4 files need musdb: pip install -e '.[musdb]'") from None
    except RuntimeError as error:  # of stempeg, which looks for ffmpeg
        raise InputError(
            f"{path}: stem.mp4 files need ffmpeg and ffprobe, install them ({error}); or give MUSDB18-HQ"
        ) from None
    return musdb
