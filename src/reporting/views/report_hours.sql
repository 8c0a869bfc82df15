-- One row an account, day and hour of the clock that has sessions. Clocks may change by half an hour, so
-- where an hour begins is told by the sessions in it.
define clock
(d.first_hour * 3600 + @epoch(s.created_at) - @epoch(d.starts_at)
+ case when s.created_at >= d.shift_at then d.shift_seconds else 0 end)

select account_id, day, weekday, hour,
case when (select o.ends_epoch from report_open_hours o where o.starts_epoch < hour_starts + 3600
order by o.starts_epoch desc limit 1) > hour_starts then 1
when exists (select 1 from report_open_hours) then 0 end as is_open_hour,
opened, answered, first_response_sum, first_response_n
from (select account_id, day, weekday, clock / 3600 as hour, min(epoch - clock % 3600) as hour_starts,
count(*) as opened, count(*) filter (where attendance = 'answered') as answered,
cast(coalesce(sum(first_response), 0) as bigint) as first_response_sum, count(first_response) as first_response_n
from (select a.id as account_id, d.day, d.weekday, @clock as clock, @epoch(s.created_at) as epoch,
@attendance as attendance, @first_response as first_response
from accounts a cross join report_days d @sessions_of_day(s.created_at)
where @is_of_day(s.created_at) and @counted) s
group by account_id, day, weekday, clock / 3600) hours
