"""Whether the hub answers, asked once before anything is loaded from it.

The hub's own client tries each file six times, half a minute, and a model or a data set has many;
without a network that would be minutes of its messages, also where all lies in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_SECONDS = 10.0
"""For the one answer; a proxy may be slow."""


def hub_problem() -> str:
    """Why the hub cannot be asked; empty where it answers, whatever it says."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS)
    except Exception as error:  # of whichever HTTP library the client was given
        said = " ".join(str(error).split()) or type(error).__name__
        return f"{constants.ENDPOINT} does not answer ({said[:120]})"
    return ""


@contextmanager
def cache_alone() -> Iterator[None]:
    """Within it the hub's client, whoever calls it, asks nobody."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
