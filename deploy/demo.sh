#!/usr/bin/env bash
# From a fresh clone to a running line: installs what is missing, then `station demo` with the same options.
. "$(dirname "$0")/install.sh"
install_station ""
exec "$top/.venv/bin/station" demo "$@"
