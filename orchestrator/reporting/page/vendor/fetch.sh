#!/bin/sh
# The plotting library of report.html, exactly as npm publishes it: `make vendor` runs this, and
# `git diff --exit-code` afterwards says whether what is here is what was published.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
aside=$(mktemp -d)
trap 'rm -rf "$aside"' EXIT

fetch() { # package version file
    (cd "$aside" && npm pack --silent "$1@$2" >/dev/null && tar xzf "$1-$2.tgz")
    cp "$aside/package/dist/$3" "$here/$3"
    cp "$aside/package/LICENSE.md" "$here/$1.LICENSE.md"
    rm -rf "$aside/package"
}

fetch chart.js 4.6.1 chart.umd.min.js
fetch chartjs-plugin-annotation 3.1.0 chartjs-plugin-annotation.min.js
