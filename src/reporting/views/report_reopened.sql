-- One row for each time that a completed session was found to be open again.
select a.id as account_id, cast(c.session_id as text) as session_id, s.number,
@day_of(c.observed_at) as day, c.observed_at as reopened_at,
@instant((select e.old_value from session_changes e where e.session_id = c.session_id
and e.change_seq = c.change_seq and e.field = 'end_at')) as ended_at,
@stage(c.new_value) as stage, @known_since as known_since
from accounts a cross join report_settings p cross join session_changes c
join sessions s on s.id = c.session_id
where c.account_id = a.id and c.field = 'status' and c.old_value = 'COMPLETED'
and c.new_value in ('STARTED', 'PENDING', 'IN_PROGRESS') and @counted
