-- One row for each id: the platform gives an id once, whatever the account. Programs that show or join
-- tables follow keys of one column, and narrower keys make smaller indexes. Agents stay as they are: one
-- person, under one user id, may be an agent of several accounts. So do raw_records, which hold agents by
-- their user ids.

alter table session_tags
    drop constraint session_tags_session_id_account_id_fkey,
    drop constraint session_tags_tag_id_account_id_fkey,
    drop constraint session_tags_pkey;
alter table contact_tags
    drop constraint contact_tags_contact_id_account_id_fkey,
    drop constraint contact_tags_tag_id_account_id_fkey,
    drop constraint contact_tags_pkey;
alter table sessions
    drop constraint sessions_contact_id_account_id_fkey,
    drop constraint sessions_channel_id_account_id_fkey,
    drop constraint sessions_department_id_account_id_fkey;

alter table tags drop constraint tags_pkey, add primary key (id);
alter table channels drop constraint channels_pkey, add primary key (id);
alter table departments drop constraint departments_pkey, add primary key (id);
alter table contacts drop constraint contacts_pkey, add primary key (id);
alter table sessions drop constraint sessions_pkey, add primary key (id);

alter table sessions
    add foreign key (contact_id) references contacts (id),
    add foreign key (channel_id) references channels (id),
    add foreign key (department_id) references departments (id);
-- A link's account is that of its contact or session.
alter table contact_tags
    add primary key (contact_id, tag_id),
    add foreign key (contact_id) references contacts (id),
    add foreign key (tag_id) references tags (id);
alter table session_tags
    add primary key (session_id, tag_id),
    add foreign key (session_id) references sessions (id),
    add foreign key (tag_id) references tags (id);
