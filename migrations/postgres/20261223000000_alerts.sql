-- Conditions of which operators are told: one row from the first sight of a condition on. Without an account,
-- it is one of the whole database.
create table alerts (
    id bigint generated always as identity primary key,
    account_id bigint references accounts (id),
    kind text not null,
    detail text not null,
    began_at timestamptz not null,
    -- When it had lasted long enough to be told, and when it was last told.
    opened_at timestamptz,
    told_at timestamptz,
    ended_at timestamptz
);
create unique index alerts_current on alerts (coalesce(account_id, 0), kind) where ended_at is null;
create index alerts_ended_at on alerts (ended_at) where ended_at is not null;

-- Messages that are still to be sent, at most one of each alert and way.
create table alert_messages (
    alert_id bigint not null references alerts (id),
    channel text not null,
    event text not null,
    created_at timestamptz not null,
    attempts bigint not null,
    tried_at timestamptz,
    primary key (alert_id, channel)
);

-- The verifications that found differences.
create index sync_runs_differing on sync_runs (account_id, finished_at) where rows_differing > 0;
