//! The part of each record that is kept in memory.

use super::record::{ContactStatus, SessionKind, Status};
use super::table::Slot;

/// No instant.
pub(super) const NONE: i64 = i64::MIN;
/// No contact.
pub(super) const NO_CONTACT: u32 = u32::MAX;

/// What sessions are filtered and ordered by.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionSlot {
    pub(super) created: i64,
    pub(super) updated: i64,
    /// [`NONE`] if nothing ever happened.
    pub(super) interaction: i64,
    /// [`NONE`] while open.
    pub(super) end: i64,
    pub(super) contact: u32,
    pub(super) channel: u16,
    pub(super) department: u16,
    pub(super) agent: u16,
    /// How much of what was said after the year this version knows.
    pub(super) said: u16,
    pub(super) status: Status,
    pub(super) kind: SessionKind,
    pub(super) alive: bool,
}

/// What contacts are filtered and ordered by.
#[derive(Debug, Clone, Copy)]
pub(super) struct ContactSlot {
    pub(super) created: i64,
    pub(super) updated: i64,
    /// One bit for each tag of the company.
    pub(super) tags: u128,
    pub(super) status: ContactStatus,
    pub(super) alive: bool,
}

macro_rules! slot {
    ($name:ident) => {
        impl Slot for $name {
            fn created(&self) -> i64 {
                self.created
            }
            fn updated(&self) -> i64 {
                self.updated
            }
            fn set_updated(&mut self, ticks: i64) {
                self.updated = ticks;
            }
            fn alive(&self) -> bool {
                self.alive
            }
            fn bury(&mut self) {
                self.alive = false;
            }
        }
    };
}

slot!(SessionSlot);
slot!(ContactSlot);
