#!/bin/sh
# Runs nginx with the API keys of the mounted Secret: one key a file, every file's key is accepted. When the Secret
# changes, nginx reads the keys anew; no pod has to restart, no request is lost.
set -eu
umask 077
keys="${PROXY_KEYS:-/etc/proxy-keys}" tmp="${PROXY_TMP:-/tmp}" conf="${PROXY_CONF:-/etc/proxy/nginx.conf}"

# Letters, digits, - and _ only: nothing else may get into nginx's configuration.
write_keys() {
    : > "$tmp/keys.new"
    for file in "$keys"/*; do
        [ -f "$file" ] || continue
        key="$(cat "$file")"
        case "$key" in
            *[!A-Za-z0-9_-]*) echo "proxy: the key ${file##*/} has characters other than A-Z a-z 0-9 _ -" >&2; return 1 ;;
        esac
        if [ "${#key}" -lt 32 ]; then
            echo "proxy: the key ${file##*/} has fewer than 32 characters" >&2
            return 1
        fi
        echo "\"~^Bearer $key\$\" 1;" >> "$tmp/keys.new"
    done
    if [ ! -s "$tmp/keys.new" ]; then
        echo "proxy: the Secret holds no key" >&2
        return 1
    fi
}

write_keys
mv "$tmp/keys.new" "$tmp/keys.map"

while sleep "${PROXY_SECONDS:-10}"; do
    # A bad new key changes nothing: the old ones stay valid.
    write_keys || continue
    cmp -s "$tmp/keys.new" "$tmp/keys.map" && continue
    mv "$tmp/keys.new" "$tmp/keys.map"
    nginx -e /dev/stderr -c "$conf" -s reload && echo "proxy: the keys were read anew" >&2
done &

exec nginx -e /dev/stderr -c "$conf" -g "daemon off;"
