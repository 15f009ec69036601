"""Which names of models and data sets are those of the hub, and whether it answers for one, asked
once before anything is loaded from it.

The hub's own client tries each file six times, half a minute, and a model or a data set has many;
without a network that would be minutes of its messages, also where all lies in the cache.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

_SECONDS = 10.0
"""Time limit of the one request; a proxy may be slow."""
_LOG_IN = "log in (hf auth login, or set HF_TOKEN)"
_NETWORK = "check the network"
_BAD_TOKEN = "Invalid credentials in Authorization header"
"""What the hub says of a token that expired or was revoked, whatever is asked for."""


@dataclass(frozen=True)
class HubProblem:
    """Why the hub cannot be used, and what to do, as phrases without a full stop."""

    what: str
    cure: str


def names_folder(text: str, root: Path) -> bool:
    """Whether the name of a model or a data set means a local folder, below `root` unless it is
    absolute, and no hub id.

    It does where the folder exists, where it is written as a path (/, ~, ./, ../), and where its
    parent is an existing folder below `root`: then it is a folder that is missing.
    """
    path = Path(os.path.abspath(root / os.path.expanduser(text)))
    # os.path.isdir, unlike Path.is_dir, never raises, whatever the name
    beside = path.parent != root and os.path.isdir(path.parent)
    return text.startswith(("/", "~", "./", "../")) or os.path.isdir(path) or beside


def how_to_name(name: str, example: str) -> str:
    """Return the next step where `name` means a folder below the current one, or a path, that is
    not there. `example` is what may be named instead.
    """
    above, _, last = name.partition("/")
    if last and "/" not in last and not name.startswith(("/", "~", ".")):
        return f"Correct the path; {above} is a folder here, so for {name} of the hub run this in another one."
    return f"Correct the path; or name {example}."


def hub_problem(
    name: str, revision: str = "main", *, is_dataset: bool = False
) -> HubProblem | None:
    """Ask the hub for one file of the model or data set `name` and return why it cannot be had;
    None where it can, or where only loading it will tell.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return HubProblem("HF_HUB_OFFLINE is set", f"unset it, {_NETWORK}")
    page = f"{constants.ENDPOINT}/{'datasets/' * is_dataset}{name}"
    file = "README.md" if is_dataset else "config.json"
    try:
        answer = _ask(page, revision, file)
    except Exception as error:  # its type depends on the HTTP library that the client uses
        return _no_answer(constants.ENDPOINT, error)
    return _refusal(page, revision, answer.status_code, answer.headers)


def hub_has(name: str, revision: str, file: str) -> bool:
    """Whether the hub, of which `hub_problem` found that it answers, has this file of a model."""
    from huggingface_hub import constants

    try:
        return bool(_ask(f"{constants.ENDPOINT}/{name}", revision, file).status_code == 200)
    except Exception:  # as above; loading the model will tell
        return False


def _ask(page: str, revision: str, file: str) -> Any:
    """Return the hub's answer to a question for one file of the repository at `page`."""
    from huggingface_hub import get_session, get_token

    url, token = f"{page}/resolve/{quote(revision, safe='')}/{file}", get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return get_session().head(url, headers=headers, timeout=_SECONDS)


def _no_answer(place: str, error: Exception) -> HubProblem:
    said = " ".join(str(error).split()) or type(error).__name__
    what = f"{place} does not answer ({said[:120]})"
    if "certificate" in said.lower():
        cure = "name the certificates of your network: export SSL_CERT_FILE=FILE.pem"
        return HubProblem(f"the certificate of {place} is not trusted ({said[:120]})", cure)
    if "proxy" in f"{type(error).__name__} {said}".lower():
        host = urlsplit(place).hostname
        return HubProblem(what, f"check HTTPS_PROXY, or go round it: export NO_PROXY={host}")
    return HubProblem(what, _NETWORK)


def _refusal(
    page: str, revision: str, status: int, headers: Mapping[str, str]
) -> HubProblem | None:
    """Explain the hub's answer for a file of the repository at `page`; None where all is well.

    A missing file (EntryNotFound) is well: the repository is there and readable.
    """
    code = headers.get("X-Error-Code", "")
    if code == "GatedRepo":
        return HubProblem(
            f"{page} is open only to whom its authors let in (HTTP {status})",
            f"ask for access on that page, and {_LOG_IN}",
        )
    if code == "RevisionNotFound":
        return HubProblem(f"{page} has no revision {revision!r}", "check the revision")
    if code == "EntryNotFound":
        return None
    if status == 401 and headers.get("X-Error-Message") == _BAD_TOKEN:
        return HubProblem(
            f"{urlsplit(page).hostname} refuses your access token, which may have expired (HTTP 401)",
            "log in anew (hf auth login) or correct HF_TOKEN; what is public can be read without one",
        )
    if status in (401, 404):
        return HubProblem(
            f"{page} is not there, or is private (HTTP {status})",
            f"check the name; for one that is private, {_LOG_IN}",
        )
    if status == 403:
        return HubProblem(
            f"{page} is forbidden (HTTP 403)", f"{_LOG_IN}, or {_NETWORK}: a firewall says this too"
        )
    if status == 429:
        return HubProblem(
            f"{page} asks for patience (HTTP 429, too many requests)",
            f"wait some minutes, or {_LOG_IN}, which allows more",
        )
    if status >= 400:
        return HubProblem(f"{page} fails (HTTP {status})", "try again later")
    if "X-Repo-Commit" not in headers:
        return HubProblem(
            f"{page} is answered by something that is not the hub, such as the login page of a "
            "network",
            "open it in a browser and do what the page asks for",
        )
    return None


@contextmanager
def cache_alone() -> Iterator[None]:
    """Within the context the hub's client makes no request and reads its cache only, whoever calls
    it.
    """
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
