-- One row an account: what the figures rest on.
define in_r
s.removed_at is null and s.created_at is not null

define near(x, y)
abs(:x - (:y)) <= 2

define part(which, among)
@share(count(*) filter (where @counted and @is_closed and :which), count(*) filter (where @counted and @is_closed and :among))

select a.id as account_id, a.name as account, @as_of as as_of, q.sessions, q.removed, q.hidden, q.groups,
q.unknown_status, q.without_created_at, q.without_contact, q.negative_first_response, q.negative_resolution,
q.closed_without_end, q.open_with_end, q.unparsed_wait, q.unparsed_service,
(select count(*) from rejects r where r.account_id = a.id and r.resolved_at is null) as rejects_open,
(select max(r.finished_at) from sync_runs r where r.account_id = a.id and r.kind = 'verify') as last_verify_at,
(select sum(r.rows_differing) from sync_runs r where r.account_id = a.id and r.kind = 'verify'
and r.started_at >= (select max(v.started_at) from sync_runs v where v.account_id = a.id and v.kind = 'verify'
and v.resource = 'sessions')) as last_verify_differing,
q.answered_within_3s_share, q.wait_is_first_response_share, q.wait_is_start_to_response_share,
q.service_is_response_to_end_share, q.service_is_created_to_end_share,
(select count(*) from (select l.session_id from session_tags l where l.account_id = a.id
group by l.session_id having count(*) > 1) k) as sessions_with_2_tags,
q.reopened_possible, q.outside_days
from accounts a left join (
select a.id as account_id,
count(*) filter (where s.removed_at is null) as sessions,
count(*) filter (where s.removed_at is not null) as removed,
count(*) filter (where @in_r and s.status = 'HIDDEN') as hidden,
count(*) filter (where @in_r and s.type = 'GROUP') as groups,
count(*) filter (where @in_r and @stage(s.status) = 'other') as unknown_status,
count(*) filter (where s.removed_at is null and s.created_at is null) as without_created_at,
count(*) filter (where @in_r and s.contact_id is null) as without_contact,
count(*) filter (where @in_r and @epoch(s.first_response_at) < @epoch(s.created_at)) as negative_first_response,
count(*) filter (where @in_r and @is_closed and @epoch(s.end_at) < @epoch(s.created_at)) as negative_resolution,
count(*) filter (where @in_r and @is_closed and s.end_at is null) as closed_without_end,
count(*) filter (where @in_r and @is_open and s.end_at is not null) as open_with_end,
count(*) filter (where @in_r and s.time_wait is not null and coalesce(s.time_wait_seconds, -1) < 0) as unparsed_wait,
count(*) filter (where @in_r and s.time_service is not null and coalesce(s.time_service_seconds, -1) < 0)
as unparsed_service,
@part(@first_response <= 3, s.first_response_at is not null) as answered_within_3s_share,
@part(@near(s.time_wait_seconds, @first_response), s.time_wait_seconds - @first_response is not null)
as wait_is_first_response_share,
@part(@near(s.time_wait_seconds, @seconds(s.start_at, s.first_response_at)),
s.time_wait_seconds - @epoch(s.first_response_at) + @epoch(s.start_at) is not null) as wait_is_start_to_response_share,
@part(@near(s.time_service_seconds, @seconds(s.first_response_at, s.end_at)),
s.time_service_seconds - @epoch(s.end_at) + @epoch(s.first_response_at) is not null) as service_is_response_to_end_share,
@part(@near(s.time_service_seconds, @resolution), s.time_service_seconds - @resolution is not null)
as service_is_created_to_end_share,
count(*) filter (where @counted and @is_closed and @later(s.end_at, 43200) > @as_of) as reopened_possible,
count(*) filter (where @in_r and not (s.created_at >= (select min(e.starts_at) from report_days e)
and s.created_at < (select max(e.ends_at) from report_days e))) as outside_days
from accounts a cross join sessions s where s.account_id = a.id group by a.id) q on q.account_id = a.id
