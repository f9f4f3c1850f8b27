//! A call's arguments: canonical JSON, and what a condition sees of it.
//!
//! The canonical text is that of RFC 8785 (no spaces, members sorted by their UTF-16 code units, the shortest
//! escapes), but every number is an integer of 64 bits, written out exactly. So there is one text, and one
//! digest, for the same arguments, and no two readers see different numbers in it.

use std::fmt;

use cedar_policy::RestrictedExpression;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::command::Identifier;
use crate::hash::Hash;

/// Longest arguments that can be shown, in bytes.
pub const ARGUMENTS_SIZE_BYTES_MAX: usize = 4096;

/// Deepest nesting of lists and objects, the outermost included.
pub const ARGUMENTS_DEPTH_MAX: usize = 8;

/// Why arguments cannot be used. The first fault of the text is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ArgumentsFault {
    /// More than [`ARGUMENTS_SIZE_BYTES_MAX`] bytes.
    #[error("the arguments have more than {ARGUMENTS_SIZE_BYTES_MAX} bytes")]
    TooLarge,
    /// They are not those that the request is about.
    #[error("the arguments do not hash to the request's digest")]
    OtherDigest,
    /// Not JSON.
    #[error("the arguments are not JSON")]
    NotJson,
    /// JSON, but not an object.
    #[error("the arguments are not a JSON object")]
    NotAnObject,
    /// A name twice in one object: readers differ about which counts.
    #[error("the arguments have a name twice in one object")]
    DuplicateName,
    /// A number that is no integer of 64 bits. Money is a count of minor units.
    #[error("the arguments have a number that is not an integer of 64 bits")]
    Number,
    /// Nested deeper than [`ARGUMENTS_DEPTH_MAX`].
    #[error("the arguments are nested deeper than {ARGUMENTS_DEPTH_MAX} levels")]
    TooDeep,
    /// Not the one text of these arguments.
    #[error("the arguments are not in their canonical form")]
    NotCanonical,
}

impl ArgumentsFault {
    /// A stable name for machines.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooLarge => "arguments_too_large",
            Self::OtherDigest => "arguments_other_digest",
            Self::NotJson => "arguments_not_json",
            Self::NotAnObject => "arguments_not_an_object",
            Self::DuplicateName => "arguments_duplicate_name",
            Self::Number => "arguments_number",
            Self::TooDeep => "arguments_too_deep",
            Self::NotCanonical => "arguments_not_canonical",
        }
    }

    /// The one of that code.
    pub fn of_code(code: &str) -> Option<Self> {
        const ALL: [ArgumentsFault; 8] = [
            ArgumentsFault::TooLarge,
            ArgumentsFault::OtherDigest,
            ArgumentsFault::NotJson,
            ArgumentsFault::NotAnObject,
            ArgumentsFault::DuplicateName,
            ArgumentsFault::Number,
            ArgumentsFault::TooDeep,
            ArgumentsFault::NotCanonical,
        ];
        ALL.into_iter().find(|fault| fault.code() == code)
    }
}

/// The canonical text of the JSON object `text`: what a request discloses, and what its digest is taken of.
///
/// # Errors
/// `text` is no JSON object that a condition could use.
pub fn canonical_arguments(text: &[u8]) -> Result<Vec<u8>, ArgumentsFault> {
    // Spaces do not count against the bound, but nothing is allocated for what is far beyond it.
    if text.len() > 16 * ARGUMENTS_SIZE_BYTES_MAX {
        return Err(ArgumentsFault::TooLarge);
    }
    let mut canonical = Vec::with_capacity(text.len());
    parse(text)?.write(&mut canonical)?;
    if canonical.len() > ARGUMENTS_SIZE_BYTES_MAX {
        return Err(ArgumentsFault::TooLarge);
    }
    Ok(canonical)
}

/// Arguments that a condition can use.
#[derive(Clone, Debug)]
pub struct Arguments(Json);

impl Arguments {
    /// Reads the canonical `text` of the arguments whose digest is `digest`.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn read(text: &[u8], digest: Hash) -> Result<Self, ArgumentsFault> {
        if text.len() > ARGUMENTS_SIZE_BYTES_MAX {
            return Err(ArgumentsFault::TooLarge);
        }
        if Hash::of(&[text]) != digest {
            return Err(ArgumentsFault::OtherDigest);
        }
        let json = parse(text)?;
        let mut canonical = Vec::with_capacity(text.len());
        json.write(&mut canonical)?;
        if canonical == text { Ok(Self(json)) } else { Err(ArgumentsFault::NotCanonical) }
    }

    /// The argument, if it is a whole number of at least 0.
    pub fn amount(&self, name: &Identifier) -> Option<u64> {
        match self.member(name)? {
            Json::Integer(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The argument as the segment of a name.
    pub fn segment(&self, name: &Identifier) -> Option<String> {
        match self.member(name)? {
            Json::Integer(value) => Some(value.to_string()),
            Json::Text(text) if !text.is_empty() && !text.contains('/') => Some(text.clone()),
            _ => None,
        }
    }

    fn member(&self, name: &Identifier) -> Option<&Json> {
        let Json::Object(members) = &self.0 else { return None };
        members.iter().find(|(member, _)| member == name.as_str()).map(|(_, value)| value)
    }

    /// What Cedar sees: `null` is absent, and a list is a record of its `count` and the set of its `items`.
    pub(super) fn to_cedar(&self) -> Option<RestrictedExpression> {
        self.0.to_cedar()
    }

    /// The JSON text of what stands at `path`, as Cedar sees it: a list's `count` and `items` too.
    pub(super) fn at(&self, path: &[String]) -> Option<String> {
        let mut at = &self.0;
        let mut path = path.iter();
        while let Some(name) = path.next() {
            at = match at {
                Json::Object(members) => {
                    members.iter().find(|(member, _)| member == name).map(|(_, value)| value)?
                }
                Json::List(items) if name == "count" && path.len() == 0 => {
                    return Some(items.len().to_string());
                }
                Json::List(_) if name == "items" => at,
                _ => return None,
            };
        }
        let mut text = Vec::new();
        at.write(&mut text).ok()?;
        String::from_utf8(text).ok().filter(|text| text != "null")
    }
}

#[derive(Clone, Debug)]
enum Json {
    Null,
    Bool(bool),
    Integer(i64),
    Text(String),
    List(Vec<Json>),
    /// Sorted by UTF-16 code units, unique.
    Object(Vec<(String, Json)>),
}

impl Json {
    fn to_cedar(&self) -> Option<RestrictedExpression> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(value) => RestrictedExpression::new_bool(*value),
            Self::Integer(value) => RestrictedExpression::new_long(*value),
            Self::Text(text) => RestrictedExpression::new_string(text.clone()),
            Self::List(items) => {
                // A set has no order and nothing twice: how many there were would be lost.
                let count = RestrictedExpression::new_long(i64::try_from(items.len()).ok()?);
                let items = RestrictedExpression::new_set(items.iter().filter_map(Self::to_cedar));
                RestrictedExpression::new_record([("count".into(), count), ("items".into(), items)]).ok()?
            }
            Self::Object(members) => RestrictedExpression::new_record(
                members.iter().filter_map(|(name, value)| Some((name.clone(), value.to_cedar()?))),
            )
            // INVARIANT: no name is there twice.
            .ok()?,
        })
    }

    fn write(&self, to: &mut Vec<u8>) -> Result<(), ArgumentsFault> {
        match self {
            Self::Null => to.extend(b"null"),
            Self::Bool(true) => to.extend(b"true"),
            Self::Bool(false) => to.extend(b"false"),
            Self::Integer(value) => to.extend(value.to_string().bytes()),
            Self::Text(text) => write_text(text, to)?,
            Self::List(items) => {
                to.push(b'[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        to.push(b',');
                    }
                    item.write(to)?;
                }
                to.push(b']');
            }
            Self::Object(members) => {
                to.push(b'{');
                for (place, (name, value)) in members.iter().enumerate() {
                    if place > 0 {
                        to.push(b',');
                    }
                    write_text(name, to)?;
                    to.push(b':');
                    value.write(to)?;
                }
                to.push(b'}');
            }
        }
        Ok(())
    }
}

/// As RFC 8785 spells a string, which is how serde_json does.
fn write_text(text: &str, to: &mut Vec<u8>) -> Result<(), ArgumentsFault> {
    serde_json::to_writer(to, text).map_err(|_| ArgumentsFault::NotJson)
}

fn parse(text: &[u8]) -> Result<Json, ArgumentsFault> {
    let mut fault = None;
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let parsed = Reader { depth: 0, fault: &mut fault }.deserialize(&mut deserializer);
    let ended = parsed.and_then(|json| deserializer.end().map(|()| json));
    match ended {
        Ok(json @ Json::Object(_)) => Ok(json),
        Ok(_) => Err(ArgumentsFault::NotAnObject),
        Err(error) => Err(fault.unwrap_or_else(|| fault_of(&error))),
    }
}

/// What the parser itself refuses. A number that is too large for any type of its own is a number all the same, and it
/// tells so in words alone; a test holds it to them.
fn fault_of(error: &serde_json::Error) -> ArgumentsFault {
    if error.to_string().starts_with("number out of range") {
        ArgumentsFault::Number
    } else {
        ArgumentsFault::NotJson
    }
}

/// Reads one value at `depth`, and keeps what is wrong with it.
struct Reader<'a> {
    depth: usize,
    fault: &'a mut Option<ArgumentsFault>,
}

impl Reader<'_> {
    fn refuse<T, E: serde::de::Error>(self, fault: ArgumentsFault) -> Result<T, E> {
        self.fault.get_or_insert(fault);
        Err(E::custom(fault))
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Json, E> {
        match i64::try_from(value) {
            Ok(value) => Ok(Json::Integer(value)),
            Err(_) => self.refuse(ArgumentsFault::Number),
        }
    }

    // What has a fraction or an exponent, is the negative zero, or is beyond 64 bits.
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Json, E> {
        self.refuse(ArgumentsFault::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let depth = self.depth + 1;
        if depth > ARGUMENTS_DEPTH_MAX {
            return self.refuse(ArgumentsFault::TooDeep);
        }
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(Reader { depth, fault: self.fault })? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        let depth = self.depth + 1;
        if depth > ARGUMENTS_DEPTH_MAX {
            return self.refuse(ArgumentsFault::TooDeep);
        }
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some(name) = object.next_key::<String>()? {
            let before = |(other, _): &(String, Json)| other.encode_utf16().cmp(name.encode_utf16());
            // Canonical text comes in order, and needs no search.
            let place = match members.last().map(before) {
                None | Some(std::cmp::Ordering::Less) => members.len(),
                _ => match members.binary_search_by(before) {
                    Ok(_) => return self.refuse(ArgumentsFault::DuplicateName),
                    Err(place) => place,
                },
            };
            let value = object.next_value_seed(Reader { depth, fault: self.fault })?;
            members.insert(place, (name, value));
        }
        Ok(Json::Object(members))
    }
}
