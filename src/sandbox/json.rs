//! Writes JSON directly into an answer.

use std::fmt::Write as _;

use serde::Serialize;
use uuid::Uuid;

use super::Ticks;
use super::ids;

/// Which null fields are left out of a record: the platform's answers mix null and absent (API
/// notes, 16). The same record leaves out the same fields every time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thinning {
    state: u64,
    below: u64,
}

impl Thinning {
    /// Leaves out a share of the null fields of the record with this id.
    pub(super) fn new(share: f64, id: Uuid) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share between 0 and 1, in thousandths"
        )]
        let below = (share.clamp(0.0, 1.0) * 1_000.0) as u64;
        (below > 0).then_some(Self {
            state: id.as_u64_pair().0,
            below,
        })
    }

    fn drops(&mut self) -> bool {
        self.state = ids::mix(self.state);
        self.state % 1_000 < self.below
    }
}

/// An object being written.
#[derive(Debug)]
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
    thinning: Option<Thinning>,
    placeholders: bool,
}

/// Writes a value that serde can write.
pub(super) fn value(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a vector takes any JSON");
}

/// Writes an array, its elements by `write`.
pub(super) fn array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (position, item) in items.into_iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

fn write_uuid(out: &mut Vec<u8>, id: Uuid) {
    out.push(b'"');
    let mut text = [0; 36];
    out.extend_from_slice(id.hyphenated().encode_lower(&mut text).as_bytes());
    out.push(b'"');
}

impl<'a> Object<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>, thinning: Option<Thinning>) -> Self {
        out.push(b'{');
        Self {
            out,
            empty: true,
            thinning,
            placeholders: false,
        }
    }

    /// Whether what stands for nothing in .NET stands where null would.
    pub(super) fn with_placeholders(mut self, placeholders: bool) -> Self {
        self.placeholders = placeholders;
        self
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    fn key(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    pub(super) fn null(&mut self, name: &str) {
        if !self.thinning.as_mut().is_some_and(Thinning::drops) {
            self.key(name).extend_from_slice(b"null");
        }
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        value(self.key(name), text);
    }

    pub(super) fn opt_text(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.text(name, text),
            None => self.null(name),
        }
    }

    pub(super) fn id(&mut self, name: &str, id: Uuid) {
        write_uuid(self.key(name), id);
    }

    pub(super) fn opt_id(&mut self, name: &str, id: Option<Uuid>) {
        match id {
            Some(id) => self.id(name, id),
            None if self.placeholders => self.id(name, Uuid::nil()),
            None => self.null(name),
        }
    }

    pub(super) fn time(&mut self, name: &str, at: Ticks) {
        let out = self.key(name);
        out.push(b'"');
        at.write(out);
        out.push(b'"');
    }

    pub(super) fn opt_time(&mut self, name: &str, at: Option<Ticks>) {
        match at {
            Some(at) => self.time(name, at),
            // It has no zone: .NET knows none of a time that was never set.
            None if self.placeholders => self.text(name, "0001-01-01T00:00:00"),
            None => self.null(name),
        }
    }

    pub(super) fn flag(&mut self, name: &str, flag: bool) {
        value(self.key(name), &flag);
    }

    pub(super) fn int(&mut self, name: &str, number: i64) {
        value(self.key(name), &number);
    }

    pub(super) fn real(&mut self, name: &str, number: f64) {
        value(self.key(name), &number);
    }

    pub(super) fn opt_value(&mut self, name: &str, json: Option<&serde_json::Value>) {
        match json {
            Some(json) => value(self.key(name), json),
            None => self.null(name),
        }
    }

    pub(super) fn ids(&mut self, name: &str, ids: impl IntoIterator<Item = Uuid>) {
        array(self.key(name), ids, write_uuid);
    }

    pub(super) fn texts<'t>(&mut self, name: &str, texts: impl IntoIterator<Item = &'t str>) {
        array(self.key(name), texts, value);
    }

    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        write: impl FnMut(&mut Vec<u8>, T),
    ) {
        array(self.key(name), items, write);
    }

    /// A nested object.
    pub(super) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        let thinning = self.thinning;
        let mut nested = Object::new(self.key(name), thinning);
        fill(&mut nested);
        nested.end();
    }
}

/// `(11) 99999-9999` of `+55|11999999999`.
pub(super) fn formatted_phone(phone: &str) -> String {
    let national = phone
        .split_once('|')
        .map_or(phone, |(_, national)| national);
    let mut text = String::with_capacity(16);
    let (area, rest) = national.split_at_checked(2).unwrap_or(("", national));
    let cut = rest.len().saturating_sub(4);
    let (head, tail) = rest.split_at_checked(cut).unwrap_or((rest, ""));
    let _ = write!(text, "({area}) {head}-{tail}");
    text
}
