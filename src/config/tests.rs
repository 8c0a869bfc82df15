//! Every message of the configuration, and the order in which its sources win.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;
use crate::data::{Resource, SessionVersion};

struct File {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn file(text: &str) -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("some.toml");
    fs::write(&path, text).unwrap();
    restrict(&path, 0o600);
    File { _dir: dir, path }
}

#[cfg(unix)]
fn restrict(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn from_file(text: &str) -> Result<Settings, ConfigError> {
    let file = file(text);
    Settings::load(Some(&file.path), Environment::default(), &[])
}

fn from_environment<const N: usize>(variables: [(&str, &str); N]) -> Settings {
    let file = file("");
    Settings::load(Some(&file.path), variables.into(), &[]).unwrap()
}

fn message<T>(result: Result<T, ConfigError>) -> String {
    match result {
        Ok(_) => String::from("no error"),
        Err(error) => error.to_string(),
    }
}

/// What every section says of a file, the first complaint.
fn complaint(text: &str) -> String {
    let settings = match from_file(text) {
        Ok(settings) => settings,
        Err(error) => return error.to_string(),
    };
    let all = [
        message(settings.api()),
        message(settings.database()),
        message(settings.sync()),
        message(settings.backfill()),
        message(settings.store()),
        message(settings.verify()),
        message(settings.report()),
        message(settings.log()),
        message(settings.timezone()),
    ];
    all.into_iter()
        .find(|text| text != "no error")
        .unwrap_or_default()
}

#[test]
fn the_defaults_are_valid_and_documented() {
    let settings = from_environment([("HELENA_API_TOKEN", "pn_x")]);
    let api = settings.api().unwrap();
    assert_eq!(api.page_size.get(), 100);
    assert_eq!(api.rate_limit.sustained.to_string(), "1000/5m");
    assert_eq!(api.rate_limit.burst.to_string(), "200/5s");
    assert!((api.rate_limit.share - 0.9).abs() < f64::EPSILON);
    assert!(!api.allow_http);
    assert_eq!(api.request_timeout, Duration::from_mins(2));
    let sync = settings.sync().unwrap();
    assert_eq!(sync.schedule, Schedule::Every(Duration::from_mins(1)));
    assert_eq!(sync.overlap, Duration::from_mins(2));
    assert_eq!(sync.include_details, DETAILS);
    assert_eq!(sync.resources, Resource::ALL);
    let database = settings.database().unwrap();
    assert_eq!(database.url.expose(), "sqlite://helena.db");
    assert_eq!(database.url.sqlite_file(), Some(Path::new("helena.db")));
    assert!(database.migrate);
    assert_eq!(settings.backfill().unwrap().concurrency.get(), 4);
    assert!(settings.verify().unwrap().schedule.is_some());
    assert!(!settings.store().unwrap().raw);
    assert_eq!(settings.log().unwrap().format, LogFormat::Text);
    settings.timezone().unwrap();
    let accounts = settings.accounts().unwrap();
    assert_eq!(accounts.list[0].name, DEFAULT_ACCOUNT);
    assert_eq!(accounts.list[0].base_url, "https://api.helena.run");
    assert_eq!(accounts.warnings, Vec::<String>::new());
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = file("[api]\npage_size = 10\nread_timeout = \"7s\"\n[backfill]\nconcurrency = 2\n");
    let environment = [
        ("HELENA_SYNC__API__PAGE_SIZE", "20"),
        ("HELENA_SYNC__BACKFILL__CONCURRENCY", "3"),
    ];
    let flags = [Flag {
        key: "backfill.concurrency",
        flag: "--concurrency",
        value: "8".into(),
    }];
    let settings = Settings::load(Some(&file.path), environment.into(), &flags).unwrap();
    assert_eq!(settings.api().unwrap().read_timeout, Duration::from_secs(7));
    assert_eq!(settings.api().unwrap().page_size.get(), 20);
    assert_eq!(settings.backfill().unwrap().concurrency.get(), 8);
}

#[test]
fn the_version_of_the_session_list_is_a_word_or_a_number() {
    for (text, expected) in [
        ("\"auto\"", None),
        ("\" Auto\"", None),
        ("1", Some(SessionVersion::First)),
        ("\"1\"", Some(SessionVersion::First)),
        ("2", Some(SessionVersion::Second)),
    ] {
        let settings = from_file(&format!("[api]\nsession_version = {text}\n"));
        let api = settings.unwrap().api().unwrap();
        assert_eq!(api.session_version, expected, "{text}");
    }
    let settings = from_environment([("HELENA_SYNC__API__SESSION_VERSION", "1")]);
    let api = settings.api().unwrap();
    assert_eq!(api.session_version, Some(SessionVersion::First));
}

#[test]
fn every_key_can_be_set_by_its_variable() {
    for key in KEYS {
        let (text, variable) = (
            if key.default.is_empty() {
                "x"
            } else {
                key.default
            },
            key.variable(),
        );
        let file = file("");
        let settings = Settings::load(Some(&file.path), [(variable.as_str(), text)].into(), &[]);
        assert!(settings.is_ok(), "{variable}");
        assert!(!key.meaning.is_empty() && key.meaning.ends_with('.'));
    }
    let settings = from_environment([
        ("HELENA_SYNC__API__RATE_LIMIT__SUSTAINED", "500/1m"),
        ("HELENA_SYNC__SYNC__RESOURCES", "sessions, tags"),
        ("HELENA_SYNC__SYNC__INCLUDE_DETAILS", ""),
        ("HELENA_SYNC__STORE__RAW", "TRUE"),
        ("HELENA_SYNC__TIMEZONE", "America/Sao_Paulo"),
        ("DATABASE_URL", "postgres://u:secret@db/helena?password=x"),
    ]);
    assert_eq!(
        settings.api().unwrap().rate_limit.sustained.to_string(),
        "500/1m"
    );
    assert_eq!(
        settings.sync().unwrap().resources,
        [Resource::Tags, Resource::Sessions]
    );
    assert!(settings.sync().unwrap().include_details.is_empty());
    assert!(settings.store().unwrap().raw);
    assert_eq!(
        settings.timezone().unwrap().to_string(),
        "America/Sao_Paulo"
    );
    let shown = settings.database().unwrap().url.to_string();
    assert_eq!(shown, "postgres://***@db/helena");
}

#[test]
fn an_unknown_key_is_refused_with_file_key_and_the_nearest_known_one() {
    for (text, key, nearest) in [
        ("schedule = \"every 1m\"", "schedule", "sync.schedule"),
        (
            "[sync]\nshedule = \"every 1m\"",
            "sync.shedule",
            "sync.schedule",
        ),
        ("page_size = 5", "page_size", "api.page_size"),
        (
            "[api.rate_limit]\nsustaned = \"1/1s\"",
            "api.rate_limit.sustaned",
            "api.rate_limit.sustained",
        ),
        (
            "[[accounts]]\nname = \"a\"\ntokn = \"x\"",
            "accounts[0].tokn",
            "token",
        ),
    ] {
        let error = complaint(text);
        assert!(error.contains("some.toml: unknown key "), "{error}");
        assert!(error.contains(&format!("unknown key {key} ")), "{error}");
        assert!(
            error.contains(&format!("similar key: {nearest})")),
            "{error}"
        );
    }
}

#[test]
fn an_unknown_section_is_refused_with_the_nearest_known_one() {
    for (text, hint) in [
        ("[snyc]\noverlap = \"1m\"", "snyc (similar section: [sync])"),
        (
            "[syncc]\nschedule = \"every 1m\"",
            "syncc (similar section: [sync])",
        ),
        ("[synk]", "synk (similar section: [sync])"),
        (
            "[api.rate_limits]",
            "api.rate_limits (similar section: [api.rate_limit])",
        ),
        ("[xyz]\noverlap = \"1m\"", "xyz (similar key: sync.overlap)"),
        (
            "[xyzzy]",
            "xyzzy (accepted sections and keys: accounts, alerts, api,",
        ),
    ] {
        let error = complaint(text);
        assert!(error.contains(hint), "{text}: {error}");
    }
}

#[test]
fn an_unknown_variable_is_refused_with_the_nearest_known_one() {
    let file = file("");
    for (variable, nearest) in [
        ("HELENA_SYNC__SYNC__SHEDULE", "HELENA_SYNC__SYNC__SCHEDULE"),
        ("HELENA_SYNC__DATABASE__URL", "DATABASE_URL"),
        ("HELENA_SYNC__API_PAGE_SIZE", "HELENA_SYNC__API__PAGE_SIZE"),
        ("HELENA_SYNC_API__PAGE_SIZE", "HELENA_SYNC__API__PAGE_SIZE"),
        ("HELENA_TOKEN", "HELENA_API_TOKEN"),
    ] {
        let error = message(Settings::load(
            Some(&file.path),
            [(variable, "1")].into(),
            &[],
        ));
        assert!(
            error.contains(variable) && error.contains(&format!("similar: {nearest},")),
            "{error}"
        );
    }
}

#[test]
fn another_spelling_of_the_variable_of_the_file_is_refused_unless_there_is_a_file() {
    let file = file("");
    for variable in ["HELENA_CONFIG", "HELENA_SYNC_CONFG", "HELENA_SYNC__CONFIG"] {
        let given = || [(variable, "other.toml")].into();
        let error = message(Settings::load(None, given(), &[]));
        assert!(error.contains("similar: HELENA_SYNC_CONFIG,"), "{error}");
        assert!(error.contains("unset it"), "{error}");
        if !variable.starts_with("HELENA_SYNC__") {
            Settings::load(Some(&file.path), given(), &[]).unwrap();
        }
    }
}

#[test]
fn a_wrong_value_is_refused_with_file_key_and_what_is_accepted() {
    for (text, expected) in [
        (
            "[api]\npage_size = 101",
            "api.page_size: expected a whole number from 1 to 100, found the number 101",
        ),
        (
            "[api]\nsession_version = 3",
            "api.session_version: unknown name \"3\" (accepted: auto, 1, 2)",
        ),
        (
            "[api]\nsession_version = true",
            "api.session_version: expected auto, 1 or 2, found true",
        ),
        ("[api]\npage_size = 0", "from 1 to 100, found the number 0"),
        ("[api]\npage_size = \"many\"", "found the text \"many\""),
        (
            "[api]\nallow_http = \"yes\"",
            "api.allow_http: expected true or false, found the text \"yes\"",
        ),
        (
            "[api]\nread_timeout = 30",
            "api.read_timeout: expected a duration with its unit, such as \"30s\", found the number 30",
        ),
        (
            "[api]\nread_timeout = \"30\"",
            "accepted: a number and a unit, such as 30s",
        ),
        ("[api]\nread_timeout = \"0s\"", "must be greater than zero"),
        (
            "[api.rate_limit]\nsustained = \"1000\"",
            "api.rate_limit.sustained: \"1000\" is not a rate limit (accepted: requests/time, such as 1000/5m or 200/5s)",
        ),
        (
            "[api.rate_limit]\nshare = 1.5",
            "api.rate_limit.share: expected a number above 0 and up to 1, found the number 1.5",
        ),
        (
            "[api]\nrate_limit = 5",
            "api.rate_limit: expected a section [api.rate_limit]",
        ),
        ("api = 5", "api: expected a section [api]"),
        (
            "[sync]\nschedule = \"0 0 30 2 *\"",
            "sync.schedule: \"0 0 30 2 *\" never fires",
        ),
        (
            "[sync]\nschedule = \"sometimes\"",
            "accepted: every 1m, or a cron expression",
        ),
        (
            "[sync]\nresources = [\"session\"]",
            "sync.resources: unknown name \"session\" (accepted: tags, channels, departments, agents, custom_fields, chatbots, templates, portfolios, office_hours, sessions, contacts; similar: sessions)",
        ),
        (
            "[sync]\nresources = []",
            "sync.resources: must name at least one resource",
        ),
        ("[sync]\nresources = \"tags\"", "expected a list of names"),
        (
            "[sync]\ninclude_details = [\"Agent\"]",
            "similar: AgentDetails",
        ),
        ("[backfill]\nconcurrency = 33", "from 1 to 32"),
        (
            "[backfill]\nwindow_pages = -1",
            "from 1 to 1000, found the number -1",
        ),
        (
            "[verify]\nschedule = \"never\"",
            "verify.schedule: \"never\" is not a valid schedule",
        ),
        (
            "[log]\nformat = \"xml\"",
            "log.format: unknown name \"xml\" (accepted: text, json",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "log.level: unknown name \"loud\" (accepted: error, warn, info, debug, trace",
        ),
        (
            "timezone = \"Mars\"",
            "timezone: unknown time zone \"Mars\" (accepted: local",
        ),
        ("[database]\nurl = \"\"", "database.url: is empty"),
        (
            "[store]\nkeep_runs = \"3m\"",
            "store.keep_runs: is 3m, not a whole number of days (accepted: days, such as 90d",
        ),
        (
            "[store]\nkeep_runs = \"36h\"",
            "store.keep_runs: is 1day 12h, not a whole number of days",
        ),
    ] {
        let error = complaint(text);
        assert!(error.contains("some.toml: "), "{text}: {error}");
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_wrong_value_of_a_variable_or_a_flag_names_it() {
    let settings = from_environment([("HELENA_SYNC__API__PAGE_SIZE", "lots")]);
    assert_eq!(
        message(settings.api()),
        "HELENA_SYNC__API__PAGE_SIZE: api.page_size: expected a whole number from 1 to 100, found the text \"lots\""
    );
    let flag = Flag {
        key: "timezone",
        flag: "--timezone",
        value: "Nowhere".into(),
    };
    let file = file("");
    let settings = Settings::load(Some(&file.path), Environment::default(), &[flag]).unwrap();
    assert!(message(settings.timezone()).starts_with("--timezone: timezone: unknown time zone"));
}

#[test]
fn a_file_that_is_no_toml_is_refused_with_its_line() {
    let error = message(from_file("[api]\npage_size = \n"));
    assert!(error.contains("some.toml:2:"), "{error}");
}

#[test]
fn a_file_that_was_named_must_exist() {
    let error = message(Settings::load(
        Some(Path::new("no-such-file.toml")),
        Environment::default(),
        &[],
    ));
    assert_eq!(
        error,
        "cannot read the configuration file no-such-file.toml"
    );
}

#[test]
fn without_a_token_the_variable_and_the_place_where_tokens_are_made_are_named() {
    for variables in [
        Environment::default(),
        [("HELENA_API_TOKEN", "")].into(),
        [("HELENA_API_TOKEN", " Bearer \n")].into(),
        [("HELENA_API_TOKEN_FILE", "/nonexistent/token")].into(),
        [("HELENA_API_TOKEN_FILE", "")].into(),
    ] {
        let file = file("");
        let settings = Settings::load(Some(&file.path), variables, &[]).unwrap();
        let error = message(settings.accounts());
        assert!(error.contains("HELENA_API_TOKEN"), "{error}");
        assert!(error.contains("Integrations > API"), "{error}");
    }
    let settings = from_environment([("API_TOKEN", "pn_x")]);
    assert!(message(settings.accounts()).contains("API_TOKEN is set"));
}

#[test]
fn a_token_file_that_everyone_can_read_is_a_warning() {
    let token = file("  pn_secret\n");
    let path = token.path.to_str().unwrap().to_owned();
    let settings = from_environment([("HELENA_API_TOKEN_FILE", &path)]);
    let accounts = settings.accounts().unwrap();
    assert_eq!(accounts.list[0].token.expose_secret(), "pn_secret");
    assert_eq!(accounts.warnings, Vec::<String>::new());
    #[cfg(unix)]
    {
        restrict(&token.path, 0o644);
        let accounts = settings.accounts().unwrap();
        assert!(accounts.warnings[0].contains("every user of this machine can read"));
        assert!(!accounts.warnings[0].contains("pn_secret"));
    }
}

#[test]
fn a_token_and_a_token_file_exclude_each_other_unless_one_is_empty() {
    let file = file("");
    let both = [
        ("HELENA_API_TOKEN", "pn_x"),
        ("HELENA_API_TOKEN_FILE", "/run/secrets/token"),
    ];
    let error = message(Settings::load(Some(&file.path), both.into(), &[]));
    assert!(error.contains("both set"), "{error}");
    let token = super::tests::file("pn_y");
    let path = token.path.to_str().unwrap().to_owned();
    let settings = from_environment([("HELENA_API_TOKEN", ""), ("HELENA_API_TOKEN_FILE", &path)]);
    let accounts = settings.accounts().unwrap();
    assert_eq!(accounts.list[0].token.expose_secret(), "pn_y");
}

#[test]
fn several_accounts_come_from_the_file() {
    let file = file(
        "[api]\nbase_url = \"https://api.wts.chat\"\n\
         [[accounts]]\nname = \"north\"\ntoken = \"pn_1\"\nbase_url = \"https://api.flw.chat\"\n\
         [[accounts]]\nname = \"south\"\ntoken_env = \"SOUTH\"\n",
    );
    let environment = [("SOUTH", "pn_2"), ("HELENA_API_TOKEN", "pn_3")];
    let settings = Settings::load(Some(&file.path), environment.into(), &[]).unwrap();
    let accounts = settings.accounts().unwrap();
    let seen: Vec<_> = accounts
        .list
        .iter()
        .map(|a| {
            (
                a.name.as_str(),
                a.base_url.as_str(),
                a.token.expose_secret(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("north", "https://api.flw.chat", "pn_1"),
            ("south", "https://api.wts.chat", "pn_2")
        ]
    );
    assert!(accounts.warnings[0].contains("HELENA_API_TOKEN is ignored"));
    assert!(!format!("{accounts:?}").contains("pn_1"));
}

#[test]
fn the_names_of_the_accounts_are_known_without_their_tokens() {
    let names = |text: &str| from_file(text).unwrap().account_names().unwrap();
    assert_eq!(names(""), [""; 0]);
    assert_eq!(names("[api]\ntoken = \" \""), [""; 0]);
    assert_eq!(names("[api]\ntoken_file = \"/nowhere\""), ["default"]);
    assert_eq!(
        names("[[accounts]]\nname = \"a\"\ntoken_env = \"UNSET\"\n[[accounts]]\nname = \"b\""),
        ["a", "b"]
    );
    let settings = from_environment([("HELENA_API_TOKEN", "pn_x")]);
    assert_eq!(settings.account_names().unwrap(), ["default"]);
}

#[test]
fn every_token_knows_where_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "pn_x").unwrap();
    restrict(&path, 0o600);
    let path = path.display();
    let origins = |settings: Settings| {
        let accounts = settings.accounts().unwrap().list;
        let origins = accounts.into_iter().map(|account| account.token_origin);
        origins.collect::<Vec<_>>().join("; ")
    };
    let settings = from_environment([("HELENA_API_TOKEN", "pn_x")]);
    assert_eq!(origins(settings), "HELENA_API_TOKEN");
    let settings = from_environment([("HELENA_API_TOKEN_FILE", path.to_string().as_str())]);
    assert_eq!(
        origins(settings),
        format!("the file {path}, HELENA_API_TOKEN_FILE")
    );
    let text = format!(
        "[[accounts]]\nname = \"a\"\ntoken = \"x\"\n\
         [[accounts]]\nname = \"b\"\ntoken_file = \"{path}\"\n\
         [[accounts]]\nname = \"c\"\ntoken_env = \"HERE\"\n"
    );
    let settings =
        Settings::parse(Path::new("some.toml"), &text, [("HERE", "x")].into(), &[]).unwrap();
    assert_eq!(
        origins(settings),
        format!(
            "token of account a in some.toml; the file {path}, token_file of account b in \
             some.toml; HERE"
        )
    );
}

#[test]
fn an_account_that_cannot_be_used_is_refused() {
    for (text, expected) in [
        (
            "[[accounts]]\nname = \"a\"",
            "account a has no token; set exactly one",
        ),
        (
            "[[accounts]]\nname = \"a\"\ntoken = \"x\"\ntoken_env = \"Y\"",
            "account a has more than one token",
        ),
        (
            "[[accounts]]\nname = \"a\"\ntoken = \" \"",
            "the API token is empty (token of account a in ",
        ),
        (
            "[[accounts]]\nname = \"a\"\ntoken_env = \"Y\"",
            "variable Y is not set; set it to the token of account a",
        ),
        (
            "[[accounts]]\nname = \"a\"\ntoken_file = \"/nonexistent\"",
            "cannot read the token file /nonexistent",
        ),
        (
            "[[accounts]]\nname = \"a b\"\ntoken = \"x\"",
            "accounts[0].name: \"a b\" is not a valid name",
        ),
        (
            "[[accounts]]\nname = \"a\"\ntoken = \"x\"\n[[accounts]]\nname = \"a\"\ntoken = \"y\"",
            "accounts[1].name: two accounts have the name \"a\"",
        ),
        ("[[accounts]]\ntoken = \"x\"", "name is missing"),
        (
            "accounts = 5",
            "accounts: expected entries of the form [[accounts]]",
        ),
    ] {
        let error = match from_file(text) {
            Ok(settings) => message(settings.accounts()),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_token_of_the_wrong_type_is_not_repeated() {
    let error = message(
        from_file("[[accounts]]\nname = \"a\"\ntoken = 424242")
            .unwrap()
            .accounts(),
    );
    assert!(
        error.contains("expected text") && !error.contains("424242"),
        "{error}"
    );
    let error = message(from_file("[api]\ntoken = 424242").unwrap().accounts());
    assert!(
        error.contains("expected text") && !error.contains("424242"),
        "{error}"
    );
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn no_file_and_no_variable_panics(text in "\\PC{0,80}", name in "[A-Z_]{0,12}", value in "\\PC{0,20}") {
        let file = file(&text);
        let variable = format!("{PREFIX}{name}");
        let _ = Settings::load(Some(&file.path), [(variable.as_str(), value.as_str())].into(), &[]);
        for key in KEYS {
            let settings = from_environment([(key.variable().as_str(), value.as_str())]);
            let _ = (settings.api(), settings.sync(), settings.database(), settings.log());
            let _ = (settings.timezone(), settings.accounts(), settings.verify(), settings.backfill());
        }
    }
}

#[test]
fn open_hours_are_those_of_the_days_that_are_named() {
    let text = "[report]\nweek_starts_on = \"Sunday\"\nsla_wait = \"5m\"\n\
                [report.hours]\nmon-fri = [\"08:00-12:00\", \"13:30-18:00\"]\n\
                fri = [\"08:00-12:00\"]\nsat = []\nholidays = [\"2026-12-25 Natal\"]\n";
    let report = from_file(text).unwrap().report().unwrap();
    assert_eq!(report.week_starts_on, 7);
    assert_eq!(report.sla_wait, Some(Duration::from_mins(5)));
    assert_eq!(report.sla_service, None);
    assert_eq!(
        report.hours.describe(),
        "mon 08:00-12:00 13:30-18:00, tue 08:00-12:00 13:30-18:00, wed 08:00-12:00 13:30-18:00, \
         thu 08:00-12:00 13:30-18:00, fri 08:00-12:00"
    );
    let holiday = "2026-12-25".parse().unwrap();
    assert_eq!(report.hours.holiday(holiday), Some("Natal"));
    let none = from_file("").unwrap().report().unwrap();
    assert!(!none.hours.are_known());
    assert_eq!(none.stale, Duration::from_hours(72));
    let variable = "HELENA_SYNC__REPORT__HOURS__MON_FRI";
    let settings = from_environment([(variable, "09:00-12:00,13:00-17:00")]);
    let hours = settings.report().unwrap().hours.describe();
    assert!(
        hours.starts_with("mon 09:00-12:00 13:00-17:00, tue "),
        "{hours}"
    );
}

#[test]
fn settings_of_reports_that_make_no_sense_are_refused() {
    for (text, told) in [
        ("[report]\nweek_starts_on = \"moonday\"", "similar: monday"),
        ("[report]\nsla_wait = 5", "report.sla_wait"),
        (
            "[report.hours]\nmon = [\"8-12\"]",
            "accepted: two times of one day",
        ),
        (
            "[report.hours]\nmon = [\"08:00-12:00\", \"11:00-13:00\"]",
            "08:00-12:00 and 11:00-13:00 overlap",
        ),
        ("[report.hours]\nmon = \"08:00-12:00\"", "report.hours"),
        ("[report.hours]\nholidays = [\"25/12\"]", "is not a holiday"),
        (
            "[report.hours]\nmonday = []",
            "unknown key report.hours.monday",
        ),
    ] {
        let error = complaint(text);
        assert!(error.contains("some.toml"), "{error}");
        assert!(error.contains(told), "{error}");
    }
}
