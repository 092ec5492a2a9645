"""Files from the Hub, by its own client and rules: HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE. Every failure is one line.

The client checks the size of what it got, not the checksum; here it is checked, also of what lies in the cache.
"""

import hashlib
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.hub.folder import CONFIG, WEIGHTS
from sfi_zoo.wording import first_line

HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
TRIES = 3
OUT_OF_ORDER = (500, 502, 503, 504)
_COMMIT = re.compile(r"[0-9a-f]{40}")


class HubError(InputError):
    """The Hub, or its cache, did not give or take what was asked for; the message has the id, the cause and the way out."""


def fetch_model(repo: str, revision: str | None, **options: Any) -> tuple[Path, Path]:
    """Config and weights of a repository, both of one commit.

    Args:
        repo: org/name.
        revision: branch, tag or commit.
        **options: force_download, token, cache_dir, local_files_only of `huggingface_hub.hf_hub_download`.

    Raises:
        HubError: they cannot be had.
    """
    config = fetch(repo, CONFIG, revision, **options)
    commit = config.parent.name  # of the cache: snapshots/<commit>/config.json
    same = commit if _COMMIT.fullmatch(commit) else revision
    with hub_errors(id_of(repo, revision), WEIGHTS):
        return config, _fetch(repo, WEIGHTS, same, **options)


def fetch(repo: str, file: str, revision: str | None = None, **options: Any) -> Path:
    """One file from the Hub, or from its cache.

    Raises:
        HubError: it cannot be had.
    """
    with hub_errors(id_of(repo, revision), file):
        return _fetch(repo, file, revision, **options)


def id_of(repo: str, revision: str | None) -> str:
    """The id in the form that `load` takes: org/name[@revision]."""
    return repo if revision is None else f"{repo}@{revision}"


def _fetch(repo: str, file: str, revision: str | None, **options: Any) -> Path:
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    for left in reversed(range(TRIES)):
        try:
            path = Path(hf_hub_download(repo, file, revision=revision, **options))
            break
        except hub.HfHubHTTPError as error:
            # the client tries again to learn of a file, not to get it
            if error.response.status_code not in OUT_OF_ORDER or not left:
                raise
            time.sleep(2 ** (TRIES - 1 - left))
    _check_content(path, file)
    return path


def _check_content(path: Path, file: str) -> None:
    """The cache names content by its git hash, or that of large files by sha256; other content is removed.

    Raises:
        OSError: it was not what its name says.
    """
    if not path.is_symlink():
        return  # a cache without links does not keep the name
    content = path.parent / path.readlink()
    match len(content.name):
        case 64:
            digest = hashlib.sha256()
        case 40:
            digest = hashlib.sha1(b"blob %d\0" % content.stat().st_size, usedforsecurity=False)
        case _:
            return
    with content.open("rb") as stream:
        while block := stream.read(2**20):
            digest.update(block)
    if digest.hexdigest() != content.name:
        path.unlink(missing_ok=True)
        content.unlink(missing_ok=True)
        raise OSError(f"{file} has a wrong checksum and was removed from the cache; load it again")


@contextmanager
def hub_errors(where: str, file: str | None = None) -> Iterator[None]:
    """What the client raises becomes a `HubError`.

    Args:
        where: the id, for the message.
        file: what is fetched, for the message; None for sending.
    """
    try:
        with _retries_told_once(where):
            yield
    except InputError:
        raise
    except Exception as error:  # it wraps those of HTTP, of files and of the Xet client in many ways
        raise HubError(f"{where}: {_reason(error, file)}") from error


@contextmanager
def _retries_told_once(where: str) -> Iterator[None]:
    """The client logs two lines for each try; one says it all."""
    logger, told = logging.getLogger("huggingface_hub.utils._http"), False

    def first(record: logging.LogRecord) -> bool:
        nonlocal told
        if not re.search(r"thrown while requesting|\[Retry \d", record.getMessage()):
            return True
        was_told, told = told, True
        record.msg, record.args = f"{where}: the Hub does not answer; trying again", ()
        return not was_told

    logger.addFilter(first)
    try:
        yield
    finally:
        logger.removeFilter(first)


def _reason(error: BaseException, file: str | None) -> str:
    """The cause, and the way out."""
    from huggingface_hub import errors as hub

    here = "no such folder here, " if file else ""
    by_kind = {
        hub.GatedRepoError: "is gated; ask for access on its page, then run `hf auth login`",
        hub.RepositoryNotFoundError: f"{here}no such repository on the Hub; "
        "if it is private, run `hf auth login` or set HF_TOKEN",
        hub.RevisionNotFoundError: "the repository has no such revision",
        hub.OfflineModeIsEnabled: "HF_HUB_OFFLINE is set; unset it to go online",
        hub.RemoteEntryNotFoundError: f"the repository has no {file}",
        hub.HFValidationError: "is not a valid Hub id",
    }
    known = next((reason for kind, reason in by_kind.items() if isinstance(error, kind)), None)
    if known is not None:
        return known
    if isinstance(error, hub.LocalEntryNotFoundError):
        return f"{here}{file} is not cached and {_why_not_asked(error.__cause__, file)}"
    if isinstance(error, hub.HfHubHTTPError):
        return _of_status(error.response.status_code, error)
    if isinstance(error, hub.HTTPError):
        return f"the connection to the Hub broke ({first_line(error)}); try again"
    if (
        error.__cause__
        and not isinstance(error, OSError)
        and not isinstance(error.__cause__, hub.BadRequestError)
    ):
        return _reason(error.__cause__, file)
    said = " ".join(str(error).split())
    return f"{file} came incomplete; try again" if said.startswith("Consistency check failed") else said


def _why_not_asked(cause: BaseException | None, file: str | None) -> str:
    """Why the Hub could not be asked about a file."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    if isinstance(cause, hub.HfHubHTTPError):
        return _reason(cause, file)
    if isinstance(cause, hub.FileMetadataError):
        return f"{constants.ENDPOINT} does not answer as a Hub does; check HF_ENDPOINT"
    if cause is None or isinstance(cause, hub.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE (or local_files_only) is set; go online once"
    return f"the Hub cannot be reached ({constants.ENDPOINT}); go online once"


def _of_status(status: int, error: BaseException) -> str:
    reasons = {
        401: "the Hub does not accept the token (401); run `hf auth login`, or set HF_TOKEN",
        403: "the Hub does not permit it (403); take a token that may: `hf auth login`, or set HF_TOKEN",
        429: "the Hub had too many requests (429); wait some minutes, a token (`hf auth login`) allows more",
    }
    if status in OUT_OF_ORDER:
        return f"the Hub is out of order ({status}); try again later"
    return reasons.get(status, f"the Hub did not do it ({first_line(error)})")
