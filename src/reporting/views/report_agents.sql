-- One row an account, month and agent, those without sessions too.
define key
user_id

define more
union all
select @of_each_month cast(g.user_id as text), null, null, null, null, null, null, null, null, null,
null, null, null, null, null
from @each_month agents g
where @is_month g.account_id = a.id and g.removed_at is null and d.starts_at <= @as_of
and d.month >= (select e.month from report_days e where e.starts_at <= (select min(z.created_at)
from sessions z where z.account_id = a.id) order by e.starts_at desc limit 1)

select account_id, month, user_id, (select g.name from agents g where g.user_id = @uuid(figures.user_id)
and g.account_id = figures.account_id) as agent, @measures, days_active
@breakdown
