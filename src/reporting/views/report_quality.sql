-- One row an account: what the figures rest on.
define near(x, y)
@share(count(*) filter (where is_done = 1 and abs(:x - :y) <= 2), count(*) filter (where is_done = 1 and :x - :y is not null))

define verified(x)
:x.account_id = a.id and :x.kind = 'verify' and :x.outcome = 'succeeded'

select a.id as account_id, a.name as account, @as_of as as_of, q.sessions, q.removed, q.hidden, q.groups,
q.unknown_status, q.without_created_at, q.without_contact, q.negative_first_response, q.negative_resolution,
q.closed_without_end, q.open_with_end, q.unparsed_wait, q.unparsed_service,
(select count(*) from rejects r where r.account_id = a.id and r.resolved_at is null) as rejects_open,
(select max(r.finished_at) from sync_runs r where @verified(r)) as last_verify_at,
(select cast(sum(r.rows_differing) as bigint) from sync_runs r where @verified(r) and r.started_at >=
(select max(v.started_at) from sync_runs v where @verified(v) and v.resource = 'sessions')) as last_verify_differing,
q.answered_within_3s_share, q.wait_is_first_response_share, q.wait_is_start_to_response_share,
q.service_is_response_to_end_share, q.service_is_created_to_end_share,
(select count(*) from (select l.session_id from session_tags l where l.account_id = a.id
group by l.session_id having count(*) > 1) k) as sessions_with_2_tags,
q.reopened_possible, q.outside_days
from accounts a left join (
select account_id,
count(*) filter (where removed_at is null) as sessions,
count(*) filter (where removed_at is not null) as removed,
count(*) filter (where in_r = 1 and status = 'HIDDEN') as hidden,
count(*) filter (where in_r = 1 and type = 'GROUP') as groups,
count(*) filter (where in_r = 1 and @stage(status) = 'other') as unknown_status,
count(*) filter (where removed_at is null and created_at is null) as without_created_at,
count(*) filter (where in_r = 1 and contact_id is null) as without_contact,
count(*) filter (where in_r = 1 and answered < created) as negative_first_response,
count(*) filter (where in_r = 1 and is_closed = 1 and ended < created) as negative_resolution,
count(*) filter (where in_r = 1 and is_closed = 1 and ended is null) as closed_without_end,
count(*) filter (where in_r = 1 and is_open = 1 and ended is not null) as open_with_end,
count(*) filter (where in_r = 1 and time_wait is not null and coalesce(time_wait_seconds, -1) < 0) as unparsed_wait,
count(*) filter (where in_r = 1 and time_service is not null and coalesce(time_service_seconds, -1) < 0)
as unparsed_service,
@share(count(*) filter (where is_done = 1 and response <= 3),
count(*) filter (where is_done = 1 and answered is not null)) as answered_within_3s_share,
@near(wait, response) as wait_is_first_response_share,
@near(wait, start_to_response) as wait_is_start_to_response_share,
@near(service, response_to_end) as service_is_response_to_end_share,
@near(service, resolution) as service_is_created_to_end_share,
count(*) filter (where is_done = 1 and may_reopen = 1) as reopened_possible,
count(*) filter (where in_r = 1 and has_day = 0) as outside_days
from (select a.id as account_id, s.removed_at, s.status, s.type, s.created_at, s.contact_id,
s.time_wait, s.time_wait_seconds, s.time_service, s.time_service_seconds, @wait as wait, @service as service,
@epoch(s.created_at) as created, @epoch(s.first_response_at) as answered, @epoch(s.end_at) as ended,
@first_response as response, @seconds(s.start_at, s.first_response_at) as start_to_response,
@seconds(s.first_response_at, s.end_at) as response_to_end, @resolution as resolution,
case when s.removed_at is null and s.created_at is not null then 1 else 0 end as in_r,
case when @is_open then 1 else 0 end as is_open, case when @is_closed then 1 else 0 end as is_closed,
case when @counted and @is_closed then 1 else 0 end as is_done,
case when @later(s.end_at, 43200) > @as_of then 1 else 0 end as may_reopen,
case when s.created_at >= (select min(e.starts_at) from report_days e)
and s.created_at < (select max(e.ends_at) from report_days e) then 1 else 0 end as has_day
from accounts a cross join sessions s where s.account_id = a.id) m
group by account_id) q on q.account_id = a.id
