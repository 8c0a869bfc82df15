//! The views of reports, and the days and open hours that they rest on.

mod account;
mod days;
mod export;
mod percentiles;
mod plans;
mod rebuilding;
mod report;
mod report_page;
mod rows;
mod story;
mod tools;
mod totals;
mod views;

use helena_sync::data::Timestamp;
use helena_sync::reporting::{Hours, Settings};

/// The present of these tests.
fn now() -> Timestamp {
    Timestamp::parse("2026-06-20T15:00:00Z").unwrap()
}

/// Monday to Friday with a lunch break, Saturday mornings, one holiday.
fn hours() -> Hours {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    let mut week: Vec<(usize, Vec<String>)> = (0..5)
        .map(|day| (day, texts(&["08:00-12:00", "13:30-18:00"])))
        .collect();
    week.push((5, texts(&["09:00-13:00"])));
    Hours::new(&week, &["2026-06-04 Corpus Christi".to_owned()]).unwrap()
}

/// Days of São Paulo, open hours and targets.
fn settings() -> Settings {
    let minutes = |minutes| Some(std::time::Duration::from_mins(minutes));
    let mut settings = Settings::of_zone(chrono_tz::America::Sao_Paulo);
    settings.hours = hours();
    settings.targets.wait = minutes(5);
    settings.targets.first_response = minutes(15);
    settings.targets.service = minutes(30);
    settings.targets.resolution = minutes(240);
    settings
}
