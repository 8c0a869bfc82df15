//! What stands behind the address of a Postgres database: its encoding, a pooler, its limits.
//!
//! Must not know any table.

use std::io;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{Connection, Row as _};
use url::Url;

use super::error::{Cause, StoreError};
use super::transaction::Patience;

/// The setting that names the schema of unqualified tables.
const SEARCH_PATH: &str = "options[search_path]";

/// The encoding that has every character.
const UTF8: &str = "UTF8";

/// How long a step of [`is_shared`] may take.
const STEP: Duration = Duration::from_secs(10);

/// The same for a command that only reads, and does without a second connection.
const SHORT_STEP: Duration = Duration::from_secs(2);

const TRYING: &str = "use a second connection to the database";

/// The code of a server that accepts no more connections.
const TOO_MANY: &str = "53300";

/// The address without its search path, and the search path.
///
/// The driver would send the search path with the others of `options` when it connects. Poolers refuse
/// that or, if they are told to ignore it, connect to the wrong schema. So each transaction sets it.
pub(super) fn without_search_path(url: &str) -> (String, Option<String>) {
    let Ok(mut parsed) = Url::parse(url) else {
        // The driver tells what is wrong.
        return (url.to_owned(), None);
    };
    let pairs: Vec<(String, String)> = parsed.query_pairs().into_owned().collect();
    let path = pairs.iter().rev().find(|(name, _)| name == SEARCH_PATH);
    let Some((_, path)) = path.cloned() else {
        return (url.to_owned(), None);
    };
    let rest: Vec<(String, String)> = pairs
        .into_iter()
        .filter(|(name, _)| name != SEARCH_PATH)
        .collect();
    parsed.set_query(None);
    if !rest.is_empty() {
        parsed.query_pairs_mut().extend_pairs(rest);
    }
    (parsed.into(), Some(path))
}

/// A statement that sets the search path, for the transaction or for the connection.
pub(super) fn set_search_path(path: &str, of_transaction: bool) -> String {
    format!(
        "select set_config('search_path', '{}', {of_transaction})",
        path.replace('\'', "''")
    )
}

/// What a server says about itself.
#[derive(Debug, Clone)]
pub(super) struct Server {
    database: String,
    encoding: String,
    role: String,
    process: i32,
    /// The connections that the role may open, and the database may have. -1 is no limit.
    of_role: i64,
    of_database: i64,
}

impl Server {
    /// Asks the server.
    pub(super) async fn ask(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let sql = "select current_database()::text, current_setting('server_encoding'), \
                   session_user::text, pg_backend_pid(), \
                   (select rolconnlimit::bigint from pg_roles where rolname = session_user), \
                   (select datconnlimit::bigint from pg_database where datname = current_database())";
        // Without a prepared statement: behind a pooler, the next transaction may have another server.
        let row: PgRow = sqlx::raw_sql(sql).fetch_one(connection).await?;
        Ok(Self {
            database: row.try_get(0)?,
            encoding: row.try_get(1)?,
            role: row.try_get(2)?,
            process: row.try_get(3)?,
            of_role: row.try_get::<Option<i64>, _>(4)?.unwrap_or(-1),
            of_database: row.try_get::<Option<i64>, _>(5)?.unwrap_or(-1),
        })
    }

    /// Refuses an encoding that lacks characters: the first emoji would stop every sync.
    pub(super) fn check_encoding(&self) -> Result<(), StoreError> {
        if self.encoding == UTF8 {
            return Ok(());
        }
        Err(StoreError::Encoding {
            encoding: self.encoding.clone(),
            database: self.database.clone(),
        })
    }

    /// How many connections the role may open, if that is limited, and which limit it is.
    pub(super) fn limit(&self) -> Option<(u32, String)> {
        let of_role = (self.of_role, format!("role {}", self.role));
        let of_database = (self.of_database, format!("database {}", self.database));
        [of_role, of_database]
            .into_iter()
            .filter_map(|(limit, whose)| Some((u32::try_from(limit).ok()?, whose)))
            .min()
    }
}

/// Whether the address leads to a pooler that gives each transaction another server. Such a pooler
/// confuses prepared statements and settings of several clients.
///
/// A second connection tells: while it is in a transaction, it has the server that the first one just
/// had, or the first one has another server than before. A role that may have only one or two connections
/// may be refused the second one. Any other failure says nothing, so it is an error; but a command that
/// only reads goes on with one connection where no second one gets a server.
pub(super) async fn is_shared(
    first: &mut PgConnection,
    connect: &PgConnectOptions,
    server: &Server,
    read_only: bool,
) -> Result<bool, StoreError> {
    let failed =
        |error| refusal(&error).unwrap_or_else(|| StoreError::from_sqlx(TRYING, "it", error));
    let patience = Patience::of(if read_only { SHORT_STEP } else { STEP });
    let second = patience.wait(PgConnection::connect_with(connect)).await;
    let mut second = match second {
        Ok(second) => second,
        Err(error) if is_refused(&error) && server.limit().is_some_and(|(most, _)| most <= 2) => {
            return Ok(false);
        }
        Err(error) => return Err(failed(error)),
    };
    let begin = async {
        sqlx::raw_sql("begin").execute(&mut second).await?;
        process(&mut second).await
    };
    let of_second = match patience.wait(begin).await {
        Ok(process) => process,
        // The first one keeps the only server: a pooler in session mode.
        Err(sqlx::Error::Io(error)) if error.kind() == io::ErrorKind::TimedOut => {
            return if read_only { Ok(false) } else { Err(single()) };
        }
        Err(error) => return Err(failed(error)),
    };
    // With one server only, the first connection would wait for it until the transaction ends.
    let shared = if of_second == server.process {
        true
    } else {
        let again = patience.wait(process(first)).await.map_err(failed)?;
        let ended = async {
            sqlx::raw_sql("rollback").execute(&mut second).await?;
            process(&mut second).await
        };
        let later = patience.wait(ended).await.map_err(failed)?;
        again != server.process || later != of_second
    };
    let _closed = patience.wait(second.close()).await;
    Ok(shared)
}

/// Whether the server accepts no more connections for now.
fn is_refused(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.code().as_deref() == Some(TOO_MANY))
}

/// The error for a pooler that has no server for a second connection.
fn single() -> StoreError {
    StoreError::Unavailable {
        doing: TRYING,
        source: Cause::new(
            "no server for it; a connection pooler must have several for helena-sync (PgBouncer: \
             default_pool_size of at least 3)",
        ),
    }
}

async fn process(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let row: PgRow = sqlx::raw_sql("select pg_backend_pid()")
        .fetch_one(connection)
        .await?;
    row.try_get(0)
}

/// The error for an address that leads to a pooler in transaction mode.
pub(super) fn transaction_mode() -> StoreError {
    StoreError::Pooler {
        problem:
            "it gives each transaction another connection to the server (transaction mode), which \
                  confuses prepared statements"
                .to_owned(),
    }
}

/// The failure of a connection attempt that no retry can mend, if it is one.
pub(super) fn refusal(error: &sqlx::Error) -> Option<StoreError> {
    match error {
        sqlx::Error::Database(error) => {
            let said = error.message();
            if said.contains("startup parameter") {
                return Some(StoreError::Parameter {
                    said: said.to_owned(),
                });
            }
            said.contains("statement pooling mode")
                .then(|| StoreError::Pooler {
                    problem: format!("it says {said:?}"),
                })
        }
        sqlx::Error::Tls(error) => refused_certificate(&error.to_string()),
        // That is how the driver passes on what its TLS library says.
        sqlx::Error::Io(error) => refused_certificate(&error.to_string()),
        _ => None,
    }
}

fn refused_certificate(said: &str) -> Option<StoreError> {
    said.contains("certificate")
        .then(|| StoreError::Certificate {
            source: Cause::new(said),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_search_path_is_taken_out_of_the_address() {
        let split = |url: &str| without_search_path(url);
        let plain = "postgres://u:p@h/db?sslmode=require";
        assert_eq!(split(plain), (plain.to_owned(), None));
        assert_eq!(
            split("postgres://u:p@h/db?options[search_path]=a,b&sslmode=require"),
            (plain.to_owned(), Some("a,b".to_owned()))
        );
        assert_eq!(
            split("postgres://h/db?options%5Bsearch_path%5D=%22Vendas+2%22"),
            (
                "postgres://h/db".to_owned(),
                Some("\"Vendas 2\"".to_owned())
            )
        );
        assert_eq!(
            set_search_path("o'neill", true),
            "select set_config('search_path', 'o''neill', true)"
        );
    }

    #[test]
    fn the_lowest_limit_counts() {
        let server = |of_role, of_database| Server {
            database: "helena".into(),
            encoding: UTF8.into(),
            role: "sync".into(),
            process: 1,
            of_role,
            of_database,
        };
        assert_eq!(server(-1, -1).limit(), None);
        assert_eq!(server(2, -1).limit(), Some((2, "role sync".into())));
        assert_eq!(server(9, 5).limit(), Some((5, "database helena".into())));
    }
}
