-- What is known of the account's doorbell. doorbell: the state of its subscription on the platform, as
-- last looked at at doorbell_checked_at; null without a doorbell. rings: how often the platform has called.
alter table accounts add column doorbell text;
alter table accounts add column doorbell_checked_at text;
alter table accounts add column last_ring_at text;
alter table accounts add column rings integer not null default 0;
