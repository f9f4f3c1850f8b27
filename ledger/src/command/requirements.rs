//! What a grant requires an agent to have had in front of it.

use std::fmt;

use super::{Identifier, MalformedCommand, NAME_SIZE_BYTES_MAX, Name, NameError};
use chancery_proto::v1 as wire;

/// Most requirements of one grant.
pub const REQUIREMENTS_MAX: usize = 8;

/// A source that must be among a request's knowledge, and how old what was had from it may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requirement {
    /// Which source.
    pub source: Template,
    /// Oldest, in milliseconds of ledger time; at least 1.
    pub max_age_ms: u64,
}

/// The requirements of one grant: at most [`REQUIREMENTS_MAX`], sorted by source, none twice.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Requirements(Vec<Requirement>);

impl Requirements {
    /// Checks `requirements`.
    pub fn new(requirements: Vec<Requirement>) -> Result<Self, RequirementError> {
        if requirements.len() > REQUIREMENTS_MAX {
            return Err(RequirementError::TooMany);
        }
        if !requirements.is_sorted_by(|a, b| a.source.text < b.source.text) {
            return Err(RequirementError::Unsorted);
        }
        if requirements.iter().any(|requirement| requirement.max_age_ms == 0) {
            return Err(RequirementError::Age);
        }
        Ok(Self(requirements))
    }

    /// Sorts, and checks: for callers that assemble a list.
    pub fn collect(requirements: impl IntoIterator<Item = Requirement>) -> Result<Self, RequirementError> {
        let mut requirements: Vec<Requirement> = requirements.into_iter().collect();
        requirements.sort_by(|a, b| a.source.text.cmp(&b.source.text));
        Self::new(requirements)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their sources.
    pub fn iter(&self) -> impl Iterator<Item = &Requirement> {
        self.0.iter()
    }

    pub(super) fn to_wire(&self) -> Vec<wire::KnowledgeRequirement> {
        let one = |requirement: &Requirement| wire::KnowledgeRequirement {
            source: requirement.source.to_string(),
            max_age_ms: requirement.max_age_ms,
        };
        self.0.iter().map(one).collect()
    }

    /// From the wire, checked.
    pub fn from_wire(list: Vec<wire::KnowledgeRequirement>) -> Result<Self, MalformedCommand> {
        if list.len() > REQUIREMENTS_MAX {
            return Err(RequirementError::TooMany.into());
        }
        let one = |w: wire::KnowledgeRequirement| {
            Ok(Requirement { source: Template::new(w.source)?, max_age_ms: w.max_age_ms })
        };
        let list = list.into_iter().map(one).collect::<Result<_, RequirementError>>()?;
        Ok(Self::new(list)?)
    }
}

/// Why requirements are not those of a grant.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequirementError {
    /// More than [`REQUIREMENTS_MAX`].
    #[error("a grant has at most {REQUIREMENTS_MAX} requirements of knowledge")]
    TooMany,
    /// Not in the order of their sources.
    #[error("the requirements are not sorted by source, or one is there twice")]
    Unsorted,
    /// Nothing could be so young.
    #[error("max_age_ms is at least 1")]
    Age,
    /// The source is no template.
    #[error("the source {0}")]
    Template(#[from] TemplateError),
}

/// The name of a source, with places for what a request says: `{agent}`, `{action}`, `{resource}` and
/// `{args.NAME}`. There is at most one place in a segment (the text between two `/`), so that no two sets of
/// arguments fill it to the same name.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Place(Place),
}

/// A place of a [`Template`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The agent's name.
    Agent,
    /// The action.
    Action,
    /// The resource.
    Resource,
    /// An argument: a text without `/`, or a whole number in decimal.
    Argument(Identifier),
}

impl Template {
    /// Checks `text`: what is filled in may be anything that has no `/`, and a name must come of it.
    pub fn new(text: impl Into<String>) -> Result<Self, TemplateError> {
        let text = text.into();
        if text.len() > NAME_SIZE_BYTES_MAX {
            return Err(NameError::TooLong.into());
        }
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, from)) = rest.split_once('{') {
            let (place, after) = from.split_once('}').ok_or(TemplateError::Place)?;
            let segments_apart = parts.is_empty() || before.contains('/');
            if before.contains('}') || !segments_apart {
                return Err(TemplateError::Place);
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(Part::Place(match place {
                "agent" => Place::Agent,
                "action" => Place::Action,
                "resource" => Place::Resource,
                _ => {
                    let argument = place.strip_prefix("args.").map(Identifier::new);
                    Place::Argument(argument.and_then(Result::ok).ok_or(TemplateError::Place)?)
                }
            }));
            rest = after;
        }
        if rest.contains('}') {
            return Err(TemplateError::Place);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        let template = Self { text, parts };
        let sample = template.joined(|_| Some("x".into())).unwrap_or_default();
        Name::new(sample)?;
        Ok(template)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The source that it names when `value` says what stands at a place; `None` if something does not, or
    /// what comes of it is no name.
    pub fn fill(&self, value: impl Fn(&Place) -> Option<String>) -> Option<Name> {
        Name::new(self.joined(value)?).ok()
    }

    fn joined(&self, value: impl Fn(&Place) -> Option<String>) -> Option<String> {
        let part = |part: &Part| match part {
            Part::Text(text) => Some(text.clone()),
            Part::Place(place) => value(place),
        };
        self.parts.iter().map(part).collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Why a text is no template of a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TemplateError {
    /// A brace that is no place, or a place that follows another in one segment.
    #[error(
        "has a '{{' or '}}' that is not one of {{agent}}, {{action}}, {{resource}}, {{args.NAME}}, one in a segment"
    )]
    Place,
    /// No name could come of it.
    #[error("{0}")]
    Name(#[from] NameError),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn value(place: &Place) -> Option<String> {
        match place {
            Place::Agent => Some("team/a".into()),
            Place::Action => Some("cancel".into()),
            Place::Resource => Some("reservation/X".into()),
            Place::Argument(name) if name.as_str() == "id" => Some("EHGLP3".into()),
            Place::Argument(_) => None,
        }
    }

    #[test]
    fn a_template_names_a_source() {
        let filled = |text: &str| Template::new(text).unwrap().fill(value).map(|name| name.to_string());
        assert_eq!(filled("policy").unwrap(), "policy");
        assert_eq!(filled("{resource}").unwrap(), "reservation/X");
        assert_eq!(filled("r/{args.id}/status").unwrap(), "r/EHGLP3/status");
        assert_eq!(filled("by-{agent}/{action}").unwrap(), "by-team/a/cancel");
        assert_eq!(filled("r/{args.other}"), None);
        let dots = Template::new("r/{args.id}").unwrap();
        assert_eq!(dots.fill(|_| Some("..".into())), None);
        assert_eq!(dots.fill(|_| Some(String::new())).unwrap().as_str(), "r/");
    }

    #[test]
    fn what_is_no_template() {
        for text in ["{", "}", "{}", "{agents}", "{args}", "{args.}", "{args.a-b}", "a}{agent}", "{{agent}}"]
        {
            assert_eq!(Template::new(text), Err(TemplateError::Place), "{text}");
        }
        // Two places side by side could be filled to one name in two ways.
        for text in ["{args.a}{args.b}", "{args.a}-{args.b}", "x/{agent}.{args.b}"] {
            assert_eq!(Template::new(text), Err(TemplateError::Place), "{text}");
        }
        assert!(Template::new("{args.a}/{args.b}").is_ok());
        assert_eq!(Template::new(""), Err(TemplateError::Name(NameError::Empty)));
        assert_eq!(Template::new("a/../{agent}"), Err(TemplateError::Name(NameError::DotSegment)));
        assert_eq!(Template::new("a/*"), Err(TemplateError::Name(NameError::Wildcard)));
        assert_eq!(Template::new("x".repeat(257)), Err(TemplateError::Name(NameError::TooLong)));
    }
}
