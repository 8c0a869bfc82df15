-- How many records a load or backfill has to read, if the platform counted them.
alter table backfills add column records bigint;

-- Whether only the command `backfill` resumes it, and no sync.
alter table backfills add column on_request boolean not null default false;
