-- The role "reports", which reads everything and writes nothing: for Grafana and other tools. docker-compose.yml runs
-- this when the database is made. For a database that exists, or to change the password, set REPORTS_PASSWORD in .env.
-- The first command starts Postgres again with it, and the second runs this file. If Grafana runs, start it again, too,
-- as monitoring/docker-compose.yml says:
--
--   docker compose up --detach --wait postgres
--   docker compose exec postgres psql --username=helena --dbname=helena --file=/docker-entrypoint-initdb.d/reports.sql
--
-- Elsewhere, run it with psql 15 or later, as the program's user.
--
-- Variables: REPORTS_PASSWORD, without which nothing happens, and REPORTS_TIMEZONE, how times are shown. If the tables
-- are in another schema (database.schema), write its name instead of public. docs/tools.md explains the settings.

\set ON_ERROR_STOP on
\set password ''
\getenv password REPORTS_PASSWORD
\set timezone 'UTC'
\getenv timezone REPORTS_TIMEZONE
select :'password' <> '' as has_password \gset
\if :has_password
select 'create role reports' where not exists (select from pg_roles where rolname = 'reports') \gexec
alter role reports login password :'password';
grant usage on schema public to reports;
grant select on all tables in schema public to reports;
-- Also of those that are made later, as in upgrades.
alter default privileges in schema public grant select on tables to reports;
alter role reports set default_transaction_read_only = on;
-- "local" is a time zone of the program only.
select coalesce((select name from pg_timezone_names where name = :'timezone'), 'UTC') as timezone \gset
alter role reports set timezone = :'timezone';
alter role reports set statement_timeout = '30s';
alter role reports set jit = off;
\echo 'The role "reports" has the password of REPORTS_PASSWORD, and may read all tables of the schema public.'
\else
\warn 'REPORTS_PASSWORD is not set here, so the role "reports" was left as it is. Set it in .env, run "docker compose up --detach --wait postgres", and run this file again.'
\endif
