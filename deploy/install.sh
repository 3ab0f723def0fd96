# Sourced by demo.sh and tests/run.sh: makes .venv at the top of the checkout and installs the station into it, once.
# $1 names the extra ("" or "[test]").
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=${PYTHON:-python3.11}
command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Python 3.11 is needed; set PYTHON to its path" >&2; exit 1; }

# Modules are compiled when they are first imported, for most of them never are; and then once, not in every process.
unset PYTHONDONTWRITEBYTECODE

install_station() {
  local extra=$1 stamp="$top/.venv/installed${1//[^a-z]/}"
  # Without pip it was begun and not finished.
  if [ ! -x "$top/.venv/bin/python" ] || [ ! -x "$top/.venv/bin/pip" ]; then
    "$python" -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv is not complete; on Debian and Ubuntu: apt install python3.11-venv" >&2; exit 1; }
    "$python" -m venv "$top/.venv"
  fi
  # Again only when what is installed may have changed.
  if [ ! -e "$stamp" ] || [ "$top/pyproject.toml" -nt "$stamp" ] || [ -n "$(find "$top/cameras/simulator" -newer "$stamp" -name '*.[chx]*' ! -name '*.cti' -print -quit)" ]; then
    echo "installing the station into $top/.venv …" >&2
    "$top/.venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check -e "$top$extra" >&2
    touch "$stamp"
  fi
}
