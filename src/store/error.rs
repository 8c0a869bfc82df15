//! What can go wrong with the database, sorted by what a caller does about it.
//!
//! No variant's text holds a row's content or a password; the database's own messages are passed
//! on only where they cannot quote a value.

use std::fmt;

use sqlx::error::DatabaseError;

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address names no database we know how to use: a usage error.
    #[error(
        "the database address is not usable: {0} (accepted: sqlite://FILE, postgres://USER:PASSWORD@HOST/NAME)"
    )]
    Url(String),
    /// The tables are of an earlier version of this program.
    #[error(
        "the database lacks {} migration(s), the first is {:?}: run `helena-sync migrate`",
        .missing.len(), .missing.first().map_or("", String::as_str)
    )]
    TooOld {
        /// The migrations that are missing, in order.
        missing: Vec<String>,
    },
    /// The tables are of a later version of this program, which alone knows what they mean.
    #[error(
        "the database has migration {version}, which this version of helena-sync does not know: use the version that made it, or a later one"
    )]
    TooNew {
        /// The unknown migration.
        version: i64,
    },
    /// Another process writes for this account now; nothing of this transaction was stored.
    #[error(
        "another process has taken over writing for this account (the lease was lost); nothing was stored by this one"
    )]
    LeaseLost,
    /// The company of an account's token is stored under another name.
    #[error(
        "this account's token belongs to the same company as account {other:?}, under which the database holds it: name this account {other:?} in the configuration, or use another database; if both are configured, remove one of them"
    )]
    SameCompany {
        /// The account that has the company already.
        other: String,
    },
    /// An account's token belongs to another company than the rows stored for it.
    #[error(
        "this token belongs to company {found}, but account {account:?} holds the data of company {stored}: give the new token an account name of its own"
    )]
    OtherCompany {
        /// The account's name.
        account: String,
        /// Whose rows are stored.
        stored: uuid::Uuid,
        /// Whose token it is.
        found: uuid::Uuid,
    },
    /// No connection, or the database cannot write at present (busy, full, read-only). Worth
    /// trying again later.
    #[error("could not {doing}: the database is not available")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: Cause,
    },
    /// Something stored is not what this program stores.
    #[error("could not {doing}: column {column:?} of {table} {problem}")]
    Inconsistent {
        /// What was being done.
        doing: &'static str,
        /// Where.
        table: &'static str,
        /// The column.
        column: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A row is none of its table, and nothing that came with it was stored: a fault of this program.
    #[error(
        "row {key} of {table} {problem}, so nothing that came with it was stored: this is a fault of helena-sync, please report this line"
    )]
    Unfit {
        /// Of which table.
        table: &'static str,
        /// The row's key.
        key: uuid::Uuid,
        /// What is wrong with it.
        problem: String,
    },
    /// The database refused a statement; trying the same again will not help.
    #[error("could not {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: Cause,
    },
    /// A migration failed.
    #[error("could not migrate the database")]
    Migrate(#[source] Cause),
}

/// The database's or the driver's reason, without any value of a row.
#[derive(Debug)]
pub struct Cause(String);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

/// SQLite's primary result codes for "not now": busy, locked, read-only, I/O error, full, cannot
/// open.
const SQLITE_UNAVAILABLE: [i64; 6] = [5, 6, 8, 10, 13, 14];

/// Postgres' SQLSTATE classes for "not now": connection, credentials and catalog (an operator can
/// mend both while the daemon waits), rollback by conflict, resources, object in use, operator
/// intervention, system error.
const POSTGRES_UNAVAILABLE: [&str; 8] = ["08", "28", "3D", "40", "53", "55", "57", "58"];

/// `25006`: the server is read-only, a standby for instance. `25P03`: this process stood still in
/// the middle of a transaction, which the server has ended.
const POSTGRES_STATES: [&str; 2] = ["25006", "25P03"];

impl StoreError {
    /// Sorts a driver's error.
    pub(super) fn from_sqlx(doing: &'static str, table: &'static str, error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { index, .. } | sqlx::Error::ColumnNotFound(index) => {
                Self::Inconsistent {
                    doing,
                    table,
                    column: index,
                    problem: "does not hold what belongs there".to_owned(),
                }
            }
            sqlx::Error::Database(error) => {
                let source = Cause::of(error.as_ref());
                if is_unavailable(error.as_ref()) {
                    Self::Unavailable { doing, source }
                } else {
                    Self::Database { doing, source }
                }
            }
            error @ (sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed) => Self::Unavailable {
                doing,
                source: Cause(error.to_string()),
            },
            error => Self::Database {
                doing,
                source: Cause(error.to_string()),
            },
        }
    }

    /// What is not even tried, because the database did not answer before.
    pub(super) fn silent(doing: &'static str) -> Self {
        Self::Unavailable {
            doing,
            source: Cause("it did not answer when it was last written to".to_owned()),
        }
    }

    /// Sorts a failure of a migration.
    pub(super) fn from_migrate(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(error) => Self::from_sqlx("migrate the database", "it", error),
            MigrateError::VersionMissing(version) => Self::TooNew { version },
            MigrateError::ExecuteMigration(error, version) => Self::Migrate(Cause(format!(
                "migration {version}: {}",
                match error {
                    sqlx::Error::Database(error) => Cause::of(error.as_ref()).0,
                    error => error.to_string(),
                }
            ))),
            error => Self::Migrate(Cause(error.to_string())),
        }
    }

    /// Whether the same call may succeed later without anybody changing the program or its
    /// configuration.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

fn is_unavailable(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    if error
        .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
        .is_some()
    {
        return POSTGRES_STATES.contains(&code.as_ref())
            || POSTGRES_UNAVAILABLE
                .iter()
                .any(|class| code.starts_with(class));
    }
    code.parse::<i64>()
        .is_ok_and(|code| SQLITE_UNAVAILABLE.contains(&(code & 0xff)))
}

impl Cause {
    fn of(error: &dyn DatabaseError) -> Self {
        let code = error.code().unwrap_or_default();
        // Class 22, "data exception", quotes the offending value; nothing else quotes rows in its
        // first line.
        let is_postgres = error
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .is_some();
        if is_postgres && code.starts_with("22") {
            return Self(format!("a value was refused (SQLSTATE {code})"));
        }
        Self(format!("{} (code {code})", error.message()))
    }
}
