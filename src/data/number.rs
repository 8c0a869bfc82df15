//! Numbers and causes in messages.

/// A number with thousands separators: `20,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 request`, `2,000 requests`. `what` is one of them.
pub fn counted(number: u64, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {what}{s}", grouped(number))
}

/// The cause that the operating system gives, without its number: `No such file or directory`.
pub fn without_os_numbers(cause: &str) -> String {
    let mut text = cause.to_owned();
    while let Some(start) = text.find(" (os error ") {
        let end = text[start..]
            .find(')')
            .map_or(text.len(), |end| start + end + 1);
        text.replace_range(start..end, "");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_several_things() {
        let all = [0, 1, 2_000].map(|number| counted(number, "request"));
        assert_eq!(all, ["0 requests", "1 request", "2,000 requests"]);
    }

    #[test]
    fn a_cause_is_told_without_the_number_of_the_operating_system() {
        for (cause, told) in [
            (
                "No such file or directory (os error 2)",
                "No such file or directory",
            ),
            (
                "tcp: refused (os error 111): again (os error 1)",
                "tcp: refused: again",
            ),
            ("(os error 5", "(os error 5"),
            ("disk full", "disk full"),
        ] {
            assert_eq!(without_os_numbers(cause), told);
        }
    }

    #[test]
    fn thousands_are_separated_by_commas() {
        let numbers = [0, 999, 1_000, 19_985, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "19,985", "1,234,567"]);
    }
}
