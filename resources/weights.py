"""Model weights: finding them in a path, a URL or the Hugging Face hub, and saying what they are.

Every model of the graph gets its files here, so that missing weights are one sentence of one kind, and are missed within seconds:
left alone, the hub's client retries each file for most of a minute without a network.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import fsspec

from curation_resources.s3 import options_of_named_file

PROBE_SECONDS = 5.0
PROBE_KEPT_SECONDS = 60.0
PACKAGE = "package:"
LOCAL = "local"
"""Stands for the name of weights that lie in a file or folder. Their hash says which they are, so that they may be moved and renamed."""
SNAPSHOT_IGNORE = ("*.bin", "*.h5", "*.msgpack", "*.onnx", "*.gguf", "*.pth", "original/*", "*.tflite", "*.ot")
"""Files of a hub repository that repeat what its safetensors hold."""


class MissingWeights(RuntimeError):
    """Weights cannot be had; the message says which, where they were looked for and what to set."""


class NotFetched(MissingWeights):
    """Weights that are not here and would have to be fetched, where nothing may be (`nothing_fetched`)."""


class WrongWeights(RuntimeError):
    """Weights are there but are not what was asked for: another hash, another shape, not readable."""


_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[^@\s]+)?", re.ASCII)
_FETCHING = ContextVar("_FETCHING", default=True)


@contextmanager
def nothing_fetched() -> Iterator[None]:
    """Within the block weights are looked for on this machine alone; those that would have to be fetched raise NotFetched at once."""
    before = _FETCHING.set(False)
    try:
        yield
    finally:
        _FETCHING.reset(before)


def names_a_path(model: str) -> bool:
    """Whether what a recipe names is a place on this machine, there or not, and cannot be the id of a repository of the hub."""
    return Path(model).is_absolute() or model.startswith((".", "~", "$", "file:"))


def may_be_of_hub(model: str) -> bool:
    """Whether what a recipe names can be the id of a repository of the hub: ``owner/name``, perhaps with ``@revision``. Repositories without an owner are a few old
    ones of language models, which nothing here takes."""
    return _HUB_ID.fullmatch(model) is not None


def cache_folder() -> Path:
    """Where downloaded weight files are kept: ``$CURATION_CACHE``, else ``curation`` below the user's cache folder."""
    named = os.environ.get("CURATION_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named).expanduser() if named else base / "curation"


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, hexadecimal; read once per process while path, size and modification time stay the same."""
    file = Path(path).resolve()
    stat = file.stat()
    return _sha256(str(file), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_remote(location: str) -> bool:
    """Whether `location` is a URI that has to be fetched; ``file://`` is not."""
    return "://" in location and not location.startswith("file://")


def local_path(location: str) -> Path:
    """A path, ``file://`` URI or ``package:NAME/FILE`` (a file that an installed package carries) as a path; ``~`` and environment variables are expanded.
    The package is not imported."""
    if location.startswith(PACKAGE):
        name, _, file = location.removeprefix(PACKAGE).partition("/")
        spec = find_spec(name) if name.isidentifier() else None
        if spec is None or not spec.submodule_search_locations:
            raise MissingWeights(f"weights are missing: the package {name!r} of {location} is not installed")
        return Path(next(iter(spec.submodule_search_locations)), file)
    return Path(os.path.expandvars(os.path.expanduser(location.removeprefix("file://"))))


def fetch_weights(location: str, what: str, setting: str, sha256: str | None = None) -> Path:
    """The local file of a path or URI; what has to be fetched is kept in `cache_folder`.

    Args:
        location: path, ``package:NAME/FILE``, or URI that fsspec reads (http, https, s3, ...).
        what: what the weights are, for messages ("the aesthetic head").
        setting: the recipe key that names them, for messages ("aesthetic.head").
        sha256: expected hash, hexadecimal.

    Raises:
        MissingWeights: nothing there, or it cannot be reached.
        WrongWeights: the bytes do not have the expected hash.
    """
    if not is_remote(location):
        path = local_path(location)
        if not path.is_file():
            raise MissingWeights(
                f"weights of {what} are missing: no file {path}; set {setting} to a path or URL that has them"
            )
        return _checked(path, what, setting, sha256)
    name = location.split("?")[0].rstrip("/").rsplit("/", 1)[-1]
    target = cache_folder() / f"{sha256 or hashlib.sha256(location.encode()).hexdigest()}-{name}"
    if not target.is_file():
        if not _FETCHING.get():
            raise NotFetched(f"weights of {what} are not here yet: {_shown(location)} is fetched when they are used")
        try:
            _download(location, target)
        except (OSError, ImportError, ValueError) as error:
            raise MissingWeights(
                f"weights of {what} are missing: {target} is not there and {_shown(location)} cannot be fetched"
                f" ({_reason(error)}); set {setting} to a local path, or connect to the network once"
            ) from error
    return _checked(target, what, setting, sha256)


def _shown(location: str) -> str:
    """A URI without its query, which may hold a key."""
    return location.split("?")[0]


def _reason(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _download(uri: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    options = {"client_kwargs": {"trust_env": True}} if uri.startswith("http") else options_of_named_file(uri)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".part-", delete=False) as part:
        try:
            with fsspec.open(uri, "rb", **options) as source:
                shutil.copyfileobj(source, part, 8 << 20)
            part.close()
            os.replace(part.name, target)
        finally:
            Path(part.name).unlink(missing_ok=True)


def _checked(path: Path, what: str, setting: str, sha256: str | None) -> Path:
    if sha256 and file_sha256(path) != sha256.lower():
        raise WrongWeights(
            f"weights of {what}: {path} has SHA-256 {file_sha256(path)}, {sha256.lower()} is expected; remove the file or correct {setting}"
        )
    return path


def hub_file(repository: str, names: Sequence[str], what: str, setting: str, revision: str | None = None) -> Path:
    """The first of `names` that a hub repository has, from the local hub cache if it is there, else downloaded.

    Args:
        repository: ``owner/name``, or ``owner/name@revision`` for a commit, tag or branch of it.
        names: of files.
        what, setting: for messages, as in `fetch_weights`.
        revision: the commit of files that were had before, which goes before the one that the repository names.

    Raises:
        MissingWeights: not in the cache, and the hub is switched off, cannot be reached or has none of them.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError

    repository, revision = _pinned(repository, revision)
    for name in names:
        found = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(found, str):
            return Path(found)
    _require_hub(repository, what, setting)
    for name in names:
        try:
            return Path(hf_hub_download(repository, name, revision=revision))
        except EntryNotFoundError:
            continue
        except (
            Exception
        ) as error:  # the hub's client raises a dozen unrelated classes; each means that the file cannot be had
            raise _missing(repository, what, setting, _reason(error)) from error
    raise _missing(repository, what, setting, f"the repository has none of {', '.join(names)}")


def hub_folder(repository: str, what: str, setting: str) -> Path:
    """A hub repository (its configuration and safetensors), ``owner/name`` or ``owner/name@revision``, as a local folder, whose name
    is the commit.

    Raises:
        MissingWeights: as `hub_file`.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repository, revision = _pinned(repository)
    try:
        folder = Path(snapshot_download(repository, revision=revision, local_files_only=True))
        if any(folder.glob("*.safetensors")):
            return folder
    except (LocalEntryNotFoundError, ValueError):
        pass
    _require_hub(repository, what, setting)
    try:
        return Path(snapshot_download(repository, revision=revision, ignore_patterns=list(SNAPSHOT_IGNORE)))
    except Exception as error:  # as above
        raise _missing(repository, what, setting, _reason(error)) from error


def _pinned(repository: str, revision: str | None = None) -> tuple[str, str | None]:
    """Name and revision of ``owner/name@revision``; a `revision` that is given goes before that one."""
    name, _, pinned = repository.partition("@")
    return name, revision or pinned or None


def _missing(repository: str, what: str, setting: str, reason: str) -> MissingWeights:
    from huggingface_hub import constants

    return MissingWeights(
        f"weights of {what} are missing: looked for {repository} in the hub cache {constants.HF_HUB_CACHE} and at {constants.ENDPOINT}"
        f" ({reason}); set {setting} to a local path, or download them once with a network"
    )


def _require_hub(repository: str, what: str, setting: str) -> None:
    from huggingface_hub import constants

    if not _FETCHING.get():
        raise NotFetched(f"weights of {what} are not here yet: {repository} is fetched when they are used")
    if constants.HF_HUB_OFFLINE:
        raise _missing(repository, what, setting, "HF_HUB_OFFLINE is set")
    error = _probe(constants.ENDPOINT, int(time.monotonic() // PROBE_KEPT_SECONDS))
    if error:
        raise _missing(repository, what, setting, error)


@lru_cache(maxsize=4)
def _probe(endpoint: str, period: int) -> str | None:
    """Why the hub cannot be reached, or None; asked once per `period`, with one attempt."""
    import httpx

    try:
        httpx.head(endpoint, timeout=PROBE_SECONDS, follow_redirects=False)
    except httpx.HTTPError as error:
        return f"it cannot be reached: {_reason(error)}"
    return None
