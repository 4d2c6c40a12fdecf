#!/bin/sh
# Finds a Python for which every pinned package has a wheel and hands over to setup.py. PYTHON=/path/to/python names one.
set -eu
cd "$(dirname "$0")/.."

if [ -n "${PYTHON:-}" ]; then
    set -- "$PYTHON"
else
    set -- python3 python3.14 python3.13 python3.12 python3.11
fi
for python in "$@"; do
    if "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' >/dev/null 2>&1; then
        exec "$python" scripts/setup.py
    fi
done
echo "setup: synthtrace needs Python 3.11 to 3.14 and found none under: $*" >&2
echo "setup: install one (https://www.python.org/downloads/), or name it: PYTHON=/path/to/python3 make setup" >&2
exit 1
