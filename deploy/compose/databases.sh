#!/bin/sh
# Two databases and their role, in a PostgreSQL that may be empty. Again and again to the same end:
# a password that changed in .env is set anew.
# PGHOST, PGUSER, PGPASSWORD: a superuser. MLFLOW_DB_PASSWORD: what the role shall have.
set -eu
: "${MLFLOW_DB_PASSWORD:?}"

# Passwords pass through the environment: arguments can be read by others.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname postgres <<'SQL'
\getenv password MLFLOW_DB_PASSWORD
SELECT 'CREATE ROLE mlflow' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mlflow') \gexec
ALTER ROLE mlflow LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER mlflow', name)
FROM unnest(ARRAY['mlflow', 'mlflow_login']) AS name
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec
REVOKE CONNECT, TEMPORARY ON DATABASE mlflow, mlflow_login FROM PUBLIC;
SQL
echo "databases mlflow and mlflow_login are there, and belong to mlflow"
