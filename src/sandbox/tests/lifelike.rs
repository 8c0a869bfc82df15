//! Whether the generated year looks like that of a company. The margins are wide: they are about
//! shapes, not about figures.

#![expect(
    clippy::cast_precision_loss,
    reason = "counts of sessions and minutes have few digits"
)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::super::account::SandboxAccount;
use super::super::calendar::{self, HOUR};
use super::super::company::NOBODY;
use super::super::record::Category;
use super::super::slots::{NO_CONTACT, NONE};
use super::super::ticks::{DAY, SECOND};
use super::super::{names, year::Sketch};
use super::*;

const SESSIONS: u32 = 60_000;

fn account(clock: &Arc<FakeClock>) -> SandboxAccount {
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    SandboxAccount::new(&SandboxConfig::of_size(SESSIONS), clock)
}

/// The sketches of a year that ends on a Monday at noon.
static YEAR: LazyLock<Vec<Sketch>> = LazyLock::new(|| {
    let account = account(&Arc::new(FakeClock::at(noon())));
    (0..SESSIONS)
        .map(|number| account.year.sketch(number))
        .collect()
});

fn minutes(ticks: i64) -> f64 {
    ticks as f64 / (60.0 * SECOND as f64)
}

fn part(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a position in a list"
    )]
    let at = ((values.len() - 1) as f64 * share).round() as usize;
    values[at]
}

fn median(values: Vec<f64>) -> f64 {
    part(values, 0.5)
}

fn is_office_hour(at: i64) -> bool {
    let shift = calendar::shift(3, calendar::local_day(at));
    let hour = i64::try_from(calendar::hour_of(at)).unwrap();
    shift.is_some_and(|(opens, closes)| (opens..closes).contains(&hour))
}

fn wait(sketch: &Sketch) -> Option<f64> {
    (sketch.answered != NONE).then(|| minutes(sketch.answered - sketch.slot.created))
}

fn talk(sketch: &Sketch) -> Option<f64> {
    (sketch.answered != NONE && sketch.slot.end != NONE)
        .then(|| minutes(sketch.slot.end - sketch.answered))
}

/// The medians of a measure in office hours, by a trait, of those with enough sessions.
fn medians<K: Ord>(
    of: impl Fn(&Sketch) -> Option<f64>,
    by: impl Fn(&Sketch) -> K,
) -> BTreeMap<K, f64> {
    let mut found: BTreeMap<K, Vec<f64>> = BTreeMap::new();
    let sketches = YEAR
        .iter()
        .filter(|sketch| is_office_hour(sketch.slot.created));
    for (sketch, value) in sketches.filter_map(|sketch| Some((sketch, of(sketch)?))) {
        found.entry(by(sketch)).or_default().push(value);
    }
    found.retain(|_, values| values.len() >= 100);
    found
        .into_iter()
        .map(|(key, values)| (key, median(values)))
        .collect()
}

fn spread<K: Ord>(medians: &BTreeMap<K, f64>) -> f64 {
    let values = || medians.values().copied();
    values().fold(0.0, f64::max) / values().fold(f64::MAX, f64::min)
}

fn share(of: impl Fn(&Sketch) -> bool, among: impl Fn(&Sketch) -> bool) -> f64 {
    let all = YEAR.iter().filter(|sketch| among(sketch));
    let (mut hits, mut count) = (0.0, 0.0);
    for sketch in all {
        count += 1.0;
        hits += f64::from(u8::from(of(sketch)));
    }
    hits / count
}

/// The sessions of each local day.
fn days() -> BTreeMap<i64, Vec<&'static Sketch>> {
    let mut days: BTreeMap<i64, Vec<&Sketch>> = BTreeMap::new();
    for sketch in YEAR.iter() {
        let day = calendar::local_day(sketch.slot.created);
        days.entry(day).or_default().push(sketch);
    }
    days
}

#[test]
fn people_wait_for_minutes_and_some_for_long() {
    let waits: Vec<f64> = YEAR
        .iter()
        .filter(|sketch| is_office_hour(sketch.slot.created))
        .filter_map(wait)
        .collect();
    let (p10, p50, p90) = (
        part(waits.clone(), 0.1),
        median(waits.clone()),
        part(waits.clone(), 0.9),
    );
    assert!((2.0..15.0).contains(&p50), "{p50}");
    assert!(p90 / p50 > 3.0 && p10 / p50 < 0.4, "{p10} {p50} {p90}");
    assert!(part(waits, 0.99) > 60.0);
}

#[test]
fn days_have_a_rhythm() {
    let working = |sketch: &Sketch| {
        let day = calendar::local_day(sketch.slot.created);
        (1..=5).contains(&calendar::weekday(day)) && !calendar::is_holiday(day)
    };
    let hours: Vec<f64> = (0..24)
        .map(|hour| share(|it| calendar::hour_of(it.slot.created) == hour, working))
        .collect();
    assert!(
        hours[12] < 0.75 * hours[10] && hours[12] < 0.75 * hours[15],
        "{hours:?}"
    );
    assert!(hours[3] < 0.05 * hours[10] && hours[3] > 0.0, "{hours:?}");
    let outside = share(|it| !is_office_hour(it.slot.created), |_| true);
    assert!((0.1..0.35).contains(&outside), "{outside}");
    let weekday = |day: usize| {
        share(
            |it| calendar::weekday(calendar::local_day(it.slot.created)) == day,
            |_| true,
        )
    };
    assert!(weekday(1) > weekday(5) && weekday(5) > 1.5 * weekday(6));
    assert!(weekday(6) > 1.5 * weekday(0) && weekday(1) > 5.0 * weekday(0));
}

#[test]
fn holidays_are_quiet() {
    let days = days();
    let mut seen = 0;
    for (day, sessions) in &days {
        let ordinary = |week: i64| {
            let other = day + 7 * week;
            days.get(&other)
                .filter(|_| !calendar::is_holiday(other))
                .map(|sessions| sessions.len() as f64)
        };
        let weekday = calendar::weekday(*day);
        if !calendar::is_holiday(*day) || !(1..=5).contains(&weekday) {
            continue;
        }
        let usual = median((-3..=3).filter_map(ordinary).collect());
        let count = sessions.len() as f64;
        assert!(count < 0.4 * usual, "{count} of {usual} on {day}");
        // Those on call answer a few.
        let answered = sessions
            .iter()
            .filter(|it| it.answered != NONE && calendar::local_day(it.answered) == *day);
        assert!((answered.count() as f64) < 0.15 * usual, "{day}");
        seen += 1;
    }
    assert!(seen >= 8, "{seen}");
}

#[test]
fn days_scatter_and_the_year_has_seasons() {
    let days = days();
    // Wednesdays of March and April, in which nothing happens.
    let counts: Vec<f64> = days
        .iter()
        .filter(|(day, _)| {
            let month = calendar::day_number(calendar::midnight(**day)) / 100 % 100;
            (3..=4).contains(&month) && calendar::weekday(**day) == 3
        })
        .map(|(_, sessions)| sessions.len() as f64)
        .collect();
    let mean = counts.iter().sum::<f64>() / counts.len() as f64;
    let variance =
        counts.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / (counts.len() - 1) as f64;
    assert!(
        (1.0..10.0).contains(&(variance / mean)),
        "{variance} {mean}"
    );
    let busiest = days
        .iter()
        .max_by_key(|(_, sessions)| sessions.len())
        .unwrap();
    let busiest = calendar::day_number(calendar::midnight(*busiest.0));
    assert_eq!(busiest, 20_251_128);
    // It begins with a month.
    let first = calendar::day_number(YEAR[0].slot.created);
    assert_eq!(first, 20_250_501);
    let of = |month: i64| {
        let sessions = days
            .iter()
            .filter(|(day, _)| calendar::day_number(calendar::midnight(**day)) / 100 == month);
        sessions
            .map(|(_, sessions)| sessions.len() as f64)
            .sum::<f64>()
    };
    let growth = (of(202_603) + of(202_604)) / (of(202_506) + of(202_507));
    assert!((1.05..1.6).contains(&growth), "{growth}");
}

#[test]
fn agents_departments_and_channels_differ() {
    let agents = medians(talk, |it| it.slot.agent);
    assert!(agents.len() >= 8 && spread(&agents) > 1.5, "{agents:?}");
    let agents = medians(wait, |it| it.slot.agent);
    assert!(spread(&agents) > 1.5, "{agents:?}");
    let departments = medians(wait, |it| it.slot.department);
    assert!(spread(&departments) > 2.0, "{departments:?}");
    let channels = medians(wait, |it| it.slot.channel);
    assert!(spread(&channels) > 1.5, "{channels:?}");
}

#[test]
fn agents_have_a_working_day_of_work() {
    let mut counts: BTreeMap<(u16, i64), f64> = BTreeMap::new();
    for sketch in YEAR.iter().filter(|it| it.answered != NONE) {
        let day = calendar::local_day(sketch.answered);
        *counts.entry((sketch.slot.agent, day)).or_default() += 1.0;
    }
    let counts: Vec<f64> = counts.into_values().collect();
    let usual = median(counts.clone());
    assert!((10.0..40.0).contains(&usual), "{usual}");
    assert!(part(counts.clone(), 0.95) < 60.0, "{}", part(counts, 0.95));
    // Holidays and days off: nobody works on all days.
    let mut worked: BTreeMap<u16, std::collections::BTreeSet<i64>> = BTreeMap::new();
    for sketch in YEAR.iter().filter(|it| it.answered != NONE) {
        let days = worked.entry(sketch.slot.agent).or_default();
        days.insert(calendar::local_day(sketch.answered));
    }
    assert!(worked.values().all(|days| days.len() < 330));
}

#[test]
fn waiting_grows_with_the_load() {
    let days: Vec<(f64, f64)> = days()
        .into_iter()
        .filter(|(day, _)| {
            (1..=5).contains(&calendar::weekday(*day)) && !calendar::is_holiday(*day)
        })
        .map(|(_, sessions)| {
            let waits = sessions
                .iter()
                .copied()
                .filter(|it| is_office_hour(it.slot.created));
            (
                sessions.len() as f64,
                median(waits.filter_map(wait).collect()),
            )
        })
        .collect();
    let count = days.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| days.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|day| day.0.ln()), mean(|day| day.1.ln()));
    let sum = |of: &dyn Fn(f64, f64) -> f64| -> f64 {
        days.iter()
            .map(|day| of(day.0.ln() - x, day.1.ln() - y))
            .sum()
    };
    let correlation = sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt();
    assert!(correlation > 0.35, "{correlation}");
    let lunch = medians(wait, |it| calendar::hour_of(it.slot.created));
    assert!(lunch[&13] > 1.15 * lunch[&16], "{lunch:?}");
}

#[test]
fn bots_end_some_and_some_are_never_answered() {
    let contained = share(|it| it.contained, |it| it.bot);
    assert!((0.2..0.45).contains(&contained), "{contained}");
    let closed = |it: &Sketch| it.slot.end != NONE && !it.contained;
    let unanswered = share(|it| it.answered == NONE, closed);
    assert!((0.03..0.13).contains(&unanswered), "{unanswered}");
    let lengths = YEAR.iter().filter(|it| it.contained && it.slot.end != NONE);
    let lengths = lengths
        .map(|it| minutes(it.slot.end - it.slot.created))
        .collect();
    let usual = median(lengths);
    assert!((0.5..5.0).contains(&usual), "{usual}");
    assert!(
        YEAR.iter()
            .filter(|it| it.contained)
            .all(|it| it.slot.agent == NOBODY)
    );
}

#[test]
fn sales_are_made_where_something_is_sold() {
    let is = |it: &Sketch, category| it.outcome == Some(category);
    let decided = |it: &Sketch| is(it, Category::Won) || is(it, Category::Lost);
    for department in [1, 2, 5] {
        assert!(
            !YEAR
                .iter()
                .any(|it| it.slot.department == department && decided(it))
        );
    }
    let rate = |among: &dyn Fn(&Sketch) -> bool| {
        share(|it| is(it, Category::Won), |it| decided(it) && among(it))
    };
    let usual = rate(&|_| true);
    assert!((0.35..0.65).contains(&usual), "{usual}");
    let campaigns: Vec<f64> = (0_u8..)
        .take(names::CAMPAIGNS.len())
        .map(|campaign| rate(&|it| it.campaign == Some(campaign)))
        .collect();
    let (best, worst) = (
        campaigns.iter().copied().fold(0.0, f64::max),
        campaigns.iter().copied().fold(1.0, f64::min),
    );
    assert!(best > 0.6 && worst < 0.3, "{campaigns:?}");
    let agents: Vec<f64> = (0..9_u16)
        .filter(|agent| {
            YEAR.iter()
                .filter(|it| it.slot.agent == *agent && decided(it))
                .count()
                > 300
        })
        .map(|agent| rate(&|it| it.slot.agent == agent))
        .collect();
    let least = agents.iter().copied().fold(1.0, f64::min);
    assert!(
        agents.iter().copied().fold(0.0, f64::max) > least + 0.08,
        "{agents:?}"
    );
}

#[test]
fn contacts_come_back_within_days_and_do_one_thing_at_a_time() {
    let mut by_contact: BTreeMap<u32, Vec<&Sketch>> = BTreeMap::new();
    for sketch in YEAR.iter().filter(|it| it.slot.contact != NO_CONTACT) {
        by_contact
            .entry(sketch.slot.contact)
            .or_default()
            .push(sketch);
    }
    let until = Ticks::from(noon()).0;
    let (mut returned, mut counted, mut overlaps) = (0.0, 0.0, 0.0);
    for sessions in by_contact.values() {
        for (at, one) in sessions.iter().enumerate() {
            let next = sessions
                .get(at + 1)
                .map_or(i64::MAX, |next| next.slot.created);
            overlaps += f64::from(u8::from(one.slot.end == NONE || next < one.slot.end))
                * f64::from(u8::from(next < until));
            if one.slot.end != NONE && one.slot.end < until - 7 * DAY {
                counted += 1.0;
                returned += f64::from(u8::from(next < one.slot.end + 7 * DAY));
            }
        }
    }
    let share = returned / counted;
    assert!((0.1..0.35).contains(&share), "{share}");
    assert!(overlaps / counted < 0.002, "{overlaps}");
}

#[test]
fn tags_go_together() {
    let account = account(&Arc::new(FakeClock::at(noon())));
    let masks: Vec<u128> = (0..account.year.contacts())
        .map(|number| account.year.contact(number).tags)
        .collect();
    let bit = |name: &str| 1_u128 << names::TAGS.iter().position(|tag| tag.0 == name).unwrap();
    let share = |tag: &str, among: u128| {
        let among: Vec<&u128> = masks.iter().filter(|mask| *mask & among == among).collect();
        among.iter().filter(|mask| **mask & bit(tag) != 0).count() as f64 / among.len() as f64
    };
    assert!(share("Fidelidade", bit("Cliente VIP")) > 3.0 * share("Fidelidade", 0));
    assert!(share("Devolução", bit("Reclamação")) > 3.0 * share("Devolução", 0));
    assert!(
        masks
            .iter()
            .all(|mask| *mask & bit("Pago") == 0 || *mask & bit("Aguardando pagamento") == 0)
    );
    let untagged = masks.iter().filter(|mask| **mask == 0).count() as f64 / masks.len() as f64;
    assert!((0.2..0.5).contains(&untagged), "{untagged}");
}

#[test]
fn small_companies_have_few_agents() {
    for (sessions, days, agents) in [(100, 365, 3), (5_000, 76, 5), (200_000, 365, 36)] {
        let config = SandboxConfig {
            days,
            ..SandboxConfig::of_size(sessions)
        };
        let mut account = SandboxAccount::new(&config, Arc::new(FakeClock::at(noon())));
        assert_eq!(account.agents().len(), agents);
        // Each department has somebody.
        let shown = account.truth_agents();
        let mut departments = account.departments();
        for agent in &shown {
            let of = agent["departments"].to_string();
            departments.retain(|id| !of.contains(&id.to_string()));
        }
        assert!(departments.is_empty(), "{shown:?}");
        assert_eq!(account.session_count(), sessions as usize);
    }
}

/// As in the past, some whom nobody answers have an agent.
fn those_whom_nobody_answers_have_their_planned_agents(account: &SandboxAccount) {
    let (mut unanswered, mut taken) = (0, 0);
    for index in account.year.sessions()..account.sessions.size() {
        let slot = *account.sessions.slot(index).unwrap();
        let plan = account.plan_of(index, &slot);
        let Some(session) = account.sessions.changed(index) else {
            continue;
        };
        if session.end_at.is_some() && session.first_response_at.is_none() && !plan.contained {
            assert_eq!(
                session.user_id.is_some(),
                plan.agent != NOBODY,
                "{session:?}"
            );
            unanswered += 1;
            taken += u32::from(session.user_id.is_some());
        }
    }
    assert!(
        taken > 0 && taken * 2 < unanswered,
        "{taken} of {unanswered}"
    );
}

#[test]
fn what_happens_live_is_what_happened_before() {
    let clock = Arc::new(FakeClock::at(noon()));
    let mut account = account(&clock);
    for _ in 0..8_640 {
        clock.advance(seconds(20));
        account.live_step(1);
    }
    let start = Ticks::from(noon()).0;
    // Since what is said of a session changes until its end, both are of those that are over.
    let live: Vec<Session> = (account.year.sessions()..account.sessions.size())
        .filter_map(|index| account.sessions.changed(index).cloned())
        .filter(|session| session.created_at.0 < start + DAY)
        .collect();
    // Mondays from noon to Tuesdays at noon, as busy as this one.
    let is_like = |at: i64| {
        let day = calendar::local_day(at - DAY / 2);
        let ordinary = !calendar::is_holiday(day) && !calendar::is_holiday(day + 1);
        calendar::weekday(day) == 1 && ordinary && at > start - 10 * 7 * DAY
    };
    let before: Vec<&Sketch> = YEAR.iter().filter(|it| is_like(it.slot.created)).collect();
    let weeks: std::collections::BTreeSet<i64> = before
        .iter()
        .map(|it| calendar::local_day(it.slot.created - DAY / 2))
        .collect();
    // What is usual on such days, what the season makes of it, and what a living account adds.
    let daily = before.len() as f64 / weeks.len() as f64;
    let expected: f64 = (0..24)
        .map(|hour| account.year.expected(start + hour * HOUR))
        .sum();
    assert!(
        expected > 0.8 * daily && expected < 1.7 * daily,
        "{expected} and {daily}"
    );
    let count = live.len() as f64;
    assert!(
        count > 0.8 * expected && count < 1.15 * expected + 130.0,
        "{count} of {expected}"
    );
    let near = |what: &str, live: f64, before: f64, factor: f64| {
        assert!(
            live < factor * before && before < factor * live,
            "{what}: {live} live and {before} before"
        );
    };
    let is_office = |at: Ticks| is_office_hour(at.0);
    let waits = |wanted: f64| {
        let live = live.iter().filter(|it| is_office(it.created_at));
        let live = live.filter_map(|it| Some(minutes(it.first_response_at?.0 - it.created_at.0)));
        let past = before.iter().filter(|it| is_office_hour(it.slot.created));
        (
            part(live.collect(), wanted),
            part(past.filter_map(|it| wait(it)).collect(), wanted),
        )
    };
    let (now, then) = waits(0.5);
    near("median wait", now, then, 1.8);
    let (now, then) = waits(0.9);
    near("longest waits", now, then, 3.0);
    let talks: Vec<f64> = live
        .iter()
        .filter_map(|it| Some(minutes(it.end_at?.0 - it.first_response_at?.0)))
        .collect();
    let then = median(before.iter().filter_map(|it| talk(it)).collect());
    near("median talk", median(talks.clone()), then, 1.5);
    assert!(talks.iter().all(|talk| *talk < 6.0 * 1_440.0));
    let of = |what: &str, now: &dyn Fn(&Session) -> bool, then: &dyn Fn(&Sketch) -> bool| {
        let now = live.iter().filter(|it| now(it)).count() as f64 / live.len() as f64;
        let then = before.iter().filter(|it| then(it)).count() as f64 / before.len() as f64;
        near(what, now, then, 1.8);
    };
    of("bots", &|it| it.bot_id.is_some(), &|it| it.bot);
    of("answered", &|it| it.first_response_at.is_some(), &|it| {
        it.answered != NONE
    });
    of(
        "with the bot only",
        &|it| it.end_at.is_some() && it.user_id.is_none() && it.department_id.is_none(),
        &|it| it.contained,
    );
    of(
        "campaigns",
        &|it| it.utm.as_ref().is_some_and(|utm| utm.campaign.is_some()),
        &|it| it.campaign.is_some(),
    );
    of("classified", &|it| it.classification.is_some(), &|it| {
        it.outcome.is_some()
    });
    for session in &live {
        if session.end_at.is_some() && session.first_response_at.is_none() {
            assert_eq!(session.time_service, None, "{session:?}");
        }
    }
    those_whom_nobody_answers_have_their_planned_agents(&account);
    // What was open at noon was gone on with.
    let open = YEAR
        .iter()
        .filter(|it| it.slot.status.is_open() && it.slot.end == NONE)
        .count();
    let still = (0..SESSIONS)
        .filter(|index| account.sessions.slot(*index).unwrap().status.is_open())
        .count();
    assert!(still * 2 < open, "{still} of {open}");
}
