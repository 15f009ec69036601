"""Modules that the benchmarks share. Importing this makes the package of the checkout importable,
here and in the processes started from here, whether it is installed or not.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# an installed package is compiled once; without this, each process of a clone might compile it anew
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (os.environ.get("PYTHONPATH"), str(ROOT)))
    )
