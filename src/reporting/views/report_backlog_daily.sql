-- One row an account and day; the running sum reads the whole history. A session came and went only if it
-- did not end before it began.
define days(x)
from accounts a cross join report_days d @sessions_of_day(:x) where @is_of_day(:x) and @counted

select account_id, day, week, month, opened, completed,
case when starts_at <= as_of then cast(open_at_end as bigint) end as open_at_end
from (select account_id, day, week, month, starts_at, as_of, opened, completed,
sum(came - went) over (partition by account_id order by day) as open_at_end
from (select a.id as account_id, d.day, d.week, d.month, d.starts_at, @as_of as as_of,
coalesce(i.opened, 0) as opened, coalesce(u.completed, 0) as completed,
coalesce(i.came, 0) as came, coalesce(u.went, 0) as went
from accounts a cross join report_days d
left join (select a.id as account_id, d.day, count(*) as opened,
count(*) filter (where @is_open or @is_closed and s.end_at >= s.created_at) as came
@days(s.created_at) group by a.id, d.day) i on i.account_id = a.id and i.day = d.day
left join (select a.id as account_id, d.day, count(*) as completed,
count(*) filter (where s.end_at >= s.created_at) as went
@days(s.end_at) and @is_closed group by a.id, d.day) u on u.account_id = a.id and u.day = d.day
where d.starts_at <= @as_of or i.opened > 0 or u.completed > 0) counted) summed
