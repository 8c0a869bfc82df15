-- One row an account, month and channel that has sessions.
define key
channel_id

select account_id, month, channel_id,
(select @channel_name(h) from channels h where h.id = @uuid(figures.channel_id)) as channel, @measures
@breakdown
