//! Pages through a list and shows every record once.
//!
//! The walks of [`crate::sync`] do not use it, since they must prove that they have seen
//! everything. This only makes sure that paging ends, and reports a server that ignores the page's
//! number.

use std::collections::HashSet;

use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64;

use super::{Item, Page, SourceError};

/// So many pages in a row without a new record are an error. Fewer are normal: when new records are
/// added to the front of a list, the others move to later pages.
const MOST_STALE: u32 = 3;

/// Follows the pages of one list.
#[derive(Debug)]
pub struct Pager {
    /// The name of the list in errors.
    request: String,
    seen: HashSet<Uuid>,
    /// Hashes of records without a readable id.
    unreadable: HashSet<u64>,
    /// Pages in a row without a new record.
    stale: u32,
    /// Pages with new records.
    fresh: u32,
    /// Whether the last page showed nothing at all.
    blank: bool,
}

/// The new records of a page.
#[derive(Debug)]
pub struct Taken<'p> {
    /// Records that were on no earlier page, and those without a readable id.
    pub fresh: Vec<&'p Item>,
    /// Whether to read the next page.
    pub more: bool,
}

impl Pager {
    /// A pager of a list. `request` is its name in errors: `GET /path`.
    pub fn new(request: impl Into<String>) -> Self {
        Self {
            request: request.into(),
            seen: HashSet::new(),
            unreadable: HashSet::new(),
            stale: 0,
            fresh: 0,
            blank: false,
        }
    }

    /// Takes the next page. Fails if pages keep repeating earlier records although more pages
    /// should follow. A repeated last page is not an error, since some servers send it for pages
    /// past the end.
    pub fn take<'p>(&mut self, page: &'p Page) -> Result<Taken<'p>, SourceError> {
        let mut is_stale = true;
        let mut fresh = Vec::new();
        for item in &page.items {
            let is_new = match item.head.id {
                Some(id) => self.seen.insert(id),
                None => self.unreadable.insert(xxh3_64(page.raw(item).as_bytes())),
            };
            is_stale &= !is_new;
            if is_new || item.head.id.is_none() {
                fresh.push(item);
            }
        }
        self.stale = if is_stale { self.stale + 1 } else { 0 };
        self.fresh += u32::from(!is_stale);
        let seen = (self.seen.len() + self.unreadable.len()) as u64;
        let is_all = is_stale && page.total.is_some_and(|total| seen >= total);
        let goes_on = page.has_more || page.is_doubtful();
        // Where nothing is said of what follows, one page may be empty because its records are not shown.
        let is_blank = page.items.is_empty();
        let ends = is_blank && (self.blank || !page.silent);
        self.blank = is_blank;
        let more = goes_on && !ends && !is_all;
        if more && self.stale >= MOST_STALE {
            if page.total.is_none() && self.fresh > 1 {
                return Ok(Taken { fresh, more: false });
            }
            return Err(SourceError::Ignored {
                request: self.request.clone(),
                parameter: "PageNumber",
                detail: format!("{MOST_STALE} pages in a row only repeated earlier pages"),
            });
        }
        Ok(Taken { fresh, more })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::data::{Head, Timestamp};

    /// A page of records with these ids; 0 stands for one without.
    fn page(ids: &[u128], has_more: bool) -> Page {
        let item = |&id: &u128| Item {
            head: Head {
                id: (id > 0).then(|| Uuid::from_u128(id)),
                ..Head::default()
            },
            raw: 0..2,
        };
        Page {
            has_more,
            ..Page::new(
                Arc::from("17"),
                ids.iter().map(item).collect(),
                Timestamp::from_micros(0),
            )
        }
    }

    fn take(pager: &mut Pager, ids: &[u128], has_more: bool) -> Result<(usize, bool), String> {
        let page = page(ids, has_more);
        let taken = pager.take(&page).map_err(|error| error.to_string())?;
        Ok((taken.fresh.len(), taken.more))
    }

    #[test]
    fn every_record_comes_once_and_the_last_page_ends_it() {
        let mut pager = Pager::new("GET /x");
        assert_eq!(take(&mut pager, &[1, 2, 0], true), Ok((3, true)));
        assert_eq!(take(&mut pager, &[2, 3, 0], true), Ok((2, true)));
        assert_eq!(take(&mut pager, &[4], false), Ok((1, false)));
        assert_eq!(take(&mut Pager::new("x"), &[], true), Ok((0, false)));
    }

    #[test]
    fn one_empty_page_is_no_end_where_nothing_is_said_of_what_follows() {
        let silent = |ids: &[u128]| Page {
            silent: true,
            ..page(ids, false)
        };
        let mut pager = Pager::new("GET /x");
        for ids in [&[1, 2][..], &[], &[3], &[]] {
            assert!(pager.take(&silent(ids)).unwrap().more, "{ids:?}");
        }
        assert!(!pager.take(&silent(&[])).unwrap().more);
    }

    #[test]
    fn pages_that_repeat_themselves_are_given_up_with_the_parameters_name() {
        for ids in [&[1, 2][..], &[0, 0]] {
            let mut pager = Pager::new("GET /x");
            for _ in 0..3 {
                assert!(take(&mut pager, ids, true).unwrap().1);
            }
            let error = take(&mut pager, ids, true).unwrap_err();
            assert!(error.starts_with("GET /x ignores PageNumber: "), "{error}");
        }
    }

    #[test]
    fn a_last_page_that_comes_again_and_again_is_the_last_page() {
        let counted = |ids: &[u128]| Page {
            total: Some(4),
            ..page(ids, true)
        };
        let mut pager = Pager::new("GET /x");
        assert!(pager.take(&counted(&[1, 2])).unwrap().more);
        assert!(pager.take(&counted(&[3, 4])).unwrap().more);
        assert!(!pager.take(&counted(&[3, 4])).unwrap().more);
        let mut pager = Pager::new("GET /x");
        for ids in [[1, 2], [3, 4], [3, 4], [3, 4]] {
            assert!(take(&mut pager, &ids, true).unwrap().1);
        }
        assert_eq!(take(&mut pager, &[3, 4], true), Ok((0, false)));
    }

    #[test]
    fn a_list_that_moves_by_a_page_is_read_on() {
        let mut pager = Pager::new("GET /x");
        for page in 1..100 {
            // Shown twice, since a record joined the front in between.
            assert_eq!(take(&mut pager, &[page], true), Ok((1, true)));
            assert_eq!(take(&mut pager, &[page], true), Ok((0, true)));
        }
        // What repeats itself on the last page harms nobody.
        for _ in 0..9 {
            assert_eq!(take(&mut pager, &[99], false), Ok((0, false)));
        }
    }
}
