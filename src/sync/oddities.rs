//! Remembers which odd behaviour of the platform was logged: once for each process and stream, not
//! in every pass.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::data::Stream;

/// Odd behaviour of a platform that the mirror copes with, and that an operator should know.
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

/// The oddities that were logged.
#[derive(Debug, Default)]
pub struct Oddities(Mutex<HashSet<(Stream, Oddity)>>);

impl Oddities {
    /// Whether this oddity was not logged before. From now on it counts as logged.
    pub(super) fn is_news(&self, stream: Stream, oddity: Oddity) -> bool {
        // No code here panics while it holds the lock.
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
