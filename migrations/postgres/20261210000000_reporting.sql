-- What the views of reports need: one row of settings, the days of the configured time zone, the hours
-- in which the company attends, the history of sessions, and which tags were taken away. The views
-- themselves are no migrations: each version of the program makes its own.

-- id is 1: there is one row. The program fills in all but changes_since, which says from when
-- session_changes is kept.
create table report_settings (
    id bigint primary key,
    zone text,
    zone_version text,
    week_starts_on bigint,
    hours text,
    currency text,
    sla_wait_seconds bigint,
    sla_first_response_seconds bigint,
    sla_service_seconds bigint,
    sla_resolution_seconds bigint,
    stale_seconds bigint,
    days_version bigint,
    changes_since timestamptz not null,
    views text,
    views_version bigint,
    views_hash text,
    view_grants text
);
insert into report_settings (id, changes_since) values (1, now());

-- The days of the zone, and when they begin and end in UTC.
create table report_days (
    day date primary key,
    starts_at timestamptz not null unique,
    ends_at timestamptz not null unique,
    week date not null,
    month date not null,
    year bigint not null,
    weekday bigint not null,
    open_seconds bigint,
    holiday text,
    utc_offset bigint not null,
    first_hour bigint not null,
    shift_at timestamptz,
    shift_seconds bigint
);
create index report_days_month on report_days (month);

-- When the company attends. open_before: the seconds of all earlier rows.
create table report_open_hours (
    starts_at timestamptz primary key,
    ends_at timestamptz not null,
    starts_epoch bigint not null unique,
    ends_epoch bigint not null,
    open_before bigint not null
);

-- What changed in sessions that were stored before.
create table session_changes (
    session_id uuid not null references sessions (id),
    change_seq bigint not null,
    field text not null,
    old_value text,
    new_value text,
    observed_at timestamptz not null,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    primary key (session_id, change_seq, field)
);
create index session_changes_change_seq on session_changes (account_id, change_seq);

-- Tags that a session or contact had and has no more, or had not for a while: the greater change_seq of
-- a link and its removal says which.
create table session_tags_removed (
    session_id uuid not null references sessions (id),
    tag_id uuid not null references tags (id),
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    removed_at timestamptz not null,
    change_seq bigint not null,
    primary key (session_id, tag_id)
);
create index session_tags_removed_change_seq on session_tags_removed (account_id, change_seq);
create table contact_tags_removed (
    contact_id uuid not null references contacts (id),
    tag_id uuid not null references tags (id),
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    removed_at timestamptz not null,
    change_seq bigint not null,
    primary key (contact_id, tag_id)
);
create index contact_tags_removed_change_seq on contact_tags_removed (account_id, change_seq);

-- By the day of the end; and the sessions of a contact in their order.
create index sessions_end_at on sessions (account_id, end_at) where end_at is not null;
drop index sessions_contact_id;
create index sessions_contact_id on sessions (contact_id, created_at);
