"""What goes to the Hub: the folder of a model, looked through before anything is sent."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfi_zoo.errors import InputError
from sfi_zoo.hub.digest import sha256_of
from sfi_zoo.hub.download import HubError, hub_errors
from sfi_zoo.hub.folder import CARD, CONFIG, WEIGHTS
from sfi_zoo.hub.loading import load, local_folder
from sfi_zoo.wording import first_line, shortened

PARTS = (
    CONFIG,
    WEIGHTS,
    CARD,
    "scores.json",
    "speed.json",
    "training_log.jsonl",
    "recipe.json",
    "recipe.toml",
    "LICENSE",
)
CARD_SAYS = {"license": None, "library_name": "sfi-zoo", "pipeline_tag": "audio-to-audio"}
MOST_HEADER_BYTES = 2**27  # of safetensors
SECRETS = {
    "a token of Hugging Face": r"\b(hf|api_org)_[A-Za-z0-9]{30,}",
    "a token of GitHub": r"\b(gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22})",
    "a token of GitLab": r"\bglpat-[\w-]{20}",
    "a key of AWS": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    "a key of Google": r"\bAIza[\w-]{35}",
    "a key of OpenAI or Anthropic": r"\bsk-[\w-]{32,}",
    "a token of Slack": r"\bxox[abprs]-[\w-]{10,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a password in an address": r"\bhttps?://[^\s/:@]+:[^\s/@]+@",
}
_FULL_ID = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Destination:
    """A repository on the Hub.

    Attributes:
        repo_id: org/name, or name for one's own.
        private: whether a new one is private; None for what its owner has set.
        branch: None for main.
    """

    repo_id: str
    private: bool | None = None
    branch: str | None = None


@dataclass(frozen=True)
class Parcel:
    """A folder that may be sent.

    Attributes:
        folder: where it is.
        sizes: bytes of each file.
        metadata: head of the card.
    """

    folder: Path
    sizes: dict[str, int]
    metadata: dict[str, Any]

    def sha256(self, name: str) -> str:
        """The SHA-256 of one of the files."""
        return sha256_of(self.folder / name)


def parcel(name: str | Path, repo_id: str) -> Parcel:
    """Check a model's folder and return what would be sent; does not contact the Hub.

    Args:
        name: a bundled name or a folder.
        repo_id: where to, org/name.

    Raises:
        InputError: no such model, one that does not load, an id that is none, a file that is no part of a model, a secret, or a card
            without a licence or what the Hub knows our models by.
    """
    from huggingface_hub.utils import validate_repo_id

    with hub_errors(repo_id):
        validate_repo_id(repo_id)
    if not _FULL_ID.fullmatch(repo_id):
        raise InputError(f"{repo_id}: must be org/name")
    folder = local_folder(str(name))
    if folder is None:
        raise InputError(f"{name}: no bundled model and no folder here")
    files = sorted(folder.iterdir())
    foreign = [
        file.name for file in files if file.name not in PARTS or file.is_symlink() or not file.is_file()
    ]
    if foreign:
        raise InputError(
            f"{folder}: {shortened(foreign)} {'are' if len(foreign) > 1 else 'is'} no part of a model; "
            f"it holds plain files: {', '.join(PARTS)}"
        )
    for file in files:
        _check_secrets(file)
    load(folder)
    return Parcel(folder, {file.name: file.stat().st_size for file in files}, card_metadata(folder / CARD))


def card_metadata(card: Path) -> dict[str, Any]:
    """The head of a model card.

    Raises:
        InputError: there is no head, or it lacks what a card must have.
    """
    from huggingface_hub import ModelCardData, metadata_load
    from yaml import YAMLError

    if not card.is_file():
        raise InputError(f"{card.parent}: has no {card.name}; sfi_zoo.save(model, folder) writes one")
    try:
        metadata: dict[str, Any] = metadata_load(card) or {}
        ModelCardData(**metadata)  # complains of a model-index that the Hub would not read
    except (ValueError, TypeError, KeyError, AttributeError, YAMLError) as error:
        raise InputError(f"{card}: its head is not that of a model card ({first_line(error)})") from None
    for key, wanted in CARD_SAYS.items():
        given = metadata.get(key)
        if not given or (wanted is not None and given != wanted):
            line = f"{key}: {wanted or 'mit'}"
            said = f"says {key}: {given}" if given else f"has no {key}"
            raise InputError(
                f"{card}: its head {said}; it must have a line like `{line}`"
                + ("" if wanted else ", the licence of the weights")
            )
    return metadata


def _check_secrets(file: Path) -> None:
    """Refuses a file with something in it that must not be public: what looks like a token, or is the one in use.

    Of weights the header is read: the rest are numbers.
    """
    from huggingface_hub import get_token

    with file.open("rb") as stream:
        if file.name == WEIGHTS:
            text = stream.read(min(int.from_bytes(stream.read(8), "little"), MOST_HEADER_BYTES)).decode(
                errors="replace"
            )
        else:
            text = stream.read().decode(errors="replace")
    found = [what for what, pattern in SECRETS.items() if re.search(pattern, text)]
    token = get_token()
    if token and token in text:
        found.append("the token in use")
    if found:
        raise InputError(
            f"{file}: holds what looks like {found[0]}; take it out, and revoke it if others saw it"
        )


def full_id(repo_id: str, token: str | None) -> str:
    """The id org/name; a name without an owner gets the user's own.

    Raises:
        HubError: the Hub does not recognise the token.
    """
    from huggingface_hub import HfApi

    if "/" in repo_id:
        return repo_id
    with hub_errors(repo_id):
        return f"{HfApi(token=token).whoami()['name']}/{repo_id}"


def send(
    folder: Path,
    to: Destination,
    *,
    token: str | None = None,
    keep_card: bool = False,
    commit_message: str = "Publish model by sfi-zoo.",
    create_pr: bool | None = None,
    allow_patterns: list[str] | str | None = None,
    ignore_patterns: list[str] | str | None = None,
    delete_patterns: list[str] | str | None = None,
) -> str:
    """Sends a model's folder in one commit; the repository is made if it is not there.

    Args:
        folder: what is sent.
        to: where to.
        token: instead of that of `hf auth login` or HF_TOKEN.
        keep_card: a card that is there stays.
        commit_message: as the next ones, see `huggingface_hub.HfApi.upload_folder`.
        create_pr: see there.
        allow_patterns: see there.
        ignore_patterns: see there.
        delete_patterns: see there.

    Returns:
        The address of the commit.

    Raises:
        HubError: there is no token, the repository is public and should be private, or the Hub did not take it.
    """
    from huggingface_hub import HfApi, get_token

    if token is None and get_token() is None:
        raise HubError(f"{to.repo_id}: no token to send with; run `hf auth login`, or set HF_TOKEN")
    api = HfApi(token=token)
    with hub_errors(to.repo_id):
        repo_id = api.create_repo(to.repo_id, private=to.private, exist_ok=True).repo_id
        if to.private and not api.repo_info(repo_id).private:
            raise HubError(
                f"{repo_id}: is public already; nothing was sent. Choose another name, or make it private on its page"
            )
        ignored = [ignore_patterns] if isinstance(ignore_patterns, str) else list(ignore_patterns or ())
        if keep_card and api.file_exists(repo_id, CARD, revision=to.branch):
            ignored.append(CARD)
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            revision=to.branch,
            commit_message=commit_message,
            create_pr=create_pr,
            allow_patterns=allow_patterns,
            ignore_patterns=ignored,
            delete_patterns=delete_patterns,
        )
    return str(commit.pr_url or commit.commit_url)
