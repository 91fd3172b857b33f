-- The role and the two databases of the tracking server; run by psql as PostgreSQL's superuser, as
-- often as you like. The role has no password: it is the system's user `teststrip`, who comes in
-- over PostgreSQL's socket (`peer`, Debian's default).
select 'create role teststrip login'
where not exists (select from pg_roles where rolname = 'teststrip')
\gexec
select format('create database %I owner teststrip encoding ''UTF8'' template template0', name)
from unnest(array['mlflow', 'mlflow_login']) as name
where not exists (select from pg_database where datname = name)
\gexec
-- Nobody else on this machine has business in them.
revoke all on database mlflow, mlflow_login from public;
