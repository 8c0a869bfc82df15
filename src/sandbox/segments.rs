//! What kinds of customers there are: the tags that they carry, and what they write for.

use super::chance;
use super::ids::{self, IdKind};

/// A kind of customers.
pub(super) struct Segment {
    /// How many of a hundred customers.
    share: u32,
    /// Its tags, each with its share in percent.
    tags: &'static [(u32, u32)],
    /// How strongly each department is wanted.
    pub(super) wants: [u32; 6],
    /// How much more often than others it buys.
    pub(super) buys: f64,
}

const VIP: u32 = 0;
const QUOTE: u32 = 1;
const CALL_BACK: u32 = 2;
const RETURNED: u32 = 3;
const HOT: u32 = 4;
const COLD: u32 = 5;
const IN_DEBT: u32 = 6;
const BOUGHT_AGAIN: u32 = 7;
const COMPLAINT: u32 = 8;
const BLACK_FRIDAY: u32 = 9;
const REFERRED: u32 = 10;
const TO_PAY: u32 = 11;
const PAID: u32 = 12;
const EXCHANGE: u32 = 13;
const WHOLESALE: u32 = 14;
const RETAIL: u32 = 15;
const LOYAL: u32 = 16;
const DO_NOT_DISTURB: u32 = 17;
const INSTALLATION: u32 = 18;
const WARRANTY: u32 = 19;

const SEGMENTS: [Segment; 7] = [
    // Passers-by.
    Segment {
        share: 38,
        tags: &[(RETAIL, 12), (CALL_BACK, 5), (DO_NOT_DISTURB, 2)],
        wants: [22, 38, 12, 11, 4, 13],
        buys: 0.8,
    },
    Segment {
        share: 20,
        tags: &[
            (QUOTE, 78),
            (HOT, 62),
            (CALL_BACK, 30),
            (RETAIL, 35),
            (REFERRED, 14),
            (TO_PAY, 20),
        ],
        wants: [54, 18, 9, 8, 3, 8],
        buys: 1.45,
    },
    Segment {
        share: 12,
        tags: &[
            (QUOTE, 55),
            (COLD, 80),
            (CALL_BACK, 15),
            (DO_NOT_DISTURB, 8),
        ],
        wants: [48, 26, 8, 7, 5, 6],
        buys: 0.4,
    },
    Segment {
        share: 11,
        tags: &[
            (VIP, 55),
            (LOYAL, 72),
            (BOUGHT_AGAIN, 66),
            (PAID, 40),
            (REFERRED, 10),
        ],
        wants: [30, 24, 12, 18, 10, 6],
        buys: 1.7,
    },
    Segment {
        share: 9,
        tags: &[
            (COMPLAINT, 70),
            (RETURNED, 55),
            (EXCHANGE, 48),
            (WARRANTY, 42),
        ],
        wants: [4, 46, 8, 26, 6, 10],
        buys: 0.5,
    },
    Segment {
        share: 6,
        tags: &[(IN_DEBT, 74), (TO_PAY, 58)],
        wants: [6, 16, 58, 4, 14, 2],
        buys: 0.6,
    },
    Segment {
        share: 4,
        tags: &[
            (WHOLESALE, 92),
            (VIP, 30),
            (INSTALLATION, 25),
            (PAID, 45),
            (QUOTE, 40),
        ],
        wants: [52, 14, 16, 8, 2, 8],
        buys: 1.6,
    },
];

/// The kind of a contact of the year, or of one that came later.
pub(super) fn of(seed: u64, contact: u32) -> &'static Segment {
    let mut left = ids::drawn(seed, IdKind::Contact, contact, 1) % 100;
    for segment in &SEGMENTS {
        match left.checked_sub(u64::from(segment.share)) {
            None => return segment,
            Some(rest) => left = rest,
        }
    }
    &SEGMENTS[0]
}

/// The tags of a contact of a kind, a bit each, that first wrote in a month.
pub(super) fn tags(segment: &Segment, month: i64, dice: &mut fastrand::Rng) -> u128 {
    let mut tags = 0;
    for (tag, share) in segment.tags {
        if dice.u32(..100) < *share {
            tags |= 1 << tag;
        }
    }
    if month == 11 && chance::hit(dice, 0.3) {
        tags |= 1 << BLACK_FRIDAY;
    }
    // Who has paid has nothing left to pay.
    if tags & (1 << PAID) != 0 {
        tags &= !(1 << TO_PAY);
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::names;

    #[test]
    fn the_numbers_of_tags_are_those_of_their_names() {
        for (number, name) in [
            (VIP, "Cliente VIP"),
            (CALL_BACK, "Retorno"),
            (RETURNED, "Devolução"),
            (COLD, "Lead frio"),
            (IN_DEBT, "Inadimplente"),
            (COMPLAINT, "Reclamação"),
            (BLACK_FRIDAY, "Black Friday"),
            (TO_PAY, "Aguardando pagamento"),
            (PAID, "Pago"),
            (EXCHANGE, "Troca"),
            (WHOLESALE, "Atacado"),
            (RETAIL, "Varejo"),
            (LOYAL, "Fidelidade"),
            (WARRANTY, "Garantia"),
        ] {
            assert_eq!(names::TAGS[number as usize].0, name);
        }
        assert_eq!(
            SEGMENTS.iter().map(|segment| segment.share).sum::<u32>(),
            100
        );
    }
}
