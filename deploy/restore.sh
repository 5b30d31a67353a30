#!/usr/bin/env bash
# Usage: restore.sh FILE
#
# Reads what backup.sh wrote into an empty database. Connect as the role that shall own the schema, by the
# variables of Postgres as in backup.sh. It needs CREATEROLE while the console's roles are missing on this
# server, and must be no superuser: the log's functions run with its rights. An administrator makes both, or in
# compose.yaml the first start of Postgres:
#
#   CREATE ROLE quartermaster_owner LOGIN CREATEROLE PASSWORD '...';
#   CREATE DATABASE quartermaster OWNER quartermaster_owner;
#
# All of FILE is restored or nothing, but for sessions and their forms: people who were signed out since
# the backup would be signed in again. Afterwards `quartermaster migrate up` makes the console's login.
set -euo pipefail

die() { printf 'restore.sh: %s\n' "$1" >&2; exit 1; }

[[ $# = 1 && -n $1 ]] || die "usage: restore.sh FILE"
source=$1
case $source in -*) source=./$source ;; esac
[ -r "$source" ] || die "$source cannot be read"
for program in psql pg_restore; do
  command -v "$program" >/dev/null || die "$program is not installed"
done

ask() { psql --no-password --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 --command="$1"; }

pg_restore --file=/dev/null "$source" || die "$source cannot be read to its end: it is cut off, or no backup; nothing was changed"
# Into variables first, so that a question that cannot be asked is not taken for an answer.
superuser=$(ask 'SELECT rolsuper FROM pg_roles WHERE rolname = current_user') || die "the database cannot be asked; nothing was changed"
[ "$superuser" = f ] || die "connect as the schema's owner and not as a superuser; nothing was changed"
tables=$(ask "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname IN ('public', 'audit') AND c.relkind IN ('r', 'p', 'v', 'S')") || die "the database cannot be asked; nothing was changed"
[ "$tables" = 0 ] || die "the database is not empty; nothing was changed"

# The dump grants to these roles, so they come first.
for role in quartermaster_app quartermaster_auditor quartermaster_retention; do
  there=$(ask "SELECT count(*) FROM pg_roles WHERE rolname = '$role'")
  [ "$there" = 1 ] || ask "CREATE ROLE $role NOLOGIN"
done

# --no-owner: everything belongs to the role that restores, whatever the old one was called. The database
# is named by PGDATABASE; a connection string without parts takes all of the variables.
# Sessions are left out and not ended afterwards: nobody must find them, whenever this is cut off.
contents=$(pg_restore --list "$source" | grep -vE '^[0-9]+; [0-9]+ [0-9]+ TABLE DATA public (sessions|form_tokens) ')
pg_restore --no-password --dbname='' --single-transaction --exit-on-error --no-owner --no-tablespaces --use-list=<(printf '%s\n' "$contents") "$source"
[ "$(ask "SELECT count(*) FROM sessions")" = 0 ] || die "sessions of the backup were restored and can be used: drop the database"

ask "SET client_min_messages = error; ANALYZE"
ask "SELECT 'the log up to event ' || seq || ', recorded ' || to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC' || E'\nchain ' || encode(chain, 'hex') FROM audit.head"
