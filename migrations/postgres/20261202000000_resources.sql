-- Which part of a resource a run has read, such as the status of contacts; empty for the whole. It stood
-- behind the resource's name, in brackets, before.
alter table sync_runs add column partition text not null default '';
update sync_runs set
    partition = substr(resource, position(' (' in resource) + 2, length(resource) - position(' (' in resource) - 2),
    resource = substr(resource, 1, position(' (' in resource) - 1)
where resource like '% (%)';

-- Fields that the company has added to contacts and panels.
create table custom_fields (
    id uuid not null,
    created_at timestamptz,
    updated_at timestamptz,
    company_id uuid,
    entity_type text,
    scope_id uuid,
    parent_id uuid,
    type text,
    name text,
    key text,
    position bigint,
    required boolean,
    visible boolean,
    is_value_range boolean,
    options jsonb,
    extra jsonb,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    synced_at timestamptz not null,
    removed_at timestamptz,
    content_hash bigint,
    change_seq bigint not null default 1,
    primary key (id)
);
create index custom_fields_account_id on custom_fields (account_id, change_seq);
create index custom_fields_removed_at on custom_fields (removed_at) where removed_at is not null;

-- Chatbots. sessions.bot_id is a chatbot's id or its key.
create table chatbots (
    id uuid not null,
    key uuid,
    created_at timestamptz,
    updated_at timestamptz,
    company_id uuid,
    archived boolean,
    name text,
    type text,
    channel_ids jsonb,
    default_department_id uuid,
    publish_status text,
    automation_usage jsonb,
    extra jsonb,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    synced_at timestamptz not null,
    removed_at timestamptz,
    content_hash bigint,
    change_seq bigint not null default 1,
    primary key (id)
);
create index chatbots_account_id on chatbots (account_id, change_seq);
create index chatbots_removed_at on chatbots (removed_at) where removed_at is not null;

-- Message templates.
create table templates (
    id uuid not null,
    created_at timestamptz,
    updated_at timestamptz,
    company_id uuid,
    name text,
    type text,
    category text,
    language text,
    status text,
    text text,
    params jsonb,
    extra jsonb,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    synced_at timestamptz not null,
    removed_at timestamptz,
    content_hash bigint,
    change_seq bigint not null default 1,
    primary key (id)
);
create index templates_account_id on templates (account_id, change_seq);
create index templates_removed_at on templates (removed_at) where removed_at is not null;

-- Groups of contacts, and who attends them.
create table portfolios (
    id uuid not null,
    created_at timestamptz,
    updated_at timestamptz,
    company_id uuid,
    active boolean,
    name text,
    type text,
    automatic_attribution boolean,
    expiration_duration_in_months bigint,
    contacts_count bigint,
    departments jsonb,
    extra jsonb,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    synced_at timestamptz not null,
    removed_at timestamptz,
    content_hash bigint,
    change_seq bigint not null default 1,
    primary key (id)
);
create index portfolios_account_id on portfolios (account_id, change_seq);
create index portfolios_removed_at on portfolios (removed_at) where removed_at is not null;

-- When the company attends, by day of the week. The platform gives these rows no id; theirs is made of the day and the times.
create table office_hours (
    id uuid not null,
    created_at timestamptz,
    updated_at timestamptz,
    day_week text,
    start_time text,
    end_time text,
    timezone_diff text,
    limit_hours jsonb,
    extra jsonb,
    account_id bigint not null references accounts (id),
    run_id bigint not null,
    synced_at timestamptz not null,
    removed_at timestamptz,
    content_hash bigint,
    change_seq bigint not null default 1,
    primary key (id, account_id)
);
create index office_hours_account_id on office_hours (account_id, change_seq);
create index office_hours_removed_at on office_hours (removed_at) where removed_at is not null;

-- The options of custom fields of kind SINGLESELECT and MULTISELECT, a row each.
create view custom_field_options as
select f.account_id, f.id as custom_field_id, f.name as custom_field,
    o.value ->> 'id' as option_id, o.value ->> 'name' as name, o.position
from custom_fields as f
cross join lateral jsonb_array_elements(
    case when jsonb_typeof(f.options) = 'array' then f.options else '[]' end
) with ordinality as o (value, position)
where f.removed_at is null;

-- The custom fields of contacts, a row for each contact and field. An option is shown by its name, several
-- are one text.
create view contact_custom_fields as
select c.account_id, c.id as contact_id, f.id as custom_field_id, v.key,
    coalesce(f.name, v.key) as label, f.type,
    case when jsonb_typeof(v.value) = 'array' then (
        select string_agg(coalesce(o.name, e.value), ', ' order by e.position)
        from jsonb_array_elements_text(v.value) with ordinality as e (value, position)
        left join custom_field_options as o
            on o.custom_field_id = f.id and o.option_id = e.value
    ) else coalesce(
        (
            select o.name from custom_field_options as o
            where o.custom_field_id = f.id and o.option_id = v.value #>> '{}'
        ),
        v.value #>> '{}'
    ) end as value
from contacts as c
cross join lateral jsonb_each(
    case when jsonb_typeof(c.custom_fields) = 'object' then c.custom_fields else '{}' end
) as v
left join custom_fields as f
    on f.account_id = c.account_id and f.key = v.key and f.entity_type = 'CONTACT'
    and f.removed_at is null
where c.removed_at is null;

-- Which contact is in which portfolio.
create view contact_portfolios as
select c.account_id, c.id as contact_id, cast(p.value as uuid) as portfolio_id
from contacts as c
cross join lateral jsonb_array_elements_text(
    case when jsonb_typeof(c.portfolio_ids) = 'array' then c.portfolio_ids else '[]' end
) as p (value)
where c.removed_at is null;
