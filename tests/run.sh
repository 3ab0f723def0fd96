#!/usr/bin/env bash
# Installs what the tests need, then runs every check and every test. Options go to pytest.
. "$(dirname "$0")/../deploy/install.sh"
install_station "[test]"
cd "$top"
PATH="$top/.venv/bin:$PATH"
# Peers that are not ours: a real browser, a Modbus client, an MQTT broker, a reader of PDF, Prometheus. Where one is missing and packages may be installed, Debian's are
# taken; else the tests that need it say that they skip.
missing=()
command -v chromium >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium fonts-dejavu-core)
command -v mbpoll >/dev/null || missing+=(mbpoll)
command -v mosquitto >/dev/null || missing+=(mosquitto)
command -v pdftotext >/dev/null || missing+=(poppler-utils)
command -v promtool >/dev/null || missing+=(prometheus)
if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing ${missing[*]} …" >&2
  { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1 || echo "${missing[*]} could not be installed" >&2
fi
[ $# -eq 0 ] || exec python -m pytest "$@"
ruff check .
ruff format --check .
lint-imports
# Beside the tests, which leave a core alone now and then.
types=$(mktemp)
# A model that both runs of tests need is trained once.
STATION_TEST_MODELS=$(mktemp -d)
export STATION_TEST_MODELS
mypy >"$types" 2>&1 & mypy=$!
# Three at a time, since they often wait, file by file, the long ones of tests/e2e first. What fails on cores that are so busy is run again alone, and both
# are seen. Faults strike a running line against the clock, and that has the cores to itself.
python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --ignore=tests/faults && others=0 ||
  { python -m pytest --last-failed --last-failed-no-failures none --ignore=tests/faults && others=0 || others=$?; }
wait $mypy && typed=0 || typed=$?
cat "$types"
python -m pytest tests/faults && faults=0 || faults=$?
exit $((others | typed | faults))
