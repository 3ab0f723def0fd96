#!/usr/bin/env bash
# Installs what the tests need, then runs every check and every test. Options go to pytest.
. "$(dirname "$0")/../deploy/install.sh"
install_station "[test]"
cd "$top"
PATH="$top/.venv/bin:$PATH"
# The page is tested in a real browser. Where none is installed and packages may be, Debian's is taken; else those tests say that they skip.
if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing chromium …" >&2
  { apt-get update && apt-get install -y --no-install-recommends chromium fonts-dejavu-core; } >/dev/null 2>&1 || echo "chromium could not be installed" >&2
fi
ruff check .
ruff format --check .
mypy
lint-imports
[ $# -eq 0 ] || exec python -m pytest "$@"
# Two at a time, file by file, the long ones of tests/e2e first; but faults strike a running line against the clock, and that has
# the cores to itself.
python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --ignore=tests/faults && others=0 || others=$?
python -m pytest tests/faults && faults=0 || faults=$?
exit $((others | faults))
