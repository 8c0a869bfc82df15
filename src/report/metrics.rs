//! Which metrics of a report are shown.

/// The metrics that may be chosen, by the names that they have for programs.
pub const METRICS: [&str; 31] = [
    "opened",
    "opened_outside_hours",
    "contacts",
    "new_contacts",
    "sessions_per_contact",
    "completed",
    "completed_of_opened",
    "balance",
    "open_at_end",
    "open_now",
    "answered",
    "closed_unanswered",
    "lost_in_queue",
    "bot_only",
    "wait",
    "first_response",
    "service",
    "conversation",
    "resolution",
    "sla",
    "classified",
    "won",
    "lost",
    "info",
    "other",
    "win_rate",
    "won_of_opened",
    "amount_won",
    "ticket",
    "returned_7d",
    "days_active",
];

/// Metrics of several columns, which begin with their name.
const OF_SEVERAL: [&str; 8] = [
    "answered",
    "wait",
    "first_response",
    "service",
    "conversation",
    "resolution",
    "sla",
    "returned_7d",
];

/// Columns that have a name of their own, and their metrics.
const OTHERWISE: [(&str, &str); 2] = [
    ("closed_of_opened", "completed_of_opened"),
    ("completed_per_day", "days_active"),
];

/// The metrics that were chosen; none means all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metrics(pub Vec<&'static str>);

impl Metrics {
    /// Whether some were chosen.
    pub const fn are_chosen(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether a figure or a column of this name is shown.
    pub fn show(&self, key: &str) -> bool {
        let has = |metric: &&str| {
            let is_part = OF_SEVERAL.contains(metric)
                && key
                    .strip_prefix(*metric)
                    .is_some_and(|rest| rest.starts_with('_'));
            *metric == key || is_part || OTHERWISE.contains(&(key, *metric))
        };
        self.0.is_empty() || self.0.iter().any(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_belong_to_metrics_that_there_are() {
        let others = OTHERWISE.iter().map(|(_, metric)| metric);
        for metric in OF_SEVERAL.iter().chain(others) {
            assert!(METRICS.contains(metric), "{metric}");
        }
    }

    #[test]
    fn a_metric_has_its_columns_and_no_others() {
        let all = Metrics::default();
        assert!(all.show("opened") && !all.are_chosen());
        let some = Metrics(vec!["first_response", "lost", "completed_of_opened"]);
        for key in [
            "first_response",
            "first_response_p90",
            "first_response_open_n",
            "lost",
            "closed_of_opened",
        ] {
            assert!(some.show(key), "{key}");
        }
        for key in [
            "lost_in_queue",
            "sla_first_response_n",
            "completed",
            "wait_n",
        ] {
            assert!(!some.show(key), "{key}");
        }
    }
}
