"""The base class of all values of a sweep file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class Frozen(BaseModel):
    """Base of all values of a sweep file: immutable, unknown keys refused, and no type converted
    silently.
    """

    # defer_build: sections are validated as part of a sweep, so their own validators are built only
    # where one is made alone
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True
    )
