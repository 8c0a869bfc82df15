//! The time zone of this process: that of `TZ`, else the machine's, and where it was found.
//!
//! Must not know the key `timezone`, which goes before both.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use chrono_tz::Tz;

use super::{Environment, Zone};

/// The variable that sets the zone of most programs.
const VARIABLE: &str = "TZ";

/// Where machines keep the files of all zones.
const ZONES: &str = "usr/share/zoneinfo";

/// A time zone, and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedZone {
    /// The zone.
    pub zone: Zone,
    /// The flag, variable, key or file that names it.
    pub origin: String,
    /// Why it is not the zone that the user may expect.
    pub problem: Option<String>,
}

impl LocatedZone {
    /// The zone of `TZ`, else the machine's.
    pub fn local(environment: &Environment) -> Self {
        static MACHINE: LazyLock<LocatedZone> = LazyLock::new(|| of_machine(Path::new("/")));
        environment
            .get(VARIABLE)
            .map_or_else(|| MACHINE.clone(), |text| of_variable(text, &MACHINE))
    }

    fn new(zone: Tz, origin: impl Into<String>) -> Self {
        Self {
            zone: Zone(zone),
            origin: origin.into(),
            problem: None,
        }
    }
}

/// The zone of a value of `TZ`. If it names none, the machine's.
fn of_variable(text: &str, machine: &LocatedZone) -> LocatedZone {
    let text = text.trim();
    let name = text.strip_prefix(':').unwrap_or(text);
    if name.is_empty() {
        return LocatedZone::new(Tz::UTC, "TZ, which is empty");
    }
    let found = named(name)
        .or_else(|| {
            let path = Path::new(name);
            path.is_absolute().then(|| of_file(Path::new("/"), path))?
        })
        .or_else(|| fixed(name));
    if let Some(zone) = found {
        return LocatedZone::new(zone, VARIABLE);
    }
    let zone = machine.zone;
    LocatedZone {
        problem: Some(format!(
            "TZ={text} names no time zone of the IANA database; using {zone} ({}) instead. Set TZ or \
             timezone to a name such as America/Sao_Paulo",
            machine.origin
        )),
        ..machine.clone()
    }
}

/// The zone of a machine whose files are below `root`.
fn of_machine(root: &Path) -> LocatedZone {
    let file = root.join("etc/localtime");
    let told = "/etc/localtime";
    if let Some(zone) = fs::read_link(&file).ok().and_then(|to| named(to.to_str()?)) {
        return LocatedZone::new(zone, told);
    }
    let hint = fs::read_to_string(root.join("etc/timezone")).ok();
    let hint = hint.as_deref().map(str::trim).and_then(named);
    if let Some(zone) = of_file_or(root, &file, hint) {
        return LocatedZone::new(zone, told);
    }
    if let Some(zone) = hint {
        return LocatedZone::new(zone, "/etc/timezone");
    }
    if file.exists() {
        return LocatedZone {
            zone: Zone(Tz::UTC),
            origin: "the default".into(),
            problem: Some(
                "/etc/localtime does not tell the name of its time zone; using UTC instead. Set TZ or \
                 timezone to a name such as America/Sao_Paulo"
                    .into(),
            ),
        };
    }
    // Other systems than Linux keep it elsewhere.
    let name = iana_time_zone::get_timezone().ok();
    match name.as_deref().and_then(named) {
        Some(zone) if root == Path::new("/") => LocatedZone::new(zone, "the machine"),
        _ => LocatedZone::new(Tz::UTC, "the default, since the machine has no time zone"),
    }
}

/// The zone of a name, or of a path in a folder of zones.
fn named(text: &str) -> Option<Tz> {
    let name = text.rsplit_once("zoneinfo/").map_or(text, |(_, name)| name);
    let name = name.strip_prefix("posix/").unwrap_or(name);
    chrono_tz::TZ_VARIANTS
        .iter()
        .find(|zone| zone.name().eq_ignore_ascii_case(name))
        .copied()
}

fn of_file(root: &Path, file: &Path) -> Option<Tz> {
    of_file_or(root, file, None)
}

/// The zone whose file has the same content. Several names may share it, of which `hint` goes first.
/// Without files of zones to compare with, a fixed difference from UTC is a zone, too.
fn of_file_or(root: &Path, file: &Path, hint: Option<Tz>) -> Option<Tz> {
    let content = fs::read(file).ok()?;
    let is_same = |zone: &Tz| {
        let path = root.join(ZONES).join(zone.name());
        let of_its_size = fs::metadata(&path)
            .is_ok_and(|found| u64::try_from(content.len()).is_ok_and(|size| found.len() == size));
        of_its_size && fs::read(path).is_ok_and(|other| other == content)
    };
    let region = |zone: &Tz| {
        const REGIONS: [&str; 11] = [
            "Africa",
            "America",
            "Antarctica",
            "Arctic",
            "Asia",
            "Atlantic",
            "Australia",
            "Europe",
            "Indian",
            "Pacific",
            "Etc",
        ];
        let area = zone.name().split('/').next().unwrap_or_default();
        REGIONS.contains(&area)
    };
    let all = || chrono_tz::TZ_VARIANTS.iter().copied();
    hint.filter(is_same)
        .or_else(|| all().filter(region).find(is_same))
        .or_else(|| all().find(is_same))
        .or_else(|| fixed(footer(&content)?))
}

/// The last line of a file of a zone: its rule for the future, as in `TZ`.
fn footer(content: &[u8]) -> Option<&str> {
    let text = content.strip_suffix(b"\n")?;
    let start = text.iter().rposition(|&byte| byte == b'\n')? + 1;
    std::str::from_utf8(&text[start..])
        .ok()
        .filter(|_| content.starts_with(b"TZif"))
}

/// The zone of a POSIX rule without summer time and with whole hours, such as `<-03>3` or `BRT3`.
fn fixed(rule: &str) -> Option<Tz> {
    let offset = match rule.strip_prefix('<') {
        Some(quoted) => quoted.split_once('>')?.1,
        None => rule.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    if rule.len() - offset.len() < 3 {
        return None;
    }
    let offset = offset.split_once(":00").map_or(offset, |(hours, rest)| {
        if rest.trim_matches([':', '0']).is_empty() {
            hours
        } else {
            offset
        }
    });
    let hours: i8 = offset.parse().ok()?;
    match hours {
        0 => Some(Tz::UTC),
        // POSIX counts to the west, and so do these names.
        -14..=12 => named(&format!("Etc/GMT{hours:+}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn machine() -> LocatedZone {
        LocatedZone::new(Tz::Europe__Lisbon, "/etc/localtime")
    }

    #[test]
    fn tz_is_read_in_all_its_forms() {
        for (text, name) in [
            ("America/Sao_Paulo", "America/Sao_Paulo"),
            (":America/Sao_Paulo", "America/Sao_Paulo"),
            ("america/sao_paulo", "America/Sao_Paulo"),
            ("/usr/share/zoneinfo/America/Recife", "America/Recife"),
            ("posix/America/Recife", "America/Recife"),
            ("", "UTC"),
            ("UTC0", "UTC"),
            ("<-03>3", "Etc/GMT+3"),
            ("BRT3", "Etc/GMT+3"),
            ("JST-9", "Etc/GMT-9"),
            ("<+00>0:00:00", "UTC"),
            ("EST5EDT", "EST5EDT"),
        ] {
            let found = of_variable(text, &machine());
            assert_eq!(found.zone.to_string(), name, "{text}");
            assert!(found.origin.starts_with("TZ"), "{found:?}");
            assert_eq!(found.problem, None);
        }
    }

    #[test]
    fn a_tz_that_names_no_zone_says_what_is_used_instead() {
        for text in [
            "BRT3BRST,M10.3.0/0,M2.3.0/0",
            "<+0530>-5:30",
            "Sao Paulo",
            "/nowhere/zone",
        ] {
            let found = of_variable(text, &machine());
            assert_eq!(found.zone.to_string(), "Europe/Lisbon", "{text}");
            let problem = found.problem.unwrap();
            let told = format!("TZ={text} names no time zone");
            assert!(problem.starts_with(&told), "{problem}");
            assert!(
                problem.contains("using Europe/Lisbon (/etc/localtime) instead"),
                "{problem}"
            );
        }
    }

    #[test]
    fn a_localtime_that_is_no_link_is_known_by_its_content() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let zones = root.join(ZONES);
        for folder in [
            "etc",
            "usr/share/zoneinfo/America",
            "usr/share/zoneinfo/Brazil",
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        let empty = of_machine(root);
        assert_eq!(empty.zone.to_string(), "UTC");
        assert!(empty.origin.contains("no time zone"), "{empty:?}");
        let of = |rule: &str| format!("TZif2\nmany bytes\n{rule}\n");
        for (name, text) in [
            ("America/Recife", of("<-03>3 of Recife")),
            ("America/Sao_Paulo", of("<-03>3")),
            ("Brazil/East", of("<-03>3")),
        ] {
            fs::write(zones.join(name), text).unwrap();
        }
        let localtime = root.join("etc/localtime");
        fs::write(&localtime, of("<-03>3")).unwrap();
        let found = of_machine(root);
        assert_eq!(found.zone.to_string(), "America/Sao_Paulo");
        assert_eq!(found.origin, "/etc/localtime");
        fs::write(root.join("etc/timezone"), "Brazil/East\n").unwrap();
        assert_eq!(of_machine(root).zone.to_string(), "Brazil/East");
        // No files of zones, as in a small image.
        fs::remove_dir_all(&zones).unwrap();
        fs::remove_file(root.join("etc/timezone")).unwrap();
        assert_eq!(of_machine(root).zone.to_string(), "Etc/GMT+3");
        fs::write(&localtime, of("EST5EDT,M3.2.0,M11.1.0")).unwrap();
        let found = of_machine(root);
        assert_eq!(found.zone.to_string(), "UTC");
        assert!(found.problem.unwrap().contains("using UTC instead"));
        fs::remove_file(&localtime).unwrap();
        symlink("../usr/share/zoneinfo/America/Manaus", &localtime).unwrap();
        assert_eq!(of_machine(root).zone.to_string(), "America/Manaus");
    }
}
