"""`from_pretrained`, `save_pretrained` and `push_to_hub` of every separator, as the Hub's PyTorchModelHubMixin has them.

The mixin's own versions load weights that do not fit (strict=False), ignore unknown settings, fall back to a pickle, delete config.json
before the new one is written, and create a repository before they know that there is something to send. So its methods
are overridden one by one; what is kept is the type, the signatures, and what the Hub does with them.
"""

import tempfile
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import ModelCard, PyTorchModelHubMixin

from sfi_zoo.errors import InputError

T = TypeVar("T", bound="OnHub")


class OnHub(
    PyTorchModelHubMixin,
    library_name="sfi-zoo",
    pipeline_tag="audio-to-audio",
    tags=["audio-source-separation", "sampling-frequency-independent"],
):
    """A model that is saved, loaded and published by `sfi_zoo.hub`."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """A plain object: the mixin would note constructor arguments down, and `config` has them."""
        return object.__new__(cls)

    @classmethod
    def from_pretrained(
        cls: type[T],
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        map_location: Any = None,
        strict: bool = True,
        **model_kwargs: Any,
    ) -> T:
        """A separator with its weights, in evaluation mode. `sfi_zoo.load` with the options of the Hub.

        Args:
            pretrained_model_name_or_path: a folder, a bundled name, or a Hub id `org/name[@revision]`.
            force_download: although it is in the cache.
            token: True for the one of `hf auth login`, which is sent anyway where there is one; False for none.
            cache_dir: instead of that in HF_HOME.
            local_files_only: from the cache only.
            revision: branch, tag or commit.
            map_location: device to put it on.
            strict: weights that do not fit are refused; there is no False.
            **model_kwargs: none; config.json has all settings.

        Raises:
            InputError: as `sfi_zoo.load`, or a model that is no `cls`.
        """
        from sfi_zoo.hub.loading import load_as

        if not strict:
            raise InputError("strict=False: weights that do not fit are not loaded; leave it out")
        if model_kwargs:
            raise InputError(f"{', '.join(model_kwargs)}: settings come from config.json; leave it out")
        return load_as(
            cls,
            pretrained_model_name_or_path,
            map_location,
            force_download=force_download,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            revision=revision,
        )

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        config: Any = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: dict[str, Any] | None = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Writes `config.json`, `model.safetensors` and, where there is none yet, a model card. See `sfi_zoo.save`.

        Args:
            save_directory: made if it is not there.
            config: none; it is the model's.
            repo_id: where to push to; the name of the folder when omitted.
            push_to_hub: also push it.
            model_card_kwargs: see `push_to_hub`.
            **push_to_hub_kwargs: the other arguments of `push_to_hub`.

        Returns:
            The address of the commit, if it was pushed.

        Raises:
            InputError: the folder is a file, or cannot be pushed.
        """
        from sfi_zoo.hub import save

        _own(config)
        folder = save(self, save_directory, **_card_arguments(model_card_kwargs))  # type: ignore[arg-type]
        if not push_to_hub:
            return None
        return self.push_to_hub(
            repo_id or folder.name, model_card_kwargs=model_card_kwargs, **push_to_hub_kwargs
        )

    def push_to_hub(
        self,
        repo_id: str,
        *,
        config: Any = None,
        commit_message: str = "Push model using sfi_zoo.",
        private: bool | None = None,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
        allow_patterns: list[str] | str | None = None,
        ignore_patterns: list[str] | str | None = None,
        delete_patterns: list[str] | str | None = None,
        model_card_kwargs: dict[str, Any] | None = None,
    ) -> str:
        """Sends the model to a repository on the Hub, in one commit; the repository is made if it is not there.

        Nothing is sent, or made, unless what would be sent loads again as this class, exactly. A model card that the repository
        has already stays.

        Args:
            repo_id: org/name; name alone for your own.
            config: none; it is the model's.
            commit_message: of the commit.
            private: whether a new repository is private; an existing one that is public is refused.
            token: instead of that of `hf auth login` or HF_TOKEN.
            branch: main when omitted.
            create_pr: as a pull request.
            allow_patterns: only files that match one.
            ignore_patterns: no files that match one.
            delete_patterns: files on the Hub that are deleted in the same commit.
            model_card_kwargs: `license`, as the Hub names it ("mit", "cc-by-4.0"), for the head of a new card.

        Returns:
            The address of the commit.

        Raises:
            InputError: it cannot be saved, or would not load.
            HubError: the Hub did not take it.
        """
        from sfi_zoo.hub import save
        from sfi_zoo.hub.loading import load_as
        from sfi_zoo.hub.publishing import Destination, full_id, send

        _own(config)
        card = _card_arguments(model_card_kwargs)
        repo_id = full_id(repo_id, token)
        with tempfile.TemporaryDirectory() as temporary:
            folder = save(self, Path(temporary) / repo_id.split("/")[-1], where=repo_id, **card)  # type: ignore[arg-type]
            load_as(type(self), folder)
            return send(
                folder,
                Destination(repo_id, private, branch),
                token=token,
                keep_card=True,
                commit_message=commit_message,
                create_pr=create_pr,
                allow_patterns=allow_patterns,
                ignore_patterns=ignore_patterns,
                delete_patterns=delete_patterns,
            )

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """The card that `save_pretrained` writes; see `push_to_hub` for `license`."""
        from sfi_zoo.hub.model_card import model_card

        return ModelCard(model_card(type(self).__name__, self, **_card_arguments(kwargs)))


def _own(config: Any) -> None:
    if config is not None:
        raise InputError("config: config.json is written from the model's own; leave it out")


def _card_arguments(given: dict[str, Any] | None) -> dict[str, Any]:
    unknown = sorted(set(given or ()) - {"license"})
    if unknown:
        raise InputError(f"model_card_kwargs has {', '.join(unknown)}; known: license")
    return given or {}
