-- What the views of reports need: one row of settings, the days of the configured time zone, the hours
-- in which the company attends, the history of sessions, and which tags were taken away. The views
-- themselves are no migrations: each version of the program makes its own.

-- id is 1: there is one row. The program fills in all but changes_since, which says from when
-- session_changes is kept.
create table report_settings (
    id integer primary key,
    zone text,
    zone_version text,
    week_starts_on integer,
    hours text,
    currency text,
    sla_wait_seconds integer,
    sla_first_response_seconds integer,
    sla_service_seconds integer,
    sla_resolution_seconds integer,
    stale_seconds integer,
    days_version integer,
    changes_since text not null,
    views text,
    views_version integer,
    views_hash text,
    view_grants text
) strict;
insert into report_settings (id, changes_since) values (1, strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000Z');

-- The days of the zone, and when they begin and end in UTC.
create table report_days (
    day text primary key,
    starts_at text not null unique,
    ends_at text not null unique,
    week text not null,
    month text not null,
    year integer not null,
    weekday integer not null,
    open_seconds integer,
    holiday text,
    utc_offset integer not null,
    first_hour integer not null,
    shift_at text,
    shift_seconds integer
) strict;
create index report_days_month on report_days (month);

-- When the company attends. open_before: the seconds of all earlier rows.
create table report_open_hours (
    starts_at text primary key,
    ends_at text not null,
    starts_epoch integer not null unique,
    ends_epoch integer not null,
    open_before integer not null
) strict;

-- What changed in sessions that were stored before.
create table session_changes (
    session_id text not null references sessions (id),
    change_seq integer not null,
    field text not null,
    old_value text,
    new_value text,
    observed_at text not null,
    account_id integer not null references accounts (id),
    run_id integer not null,
    primary key (session_id, change_seq, field)
) strict;
create index session_changes_change_seq on session_changes (account_id, change_seq);

-- Tags that a session or contact had and has no more, or had not for a while: the greater change_seq of
-- a link and its removal says which.
create table session_tags_removed (
    session_id text not null references sessions (id),
    tag_id text not null references tags (id),
    account_id integer not null references accounts (id),
    run_id integer not null,
    removed_at text not null,
    change_seq integer not null,
    primary key (session_id, tag_id)
) strict;
create index session_tags_removed_change_seq on session_tags_removed (account_id, change_seq);
create table contact_tags_removed (
    contact_id text not null references contacts (id),
    tag_id text not null references tags (id),
    account_id integer not null references accounts (id),
    run_id integer not null,
    removed_at text not null,
    change_seq integer not null,
    primary key (contact_id, tag_id)
) strict;
create index contact_tags_removed_change_seq on contact_tags_removed (account_id, change_seq);

-- By the day of the end; and the sessions of a contact in their order.
create index sessions_end_at on sessions (account_id, end_at) where end_at is not null;
drop index sessions_contact_id;
create index sessions_contact_id on sessions (contact_id, created_at);
