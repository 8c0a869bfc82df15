//! Converts values between Rust and both databases.
//!
//! sqlx writes a `Uuid` to SQLite as a blob, and a `DateTime` with a varying number of decimals.
//! Here both become the texts that the tables use, so that texts sort like times. Must not know any
//! table.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo, SqliteValueRef};
use sqlx::types::Json;
use sqlx::{Arguments, Decode, Postgres, Sqlite, Type};
use uuid::Uuid;

use crate::data::Timestamp;

/// A parameter of a statement. Absent values have a type, too, since Postgres needs it.
#[derive(Debug)]
pub(super) enum Arg<'a> {
    Int(i64),
    MaybeInt(Option<i64>),
    Text(Cow<'a, str>),
    MaybeText(Option<&'a str>),
    Bool(bool),
    Time(Timestamp),
    MaybeTime(Option<Timestamp>),
    Id(Uuid),
    MaybeId(Option<Uuid>),
    Ids(List<Id>),
    Texts(List<Cow<'a, str>>),
    Times(List<Time>),
    Bools(List<bool>),
    Ints(List<i64>),
    Reals(List<f64>),
    Jsons(List<Json<Cow<'a, RawValue>>>),
}

macro_rules! arg_from {
    ($($from:ty => $variant:ident),* $(,)?) => {
        $(impl<'a> From<$from> for Arg<'a> {
            fn from(value: $from) -> Self {
                Self::$variant(value)
            }
        })*
    };
}

arg_from! {
    i64 => Int, Option<i64> => MaybeInt, Option<&'a str> => MaybeText, bool => Bool,
    Timestamp => Time, Option<Timestamp> => MaybeTime, Uuid => Id, Option<Uuid> => MaybeId,
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl From<String> for Arg<'_> {
    fn from(value: String) -> Self {
        Self::Text(Cow::Owned(value))
    }
}

/// The parameters of a statement, in the order of their numbers.
macro_rules! args {
    ($($value:expr),* $(,)?) => { vec![$($crate::store::value::Arg::from($value)),*] };
}
pub(super) use args;

/// The parameters in a driver's form.
pub(super) fn bind<'a, A>(args: Vec<Arg<'a>>) -> Result<A, sqlx::Error>
where
    A: Arguments,
    for<'e> i64: Encode<'e, A::Database> + Type<A::Database>,
    for<'e> Option<i64>: Encode<'e, A::Database> + Type<A::Database>,
    for<'e> String: Encode<'e, A::Database> + Type<A::Database>,
    for<'e> Option<String>: Encode<'e, A::Database> + Type<A::Database>,
    for<'e> bool: Encode<'e, A::Database> + Type<A::Database>,
    for<'e> Time: Encode<'e, A::Database> + Type<A::Database>,
    for<'e> Option<Time>: Encode<'e, A::Database> + Type<A::Database>,
    for<'e> Id: Encode<'e, A::Database> + Type<A::Database>,
    for<'e> Option<Id>: Encode<'e, A::Database> + Type<A::Database>,
    for<'e> List<Id>: Encode<'e, A::Database> + Type<A::Database>,
    List<Cow<'a, str>>: Encode<'a, A::Database> + Type<A::Database>,
    for<'e> List<Time>: Encode<'e, A::Database> + Type<A::Database>,
    for<'e> List<bool>: Encode<'e, A::Database> + Type<A::Database>,
    for<'e> List<i64>: Encode<'e, A::Database> + Type<A::Database>,
    for<'e> List<f64>: Encode<'e, A::Database> + Type<A::Database>,
    List<Json<Cow<'a, RawValue>>>: Encode<'a, A::Database> + Type<A::Database>,
{
    let mut bound = A::default();
    for arg in args {
        match arg {
            Arg::Int(value) => bound.add(value),
            Arg::MaybeInt(value) => bound.add(value),
            Arg::Text(value) => bound.add(value.into_owned()),
            Arg::MaybeText(value) => bound.add(value.map(str::to_owned)),
            Arg::Bool(value) => bound.add(value),
            Arg::Time(value) => bound.add(Time(value)),
            Arg::MaybeTime(value) => bound.add(value.map(Time)),
            Arg::Id(value) => bound.add(Id(value)),
            Arg::MaybeId(value) => bound.add(value.map(Id)),
            Arg::Ids(values) => bound.add(values),
            Arg::Texts(values) => bound.add(values),
            Arg::Times(values) => bound.add(values),
            Arg::Bools(values) => bound.add(values),
            Arg::Ints(values) => bound.add(values),
            Arg::Reals(values) => bound.add(values),
            Arg::Jsons(values) => bound.add(values),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(bound)
}

/// Many values as one parameter: an array in Postgres, the text of a JSON array in SQLite.
#[derive(Debug)]
pub(super) struct List<T>(pub(super) Vec<Option<T>>);

impl<T> Type<Postgres> for List<T>
where
    Vec<Option<T>>: Type<Postgres>,
{
    fn type_info() -> PgTypeInfo {
        <Vec<Option<T>> as Type<Postgres>>::type_info()
    }
}

impl<'e, T> Encode<'e, Postgres> for List<T>
where
    Vec<Option<T>>: Encode<'e, Postgres>,
{
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        self.0.encode_by_ref(buffer)
    }
}

impl<T> Type<Sqlite> for List<T> {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl<T: Serialize> Encode<'_, Sqlite> for List<T> {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<Sqlite>>::encode(serde_json::to_string(&self.0)?, buffer)
    }
}

/// A stored instant: `timestamptz`, or text with six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Time(pub(super) Timestamp);

/// A stored uuid: `uuid`, or lower-case text with hyphens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Id(pub(super) Uuid);

impl Type<Postgres> for Time {
    fn type_info() -> PgTypeInfo {
        <DateTime<Utc> as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Time {
    fn array_type_info() -> PgTypeInfo {
        <DateTime<Utc> as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Time {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <DateTime<Utc> as Encode<Postgres>>::encode(self.0.to_datetime(), buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Time {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        let at = <DateTime<Utc> as Decode<Postgres>>::decode(value)?;
        Ok(Self(Timestamp::from_datetime(at)))
    }
}

impl Type<Sqlite> for Time {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Time {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<Sqlite>>::encode(self.0.to_string(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Time {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = <&str as Decode<Sqlite>>::decode(value)?;
        Ok(Self(Timestamp::parse(text)?))
    }
}

impl Type<Postgres> for Id {
    fn type_info() -> PgTypeInfo {
        <Uuid as Type<Postgres>>::type_info()
    }
}

impl PgHasArrayType for Id {
    fn array_type_info() -> PgTypeInfo {
        <Uuid as PgHasArrayType>::array_type_info()
    }
}

impl Encode<'_, Postgres> for Id {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        <Uuid as Encode<Postgres>>::encode(self.0, buffer)
    }
}

impl<'r> Decode<'r, Postgres> for Id {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        Ok(Self(<Uuid as Decode<Postgres>>::decode(value)?))
    }
}

impl Type<Sqlite> for Id {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for Id {
    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<Sqlite>>::encode(self.0.to_string(), buffer)
    }
}

impl<'r> Decode<'r, Sqlite> for Id {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        let text = <&str as Decode<Sqlite>>::decode(value)?;
        Ok(Self(Uuid::parse_str(text)?))
    }
}
