//! Ids and random numbers, both from the seed.
//!
//! An id contains its record's number, scrambled, so that a million ids can be looked up without a
//! table.

use uuid::Uuid;

/// What an id is of; keeps the ids of different kinds apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdKind {
    Company = 1,
    Session,
    Contact,
    Tag,
    Channel,
    Department,
    Agent,
    User,
    Bot,
    BotKey,
    Classification,
    Message,
    Subscription,
    Error,
    Picture,
    Said,
    CustomField,
    Template,
    Portfolio,
}

/// Spreads the bits of a number over all 64 (the finaliser of splitmix64).
pub(super) fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Dice for one record: the same for the same seed, kind and number.
pub(super) fn dice(seed: u64, of: IdKind, number: u32) -> fastrand::Rng {
    fastrand::Rng::with_seed(key(seed, of) ^ mix(u64::from(number)))
}

fn key(seed: u64, of: IdKind) -> u64 {
    mix(seed ^ mix(of as u64))
}

fn round(half: u16, key: u64, number: u32) -> u16 {
    let bytes = mix(key ^ (u64::from(number) << 48) ^ u64::from(half)).to_le_bytes();
    u16::from_le_bytes([bytes[0], bytes[1]])
}

/// A permutation of the 32-bit numbers: four rounds of a Feistel network.
fn scramble(key: u64, number: u32) -> u32 {
    let [a, b, c, d] = number.to_be_bytes();
    let (mut left, mut right) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    for step in 0..4 {
        (left, right) = (right, left ^ round(right, key, step));
    }
    (u32::from(left) << 16) | u32::from(right)
}

fn unscramble(key: u64, scrambled: u32) -> u32 {
    let [a, b, c, d] = scrambled.to_be_bytes();
    let (mut left, mut right) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    for step in (0..4).rev() {
        (left, right) = (right ^ round(left, key, step), left);
    }
    (u32::from(left) << 16) | u32::from(right)
}

/// A number for one trait of one record, the same whenever it is asked for and whatever else is.
pub(super) fn drawn(seed: u64, of: IdKind, number: u32, which: u32) -> u64 {
    mix(key(seed, of) ^ mix((u64::from(which) << 32) | u64::from(number)))
}

/// The id of a record.
pub(super) fn id(seed: u64, of: IdKind, number: u32) -> Uuid {
    let key = key(seed, of);
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&scramble(key, number).to_be_bytes());
    bytes[4..12].copy_from_slice(&mix(key ^ u64::from(number)).to_be_bytes());
    bytes[12..].copy_from_slice(&mix(key.rotate_left(17) ^ u64::from(number)).to_be_bytes()[..4]);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// The number of the record that has this id, if this seed gave it.
pub(super) fn number(seed: u64, of: IdKind, wanted: Uuid) -> Option<u32> {
    let [a, b, c, d, ..] = *wanted.as_bytes();
    let number = unscramble(key(seed, of), u32::from_be_bytes([a, b, c, d]));
    (id(seed, of, number) == wanted).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn an_id_leads_back_to_its_number(seed: u64, wanted: u32) {
            let id = id(seed, IdKind::Session, wanted);
            proptest::prop_assert_eq!(number(seed, IdKind::Session, id), Some(wanted));
            proptest::prop_assert_eq!(number(seed, IdKind::Contact, id), None);
            proptest::prop_assert_eq!(id.get_version_num(), 4);
        }
    }
}
