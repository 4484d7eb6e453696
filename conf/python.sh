#!/usr/bin/env bash
# Prints the Python that make builds .venv with: the one that is given, else the first of 3.11, 3.12 and 3.13 that is there (3.11
# is what the whole suite was run on). Where none is, uv fetches one, if the network allows it.
fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
if [ -n "$1" ]; then
  "$1" -c "$fits" 2>/dev/null && { command -v "$1"; exit 0; }
  echo "newslake needs Python 3.11, 3.12 or 3.13, and PYTHON=$1 is none of them" >&2
  exit 2
fi
for name in python3.11 python3.12 python3.13 python3; do
  # A name on the PATH may be a manager's, without that version behind it: it must run.
  "$name" -c "$fits" 2>/dev/null && { command -v "$name"; exit 0; }
done
uv=$(command -v uv)
if [ -z "$uv" ] && command -v python3 >/dev/null; then
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  python3 -m venv "$folder" >&2 && "$folder/bin/pip" install --quiet --disable-pip-version-check "uv==$UV_VERSION" >&2 && uv=$folder/bin/uv
fi
[ -n "$uv" ] && "$uv" python install 3.12 >&2 && "$uv" python find 3.12 && exit 0
echo "newslake needs Python 3.11, 3.12 or 3.13, and none is on the PATH. Get one (pip install uv && uv python install 3.12), then say where it is: make PYTHON=\$(uv python find 3.12) ..." >&2
exit 2
