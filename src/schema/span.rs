//! The platform's durations (`timeService`, `timeWait`), which are not documented.
//!
//! Known: `HH:MM:SS`, also with more than 24 hours. Possible: `d.hh:mm:ss`, a fraction, a sign (API
//! notes, 4.5). Must not know records.

/// The whole seconds of a duration, rounded down. `None` if the text is not a duration.
pub fn seconds(text: &str) -> Option<i64> {
    let text = text.trim();
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut parts = text.split(':');
    let (first, minutes, last) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (days, hours) = match first.split_once('.') {
        Some((days, hours)) => (number(days)?, number(hours)?),
        None => (0, number(first)?),
    };
    let whole = match last.split_once(['.', ',']) {
        Some((whole, fraction)) => {
            number(fraction.get(..1)?)?;
            if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            whole
        }
        None => last,
    };
    let (minutes, whole) = (number(minutes)?, number(whole)?);
    if minutes > 59 || whole > 59 {
        return None;
    }
    // Each part has at most nine digits: no overflow.
    Some(sign * (((days * 24 + hours) * 60 + minutes) * 60 + whole))
}

fn number(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_cut_to_seconds() {
        for (text, expected) in [
            ("00:40:45", 2_445),
            ("00:00:00", 0),
            ("52:14:59", 188_099),
            ("2.04:14:59", 188_099),
            ("00:00:09.9999999", 9),
            ("1.00:00:00.5", 86_400),
            (" 0:3:01 ", 181),
            ("-00:00:05.9", -5),
        ] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_span_is_none() {
        for text in [
            "",
            "null",
            "40",
            "00:40",
            "00:60:00",
            "00:00:60",
            "1:2:3:4",
            "a:00:00",
            "1..:00:00",
            "00:00:01.",
            "00:00:01.x",
            "--1:00:00",
            "9999999999:00:00",
            "٣:00:00",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[-0-9:. ]{0,30}|.{0,30}") {
            let _ = seconds(&text);
        }
    }
}
