//! Options whose values come from a fixed list. Help and completion show the list, and a wrong value
//! is refused with a similar one.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, Command};

/// Parses a value from a list, without regard to case.
#[derive(Debug, Clone)]
pub(super) struct Choice<T>(Vec<(PossibleValue, T)>);

/// Parses one of these names.
pub(super) fn choice<T>(all: impl IntoIterator<Item = (&'static str, T)>) -> Choice<T> {
    let named = all.into_iter();
    Choice(
        named
            .map(|(name, value)| (PossibleValue::new(name), value))
            .collect(),
    )
}

/// Parses one of these names, and returns it as it is written here.
pub(super) fn name_of(all: &[&'static str]) -> Choice<&'static str> {
    choice(all.iter().map(|&name| (name, name)))
}

impl<T> Choice<T> {
    /// The same, where a value has further names. Help does not show them.
    pub(super) fn also(mut self, names: &[(&'static str, &[&'static str])]) -> Self {
        for (value, _) in &mut self.0 {
            if let Some((_, more)) = names.iter().find(|(name, _)| *name == value.get_name()) {
                *value = value.clone().aliases(more.iter().copied());
            }
        }
        self
    }

    /// The same, but help and completion show only the values for which `shown` is true.
    pub(super) fn showing(mut self, shown: impl Fn(&T) -> bool) -> Self {
        for (name, value) in &mut self.0 {
            *name = name.clone().hide(!shown(value));
        }
        self
    }
}

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Choice<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        text: &OsStr,
    ) -> Result<T, clap::Error> {
        let wanted = text.to_str().map(str::trim);
        let found = wanted.and_then(|wanted| {
            let mut all = self.0.iter();
            all.find(|(name, _)| name.matches(wanted, true))
        });
        if let Some((_, value)) = found {
            return Ok(value.clone());
        }
        // clap's own error: it shows the list, and a similar value.
        let names = self.0.iter().map(|(name, _)| name.clone());
        let refused = PossibleValuesParser::new(names).parse_ref(command, argument, text);
        Err(refused
            .err()
            .unwrap_or_else(|| clap::Error::new(clap::error::ErrorKind::InvalidValue)))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(|(name, _)| name.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<u32, String> {
        let choice =
            choice([("created", 1_u32), ("updated", 2)]).also(&[("created", &["createdAt"])]);
        let argument = Arg::new("order").long("order-by").value_parser(choice);
        let command = Command::new("x").arg(argument);
        let found = command
            .try_get_matches_from(["x", "--order-by", text])
            .map_err(|error| error.to_string())?;
        Ok(found.get_one::<u32>("order").copied().unwrap())
    }

    #[test]
    fn a_name_is_accepted_in_any_case_and_another_one_refused_with_the_nearest() {
        for text in ["created", "Created", " CREATEDAT ", "createdAt"] {
            assert_eq!(parsed(text), Ok(1), "{text}");
        }
        let error = parsed("updates").unwrap_err();
        assert!(
            error.contains("[possible values: created, updated]"),
            "{error}"
        );
        assert!(
            error.contains("a similar value exists: 'updated'"),
            "{error}"
        );
    }
}
