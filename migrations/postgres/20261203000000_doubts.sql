-- Which entries the list lacked: only those that a later reading lacks, too, are gone.
alter table sync_state add column doubted_keys text;

-- When a gap was last looked at in vain, since the platform did not answer.
alter table gaps add column last_tried_at timestamptz;
