-- One row an open session, the one that waits longest first.
select account_id, id, number, stage, department, agent, channel, created_at, age_seconds,
case when age_seconds < 3600 then '< 1 h' when age_seconds < 14400 then '1-4 h'
when age_seconds < 86400 then '4-24 h' when age_seconds < 259200 then '1-3 d'
when age_seconds < 604800 then '3-7 d' when age_seconds <= 2592000 then '7-30 d'
when age_seconds > 2592000 then '> 30 d' end as age_class,
turn, case when turn = 'ours' then last_message_in end as waiting_since,
window_status, unread_count, preview_url, as_of
from (select a.id as account_id, cast(s.id as text) as id, s.number, @stage(s.status) as stage,
(select t.name from departments t where t.id = s.department_id) as department,
(select g.name from agents g where g.user_id = s.user_id and g.account_id = s.account_id) as agent,
(select @channel_name(h) from channels h where h.id = s.channel_id) as channel,
s.created_at, @age as age_seconds, @turn as turn, s.last_message_in,
s.window_status, s.unread_count, s.preview_url, @as_of as as_of
from accounts a cross join sessions s
where s.account_id = a.id and @is_open and @counted) b
order by case when turn = 'ours' then 0 else 1 end, waiting_since, created_at
