//! The flags of `helena-sync sandbox` for odd behaviour of the platform: clocks that disagree,
//! records that no list shows, wrong counts, and lost deliveries.

use std::time::Duration;

use clap::Args;

use super::sandbox::share;
use crate::config::duration_of;
use crate::sandbox::{Moods, Totals};

/// Odd behaviour of the simulated platform.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Oddities")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an independent flag of the command line"
)]
pub(super) struct Oddities {
    /// 403 with a gateway's HTML page; not part of --faults.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Faults")]
    pub(super) forbidden: f64,
    /// Share of changes with the time of a second server, whose clock is behind by --behind-by.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    behind: f64,
    /// How far the second server's clock is behind.
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = duration_of)]
    behind_by: Duration,
    /// Share of records whose updatedAt is null, unreadable or missing. The record's id decides.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    unstamped: f64,
    /// Share of records that are counted but cannot be read at all, not even by id.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    ghosts: f64,
    /// Share of live changes that give a contact a status that no list shows, or its old status
    /// again.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    undefined_contacts: f64,
    /// Instead of null, ids are nil and times are in the year 1, as in .NET.
    #[arg(long)]
    dotnet_placeholders: bool,
    /// Lists omit the contactId of sessions whose contactDetails have it.
    #[arg(long)]
    contact_id_unlisted: bool,
    /// A message changes lastInteractionDate but not updatedAt.
    #[arg(long)]
    silent_messages: bool,
    /// Totals of paged lists: capped:COUNT (totals stop at COUNT), short:COUNT (totals are COUNT too
    /// low), items-capped:COUNT (only totalItems stops), pages-capped:COUNT (only totalPages and
    /// hasMorePages stop), no-more (hasMorePages is always false), uncounted (no totals), absent (no
    /// totals and no hasMorePages).
    #[arg(long, value_name = "HOW", value_parser = totals)]
    totals: Option<Totals>,
    /// Pages also repeat parameters that had no effect.
    #[arg(long)]
    echo_sent: bool,
    /// Share of list answers that come from a replica that lags by up to --stale-by.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    stale: f64,
    /// Maximum lag of the replica.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = duration_of)]
    stale_by: Duration,
    /// Share of answers of unpaged lists that lack most or all entries.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    list_losses: f64,
    /// Share of records whose reads by id fail with 500, 403 or 401.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    failing_ids: f64,
    /// All reads by id fail with 404.
    #[arg(long)]
    by_id_withdrawn: bool,
    /// A record that is not found answers 401; only the body says 404.
    #[arg(long)]
    masked_not_found: bool,
    /// Each Date header is wrong by a random time, up to --date-skew in either direction.
    #[arg(long)]
    jumping_date: bool,
    /// The Date header never changes.
    #[arg(long)]
    frozen_date: bool,
    /// A PageNumber past the end returns the last page again.
    #[arg(long)]
    clamp_page_number: bool,
    /// The Date header is not a date.
    #[arg(long)]
    garbage_date: bool,
    /// Share of deliveries to webhooks that are lost.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    webhook_loss: f64,
    /// Share of deliveries to webhooks that arrive twice.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    webhook_duplicates: f64,
    /// Share of deliveries to webhooks that arrive after the next one.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    webhook_disorder: f64,
    /// A failed delivery is retried once, nine minutes later.
    #[arg(long)]
    webhook_retries: bool,
}

fn totals(text: &str) -> Result<Totals, String> {
    let read = || {
        let (how, count) = text.split_once(':').unwrap_or((text, ""));
        let counted: Option<fn(u32) -> Totals> = match how {
            "capped" => Some(Totals::Capped),
            "short" => Some(Totals::Short),
            "items-capped" => Some(Totals::ItemsCapped),
            "pages-capped" => Some(Totals::PagesCapped),
            _ => None,
        };
        match (text, counted) {
            ("no-more", _) => Some(Totals::NoMore),
            ("uncounted", _) => Some(Totals::Uncounted),
            ("absent", _) => Some(Totals::Absent),
            (_, counted) => Some(counted?(count.parse().ok()?)),
        }
    };
    read().ok_or_else(|| {
        "must be capped:COUNT, short:COUNT, items-capped:COUNT, pages-capped:COUNT, no-more, uncounted \
         or absent"
            .to_owned()
    })
}

impl Oddities {
    pub(super) fn put_into(&self, moods: &mut Moods) {
        moods.ghost_share = self.ghosts;
        moods.behind_share = self.behind;
        moods.behind_by = self.behind_by;
        moods.unstamped_share = self.unstamped;
        moods.undefined_share = self.undefined_contacts;
        moods.dotnet_placeholders = self.dotnet_placeholders;
        moods.contact_id_unlisted = self.contact_id_unlisted;
        moods.silent_messages = self.silent_messages;
        moods.totals = self.totals.unwrap_or_default();
        moods.echo_sent = self.echo_sent;
        moods.stale_share = self.stale;
        if self.stale > 0.0 {
            moods.stale_max = self.stale_by;
        }
        moods.list_loss_share = self.list_losses;
        moods.failing_share = self.failing_ids;
        moods.by_id_withdrawn = self.by_id_withdrawn;
        moods.masked_not_found = self.masked_not_found;
        moods.jumping_date = self.jumping_date;
        moods.frozen_date = self.frozen_date;
        moods.clamp_page_number = self.clamp_page_number;
        moods.garbage_date = self.garbage_date;
        moods.webhook_loss = self.webhook_loss;
        moods.webhook_duplicates = self.webhook_duplicates;
        moods.webhook_disorder = self.webhook_disorder;
        moods.webhook_retries = self.webhook_retries;
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        oddities: Oddities,
    }

    fn moods(flags: &[&str]) -> Result<Moods, clap::Error> {
        let line = ["sandbox"].into_iter().chain(flags.iter().copied());
        let mut moods = Moods::default();
        Line::try_parse_from(line)?.oddities.put_into(&mut moods);
        Ok(moods)
    }

    #[test]
    fn every_oddity_comes_where_it_is_asked_for() {
        assert_eq!(moods(&[]).unwrap(), Moods::default());
        let flags = "--behind 0.1 --behind-by 2s --unstamped 0.11 --ghosts 0.12 \
                     --undefined-contacts 0.13 --dotnet-placeholders --contact-id-unlisted \
                     --silent-messages --totals capped:200 --echo-sent \
                     --stale 0.14 --stale-by 3s --list-losses 0.15 --failing-ids 0.16 \
                     --by-id-withdrawn --masked-not-found --jumping-date --frozen-date --clamp-page-number --garbage-date \
                     --webhook-loss 0.17 --webhook-duplicates 0.18 --webhook-disorder 0.19 \
                     --webhook-retries";
        let expected = Moods {
            behind_share: 0.1,
            behind_by: Duration::from_secs(2),
            unstamped_share: 0.11,
            ghost_share: 0.12,
            undefined_share: 0.13,
            dotnet_placeholders: true,
            contact_id_unlisted: true,
            silent_messages: true,
            totals: Totals::Capped(200),
            echo_sent: true,
            stale_share: 0.14,
            stale_max: Duration::from_secs(3),
            list_loss_share: 0.15,
            failing_share: 0.16,
            by_id_withdrawn: true,
            masked_not_found: true,
            jumping_date: true,
            frozen_date: true,
            clamp_page_number: true,
            garbage_date: true,
            webhook_loss: 0.17,
            webhook_duplicates: 0.18,
            webhook_disorder: 0.19,
            webhook_retries: true,
            ..Moods::default()
        };
        let flags: Vec<&str> = flags.split_whitespace().collect();
        assert_eq!(moods(&flags).unwrap(), expected);
    }

    #[test]
    fn totals_are_wrong_in_one_of_seven_ways() {
        for (text, expected) in [
            ("capped:200", Totals::Capped(200)),
            ("short:5", Totals::Short(5)),
            ("items-capped:7", Totals::ItemsCapped(7)),
            ("pages-capped:8", Totals::PagesCapped(8)),
            ("no-more", Totals::NoMore),
            ("uncounted", Totals::Uncounted),
            ("absent", Totals::Absent),
        ] {
            assert_eq!(moods(&["--totals", text]).unwrap().totals, expected);
        }
        for text in ["capped", "capped:", "capped:x", "no-more:3", "few", ""] {
            let refused = moods(&["--totals", text]).unwrap_err().to_string();
            assert!(refused.contains("must be capped:COUNT"), "{refused}");
        }
    }
}
