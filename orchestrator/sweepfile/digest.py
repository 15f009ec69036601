"""One canonical digest for everything whose equality matters: specs, plans, evaluation
fingerprints.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

FORMAT = 3
"""Of studies, recipes and evaluation fingerprints: raised when the same content would be written,
trained or decoded otherwise than before. Format 1 is that of orchestrator 0.1, whose identities
held sentences and absolute paths."""


def digest(value: Any) -> str:
    """SHA-256, hexadecimal, of the canonical JSON of `value` (sorted keys, no spaces, NaN refused).

    The same value gives the same digest in every process; a type JSON does not know is refused
    rather than printed, because `str(object)` may hold an address.
    """
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def derived_seed(*parts: int | str) -> int:
    """A 32-bit seed that depends on `parts` alone, equal in every process (unlike `hash`)."""
    return int(digest(list(parts))[:8], 16)
