-- One row for each time that a session was found to have another agent, or another department, than before.
select a.id as account_id, cast(c.session_id as text) as session_id, s.number,
@day_of(c.observed_at) as day, c.observed_at as transferred_at,
case c.field when 'user_id' then 'agent' else 'department' end as kind,
c.old_value as from_id, @whose(old_value) as from_name, c.new_value as to_id, @whose(new_value) as to_name,
@known_since as known_since
from accounts a cross join report_settings p cross join session_changes c
join sessions s on s.id = c.session_id
where c.account_id = a.id and c.field in ('user_id', 'department_id')
and c.old_value is not null and c.new_value is not null and @counted

define whose(x)
case c.field when 'user_id' then (select g.name from agents g
where cast(g.user_id as text) = c.:x and g.account_id = a.id)
else (select t.name from departments t where cast(t.id as text) = c.:x) end
