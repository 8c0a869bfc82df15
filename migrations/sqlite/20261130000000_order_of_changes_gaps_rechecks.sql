-- For readers that read on from where they stopped: change_seq grows with every commit of an account,
-- under the lock of its lease, so that a row which is committed later never has a smaller one. What
-- was there before this column has 1.
alter table leases add column change_seq integer not null default 1;
alter table tags add column change_seq integer not null default 1;
alter table channels add column change_seq integer not null default 1;
alter table departments add column change_seq integer not null default 1;
alter table agents add column change_seq integer not null default 1;
alter table contacts add column change_seq integer not null default 1;
alter table sessions add column change_seq integer not null default 1;
alter table contact_tags add column change_seq integer not null default 1;
alter table session_tags add column change_seq integer not null default 1;
alter table raw_records add column change_seq integer not null default 1;

-- Which of two answers tells more lately of a record is decided by their order alone. observed_at of rows
-- is a place in that order, and read_to the last one that was given: whoever takes the lease goes on
-- behind it, whatever its clock shows.
alter table leases add column read_to text;
update leases set read_to = (
    select max(observed_at) from (
        select observed_at from contacts where account_id = leases.account_id
        union all select observed_at from channels where account_id = leases.account_id
        union all select observed_at from departments where account_id = leases.account_id
        union all select observed_at from agents where account_id = leases.account_id
    ) as readings
);
create index sessions_change_seq on sessions (account_id, change_seq);
create index contacts_change_seq on contacts (account_id, change_seq);

-- Queries of one account must not pay for the rows of the others.
drop index sessions_created_at;
create index sessions_created_at on sessions (account_id, created_at);
drop index sessions_updated_at;
create index sessions_updated_at on sessions (account_id, updated_at);
drop index sessions_status;
create index sessions_status on sessions (account_id, status);
drop index contacts_created_at;
create index contacts_created_at on contacts (account_id, created_at);
drop index contacts_updated_at;
create index contacts_updated_at on contacts (account_id, updated_at);
drop index contacts_status;
create index contacts_status on contacts (account_id, status);

-- What was learned of the platform. session_list: the version of the session list that is read, once
-- an answer has shown that another than the usual one is needed. token_scheme: 'bare' where the token
-- is accepted without the word Bearer. trouble: why requests have been failing since trouble_since.
alter table accounts add column session_list integer;
alter table accounts add column token_scheme text;
alter table accounts add column trouble text;
alter table accounts add column trouble_since text;

-- watermark_seen_at and watermark_seen_locally_at: when an answer first showed the record that the
-- watermark was taken from, by the platform's clock and by this machine's. clock_difference_ms: how far
-- the Date header of answers was ahead of the stamps of records (negative: behind) when the two last
-- disagreed by more than the overlap. doubted_at: since when a list lacks most of its entries, which is
-- believed once a later reading agrees. interactions_ahead: sessions that were read with a
-- last_interaction_date later than their updated_at, which shows that changes by updated_at are not all.
alter table sync_state add column watermark_seen_at text;
alter table sync_state add column watermark_seen_locally_at text;
alter table sync_state add column clock_difference_ms integer;
alter table sync_state add column clock_difference_at text;
alter table sync_state add column doubted_at text;
alter table sync_state add column interactions_ahead integer not null default 0;
alter table sync_state add column interactions_ahead_at text;

-- Versions that were stored although their updated_at is older than that of the version before.
alter table sync_runs add column rows_reverted integer not null default 0;

-- Records that the platform counts in a window of time and does not show. field: created or updated.
create table gaps (
    id integer primary key,
    account_id integer not null references accounts (id),
    resource text not null,
    partition text not null,
    field text not null,
    window_after text,
    window_before text,
    counted integer not null,
    shown integer not null,
    first_seen_at text not null,
    last_seen_at text not null,
    resolved_at text,
    run_id integer not null
) strict;
create index gaps_open on gaps (account_id) where resolved_at is null;

-- Records that are to be asked for by their ids, and why: a page showed an older version than the one
-- that is stored, or did not show a record where it should be.
create table rechecks (
    account_id integer not null references accounts (id),
    resource text not null,
    record_id text not null,
    reason text not null,
    queued_at text not null,
    attempts integer not null default 0,
    last_tried_at text,
    last_error text,
    primary key (account_id, resource, record_id)
) strict;
