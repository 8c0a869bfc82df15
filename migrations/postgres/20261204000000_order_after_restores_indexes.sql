-- Readers that read on by change_seq read these tables, too.
create index contact_tags_change_seq on contact_tags (account_id, change_seq);
create index session_tags_change_seq on session_tags (account_id, change_seq);
create index raw_records_change_seq on raw_records (account_id, change_seq);

-- Before the migration 20261130000000 sessions were read from version 1 of the platform's list, which
-- may leave out sessions of groups. Mirrors of that time read all sessions again, from version 2: those
-- of accounts that are older than it, or have rows that are (change_seq 1).
insert into backfills (account_id, resource, first_load, filters, created_at)
select a.id, 'sessions', false, '[{}]', now()
from accounts as a
join sync_state as s on s.account_id = a.id and s.resource = 'sessions' and s.partition = ''
where s.watermark is not null
  and (
    a.created_at < (select installed_on from _sqlx_migrations where version = 20261130000000)
    or exists (select 1 from sessions where account_id = a.id and change_seq = 1)
  );
insert into backfill_windows
    (backfill_id, account_id, resource, partition, created_after, created_before, filter_index)
select b.id, b.account_id, 'sessions', '', ends.created_after, ends.created_before, 0
from backfills as b
join sync_state as s on s.account_id = b.account_id and s.resource = 'sessions' and s.partition = ''
cross join lateral (
    values (s.watermark, cast(null as timestamptz)), (cast(null as timestamptz), s.watermark)
) as ends (created_after, created_before)
where b.resource = 'sessions' and not b.first_load
  and not exists (select 1 from backfill_windows as w where w.backfill_id = b.id);
