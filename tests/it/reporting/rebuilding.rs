//! Days, open hours and settings, kept in step with the configuration and with the sessions.

use std::time::Duration;

use helena_sync::reporting::Settings;

use super::account::{Session, company, insert};
use super::{now, settings};
use crate::support::database::{Database, Kind, on_both};

/// Days that are not followed by the next, or overlap.
const GAPS: &str = "select cast(count(*) as text) from report_days a where ends_at <> \
                    (select min(b.starts_at) from report_days b where b.starts_at > a.starts_at)";

async fn summary(database: &Database) -> String {
    let sql = "select (select zone from report_settings) || ' ' || cast(count(*) as text) || ' ' || \
               cast(min(day) as text) || ' ' || cast(max(day) as text) || ' ' || \
               cast(coalesce(sum(open_seconds), -1) as text) || ' ' || \
               cast((select count(*) from report_open_hours) as text) from report_days";
    assert_eq!(database.text(GAPS).await, "0");
    database.text(sql).await
}

#[tokio::test]
async fn days_are_kept_from_two_years_back_to_a_year_ahead() {
    on_both(|database| async move {
        let store = &database.store;
        assert_eq!(database.count("report_days", "true").await, 0);
        let plain = Settings::of_zone(chrono_tz::America::Sao_Paulo);
        assert!(store.keep_reports(&plain, now()).await.unwrap());
        assert_eq!(
            summary(&database).await,
            "America/Sao_Paulo 1301 2024-01-01 2027-07-24 -1 0"
        );
        assert!(!store.keep_reports(&plain, now()).await.unwrap());
        // A day later there is one more; nothing is done before.
        store.extend_days(now()).await.unwrap();
        store
            .extend_days(now() + Duration::from_hours(24))
            .await
            .unwrap();
        assert_eq!(
            summary(&database).await,
            "America/Sao_Paulo 1302 2024-01-01 2027-07-25 -1 0"
        );
        // A session that is older needs its year; a wrong clock needs no century.
        company(&database).await;
        let old = Session::new(1).with("created_at", "2021-03-04T01:00:00.000000Z");
        let wrong = Session::new(2).with("created_at", "0001-01-01T00:00:00.000000Z");
        insert(&database, &[old], &[]).await;
        assert!(store.keep_reports(&plain, now()).await.unwrap());
        assert!(summary(&database).await.contains(" 2021-01-01 2027-07-25 "));
        insert(&database, &[wrong], &[]).await;
        store.keep_reports(&plain, now()).await.unwrap();
        assert!(summary(&database).await.contains(" 1990-01-01 2027-07-25 "));
        let outside = "select cast(outside_days as text) from report_quality";
        assert_eq!(database.text(outside).await, "1");
    })
    .await;
}

#[tokio::test]
async fn a_change_of_zone_or_hours_makes_all_days_anew_or_none() {
    on_both(|database| async move {
        let store = &database.store;
        store.keep_reports(&settings(), now()).await.unwrap();
        let before = summary(&database).await;
        assert!(before.starts_with("America/Sao_Paulo 1301 "), "{before}");
        let holiday = "select holiday || cast(open_seconds as text) from report_days \
                       where day = '2026-06-04'";
        assert_eq!(database.text(holiday).await, "Corpus Christi0");
        let mut other = settings();
        other.zone = chrono_tz::Asia::Tokyo;
        // What goes wrong in the middle, as a kill would, leaves all as it was.
        let break_off = match database.kind {
            Kind::Sqlite => {
                "create trigger broken before insert on report_open_hours \
                 when new.starts_at > '2025-' begin select raise(abort, 'killed'); end"
            }
            Kind::Postgres => {
                "create function broken() returns trigger language plpgsql as \
                 'begin if new.starts_at > ''2025-01-01'' then raise ''killed''; end if; \
                 return new; end'; \
                 create trigger broken before insert on report_open_hours \
                 for each row execute function broken()"
            }
        };
        database.execute(break_off).await;
        assert!(store.keep_reports(&other, now()).await.is_err());
        assert_eq!(summary(&database).await, before);
        let mend = match database.kind {
            Kind::Sqlite => "drop trigger broken",
            Kind::Postgres => "drop trigger broken on report_open_hours",
        };
        database.execute(mend).await;
        assert!(store.keep_reports(&other, now()).await.unwrap());
        let after = summary(&database).await;
        assert!(after.starts_with("Asia/Tokyo 1302 "), "{after}");
        // Hours and the first day of the week count, too; a target alone changes no day.
        other.week_starts_on = 7;
        assert!(store.keep_reports(&other, now()).await.unwrap());
        let week = "select cast(week as text) from report_days where day = '2026-06-20'";
        assert_eq!(database.text(week).await, "2026-06-14");
        other.hours = helena_sync::reporting::Hours::default();
        assert!(store.keep_reports(&other, now()).await.unwrap());
        assert!(summary(&database).await.ends_with(" -1 0"));
        other.targets.wait = None;
        assert!(store.keep_reports(&other, now()).await.unwrap());
        let target = "select cast(sla_wait_seconds as text) from report_settings";
        assert_eq!(database.text(target).await, "-");
        // Other rules of the zones, too.
        let older = "update report_settings set zone_version = '1999a'; \
                     update report_days set first_hour = 5";
        database.execute(older).await;
        store
            .extend_days(now() + Duration::from_hours(48))
            .await
            .unwrap();
        assert!(database.count("report_days", "first_hour = 5").await > 1000);
        assert!(store.keep_reports(&other, now()).await.unwrap());
        assert_eq!(database.count("report_days", "first_hour = 5").await, 0);
    })
    .await;
}
