//! An account that is made up, with everything odd that sessions may have.

use std::fmt::Write as _;

use helena_sync::data::Timestamp;
use uuid::Uuid;

use super::now;
use crate::support::database::Database;

/// A session as it is inserted; what is not set is null.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) number: u128,
    pub(super) account: i64,
    pub(super) columns: Vec<(&'static str, String)>,
}

pub(super) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// A literal of SQL.
pub(super) fn quoted(text: impl std::fmt::Display) -> String {
    format!("'{}'", text.to_string().replace('\'', "''"))
}

impl Session {
    pub(super) fn new(number: u128) -> Self {
        Self {
            number,
            account: 1,
            columns: Vec::new(),
        }
    }

    pub(super) fn with(mut self, column: &'static str, value: impl std::fmt::Display) -> Self {
        self.columns.retain(|(name, _)| *name != column);
        self.columns.push((column, quoted(value)));
        self
    }

    /// A number, or another expression.
    #[expect(clippy::needless_pass_by_value, reason = "reads like a literal")]
    pub(super) fn with_number(mut self, column: &'static str, value: impl ToString) -> Self {
        self.columns.push((column, value.to_string()));
        self
    }

    fn insert(&self) -> String {
        let mut names = "id, account_id, run_id, synced_at".to_owned();
        let mut values = format!(
            "'{}', {}, 1, '2026-06-20T14:00:00.000000Z'",
            id(1_000_000 + self.number),
            self.account
        );
        for (name, value) in &self.columns {
            let _ = write!(names, ", {name}");
            let _ = write!(values, ", {value}");
        }
        format!("insert into sessions ({names}) values ({values});\n")
    }
}

/// Makes account 1 with 6 agents, 4 departments, 3 channels, 5 tags and 40 contacts, complete up to the
/// present.
pub(super) async fn company(database: &Database) {
    let store = &database.store;
    store
        .account("default", "https://api.helena.run", now())
        .await
        .unwrap();
    let mut sql = format!(
        "insert into sync_state (account_id, resource, partition, last_success_at) \
         values (1, 'sessions', '', {});\n",
        quoted(now())
    );
    let own = "1, 1, '2026-06-20T14:00:00.000000Z'";
    for (table, key, name, from, count) in [
        ("agents", "user_id", "name", 100, 6),
        ("departments", "id", "name", 200, 4),
        ("channels", "id", "number_formatted", 300, 3),
        ("tags", "id", "name", 400, 5),
        ("contacts", "id", "name", 500, 40),
    ] {
        for number in from..from + count {
            let _ = writeln!(
                sql,
                "insert into {table} ({key}, {name}, account_id, run_id, synced_at) \
                 values ('{}', '{} é{number}', {own});",
                id(number),
                &table[..3]
            );
        }
    }
    database.execute(&sql).await;
}

/// Inserts sessions, and the tags of some: the session's number and the tag's place.
pub(super) async fn insert(database: &Database, sessions: &[Session], tags: &[(u128, u128)]) {
    let mut sql = String::from("begin;\n");
    for session in sessions {
        sql.push_str(&session.insert());
    }
    for (session, tag) in tags {
        let _ = writeln!(
            sql,
            "insert into session_tags (session_id, tag_id, account_id, run_id, synced_at) \
             values ('{}', '{}', 1, 1, '2026-06-20T14:00:00.000000Z');",
            id(1_000_000 + session),
            id(400 + tag)
        );
    }
    sql.push_str("commit;");
    database.execute(&sql).await;
}

/// An instant so many microseconds later.
pub(super) fn later(at: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(at.micros() + micros)
}

/// Sessions of 50 days up to some hours behind the present, the same ones for the same seed.
pub(super) fn sessions(count: u128, seed: u64) -> Vec<Session> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count)
        .map(|number| session(&mut random, number))
        .collect()
}

#[expect(clippy::too_many_lines, reason = "a line or two for each oddity")]
fn session(random: &mut fastrand::Rng, number: u128) -> Session {
    const SECOND: i64 = 1_000_000;
    let one_in = |random: &mut fastrand::Rng, n: u32| random.u32(..n) == 0;
    let created = later(now(), -random.i64(-4 * 3600..50 * 86_400) * SECOND);
    // Fractions of all kinds, and some on the border of a day.
    let created = match random.u32(..10) {
        0 => Timestamp::parse("2026-06-01T03:00:00Z").unwrap(),
        1 => Timestamp::parse("2026-06-01T02:59:59.999999Z").unwrap(),
        2 => later(created, 999_999),
        _ => later(created, random.i64(0..SECOND)),
    };
    let mut session = Session::new(number).with("created_at", created);
    let status = match random.u32(..40) {
        0 => "HIDDEN",
        1 => "UNDEFINED",
        2 => "ARCHIVED_BY_MARTIANS",
        3..=8 => "STARTED",
        9..=13 => "PENDING",
        14..=18 => "IN_PROGRESS",
        _ => "COMPLETED",
    };
    if !one_in(random, 50) {
        session = session.with("status", status);
    }
    let closed = status == "COMPLETED";
    let kind = ["INDIVIDUAL", "GROUP"][usize::from(one_in(random, 20))];
    if !one_in(random, 8) {
        session = session.with("type", kind);
    }
    if !one_in(random, 12) {
        session = session.with("contact_id", id(500 + random.u128(..40)));
    }
    session = session.with("channel_id", id(300 + random.u128(..3)));
    if !one_in(random, 4) {
        session = session.with("department_id", id(200 + random.u128(..4)));
    }
    if !one_in(random, 3) {
        session = session.with("user_id", id(100 + random.u128(..5)));
    }
    if one_in(random, 3) {
        session = session.with("bot_id", id(900));
    }
    let spread = |random: &mut fastrand::Rng| {
        let most = [90, 1_800, 40_000, 200_000][random.usize(..4)];
        random.i64(-30..most) * SECOND + random.i64(0..SECOND)
    };
    if !one_in(random, 3) {
        session = session.with("first_response_at", later(created, spread(random)));
        if one_in(random, 2) {
            session = session.with("start_at", later(created, random.i64(0..SECOND)));
        }
    }
    if closed && !one_in(random, 15) || one_in(random, 30) {
        session = session.with("end_at", later(created, spread(random)));
    }
    for (text, seconds) in [
        ("time_wait", "time_wait_seconds"),
        ("time_service", "time_service_seconds"),
    ] {
        match random.u32(..12) {
            0 => {}
            1 => session = session.with(text, "later"),
            2 => session = session.with(text, "-1").with_number(seconds, -1),
            _ => {
                let time = random.i64(0..4_000);
                session = session.with(text, time).with_number(seconds, time);
            }
        }
    }
    for column in [
        "last_message_in",
        "last_message_out",
        "last_interaction_date",
    ] {
        if !one_in(random, 4) {
            session = session.with(column, later(created, random.i64(0..3_600) * SECOND));
        }
    }
    if one_in(random, 2) {
        let category = ["WON", "LOST", "INFO", "OTHER", "UNDEFINED", "Ótimo"][random.usize(..6)];
        session = session
            .with("classification_category", category)
            .with("classification_category_name", "Venda d'agora")
            .with_number(
                "classification_amount",
                f64::from(random.u32(..4_000)) / 4.0,
            );
    }
    if one_in(random, 2) {
        let campaign = ["verão", "", "natal"][random.usize(..3)];
        session = session
            .with("utm_campaign", campaign)
            .with("utm_source", ["google", "meta"][random.usize(..2)]);
        if one_in(random, 2) {
            session = session.with("utm_clid", "x");
        }
    }
    if one_in(random, 4) {
        session = session
            .with("window_status", "EXPIRED")
            .with_number("unread_count", 3);
    }
    if one_in(random, 40) {
        session = session.with("removed_at", now());
    }
    session.with("number", number)
}

/// Two tags for a third of them, one for another third.
pub(super) fn tags(count: u128) -> Vec<(u128, u128)> {
    let mut tags = Vec::new();
    for number in 0..count {
        if number % 3 < 2 {
            tags.push((number, number % 5));
        }
        if number % 3 == 0 {
            tags.push((number, (number + 1) % 5));
        }
    }
    tags
}
