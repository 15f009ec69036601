"""The frame of a self-contained HTML file: styles, scripts and data are inside it, and its content
security policy forbids everything else.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

from orchestrator.reporting.page.contents import to_script
from orchestrator.reporting.rendering.escape import html_text

_ASSETS = files("orchestrator.reporting.page")
LIBRARIES = ("vendor/chart.umd.min.js", "vendor/chartjs-plugin-annotation.min.js")
"""Third-party scripts exactly as published; `vendor/fetch.sh` fetched them."""
OWN = tuple(
    f"assets/{name}.js" for name in ("dom", "terms", "tables", "charts", "utterances", "page")
)

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}
<script type="application/json" id="contents">{data}</script>
{scripts}
</body>
</html>
"""


def page(title: str, body: str, contents: dict[str, Any]) -> str:
    """Return the HTML file. `body` is markup whose text is escaped already; `contents` is the data
    that the scripts read.
    """
    with_plots = bool(contents.get("charts"))
    scripts = [_asset_text(name) for name in ((*LIBRARIES, *OWN) if with_plots else OWN)]
    return _PAGE.format(
        title=html_text(title),
        policy=policy(bool(contents.get("live")), with_plots),
        style=_style_text(),
        body=body,
        data=to_script(contents),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
    )


def policy(live: bool, with_plots: bool = True) -> str:
    """Return the content security policy. The page may run its own scripts, which are identified by
    their digests, and play clips; where `live`, it may make requests to its server.
    """
    scripts = " ".join(
        _source_digest(_asset_text(name)) for name in ((*LIBRARIES, *OWN) if with_plots else OWN)
    )
    rules = {
        "default-src": "'none'",
        "script-src": scripts,
        "style-src": _source_digest(_style_text()),
        "media-src": "'self'" if live else "data:",
        "connect-src": "'self'" if live else "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _style_text() -> str:
    return _asset_text("assets/page.css")


@cache
def _asset_text(name: str) -> str:
    """Read a script or style sheet, without the line that names its source map, a file for
    debuggers that is not shipped.
    """
    lines = _ASSETS.joinpath(name).read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("//# sourceMappingURL="))


def _source_digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
