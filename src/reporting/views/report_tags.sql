-- One row an account, month and tag that has sessions. A session with two tags is in two rows.
define key
tag_id

define tagged(x)
:x r left join (select session_id, cast(tag_id as text) as tag_id from session_tags) l on l.session_id = @uuid(r.id)

define sessions
@tagged(report_sessions)

define completed
@tagged(report_completed)

select account_id, month, tag_id,
(select n.name from tags n where n.id = @uuid(figures.tag_id)) as tag, @measures
@breakdown
