"""The errors that a person can act on. Any other exception is a bug of this project and propagates
as it is, with its traceback.

    OrchestrateError            exit code 2 unless the leaf says otherwise
    ├── SpecError               the sweep file: all problems at once, each with file, line, column
    ├── ManifestError           a manifest or its audio: all faults at once, each with file and line
    ├── ModelError              the base model, its processor or a target pattern
    ├── DataError               sets that make a sweep worthless (overlap, empty, too few)
    ├── ObjectiveError          a start-up check of the training objective or the evaluation failed
    ├── FingerprintError        two numbers of different evaluations were set side by side
    └── StudyError              exit 3: the study on disk and the sweep file disagree, another run holds it, or it
                                cannot be written

    Interrupted                 exit 75: stopped by a signal; the same command continues. No Exception, as
                                KeyboardInterrupt is none: wherever a signal comes, nobody takes it for a fault

A message names the place, the value, what is allowed, and the next step.
"""

from __future__ import annotations


class OrchestrateError(Exception):
    """Root of all errors shown to a person as one message without a traceback."""

    exit_code = 2

    @property
    def summary(self) -> str:
        """The first line of the message, for a table; where it ends with a colon and so announces a
        list, the first item of the list follows it.
        """
        first, *rest = str(self).splitlines() or [""]
        return f"{first} {rest[0].strip()}" if first.endswith(":") and rest else first


class SpecError(OrchestrateError, ValueError):
    """The sweep file, or an override on the command line, cannot be used as it is."""


class ManifestError(OrchestrateError, ValueError):
    """A manifest is damaged, or names audio that cannot be used."""


class ModelError(OrchestrateError, ValueError):
    """The base model cannot be loaded, or a target pattern does not fit it."""


class DataError(OrchestrateError, ValueError):
    """The sets together would make every number of the sweep worthless."""


class ObjectiveError(OrchestrateError, RuntimeError):
    """A start-up check found that training or evaluation would not do what it says."""


class FingerprintError(OrchestrateError, ValueError):
    """Two numbers with different evaluation fingerprints must never be compared."""


class StudyError(OrchestrateError, RuntimeError):
    """The study on disk cannot be continued with this sweep file, or is in use."""

    exit_code = 3


class Interrupted(BaseException):
    """A signal stopped the sweep in a state from which the same command continues."""

    exit_code = 75
