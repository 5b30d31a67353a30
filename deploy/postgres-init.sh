#!/bin/sh
# Run by the image of Postgres, as its superuser, when it has made its data. The functions that write the
# log run with the rights of the schema's owner, so the owner is another role, and no superuser.
set -eu

[ -s "$OWNER_PASSWORD_FILE" ] || { echo "postgres-init.sh: $OWNER_PASSWORD_FILE cannot be read or is empty" >&2; exit 1; }

# The password is on no command line, and in no log: not even when a statement fails, or all are to be logged.
export PGOPTIONS="-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic -c password_encryption=scram-sha-256"
exec psql --no-psqlrc --no-password --quiet --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'SQL'
\set password `cat "$OWNER_PASSWORD_FILE"`
CREATE ROLE quartermaster_owner LOGIN CREATEROLE NOSUPERUSER PASSWORD :'password';
CREATE DATABASE quartermaster OWNER quartermaster_owner;
SQL
