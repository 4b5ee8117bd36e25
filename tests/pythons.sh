#!/usr/bin/env bash
# Runs the pure tests on every Python of 3.11 to 3.14 that is here but that of .venv, on which `make
# test` runs them, each in an environment of its own with exactly what requirements.lock says.  Says
# which it did not find.
set -euo pipefail
cd "$(dirname "$0")/.."

found() {
  local each
  for each in "python$1" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$1".*/bin/python; do
    if "$each" -c '' 2>/dev/null; then
      command -v "$each"
      return
    fi
  done
}

missing=()
own=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
for version in 3.11 3.12 3.13 3.14; do
  [ "$version" = "$own" ] && continue
  python=$(found "$version")
  if [ -z "$python" ]; then
    missing+=("$version")
    continue
  fi
  home=.cache/pythons/$version
  if [ requirements.lock -nt "$home/.ready" ]; then
    .venv/bin/uv venv --quiet --clear --python "$python" "$home"
    .venv/bin/uv pip install --quiet --python "$home/bin/python" --require-hashes -r requirements.lock
    .venv/bin/uv pip install --quiet --python "$home/bin/python" --no-deps --no-build-isolation -e .
    touch "$home/.ready"
  fi
  echo "=== $("$home/bin/python" --version)"
  "$home/bin/pytest" -q -n auto -p no:cacheprovider tests/unit tests/contract tests/marketplaces "$@"
done
echo "=== not found here, and not tested: ${missing[*]:-none}"
