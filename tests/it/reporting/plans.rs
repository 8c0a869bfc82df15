//! How SQLite answers the views of a month: by the index, and of no other sessions.

use super::{now, settings};
use crate::support::database::{Kind, on_sqlite};

#[tokio::test]
async fn a_month_of_each_view_reads_the_sessions_of_that_month_alone() {
    on_sqlite(|database| async move {
        assert_eq!(database.kind, Kind::Sqlite);
        database.store.keep_reports(&settings(), now()).await.unwrap();
        let by_day = "day >= '2026-05-01' and day < '2026-06-01'";
        let by_month = "month = '2026-05-01'";
        for (view, filters) in [
            ("report_sessions", &[by_day, by_month][..]),
            ("report_completed", &[by_day, by_month]),
            ("report_daily", &[by_day, by_month]),
            ("report_daily_times", &[by_day, by_month]),
            ("report_hours", &[by_day]),
            ("report_agents", &[by_month]),
            ("report_departments", &[by_month]),
            ("report_channels", &[by_month]),
            ("report_tags", &[by_month]),
            ("report_campaigns", &[by_month]),
        ] {
            for filter in filters {
                let sql = format!("explain query plan select * from {view} where {filter}");
                let plan = database.plan(&sql).await;
                let steps = |words: &str| plan.iter().filter(|step| step.contains(words)).count();
                let read = steps("SEARCH s USING INDEX sessions_created_at (account_id=? AND created_at>? AND created_at<?)")
                    + steps("SEARCH s USING INDEX sessions_end_at (account_id=? AND end_at>? AND end_at<?)");
                assert!(read > 0, "{view}: {plan:#?}");
                // Each reading goes by the days that the filter leaves.
                let days = if *filter == by_day { "(day>? AND day<?)" } else { "(month=?)" };
                assert!(steps(days) >= read, "{view} {filter}: {plan:#?}");
                assert_eq!(steps("SCAN s "), 0, "{view}: {plan:#?}");
                assert_eq!(plan.iter().filter(|step| step.trim() == "SCAN d").count(), 0);
            }
        }
        let plan = database.plan("explain query plan select * from report_backlog").await;
        assert!(
            plan.iter().any(|step| step.contains("sessions_status (account_id=? AND status=?)")),
            "{plan:#?}"
        );
    })
    .await;
}
