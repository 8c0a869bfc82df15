-- What the platform has called about at a process that does not hold the lease of the account. The lease
-- holder takes it from here. record: the record's id, or empty if the call names none.
create table doorbell_calls (
    account_id bigint not null references accounts (id),
    resource text not null,
    record text not null,
    calls bigint not null,
    called_at timestamptz not null,
    primary key (account_id, resource, record)
);
