//! `init`: asks for the token and the database, tests both and writes a configuration file.
//!
//! Must not show the token, nor write a file that others can read.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueHint};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::waiting::patiently;
use super::{Context, Exit, Failure, Global, Patience, place, refused_options, whole_file};
use crate::clock::Clock;
use crate::config::{CONFIG_VARIABLE, DEFAULT_FILE, DatabaseUrl, Environment, Key, Settings};
use crate::store::{OpenOptions, Store, StoreError};
use crate::sync;

/// Write a configuration file, and test it.
///
/// Asks for the token, the address of the API and the database, tests them, and writes
/// helena-sync.toml, or the file of --config, which only you can read. The token is not shown while
/// you type it. init does not ask for the token if an option or a variable gives it. It proposes the
/// address and the database of variables, and does not ask for those of --base-url and --database-url.
///
/// Without a terminal, nothing is asked: the token comes from --token-stdin, --token-file,
/// HELENA_API_TOKEN or HELENA_API_TOKEN_FILE. If a test fails, no file is written.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  helena-sync init
  helena-sync init --token-stdin < token.txt
  helena-sync --config /etc/helena.toml init --token-file /etc/helena/token", args = refused_options::hidden(refused_options::INIT))]
pub struct InitArgs {
    /// Read the token from stdin
    #[arg(long, conflicts_with = "token_file")]
    pub token_stdin: bool,
    /// Refer to this file, which holds the token, instead of writing the token
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub token_file: Option<PathBuf>,
    /// Replace a file that exists
    #[arg(long)]
    pub force: bool,
}

/// How long a test may spend on retries.
const PATIENCE: Duration = Duration::from_secs(10);

/// After this time without an answer, a person is told.
const SOON: Duration = Duration::from_secs(3);

/// Where the token is.
#[derive(Debug, Clone)]
enum Token {
    /// In the file that is written.
    Text(SecretString),
    /// In a file of its own.
    File(PathBuf),
}

/// What the file will say.
struct Answers {
    token: Token,
    base_url: String,
    database_url: String,
    timezone: Option<String>,
}

impl Answers {
    /// The text of the file. Only what differs from the defaults, except the database, which an
    /// operator looks for.
    fn text(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut text = String::from(
            "# Written by helena-sync init. docs/configuration.md describes all keys; helena-sync config show prints the\n# effective ones.\n\n",
        );
        // Writing to a String cannot fail.
        if let Some(zone) = &self.timezone {
            let _ = writeln!(text, "timezone = {}\n", quoted(zone));
        }
        text.push_str("[api]\n");
        if self.base_url != default_of("api.base_url") {
            let _ = writeln!(text, "base_url = {}", quoted(&self.base_url));
        }
        let _ = match &self.token {
            Token::Text(token) => writeln!(text, "token = {}", quoted(token.expose_secret())),
            Token::File(path) => {
                writeln!(text, "token_file = {}", quoted(&path.display().to_string()))
            }
        };
        let _ = writeln!(text, "\n[database]\nurl = {}", quoted(&self.database_url));
        text
    }

    /// A context with the file as it is written, and the variables of all other keys.
    fn context(&self, given: &Given<'_>) -> Result<Context, Failure> {
        let written = [
            "api.token",
            "api.token_file",
            "api.base_url",
            "database.url",
        ];
        let written = written.iter().filter_map(|key| Key::find(key));
        let names: Vec<String> = written.flat_map(Key::variables).collect();
        let environment = given.environment.without(&names);
        let settings = Settings::parse(&given.path, &self.text(), environment, &[])?;
        Context::of_settings(settings, Arc::clone(&given.clock))
    }
}

fn default_of(key: &str) -> &'static str {
    Key::find(key).map_or("", |key| key.default)
}

/// What was given before anything is asked.
struct Given<'a> {
    global: &'a Global,
    environment: &'a Environment,
    /// The file to write.
    path: PathBuf,
    /// The token, if it need not be asked for.
    token: Option<Token>,
    /// Whether somebody can answer.
    interactive: bool,
    clock: Arc<dyn Clock>,
}

impl Given<'_> {
    /// A variable that is set and not empty.
    fn variable(&self, name: &str) -> Option<String> {
        variable(self.environment, name)
    }

    /// The flag's value, else the variable's, else the default.
    fn value(&self, flag: Option<&String>, key: &str) -> String {
        // Of several variables the last one wins.
        let variables = Key::find(key).into_iter().flat_map(Key::variables);
        let set = variables.filter_map(|name| self.variable(&name)).last();
        flag.cloned()
            .or(set)
            .unwrap_or_else(|| default_of(key).to_owned())
    }
}

fn variable(environment: &Environment, name: &str) -> Option<String> {
    let text = environment.get(name).map(str::trim);
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The token, if an option or a variable gives it.
async fn token_of(args: &InitArgs, environment: &Environment) -> Result<Option<Token>, Failure> {
    if let Some(file) = &args.token_file {
        return Ok(Some(Token::File(absolute(file))));
    }
    if args.token_stdin {
        // Without a line the token is empty, which the test of the token reports.
        let text = line().await?.unwrap_or_default();
        return Ok(Some(Token::Text(SecretString::from(text))));
    }
    if let Some(text) = variable(environment, "HELENA_API_TOKEN") {
        return Ok(Some(Token::Text(SecretString::from(text))));
    }
    let file = variable(environment, "HELENA_API_TOKEN_FILE");
    Ok(file.map(|file| Token::File(absolute(Path::new(&file)))))
}

/// Asks, tests and writes. Ctrl-C ends it at any moment before the file is written.
pub(super) async fn run(
    global: &Global,
    environment: Environment,
    args: &InitArgs,
    clock: Arc<dyn Clock>,
) -> Result<Exit, Failure> {
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    tokio::select! {
        done = asking(global, &environment, args, clock) => done,
        _ = interrupt.recv() => Err(stopped()),
        _ = terminate.recv() => Err(stopped()),
    }
}

fn stopped() -> Failure {
    Failure::failed(anyhow::anyhow!("stopped; nothing was written"))
}

async fn asking(
    global: &Global,
    environment: &Environment,
    args: &InitArgs,
    clock: Arc<dyn Clock>,
) -> Result<Exit, Failure> {
    let path = global
        .config
        .clone()
        .or_else(|| variable(environment, CONFIG_VARIABLE).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    if path.exists() && !args.force {
        return Err(Failure::usage_text(format!(
            "{} exists already: edit it, or add --force to replace it",
            path.display()
        )));
    }
    let given = Given {
        global,
        environment,
        path,
        token: token_of(args, environment).await?,
        interactive: io::stdin().is_terminal() && !args.token_stdin,
        clock,
    };
    if given.token.is_none() && !given.interactive {
        return Err(Failure::usage_text(
            "there is no terminal to ask for the token: add --token-stdin and write the token to \
             stdin, add --token-file FILE, or set HELENA_API_TOKEN",
        ));
    }
    // Before anything is typed.
    if let Some(why) = place::unwritable_folder(&given.path) {
        return Err(Failure::failed(anyhow::anyhow!(why)));
    }
    let mut answers = Answers {
        token: Token::Text(SecretString::from(String::new())),
        base_url: given.value(global.base_url.as_ref(), "api.base_url"),
        database_url: given.value(global.database_url.as_ref(), "database.url"),
        timezone: global.timezone.clone(),
    };
    // What is wrong with the other variables, no answer can mend.
    answers.context(&given)?.settings.check()?;
    ask_for_token(&given, &mut answers).await?;
    ask_for_database(&given, &mut answers).await?;
    let path = &given.path;
    answers.database_url = settled(&answers.database_url, path);
    let text = answers.text();
    let written = if args.force {
        whole_file::replace_privately(path, text.as_bytes())
    } else {
        whole_file::create(path, text.as_bytes())
    };
    written.map_err(|error| {
        Failure::from(error).context(format!("cannot write {}", path.display()))
    })?;
    let named = if path == Path::new(DEFAULT_FILE) {
        String::new()
    } else {
        format!(" --config {}", path.display())
    };
    say(&format!(
        "{} written; only you can read it. Next: helena-sync run{named}",
        path.display()
    ));
    for name in OVERRIDING {
        let is_answered = name != TIMEZONE || answers.timezone.is_some();
        if is_answered && given.variable(name).is_some() {
            say(&format!(
                "{name} is set. Commands that see it use it instead of the file; unset it to use the file"
            ));
        }
    }
    Ok(Exit::Done)
}

/// The variables of what the file says. The environment wins over the file.
const OVERRIDING: [&str; 6] = [
    "HELENA_API_TOKEN",
    "HELENA_API_TOKEN_FILE",
    "HELENA_BASE_URL",
    "HELENA_DATABASE_URL",
    "DATABASE_URL",
    TIMEZONE,
];

const TIMEZONE: &str = "HELENA_SYNC__TIMEZONE";

/// Asks for address and token until the API accepts them.
async fn ask_for_token(given: &Given<'_>, answers: &mut Answers) -> Result<(), Failure> {
    loop {
        if given.interactive && given.global.base_url.is_none() {
            answers.base_url = ask("Address of the API", &answers.base_url).await?;
        }
        answers.token = match &given.token {
            Some(token) => token.clone(),
            None => Token::Text(ask_secret("Token (account settings, Integrations > API)").await?),
        };
        let tested = match answers.context(given) {
            Ok(context) => Box::pin(test_token(&context)).await,
            Err(failure) => Err(failure),
        };
        match tested {
            Ok(()) => {
                say("the API accepts the token");
                return Ok(());
            }
            // Another answer helps if the token is refused, or if the address can be typed again.
            Err(failure)
                if given.interactive
                    && given.token.is_none()
                    && (failure.exit == Exit::Refused || given.global.base_url.is_none()) =>
            {
                say(failure.text().trim_end());
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Asks for the database until it can be used.
async fn ask_for_database(given: &Given<'_>, answers: &mut Answers) -> Result<(), Failure> {
    let asks = given.interactive && given.global.database_url.is_none();
    let usual = answers.database_url.clone();
    loop {
        if asks {
            answers.database_url = ask_database(&usual).await?;
        }
        let tested = match answers.context(given) {
            Ok(context) => Box::pin(test_database(&context)).await,
            Err(failure) => Err(failure),
        };
        match tested {
            Ok(found) => {
                say(&found);
                return Ok(());
            }
            Err(failure) if asks => say(failure.text().trim_end()),
            Err(failure) => return Err(failure),
        }
    }
}

async fn test_token(context: &Context) -> Result<(), Failure> {
    let account = context.account()?;
    let client = account.client(context, &[], Patience::Within(PATIENCE))?;
    let never = CancellationToken::new();
    let asked = Box::pin(patiently(context, &client, sync::company(&client, &never)));
    let place = account.base_url.to_string();
    let company = soon(context.clock.as_ref(), &place, asked).await?;
    company.map(|_| ()).map_err(|error| {
        let failure = Failure::from(error);
        let doing = match failure.exit {
            Exit::Refused => format!("{} refuses the token", account.base_url),
            Exit::Done | Exit::Failed | Exit::Usage => {
                format!("cannot test the token at {}", account.base_url)
            }
        };
        failure.context(doing)
    })
}

/// Tests the database without changing it, and says what was found.
async fn test_database(context: &Context) -> Result<String, Failure> {
    let url = context.database()?.url;
    let failed =
        |error: StoreError| Failure::from(error).context(format!("cannot use the database {url}"));
    if let Some(why) = url.sqlite_file().and_then(place::unwritable) {
        return Err(Failure::failed(anyhow::anyhow!(why)));
    }
    if url.sqlite_file().is_some_and(|file| !file.exists()) {
        return Ok(format!(
            "the database {url} will be created by the first sync"
        ));
    }
    let options = OpenOptions { read_only: true };
    let opened = Store::open(url.expose(), &options);
    let opened = soon(context.clock.as_ref(), &url.to_string(), opened).await;
    let store = opened.map_err(failed)?;
    let store = store.sharing(context.database()?.shared);
    let migrating = match store.check_schema().await {
        Ok(()) => Ok(false),
        Err(StoreError::TooOld { .. }) => Ok(true),
        Err(error) => Err(error),
    };
    let found = match migrating {
        Ok(migrating) => store.lacking(migrating).await,
        Err(error) => Err(error),
    };
    store.close().await;
    let lacking = found.map_err(failed)?;
    if lacking.is_empty() {
        Ok(format!("the database {url} can be used"))
    } else {
        Err(Failure::failed(anyhow::anyhow!(
            "the role of the database {url} lacks privileges; grant them: {}",
            lacking.join("; ")
        )))
    }
}

/// The address of the database as the file says it. A relative path of a SQLite file means another file in
/// another folder, so it is only kept if the configuration file is in the current one.
fn settled(database: &str, file: &Path) -> String {
    let kept = || database.to_owned();
    let Ok(url) = database.parse::<DatabaseUrl>() else {
        return kept();
    };
    let Some(path) = url.sqlite_file().filter(|path| path.is_relative()) else {
        return kept();
    };
    let is_here = absolute(file).parent() == absolute(Path::new(DEFAULT_FILE)).parent();
    let whole = absolute(path).display().to_string();
    // In an address, these would mean something else.
    if is_here || whole.contains(['%', '?', '#']) {
        return kept();
    }
    let parameters = url.expose().split_once('?');
    let parameters = parameters.map_or_else(String::new, |(_, rest)| format!("?{rest}"));
    format!("sqlite://{whole}{parameters}")
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn say(text: &str) {
    // If stderr is closed, nobody reads it.
    let _unwritable = writeln!(io::stderr().lock(), "{text}");
}

/// Asks for a line. An empty answer means the default.
async fn ask(question: &str, default: &str) -> Result<String, Failure> {
    prompt(&format!("{question} [{default}]: "));
    let line = answer().await?;
    Ok(if line.is_empty() {
        default.to_owned()
    } else {
        line
    })
}

/// The same for the database, whose user and password are not shown.
async fn ask_database(default: &str) -> Result<String, Failure> {
    prompt(&format!(
        "Database, sqlite://FILE or postgres://... {}: ",
        shown_default(default)
    ));
    let line = answer().await?;
    Ok(if line.is_empty() {
        default.to_owned()
    } else {
        line
    })
}

/// `[sqlite://helena.db]`. An address that is not shown in full says so, since Enter means all of it.
fn shown_default(database: &str) -> String {
    let Ok(url) = database.parse::<DatabaseUrl>() else {
        return "[***, which is not a valid address]".to_owned();
    };
    let hidden = match url.to_string() {
        shown if shown == url.expose() => "",
        shown if shown.contains("***") => ", shown without its password",
        _ => ", shown without its parameters",
    };
    format!("[{url}{hidden}]")
}

async fn ask_secret(question: &str) -> Result<SecretString, Failure> {
    prompt(&format!("{question}: "));
    let silent = Silent::begin();
    let line = answer().await;
    drop(silent);
    // The line break that was typed was not shown either.
    say("");
    Ok(SecretString::from(line?))
}

fn prompt(text: &str) {
    let mut err = io::stderr().lock();
    let _unwritable = write!(err, "{text}").and_then(|()| err.flush());
}

/// A line that somebody types. The end of the input ends the command.
async fn answer() -> Result<String, Failure> {
    line().await?.ok_or_else(stopped)
}

/// Reads a line in a thread of its own, so that Ctrl-C ends the command. `None` at the end of the input.
async fn line() -> Result<Option<String>, Failure> {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        // If the command has ended, nobody waits for it.
        let _ended = tell.send(read.map(|bytes| (bytes > 0).then_some(line)));
    });
    let read = told.await.map_err(|_| stopped())??;
    Ok(read.map(|line| line.trim().to_owned()))
}

/// Waits for the answer of a test. If that takes long, says what it waits for.
async fn soon<T>(clock: &dyn Clock, what: &str, answer: impl Future<Output = T>) -> T {
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => return answer,
        () = clock.sleep(SOON) => {}
    }
    say(&format!(
        "no answer from {what} yet; press Ctrl-C to give up"
    ));
    answer.await
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silent(Termios);

impl Silent {
    fn begin() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent).ok()?;
        Some(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // It worked before; there is nothing else to try.
        let _unset = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_with_a_password_is_shown_without_it() {
        for (database, shown) in [
            ("sqlite://helena.db", "[sqlite://helena.db]"),
            ("postgres://db/helena", "[postgres://db/helena]"),
            (
                "postgres://ana:geheim@db/helena",
                "[postgres://***@db/helena, shown without its password]",
            ),
            (
                "postgres://db/helena?sslmode=require",
                "[postgres://db/helena, shown without its parameters]",
            ),
            ("mysql://geheim@db", "[***, which is not a valid address]"),
        ] {
            assert_eq!(shown_default(database), shown);
        }
    }

    #[test]
    fn a_relative_file_stays_relative_only_beside_the_configuration_file() {
        let here = std::env::current_dir().unwrap();
        let whole = format!("sqlite://{}/data/helena.db", here.display());
        let of = |database: &str, file: &str| settled(database, Path::new(file));
        let default = DEFAULT_FILE;
        assert_eq!(
            of("sqlite://data/helena.db", default),
            "sqlite://data/helena.db"
        );
        assert_eq!(of("data/helena.db", "/etc/helena.toml"), whole);
        assert_eq!(
            of("sqlite://data/helena.db", "other/helena-sync.toml"),
            whole
        );
        let with = format!("{whole}?mode=rwc");
        assert_eq!(
            of("sqlite://data/helena.db?mode=rwc", "/etc/helena.toml"),
            with
        );
        for database in ["sqlite:///srv/helena.db", "postgres://db/helena"] {
            assert_eq!(of(database, "/etc/helena.toml"), database);
        }
    }

    #[test]
    fn what_is_written_is_read_as_it_was_answered() {
        let answers = Answers {
            token: Token::Text(SecretString::from("pn_\"quoted\"\\".to_owned())),
            base_url: "https://api.wts.chat".into(),
            database_url: "postgres://u:p%40@db/helena".into(),
            timezone: Some("America/Sao_Paulo".into()),
        };
        let path = Path::new("helena-sync.toml");
        let read = Settings::parse(path, &answers.text(), Environment::default(), &[]).unwrap();
        let account = &read.accounts().unwrap().list[0];
        assert_eq!(account.token.expose_secret(), "pn_\"quoted\"\\");
        assert_eq!(account.base_url, "https://api.wts.chat");
        let url = read.database().unwrap().url;
        assert_eq!(url.expose(), "postgres://u:p%40@db/helena");
        assert_eq!(read.timezone().unwrap().to_string(), "America/Sao_Paulo");
    }
}
