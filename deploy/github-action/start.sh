#!/usr/bin/env bash
# start.sh: the step of the action. SEED, ACCOUNT, LISTEN and ECRIN are its inputs. The server ends with the job, whose runner ends all processes.
set -euo pipefail

work=${RUNNER_TEMP:-$(mktemp -d)}/ecrin
mkdir -p "$work"
if [ -z "$ECRIN" ]; then
	ECRIN=$work/bin/ecrin
	(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && CGO_ENABLED=0 go build -trimpath -o "$ECRIN" ./cmd/ecrin)
fi
seed=()
[ -z "$SEED" ] || seed=(--seed "$SEED")
nohup "$ECRIN" serve --ephemeral --data "$work/data" --account "$ACCOUNT" --listen "$LISTEN" "${seed[@]}" >"$work/log" 2>&1 </dev/null &
server=$!
for _ in $(seq 150); do
	if "$ECRIN" healthcheck "http://$LISTEN/readyz" >/dev/null 2>&1; then
		ready=1
		break
	fi
	kill -0 "$server" 2>/dev/null || break
	sleep 0.2
done
if [ -z "${ready:-}" ]; then
	echo "::error::ecrin has not started" >&2
	cat "$work/log" >&2
	exit 1
fi
"$ECRIN" env --data "$work/data" --account "$ACCOUNT" | sed -n 's/^export //p' | while IFS='=' read -r key value; do
	value=${value#\'} value=${value%\'}
	case $key in *SECRET*) echo "::add-mask::$value" ;; esac
	printf '%s=%s\n' "$key" "$value" >>"$GITHUB_ENV"
done
printf 'ECRIN_DATA=%s\n' "$work/data" >>"$GITHUB_ENV"
dirname "$ECRIN" >>"$GITHUB_PATH"
printf 'registry=%s\n' "$LISTEN" >>"$GITHUB_OUTPUT"
echo "ecrin serves $LISTEN, process $server, log $work/log"
