//! The address of a database: its accepted forms, and which parts of it may be shown.
//!
//! Messages of this module show no part of the address except its scheme.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::values;

/// The accepted forms of an address. Every message about an invalid address ends with it.
const ACCEPTED: &str =
    "(accepted: sqlite://FILE, the path of a file, postgres://USER:PASSWORD@HOST/NAME)";

/// The parameters that a Postgres address may have. The driver ignores others.
const PARAMETERS: [&str; 20] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "statement-cache-capacity",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    // The driver knows neither. Hosting companies put both into addresses, and ignoring them is safe.
    "channel_binding",
    "connect_timeout",
];

/// The setting of Postgres that names the schema of new tables.
const SEARCH_PATH: &str = "search_path";

/// The URL of a `SQLite` file or of a Postgres database. Its `Display` and `Debug` omit user name and
/// password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The URL with its password. Use it only to open the database.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The database's file, if the database is `SQLite`.
    pub fn sqlite_file(&self) -> Option<&Path> {
        self.0
            .strip_prefix("sqlite:")
            .map(|rest| Path::new(file_in(rest)))
    }

    /// Whether it is a SQLite database in memory.
    pub fn is_in_memory(&self) -> bool {
        self.0.starts_with("sqlite:")
            && (self.0.contains(":memory:") || self.0.contains("mode=memory"))
    }

    /// The same database, with the tables in this schema.
    pub(super) fn in_schema(&self, schema: &str) -> Result<Self, String> {
        if self.sqlite_file().is_some() {
            return Err(
                "is only for Postgres: a SQLite file has no schemas; leave it out".to_owned(),
            );
        }
        let mut url = Url::parse(&self.0).map_err(|_| "needs a valid address".to_owned())?;
        let key = format!("options[{SEARCH_PATH}]");
        if url.query_pairs().any(|(name, _)| name == key) {
            return Err(format!(
                "is set together with {key} in the database address: remove one of the two"
            ));
        }
        url.query_pairs_mut()
            .append_pair(&key, &format!("\"{schema}\""));
        Ok(Self(url.into()))
    }

    /// A short text for the tables of this schema, which differs from that of others. It is the same from
    /// whatever folder the path of a file is given.
    pub(super) fn fingerprint(&self, schema: Option<&str>) -> String {
        let place = match self.sqlite_file() {
            Some(file) => {
                let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
                let folder = file.parent().and_then(|folder| folder.canonicalize().ok());
                let whole = folder.zip(file.file_name());
                let file = whole.map_or(file.clone(), |(folder, name)| folder.join(name));
                file.to_string_lossy().into_owned()
            }
            None => format!("{self} {}", schema.unwrap_or_default()),
        };
        let hash = Sha256::digest(place.as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        format!("{:016x}", u64::from_be_bytes(first))
    }

    /// Its parameters that have no effect.
    pub fn unknown_parameters(&self) -> Vec<String> {
        if self.sqlite_file().is_some() {
            return Vec::new();
        }
        let Ok(url) = Url::parse(&self.0) else {
            return Vec::new();
        };
        url.query_pairs()
            .map(|(name, _)| name.into_owned())
            .filter(|name| !PARAMETERS.contains(&name.as_str()) && !name.starts_with("options["))
            .collect()
    }
}

/// The path in what follows `sqlite:`.
fn file_in(rest: &str) -> &str {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    path.split('?').next().unwrap_or(path)
}

impl FromStr for DatabaseUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if is_path(text) {
            return Ok(Self(format!("sqlite://{text}")));
        }
        let problem = if text.is_empty() {
            Some("is empty".to_owned())
        } else if let Some(rest) = text.strip_prefix("sqlite:") {
            why_not_sqlite(rest).map(str::to_owned)
        } else if ["postgres://", "postgresql://"]
            .iter()
            .any(|start| text.starts_with(start))
        {
            why_not_postgres(text).map(str::to_owned)
        } else {
            Some(why_not(text))
        };
        match problem {
            Some(problem) => Err(format!("{problem} {ACCEPTED}")),
            None => Ok(Self(text.to_owned())),
        }
    }
}

/// Whether a text is the path of a file and nothing else: it has no part of a URL, and neither a user
/// nor a password.
fn is_path(text: &str) -> bool {
    !text.is_empty()
        && !text.contains([':', '@', '?', '#', '%', '\\', '='])
        && !text.ends_with('/')
        && (text.contains(['/', '.']) || !text.starts_with("postgres"))
}

fn why_not_sqlite(rest: &str) -> Option<&'static str> {
    let file = file_in(rest);
    // The driver decodes the path after it has looked for this name.
    let decoded = file.replace("%3A", ":").replace("%3a", ":");
    if decoded.contains(":memory:") || rest.contains(":memory:") || rest.contains("mode=memory") {
        Some("a database in memory would be lost when the command ends")
    } else if file.is_empty() {
        // SQLite opens a temporary database then.
        Some("names no file; the database would be lost when the command ends")
    } else {
        None
    }
}

fn why_not_postgres(text: &str) -> Option<&'static str> {
    const ENCODE: &str = "is not a valid URL: in the user name and the password, write the characters \
                          @ : / ? # as %40 %3A %2F %3F %23";
    let Ok(url) = Url::parse(text) else {
        return Some(ENCODE);
    };
    // If the password contains such a character, the URL's host ends early. The rest, with the true
    // host, ends up in the path, the parameters or the fragment.
    let astray = url.path().contains('@')
        || url.fragment().is_some()
        || url.query_pairs().any(|(name, _)| name.contains('@'));
    astray.then_some(ENCODE)
}

/// What is wrong with an address that is neither `SQLite` nor Postgres.
fn why_not(text: &str) -> String {
    let plain = |scheme: &&str| {
        !scheme.is_empty()
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    match text
        .split_once("://")
        .map(|(scheme, _)| scheme)
        .filter(plain)
    {
        Some(scheme) => format!("databases of the kind {scheme:?} are not supported"),
        None if text.starts_with("postgres") => {
            "the address of a Postgres database must start with postgres:// or postgresql://"
                .to_owned()
        }
        None => "has no scheme".to_owned(),
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        values::parsed(from, "a text")
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.starts_with("sqlite:") {
            return f.write_str(&self.0);
        }
        // The password may be before an `@` or in the parameters.
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("postgres", ""));
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (address, parameters) = rest.split_at(end);
        match address.rsplit_once('@') {
            Some((_, place)) => write!(f, "{scheme}://***@{place}"),
            // An `@` in the parameters: the password may contain the `?`.
            None if parameters.contains('@') => write!(f, "{scheme}://***"),
            None => write!(f, "{scheme}://{address}"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_that_of_the_database_and_not_of_how_it_is_named() {
        let print = |text: &str, schema| text.parse::<DatabaseUrl>().unwrap().fingerprint(schema);
        let folder = std::env::current_dir().unwrap();
        let whole = format!("sqlite://{}/a.db", folder.display());
        assert_eq!(print("a.db", None), print(&whole, None));
        assert_eq!(print("./a.db", None), print("sqlite://a.db", None));
        assert_ne!(print("a.db", None), print("b.db", None));
        let (one, other) = ("postgres://u:p@h/d", "postgres://v@h/d?sslmode=require");
        assert_eq!(print(one, None), print(other, None));
        assert_ne!(print(one, None), print("postgres://u:p@h/e", None));
        assert_ne!(print(one, None), print(one, Some("helena")));
    }

    #[test]
    fn an_address_is_shown_without_user_password_and_parameters() {
        for (text, shown) in [
            ("sqlite://helena.db", "sqlite://helena.db"),
            (" sqlite:/var/a@b/helena.db ", "sqlite:/var/a@b/helena.db"),
            ("postgres://u:geheim@db/helena", "postgres://***@db/helena"),
            (
                r"postgres://\u:geheim@db/helena",
                "postgres://***@db/helena",
            ),
            (
                "postgresql://geheim@db:5432/helena?sslmode=require",
                "postgresql://***@db:5432/helena",
            ),
            (
                "postgres://u:ge@heim@db/helena?password=geheim",
                "postgres://***@db/helena",
            ),
            (
                "postgres://db/helena?password=geheim",
                "postgres://db/helena",
            ),
            (
                "postgres://db/helena?user=u&password=geheim@db",
                "postgres://***",
            ),
            (
                "postgres:///helena?host=/run/postgresql",
                "postgres:///helena",
            ),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown, "{text}");
            assert_eq!(format!("{url:?}"), shown, "{text}");
            assert_eq!(url.expose(), text.trim());
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_what_is_accepted_and_nothing_of_it() {
        for (text, told) in [
            ("", "is empty"),
            ("u:geheim@h/x", "has no scheme"),
            ("u:geheim://u@h/x", "has no scheme"),
            (
                "mysql://u:geheim@h/x",
                "databases of the kind \"mysql\" are not supported",
            ),
            (
                "postgres:u:geheim@127.0.0.1:1/x",
                "must start with postgres://",
            ),
            (
                "postgres:/u:geheim@127.0.0.1:1/x",
                "must start with postgres://",
            ),
            (
                r"postgres:\\u:geheim@127.0.0.1:1/x",
                "must start with postgres://",
            ),
            ("postgresql:u:geheim@h/x", "must start with postgres://"),
            ("postgres://u:ge/heim@h/x", "is not a valid URL"),
            ("postgres://u:12/geheim@h/x", "is not a valid URL"),
            ("postgres://u:12#geheim@h/x", "is not a valid URL"),
            ("postgres://u:12?geheim@h/x", "is not a valid URL"),
            ("sqlite:", "names no file"),
            ("sqlite://", "names no file"),
            ("sqlite://?mode=rwc", "names no file"),
            ("sqlite::memory:", "in memory"),
            ("sqlite://%3amemory%3A", "in memory"),
            ("sqlite://helena.db?mode=memory", "in memory"),
        ] {
            let error = text.parse::<DatabaseUrl>().unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
            assert!(
                error.contains("accepted: sqlite://FILE, the path of a file, postgres://"),
                "{error}"
            );
            assert!(!error.contains("heim"), "{text}: {error}");
        }
    }

    #[test]
    fn a_plain_path_is_a_sqlite_file() {
        for text in [
            "helena.db",
            "./helena.db",
            "/var/lib/helena/mirror.sqlite",
            "helena",
            "uma pasta/cópia.db",
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(url.sqlite_file(), Some(Path::new(text)));
        }
        for text in ["postgres", "C:\\helena.db", "folder/", "me:geheim@host/db"] {
            let error = text.parse::<DatabaseUrl>().unwrap_err();
            assert!(error.contains("the path of a file"), "{error}");
            assert!(!error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn a_schema_goes_into_the_address_of_postgres_alone() {
        let url: DatabaseUrl = "postgres://u:geheim@db/x?sslmode=require".parse().unwrap();
        let inside = url.in_schema("Vendas 2").unwrap();
        assert_eq!(
            inside.expose(),
            "postgres://u:geheim@db/x?sslmode=require&options%5Bsearch_path%5D=%22Vendas+2%22"
        );
        assert_eq!(inside.unknown_parameters(), [""; 0]);
        assert!(inside.in_schema("b").unwrap_err().contains("remove one"));
        let file: DatabaseUrl = "helena.db".parse().unwrap();
        assert!(
            file.in_schema("b")
                .unwrap_err()
                .contains("only for Postgres")
        );
    }

    #[test]
    fn parameters_that_mean_nothing_are_named_without_their_values() {
        let url = "postgres://db/x?pasword=geheim&sslmode=require&options[a]=b";
        let url: DatabaseUrl = url.parse().unwrap();
        assert_eq!(url.unknown_parameters(), ["pasword"]);
    }
}
