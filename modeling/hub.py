"""Hub: a model's files by its name, a local folder or a Hub id, which is fetched.

A command resolves its models once, at its start, and passes folders on; so a revision travels no further.
The token (HF_TOKEN, or what `hf auth login` stored) and the endpoint are the Hugging Face client's own business.
"""

from __future__ import annotations

from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from modeling.tensor import CheckpointError
from modeling.tensor_files import WEIGHT_FILES

# Everything that a tokenizer may consist of. Copied as it is, so that a checkpoint's tokenizer is its source's.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)


def has_tokenizer(folder: Path) -> bool:
    """Say whether a folder holds any of a tokenizer's files."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def resolve(
    model: str | Path, revision: str | None = None, cache_dir: str | Path | None = None, *, weights: bool = True
) -> Path:
    """Find a model's folder: a local one, or that of a Hub id at a branch, tag or commit, fetched into `cache_dir`.

    `cache_dir` None is the Hugging Face cache. Of a repository with weights in several formats one format is fetched,
    and with `weights` false none. Without a network the cache is used as it is.
    Raises: CheckpointError where there is no such model or revision, no permission, or a revision of a local folder.
    """
    name = str(model)
    path = Path(model).expanduser()
    if path.exists() and revision is not None:
        raise CheckpointError(
            f"--revision {revision} names a branch, tag or commit of a Hub id; {name} is local and has none. "
            "Leave it away, or give the model's Hub id"
        )
    if path.is_dir():
        return path
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1 or "/" not in name:
        raise CheckpointError(
            f"no model folder at {name}; wanted a local folder with a config.json, or a Hub id. "
            "Hub ids are OWNER/NAME, e.g. openai-community/gpt2"
        )
    return _fetch(name, revision, None if cache_dir is None else Path(cache_dir).expanduser(), weights)


def _fetch(model: str, revision: str | None, cache_dir: Path | None, weights: bool) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    fetch = partial(snapshot_download, model, revision=revision, cache_dir=cache_dir)
    try:
        # not list_repo_files: without a network that waits half a minute before it gives up
        there = [file.rfilename for file in HfApi().model_info(model, revision=revision).siblings or ()]
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"{model} is on the Hub but has no revision {revision}; give one of its branches, tags or commits"
        ) from error
    except (RepositoryNotFoundError, GatedRepoError) as error:  # the Hub does not tell a private repository from none
        raise _closed(model) from error
    except Exception as error:  # the client raises many kinds: no network, the Hub is down, a name that cannot be
        try:
            return Path(fetch(allow_patterns="config.json", local_files_only=True))
        except Exception:  # not in the cache either; the first error says why it could not be fetched
            raise CheckpointError(
                f"{model} is no local folder, could not be fetched from the Hub ({_cause(error)}) and is not in the "
                "cache; give a folder, check the id, or try again with a network"
            ) from error
    try:
        return Path(fetch(allow_patterns=_patterns(there, weights)))
    except GatedRepoError as error:  # anybody may list its files
        raise _closed(model) from error
    except Exception as error:
        raise CheckpointError(
            f"fetching {model} from the Hub stopped ({_cause(error)}); the same command goes on where it stopped"
        ) from error


def _closed(model: str) -> CheckpointError:
    return CheckpointError(
        f"{model} is no local folder, and on the Hub it is not there, or private or gated and not open to you; "
        "check the id, or set HF_TOKEN to a token that may read it"
    )


def _cause(error: Exception) -> str:
    said = str(error).strip()
    return said.splitlines()[0] if said else type(error).__name__


def _patterns(there: list[str], weights: bool) -> list[str]:
    """The files to fetch: config, tokenizer, and the weights in the first of the formats that the repository has."""
    formats = (list(names) for names in WEIGHT_FILES if any(fnmatch(f, n) for f in there for n in names))
    chosen = next(formats, []) if weights else []
    return ["config.json", "generation_config.json", "adapter_config.json", *TOKENIZER_FILES, *chosen]
