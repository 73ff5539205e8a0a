#!/bin/sh
# A new build takes over from the one that serves, under load: prints how many requests failed.
#
#   $ sh examples/deploy.sh [PORT]
set -eu
cd "$(dirname "$0")/.."
port=${1:-3000}
target=${CARGO_TARGET_DIR:-target}
folder=$(mktemp -d)
server=

clean_up() {
    # The worker ends with its monitor.
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$folder"
}
trap clean_up EXIT

# Written beside the old file and renamed over it: nobody ever sees half a program.
put() {
    DEPLOY_VERSION=$1 cargo build --quiet --bin deploy
    cp "$target/debug/deploy" "$folder/deploy.next"
    mv "$folder/deploy.next" "$folder/deploy"
}

# Waits for a line of the server's log.
expect() {
    waited=0
    until grep -q "$1" "$folder/log"; do
        waited=$((waited + 1))
        if [ "$waited" -gt 600 ]; then
            printf 'expected "%s" in the log:\n' "$1" >&2
            cat "$folder/log" >&2
            exit 1
        fi
        sleep 0.05
    done
}

put 1
printf '{"ports":{"server":%d}}' "$port" >"$folder/session.config.json"
(cd "$folder" && exec ./deploy >log </dev/null) &
server=$!
touch "$folder/log"
expect 'listening on'
cp "$folder/deploy" "$folder/client"
"$folder/client" visit "$port" "$folder/enough" >"$folder/count" &
client=$!

echo 'version 1 serves; version 2 is built, put in its place, and asked for'
put 2
kill -USR2 "$server"
expect 'generation 2 has taken over'
expect '(generation 1) has exited'
sleep 0.2 # some visitors for version 2 alone

touch "$folder/enough"
wait "$client"
cat "$folder/count"
