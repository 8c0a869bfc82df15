//! Records without a creation time, which no window holds.
//!
//! Stored ones are read by id. Those that the platform shows are looked for at both ends of the whole
//! listing.

use super::{Comparing, Sides, tonight};
use crate::data::{Page, PageQuery, RecheckReason, Source, Span};
use crate::sync::plan;
use crate::sync::policy::RunError;
use crate::sync::survey;
use crate::sync::verify::Mirror;

/// How many stored rows without a creation time a night reads by id. The next night reads others.
const UNDATED: u32 = 200;

/// How many pages at each end of a listing without a window are searched for records without a creation time.
const UNDATED_PAGES: u32 = 64;

impl Comparing {
    /// Compares records without a creation time, which no window holds. Stored ones are read by id. The
    /// listing is searched if it counts more records than were created before and after an instant together.
    /// If it is ordered by creation time, records without one come first or last.
    pub(super) async fn undated<S: Source>(&mut self, on: &Sides<'_, S>) -> Result<(), RunError> {
        let Mirror { store, account, .. } = on.mirror;
        let turn = tonight(on.mirror.clock.now());
        let stored = store.undated(account, self.stream, turn, UNDATED).await?;
        self.queue(on, stored, RecheckReason::NotListed).await?;
        let Some(until) = self.found.until.filter(|_| self.unread.is_empty()) else {
            return Ok(());
        };
        let size = on.mirror.settings.page_size;
        let query = survey::everything(self.stream, Span::OPEN, size);
        let mut page = on.ask(&query).await?;
        let total = page.total.unwrap_or(0);
        let mut left = match page.total.zip(self.counted) {
            // The server sends no total, so the first page decides.
            None => u64::from(size) * u64::from(UNDATED_PAGES),
            Some((total, before)) if total > before => {
                let later = survey::everything(self.stream, Span::after(until), 1);
                let after = on.ask(&later).await?.total.unwrap_or(0);
                total.saturating_sub(before + after)
            }
            Some(_) => 0,
        };
        let last = plan::pages(total, size);
        let numbers = (2..=UNDATED_PAGES).map(Some).chain([None]);
        let mut number = 1;
        for next in numbers {
            let found = self.take_undated(on, page).await?;
            left = left.saturating_sub(found);
            let Some(next) = next.filter(|_| left > 0 && found > 0) else {
                break;
            };
            number = next;
            page = on
                .ask(&PageQuery {
                    number,
                    ..query.clone()
                })
                .await?;
        }
        for number in (number + 1..=last).rev().take(UNDATED_PAGES as usize) {
            if left == 0 {
                break;
            }
            let page = on
                .ask(&PageQuery {
                    number,
                    ..query.clone()
                })
                .await?;
            let found = self.take_undated(on, page).await?;
            if found == 0 {
                break;
            }
            left = left.saturating_sub(found);
        }
        Ok(())
    }

    /// Compares the records of a page that have no creation time. Returns how many there are.
    async fn take_undated<S: Source>(
        &mut self,
        on: &Sides<'_, S>,
        mut page: Page,
    ) -> Result<u64, RunError> {
        page.items
            .retain(|item| item.head.id.is_some() && item.head.created_at.is_none());
        let found = page.items.len() as u64;
        if found > 0 {
            self.take_page(on, page).await?;
        }
        Ok(found)
    }
}
