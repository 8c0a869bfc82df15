//! Remembers which odd behaviour of the platform was logged: once for each process and stream, not
//! in every pass.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::data::Stream;

/// How a platform may behave that the mirror copes with, and that an operator should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Oddity {
    /// It ignores the filter by which changes are read.
    ChangesUnfiltered,
    /// It ignores the filter of creation times.
    CreationUnfiltered,
    /// It does not order by the field of changes.
    Unordered,
    /// Its counts of records or pages contradict the pages.
    Contradiction,
    /// It counts records that it does not show.
    Gap,
    /// Its `Date` header and the stamps of records disagree.
    Clock,
}

/// What was told.
#[derive(Debug, Default)]
pub struct Oddities(Mutex<HashSet<(Stream, Oddity)>>);

impl Oddities {
    /// Whether this was not told before; from now on it was.
    pub(super) fn is_news(&self, stream: Stream, oddity: Oddity) -> bool {
        // Nothing in here panics while it is held.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert((stream, oddity))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Resource;

    #[test]
    fn an_oddity_is_news_once_a_stream() {
        let told = Oddities::default();
        let streams = Resource::Contacts.streams();
        assert!(told.is_news(streams[0], Oddity::Gap));
        assert!(!told.is_news(streams[0], Oddity::Gap));
        assert!(told.is_news(streams[0], Oddity::Clock));
        assert!(told.is_news(streams[1], Oddity::Gap));
    }
}
