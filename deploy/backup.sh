#!/usr/bin/env bash
# Usage: backup.sh FILE
#
# Writes the console's database into FILE while the console runs, for restore.sh. Connect as the schema's
# owner, by the variables of Postgres: PGHOST, PGPORT, PGUSER, PGDATABASE, PGSSLMODE, and the password in
# a file named by PGPASSFILE, or a service by PGSERVICE. Nothing secret is taken from the command line.
#
# FILE appears whole or not at all. It holds no key in the clear, but names, addresses and the log: keep it
# as you would keep the database. What opens its keys, QM_KEK, is not in it and does not belong beside it.
set -euo pipefail
umask 077

die() { printf 'backup.sh: %s\n' "$1" >&2; exit 1; }

[[ $# = 1 && -n $1 ]] || die "usage: backup.sh FILE"
target=$1
case $target in -*) target=./$target ;; esac
[ ! -e "$target" ] || die "$target exists already; a backup is never written over another"
for program in pg_dump pg_restore; do
  command -v "$program" >/dev/null || die "$program is not installed"
done

part=$(mktemp "$(dirname "$target")/.$(basename "$target").XXXXXX")
trap 'rm -f "$part"' EXIT
trap 'exit 1' INT TERM

# Without tablespaces, which another server need not have. --no-password: nobody is there to type one.
pg_dump --no-password --format=custom --no-tablespaces --lock-wait-timeout=60s --file="$part"

# Read to its end, as a restore would; the last event of the log comes out on the way.
head=$(pg_restore --schema=audit --data-only --table=head --file=- "$part" | awk -F '\t' 'NF == 4 && $1 == "t" { sub(/^\\\\x/, "", $4); print $2, $4 }')
[[ $head =~ ^[0-9]+\ [0-9a-f]{64}$ ]] || die "the dump has no log in it: is PGDATABASE the console's database, and PGUSER its owner?"
pg_restore --file=/dev/null "$part" || die "the dump cannot be read back"

sync "$part"
ln "$part" "$target" 2>/dev/null || die "$target appeared meanwhile, or this file system has no hard links; nothing was written"
sync "$(dirname "$target")"
printf '%s: %s bytes, the log up to event %s\nchain %s\n' "$target" "$(wc -c <"$target" | tr -d ' ')" "${head% *}" "${head#* }"
