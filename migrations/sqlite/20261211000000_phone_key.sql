-- The key of a contact's telephone number, by which two notations of one Brazilian mobile number are equal:
-- with the ninth digit (+5511987654321) and without it (+551187654321). Numbers of fixed lines have eight
-- digits that begin with 2 to 5, and stay as they are. It is computed from phone_e164, so rows that were
-- stored before have it, too.

alter table contacts add column phone_key text generated always as (
    case
        when phone_e164 like '+55__________' and substr(phone_e164, 6, 1) in ('6', '7', '8', '9')
        then substr(phone_e164, 1, 5) || '9' || substr(phone_e164, 6)
        else phone_e164
    end
) virtual;

create index contacts_phone_key on contacts (phone_key);
