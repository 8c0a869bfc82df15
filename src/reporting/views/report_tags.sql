-- One row an account, month and key that has sessions.
define key
l.tag_id

define keys
tag_id

define rows(x)
from accounts a cross join report_settings p cross join report_days d @sessions_of_day(:x)
left join session_tags l on l.session_id = s.id where @is_of_day(:x)

define more


select account_id, month, cast(tag_id as text) as tag_id,
(select n.name from tags n where n.id = placed.tag_id) as tag,
@measures
@breakdown
