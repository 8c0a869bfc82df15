-- The processes of `run` that share the accounts. Each says that it is there and what it can sync, so
-- that the others leave it its share.
create table instances (
    host text not null,
    boot_id text not null,
    pid_namespace text not null,
    pid bigint not null,
    process_start bigint not null,
    accounts text not null,
    seen_at timestamptz not null,
    primary key (host, boot_id, pid_namespace, pid, process_start)
);
