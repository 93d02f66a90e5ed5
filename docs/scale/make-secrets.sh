#!/bin/sh
# Makes what all proxies must have in common, in a new folder: make-secrets.sh FOLDER
# Needs openssl, and `understudy` on the PATH. Nothing secret stands on a command line, where `ps` would show it.
set -eu
umask 077
folder=$1
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
mkdir "$folder"

# 32 bytes in URL-safe base64, as `understudy keys encryption-key` makes them.
new_key() { openssl rand -base64 32 | tr '+/' '-_'; }

password=$(openssl rand -hex 24)
store_key=$(new_key)
printf %s "$password" >"$folder/db_password"
while IFS= read -r line; do
    case $line in
    *PASSWORD*) line=${line%%PASSWORD*}$password${line#*PASSWORD} ;;
    *STORE_KEY*) line=${line%%STORE_KEY*}$store_key${line#*STORE_KEY} ;;
    esac
    printf '%s\n' "$line"
done <"$here/understudy.toml" >"$folder/understudy.toml"

# The authority: of its folder this one file, everything else there is made from it.
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
UNDERSTUDY_DATA_DIR=$made understudy ca path >/dev/null
cp "$made/ca/mitmproxy-ca.pem" "$folder/mitmproxy-ca.pem"
cp "$made/ca/mitmproxy-ca-cert.pem" "$folder/trust-this.pem"
