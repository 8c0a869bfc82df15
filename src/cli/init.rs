//! `init`: asks for the token and the database, tests both and writes a configuration file.
//!
//! Must not show the token, nor write a file that others can read.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueHint};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::{ExposeSecret as _, SecretString};
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
fn token_of(args: &InitArgs, environment: &Environment) -> Result<Option<Token>, Failure> {
    if let Some(file) = &args.token_file {
        return Ok(Some(Token::File(absolute(file))));
    }
    if args.token_stdin {
        return Ok(Some(Token::Text(SecretString::from(line_of_stdin()?))));
    }
    if let Some(text) = variable(environment, "HELENA_API_TOKEN") {
        return Ok(Some(Token::Text(SecretString::from(text))));
    }
    let file = variable(environment, "HELENA_API_TOKEN_FILE");
    Ok(file.map(|file| Token::File(absolute(Path::new(&file)))))
}

/// Asks, tests and writes.
pub(super) async fn run(
    global: &Global,
    environment: Environment,
    args: &InitArgs,
    clock: Arc<dyn Clock>,
) -> Result<Exit, Failure> {
    let path = global
        .config
        .clone()
        .or_else(|| variable(&environment, CONFIG_VARIABLE).map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    if path.exists() && !args.force {
        return Err(Failure::usage_text(format!(
            "{} exists already: edit it, or add --force to replace it",
            path.display()
        )));
    }
    let given = Given {
        global,
        environment: &environment,
        path,
        token: token_of(args, &environment)?,
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
    ask_for_token(&given, &mut answers).await?;
    ask_for_database(&given, &mut answers).await?;
    let path = &given.path;
    let text = answers.text();
    let written = if args.force {
        whole_file::replace(path, text.as_bytes()).and_then(|()| {
            // It may have been readable for others before it held a token.
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        })
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
        if given.variable(name).is_some() {
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
    "HELENA_SYNC__TIMEZONE",
];

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
            Ok(context) => test_token(&context).await,
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
            Ok(context) => test_database(&context).await,
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
    let company = patiently(context, &client, sync::company(&client, &never)).await?;
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
    let store = Store::open(url.expose(), &options).await.map_err(failed)?;
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

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn say(text: &str) {
    // If stderr is closed, nobody reads it.
    let _unwritable = writeln!(io::stderr().lock(), "{text}");
}

fn line_of_stdin() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Asks for a line. An empty answer means the default.
async fn ask(question: &str, default: &str) -> Result<String, Failure> {
    prompt(&format!("{question} [{default}]: "));
    let line = line().await?;
    Ok(if line.is_empty() {
        default.to_owned()
    } else {
        line
    })
}

/// The same for the database, whose password is not shown.
async fn ask_database(default: &str) -> Result<String, Failure> {
    let shown = default
        .parse::<DatabaseUrl>()
        .map_or_else(|_| "***".to_owned(), |url| url.to_string());
    prompt(&format!(
        "Database, sqlite://FILE or postgres://... [{shown}]: "
    ));
    let line = line().await?;
    Ok(if line.is_empty() {
        default.to_owned()
    } else {
        line
    })
}

async fn ask_secret(question: &str) -> Result<SecretString, Failure> {
    prompt(&format!("{question}: "));
    let silent = Silent::begin();
    let line = line().await;
    drop(silent);
    // The line break that was typed was not shown either.
    say("");
    Ok(SecretString::from(line?))
}

fn prompt(text: &str) {
    let mut err = io::stderr().lock();
    let _unwritable = write!(err, "{text}").and_then(|()| err.flush());
}

/// Reads a line in a thread of its own, so that Ctrl-C ends the command.
async fn line() -> Result<String, Failure> {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        // If the command has ended, nobody waits for it.
        let _ended = tell.send(read.map(|bytes| (bytes > 0).then_some(line)));
    });
    let stopped = || Failure::failed(anyhow::anyhow!("stopped; nothing was written"));
    let read = tokio::select! {
        read = told => read.map_err(|_| stopped())??,
        _ = tokio::signal::ctrl_c() => None,
    };
    Ok(read.ok_or_else(stopped)?.trim().to_owned())
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
