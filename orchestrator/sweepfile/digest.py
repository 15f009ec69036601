"""One canonical digest for everything whose equality matters: specs, plans, evaluation
fingerprints.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

FORMAT = 3
"""Version of the format of studies, recipes and evaluation fingerprints. It is raised when the same
content would be written, trained or decoded differently than before. Format 1 is that of
orchestrator 0.1, whose identities held sentences and absolute paths."""


def digest(value: Any) -> str:
    """Return the SHA-256, in hexadecimal, of the canonical JSON of `value`: sorted keys, no spaces.

    The same value gives the same digest in every process. NaN raises ValueError. A type that JSON
    does not know raises TypeError and is not converted, because `str(object)` may hold a memory
    address.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def derived_seed(*parts: int | str) -> int:
    """Derive a 32-bit seed from `parts`, the same in every process (unlike `hash`)."""
    return int(digest(list(parts))[:8], 16)
