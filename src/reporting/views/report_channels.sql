-- One row an account, month and key that has sessions.
define key
s.channel_id

define keys
channel_id

define rows(x)
@in_time(:x)

define more


select account_id, month, cast(channel_id as text) as channel_id,
(select @channel_name(h) from channels h where h.id = placed.channel_id) as channel,
@measures
@breakdown
