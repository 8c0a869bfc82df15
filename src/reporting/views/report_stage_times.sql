-- One row for each time that a session was with the bot, in the queue or with an agent.
select a.id as account_id, cast(k.session_id as text) as session_id, s.number, @stage(k.status) as stage,
k.entered_at, k.left_at,
case when k.left_at is null then @seconds(k.entered_at, @as_of) else @seconds(k.entered_at, k.left_at) end as seconds,
case when k.left_at is null then 1 else 0 end as is_current, @known_since as known_since
from (
select session_id, new_value as status, observed_at as entered_at,
lead(observed_at) over (partition by session_id order by change_seq) as left_at, 0 as is_first
from session_changes where field = 'status'
union all
select s.id, coalesce((select c.old_value from session_changes c where c.session_id = s.id and c.field = 'status'
order by c.change_seq limit 1), s.status), s.created_at,
(select c.observed_at from session_changes c where c.session_id = s.id and c.field = 'status'
order by c.change_seq limit 1), 1
from sessions s where s.created_at >= (select changes_since from report_settings)
) k
join sessions s on s.id = k.session_id
join accounts a on a.id = s.account_id
cross join report_settings p
where @counted and k.status in ('STARTED', 'PENDING', 'IN_PROGRESS')
and (k.is_first = 0 or k.entered_at >= a.created_at)
