"""A headless Chromium for tests and pictures: `python -m tests.browser` installs one where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def executable() -> str | None:
    """Return the Chromium of this machine, else the one that playwright has installed; None where
    there is neither.
    """
    from playwright.sync_api import sync_playwright

    if found := next((path for name in NAMES if (path := shutil.which(name))), None):
        return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


@contextmanager
def chromium() -> Iterator[Any]:
    """Yield a running browser, controlled by playwright, and close it at the end."""
    from playwright.sync_api import sync_playwright

    # as root, in a container, Chromium has no sandbox
    arguments = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        own = next((path for name in NAMES if (path := shutil.which(name))), None)
        browser = playwright.chromium.launch(executable_path=own, args=arguments)
        yield browser
        browser.close()


def install() -> int:
    """Install Chromium by playwright, or by apt where playwright's server cannot be reached; return
    an exit code.
    """
    if executable():
        return 0
    command = [sys.executable, "-m", "playwright", "install", "--with-deps", "chromium"]
    if subprocess.run(command).returncode == 0:
        return 0
    if not shutil.which("apt-get"):
        return 1
    update = subprocess.run(["apt-get", "update", "-qq"]).returncode
    return update or subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"]).returncode


if __name__ == "__main__":
    raise SystemExit(install())
