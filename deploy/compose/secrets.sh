#!/bin/sh
# Makes the secrets of the compose stack: a file each in deploy/compose/secrets, random, once.
# What is there is left as it is; remove a file to have it made anew. `make secrets` calls it.
#
# The folder is closed to other users. The files in it are not: each is mounted by itself into the
# containers that need it, whose users are not yours.
set -eu
cd "$(dirname "$0")"
# Files that containers' users read; who cloned under a strict umask closed them.
closed=$(find ../prometheus ../alertmanager ../grafana/provisioning ../grafana/dashboards \
    ../redis/valkey.conf \( -type f ! -perm -004 -o -type d ! -perm -005 \) | head -n 1)
if test -n "$closed"; then
    echo "secrets: expected files in deploy/ that containers' users can read; $closed is not." >&2
    deploy=$(dirname "$PWD")
    echo "Run: chmod -R o+rX $deploy/prometheus $deploy/alertmanager $deploy/grafana $deploy/redis" >&2
    exit 1
fi
users="ingest encoder temporal gateway subscriber admin monitor"

umask 077
mkdir -p secrets/cameras bundles
chmod 0755 secrets/cameras bundles

put() { # NAME: the file, from standard input
    cat >"secrets/$1.new"
    chmod 0444 "secrets/$1.new"
    mv -f "secrets/$1.new" "secrets/$1"
    echo "secrets: made secrets/$1"
}

random() { head -c 32 /dev/urandom | od -A n -t x1 | tr -d ' \n'; }

for name in gateway-token grafana-admin-password $(printf 'redis-%s ' $users); do
    test -e "secrets/$name" || { random; echo; } | put "$name"
done

# Alertmanager's, for who has alerts sent: docs/monitoring.md. Empty until then.
for name in alert-webhook-token alert-mail-password; do
    test -e "secrets/$name" || put "$name" </dev/null
done

# The exporter wants a map from addresses to passwords.
printf '{"redis://redis:6379": "%s", "redis://monitor@redis:6379": "%s"}\n' \
    "$(cat secrets/redis-monitor)" "$(cat secrets/redis-monitor)" | put redis-exporter

setting() { # NAME DEFAULT: as compose takes it, from the environment, then from .env
    value=$(printenv "$1") || value=$(sed -n "s/^$1=//p" .env 2>/dev/null | tail -n 1 | tr -d "\"' \r")
    echo "${value:-$2}"
}

cat <<END

The page:  http://127.0.0.1:$(setting GATEWAY_PORT 8080)/?token=$(cat secrets/gateway-token)
Grafana:   http://127.0.0.1:$(setting GRAFANA_PORT 3000), user admin, password in $PWD/secrets/grafana-admin-password
END
