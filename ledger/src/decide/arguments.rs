//! A call's arguments, as far as bounds and requirements read them.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Request;
use crate::command::Identifier;
use crate::hash::Hash;

/// Longest arguments that are read, in bytes.
pub const ARGS_SIZE_BYTES_MAX: usize = 4_096;

/// The arguments that a request shows: a JSON object. Of those that cannot be used there is none, and whatever
/// asks for one is denied.
pub(super) struct Arguments(BTreeMap<String, Argument>);

enum Argument {
    Integer(i64),
    Text(String),
    Other,
}

impl Arguments {
    /// Of `request`, if they are shown and have its digest.
    pub(super) fn of(request: &Request) -> Self {
        let shown = request
            .args
            .as_deref()
            .filter(|text| text.len() <= ARGS_SIZE_BYTES_MAX && Hash::of(&[text]) == request.args_digest);
        let parsed = shown.and_then(|text| serde_json::from_slice::<Self>(text).ok());
        parsed.unwrap_or_else(|| Self(BTreeMap::new()))
    }

    /// The argument that is a whole number of at least 0.
    pub(super) fn amount(&self, name: &Identifier) -> Option<u64> {
        match self.0.get(name.as_str())? {
            Argument::Integer(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The argument as the segment of a source's name.
    pub(super) fn segment(&self, name: &Identifier) -> Option<String> {
        match self.0.get(name.as_str())? {
            Argument::Integer(value) => Some(value.to_string()),
            Argument::Text(text) if !text.is_empty() && !text.contains('/') => Some(text.clone()),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Arguments;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Arguments, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Argument>()? {
                    // Of two members with one name a tool might take the other.
                    if members.insert(name, value).is_some() {
                        return Err(A::Error::custom("a member is there twice"));
                    }
                }
                Ok(Arguments(members))
            }
        }
        from.deserialize_map(Members)
    }
}

impl<'de> Deserialize<'de> for Argument {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Argument;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_i64<E>(self, value: i64) -> Result<Argument, E> {
                Ok(Argument::Integer(value))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Argument, E> {
                Ok(i64::try_from(value).map_or(Argument::Other, Argument::Integer))
            }

            fn visit_str<E>(self, value: &str) -> Result<Argument, E> {
                Ok(Argument::Text(value.into()))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Argument, E> {
                Ok(Argument::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Argument, E> {
                Ok(Argument::Other)
            }

            fn visit_unit<E>(self) -> Result<Argument, E> {
                Ok(Argument::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Argument, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Argument::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Argument, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Argument::Other)
            }
        }
        from.deserialize_any(One)
    }
}
