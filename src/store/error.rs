//! The errors of the store, sorted by what a caller does about them.
//!
//! No message contains a row's content or a password. Messages of the database itself are passed on
//! only if they cannot quote a value.

use std::fmt;

use sqlx::error::DatabaseError;

use crate::data::{counted, without_os_numbers};

/// A failure of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address does not name a supported database. A usage error.
    #[error(
        "the database address is not usable: {0} (accepted: sqlite://FILE, the path of a file, postgres://USER:PASSWORD@HOST/NAME)"
    )]
    Url(String),
    /// The tables are of an earlier version of this program.
    #[error(
        "the tables are those of an earlier version: {} missing, the first is {:?}; run `helena-sync migrate`",
        counted(.missing.len() as u64, "migration"), .missing.first().map_or("", String::as_str)
    )]
    TooOld {
        /// The migrations that are missing, in order.
        missing: Vec<String>,
    },
    /// The tables are of a later version of this program.
    #[error(
        "the tables are those of a later version: this helena-sync does not know migration {version}; use the version that applied it, or a later one"
    )]
    TooNew {
        /// The unknown migration.
        version: i64,
    },
    /// The tables belong to another program.
    #[error(
        "the database belongs to another program: {found}; give helena-sync a database of its own, or in Postgres a schema of its own (set database.schema to a name such as helena, or HELENA_SYNC__DATABASE__SCHEMA=helena); to create its tables among the others all the same, set database.shared to true"
    )]
    Foreign {
        /// The evidence.
        found: String,
    },
    /// The database's encoding lacks characters. A usage error.
    #[error(
        "the database {database} stores text as {encoding}, which lacks characters that the platform sends, such as emoji; create a database with `create database helena encoding 'UTF8' locale 'C.UTF-8' template template0` and use its address"
    )]
    Encoding {
        /// The encoding.
        encoding: String,
        /// The database.
        database: String,
    },
    /// The address leads to a connection pooler that cannot be used. A usage error.
    #[error(
        "the database address leads to a connection pooler that cannot be used: {problem}; use the pooler's session mode (PgBouncer: pool_mode = session; Supabase: port 5432 instead of 6543) or the address of the server itself"
    )]
    Pooler {
        /// What is wrong with it.
        problem: String,
    },
    /// A connection pooler refuses a parameter of the address.
    #[error(
        "the connection pooler of the database refuses a parameter of the address: it says {said:?}; remove the parameter (for the schema, set database.schema instead), or name it in the pooler's ignore_startup_parameters"
    )]
    Parameter {
        /// What it says.
        said: String,
    },
    /// The certificate of the database server is not trusted, or not valid.
    #[error(
        "the certificate of the database server is not accepted; if a private authority signed it, add sslrootcert=FILE to the parameters of the address, with the authority's certificate in FILE (for the authorities of this machine: sslrootcert=/etc/ssl/certs/ca-certificates.crt)"
    )]
    Certificate {
        /// What is wrong with it.
        source: Cause,
    },
    /// A SQLite file lies beside the log of another database.
    #[error(
        "{0} was changed {1} later than its log {0}-wal, so the log probably belongs to another database, and SQLite would mix the two. Stop every program that uses {0}. If {0} was restored from a copy, delete {0}-wal and {0}-shm, and start again: the next sync reads again what they held. Otherwise, run `touch {0}-wal`: without this log, rows are lost",
        file.display(), humantime::format_duration(*by)
    )]
    OldLog {
        /// The database.
        file: std::path::PathBuf,
        /// How much later it was changed.
        by: std::time::Duration,
    },
    /// A migration was applied with another text than this program has.
    #[error(
        "migration {version} in the database differs from that of this program: a modified build of helena-sync applied it; use that build, or start with an empty database"
    )]
    Altered {
        /// The migration.
        version: i64,
    },
    /// Several accounts have rows with the same id, and the next migration can keep only one of them.
    /// Nothing was changed.
    #[error(
        "cannot migrate the tables, and changed nothing: each id may have only one row, but {found}; delete the rows of the account that should not have them (docs/troubleshooting.md says how), then run `helena-sync migrate` again"
    )]
    SharedIds {
        /// The tables, the number of ids and the accounts.
        found: String,
    },
    /// Another process has acquired the lease of this account. Nothing of this transaction was
    /// stored.
    #[error(
        "another process has taken over the lease of this account; nothing of this transaction was stored"
    )]
    LeaseLost,
    /// The database has the company of this token under another account.
    #[error(
        "this token belongs to the same company as account {other:?} in the database: rename this account to {other:?} in the configuration, or use another database; if both accounts are configured, remove one of them"
    )]
    SameCompany {
        /// The account that already has the company.
        other: String,
    },
    /// An account's token belongs to another company than the rows stored for it.
    #[error(
        "this token belongs to company {found}, but account {account:?} has the data of company {stored}: configure the token as an account with another name"
    )]
    OtherCompany {
        /// The account's name.
        account: String,
        /// The company of the stored rows.
        stored: uuid::Uuid,
        /// The company of the token.
        found: uuid::Uuid,
    },
    /// No connection, or the database cannot write at present (busy, full, read-only). A retry may
    /// succeed.
    #[error("could not {doing}: the database is not available")]
    Unavailable {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: Cause,
    },
    /// A stored value is not one that this program writes.
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
    /// A row does not fit its table, so nothing of its transaction was stored. A bug of this program.
    #[error(
        "row {key} of {table} {problem}, so nothing of this transaction was stored. This is a bug in helena-sync; please report this line"
    )]
    Unfit {
        /// The table.
        table: &'static str,
        /// The row's key.
        key: uuid::Uuid,
        /// What is wrong with it.
        problem: String,
    },
    /// The database refused a statement. A retry does not help.
    #[error("could not {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: Cause,
    },
    /// Other sessions hold locks on the tables that a migration changes.
    #[error(
        "cannot migrate the tables, and changed nothing: they are in use by {holders}; stop what uses them, or end these sessions (`select pg_terminate_backend(PROCESS)`), then start again"
    )]
    Locked {
        /// The sessions.
        holders: String,
    },
    /// The file of the database was removed or replaced while it was open. What is written to it is lost.
    #[error(
        "the database file {file} was removed or replaced while helena-sync used it; start helena-sync again to use the file that is there now, or to load a new one"
    )]
    Replaced {
        /// The file.
        file: String,
    },
    /// A migration failed.
    #[error("could not migrate the tables")]
    Migrate(#[source] Cause),
}

/// The reason that the database or the driver gives, without any value of a row.
#[derive(Debug)]
pub struct Cause(String, Remedy);

/// What may remove the reason of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// Time, perhaps.
    Time,
    /// Only a person: the server refuses the login, or has no database of this name.
    Person,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Cause {}

/// SQLite's code if neither `TMPDIR` nor `/var/tmp`, `/tmp` and the current folder can be written, as in a
/// container that is read-only.
const NO_TEMPORARY_FOLDER: &str = "6410";

/// SQLite's primary result codes for "not now": busy, locked, read-only, I/O error, full, cannot
/// open.
const SQLITE_UNAVAILABLE: [i64; 6] = [5, 6, 8, 10, 13, 14];

/// Postgres' SQLSTATE classes for "not now": connection, credentials and catalog (an operator can
/// mend both while the daemon waits), rollback by conflict, resources, object in use, operator
/// intervention, system error.
const POSTGRES_UNAVAILABLE: [&str; 8] = ["08", "28", "3D", "40", "53", "55", "57", "58"];

/// `25006`: the server is read-only, such as a standby. `25P03`: the server ended a transaction
/// because this process was idle in it.
const POSTGRES_STATES: [&str; 2] = ["25006", "25P03"];

/// The classes of a refused login and of a missing database.
const POSTGRES_LOGIN: [&str; 2] = ["28", "3D"];

impl StoreError {
    /// Whether only a person can remove the reason: the server refuses the login, or has no database of
    /// this name. A database that was open before may come back all the same.
    pub const fn needs_person(&self) -> bool {
        matches!(
            self,
            Self::Unavailable {
                source: Cause(_, Remedy::Person),
                ..
            }
        )
    }

    /// Sorts a driver's error.
    pub(super) fn from_sqlx(doing: &'static str, table: &'static str, error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { index, .. } | sqlx::Error::ColumnNotFound(index) => {
                Self::Inconsistent {
                    doing,
                    table,
                    column: index,
                    problem: "has a value of another type than this program writes".to_owned(),
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
                source: Cause::new(without_os_numbers(&error.to_string())),
            },
            error => Self::Database {
                doing,
                source: Cause::new(without_os_numbers(&error.to_string())),
            },
        }
    }

    /// The error of a statement that is not tried, because the database did not answer an earlier
    /// one.
    pub(super) fn silent(doing: &'static str) -> Self {
        Self::Unavailable {
            doing,
            source: Cause::new("it did not answer the last write".to_owned()),
        }
    }

    /// Sorts a failure of a migration.
    pub(super) fn from_migrate(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(error) => Self::from_sqlx("migrate the database", "it", error),
            MigrateError::VersionMissing(version) => Self::TooNew { version },
            MigrateError::ExecuteMigration(error, version) => Self::Migrate(Cause::new(format!(
                "migration {version}: {}",
                match error {
                    sqlx::Error::Database(error) => Cause::of(error.as_ref()).0,
                    error => error.to_string(),
                }
            ))),
            error => Self::Migrate(Cause::new(error.to_string())),
        }
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

/// The SQLSTATE of a server that refuses one connection more.
const TOO_MANY_CONNECTIONS: &str = "53300";

impl Cause {
    /// A reason that quotes no value.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into(), Remedy::Time)
    }

    fn of(error: &dyn DatabaseError) -> Self {
        let code = error.code().unwrap_or_default();
        // Class 22, "data exception", quotes the offending value; nothing else quotes rows in its
        // first line.
        let is_postgres = error
            .try_downcast_ref::<sqlx::postgres::PgDatabaseError>()
            .is_some();
        if is_postgres && code.starts_with("22") {
            return Self::new(format!("a value was refused (SQLSTATE {code})"));
        }
        let is_login = is_postgres && POSTGRES_LOGIN.iter().any(|class| code.starts_with(class));
        let remedy = if is_login {
            Remedy::Person
        } else {
            Remedy::Time
        };
        let advice = if is_postgres && code == TOO_MANY_CONNECTIONS {
            "; end other connections, or raise the limit (`alter role NAME connection limit 12`, or \
             max_connections of the server)"
        } else {
            ""
        };
        let text = if is_postgres {
            format!("{} (SQLSTATE {code}){advice}", error.message())
        } else if code == NO_TEMPORARY_FOLDER {
            format!(
                "{}, since SQLite has no folder for temporary files; set TMPDIR to a folder that can be \
                 written",
                error.message()
            )
        } else {
            // SQLite's numbers say less than its words.
            error.message().to_owned()
        };
        Self(text, remedy)
    }
}
