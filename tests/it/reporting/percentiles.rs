//! Averages and percentiles of the views, held against sorted lists.

use chrono::{Days, NaiveDate};
use helena_sync::data::Timestamp;
use serde_json::Value;

use super::account::{Session, company, id, insert};
use super::rows::{rows, same_on_both};
use super::{now, settings};

/// How many sessions a day has.
const SIZES: [usize; 16] = [1, 2, 3, 4, 8, 9, 10, 11, 19, 20, 21, 50, 99, 100, 101, 500];

/// Waiting times of a day: small numbers, so that there are ties.
fn waits(size: usize) -> Vec<Option<i64>> {
    let mut random = fastrand::Rng::with_seed(size as u64);
    let most = [3, 50, 100_000][size % 3];
    let mut waits: Vec<Option<i64>> = (0..size).map(|_| Some(random.i64(0..most))).collect();
    waits.extend([None, None]);
    random.shuffle(&mut waits);
    waits
}

fn day(place: usize) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 5, 1).unwrap() + Days::new(place as u64)
}

/// Average, median and 90th percentile as reporting defines them.
fn expected(waits: &[Option<i64>]) -> [f64; 4] {
    let mut sorted: Vec<i64> = waits.iter().copied().flatten().collect();
    sorted.sort_unstable();
    let number = |at: usize| f64::from(i32::try_from(sorted[at]).unwrap());
    let n = sorted.len();
    let count = f64::from(u32::try_from(n).unwrap());
    let sum = f64::from(i32::try_from(sorted.iter().sum::<i64>()).unwrap());
    [
        sum / count,
        f64::midpoint(number((n - 1) / 2), number(n / 2)),
        number((9 * n).div_ceil(10) - 1),
        count,
    ]
}

fn close(found: &[Value], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let found = found.as_f64().unwrap();
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[tokio::test]
async fn averages_and_percentiles_are_those_of_a_sorted_list() {
    let (days, month) = same_on_both(|database| async move {
        company(&database).await;
        let mut sessions = Vec::new();
        for (place, &size) in SIZES.iter().enumerate() {
            let noon = format!("{}T15:00:00Z", day(place));
            for wait in waits(size) {
                let number = sessions.len() as u128;
                let session = Session::new(number)
                    .with("created_at", Timestamp::parse(&noon).unwrap())
                    .with("status", "COMPLETED")
                    .with("user_id", id(100));
                sessions.push(match wait {
                    Some(wait) => session.with_number("time_wait_seconds", wait),
                    None => session,
                });
            }
        }
        insert(&database, &sessions, &[]).await;
        database
            .store
            .keep_reports(&settings(), now())
            .await
            .unwrap();
        let columns = ["day", "average", "median", "p90", "sessions"];
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        let days = rows(
            &database,
            &columns,
            "report_daily_times where metric = 'wait'",
        )
        .await;
        let columns = ["wait_average", "wait_median", "wait_p90", "wait_n"];
        let of_agent = format!(
            "report_agents where month = '2026-05-01' and user_id = '{}'",
            id(100)
        );
        (days, rows(&database, &columns, &of_agent).await)
    })
    .await;
    assert_eq!(days.len(), SIZES.len());
    for (place, (row, &size)) in days.iter().zip(&SIZES).enumerate() {
        assert_eq!(row[0], day(place).to_string());
        close(&row[1..], &expected(&waits(size)));
    }
    let all: Vec<Option<i64>> = SIZES.iter().flat_map(|&size| waits(size)).collect();
    assert_eq!(month.len(), 1);
    close(&month[0], &expected(&all));
}
