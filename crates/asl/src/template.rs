//! Payload templates: `Parameters`, `ResultSelector`, `ItemSelector`, `Assign`.

use serde_json::{Map, Value};

use crate::query::{Query, QueryError, View};

/// What Step Functions says of a path applied to an input that is null.
const NULL_INPUT: &str = "Unable to apply Path transformation to null or empty input.";

/// A compiled template.
#[derive(Debug, Clone)]
pub(crate) enum Template {
    /// A part without expressions.
    Constant(Value),
    /// The members in the order they are filled in, and the places they then take: constants and
    /// nested objects stay in order, values of `….$` members follow as a `HashMap` holds them.
    Object(Vec<(String, Template)>, Vec<usize>),
    Array(Vec<Template>),
    /// The value of a `….$` member; `field` is the member's name with its suffix.
    Query {
        field: String,
        query: Query,
    },
}

/// Why a template has no value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TemplateError {
    /// The sentence AWS puts in the cause, without its prefix.
    pub(crate) message: String,
}

impl TemplateError {
    /// The sentence for a failed expression in a named field.
    pub(crate) fn new(error: &QueryError, field: &str) -> Self {
        match error {
            QueryError::Missing { path, document, .. } => TemplateError {
                message: format!(
                    "The JSONPath '{path}' specified for the field '{field}' could not be found \
                     in the input '{document}'"
                ),
            },
            QueryError::NullInput => TemplateError {
                message: NULL_INPUT.to_owned(),
            },
            QueryError::Function(message) => TemplateError {
                message: message.clone(),
            },
        }
    }
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    /// The offending fields: where they are below the template (a JSON pointer) and their names.
    pub(crate) fn parse(value: &Value) -> Result<Self, Vec<(String, String)>> {
        let mut faults = Vec::new();
        let template = compile(value, "", &mut faults);
        if faults.is_empty() {
            Ok(template)
        } else {
            Err(faults)
        }
    }

    /// Fills the template in.
    pub(crate) fn fill(&self, view: &View<'_>) -> Result<Value, TemplateError> {
        match self {
            Template::Constant(value) => Ok(value.clone()),
            Template::Object(members, places) => {
                let mut values = members
                    .iter()
                    .map(|(_, member)| member.fill(view))
                    .collect::<Result<Vec<_>, _>>()?;
                let mut filled = Map::with_capacity(members.len());
                for &place in places {
                    filled.insert(members[place].0.clone(), values[place].take());
                }
                Ok(Value::Object(filled))
            }
            Template::Array(items) => items
                .iter()
                .map(|item| item.fill(view))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Template::Query { field, query } => query
                .value(view)
                .map_err(|error| TemplateError::new(&error, field)),
        }
    }

    /// Fills a template whose top is an object, as `Assign` is, member by member.
    pub(crate) fn fill_members(
        &self,
        view: &View<'_>,
    ) -> Result<Vec<(String, Value)>, TemplateError> {
        match self.fill(view)? {
            Value::Object(members) => Ok(members.into_iter().collect()),
            _ => Ok(Vec::new()),
        }
    }
}

fn compile(value: &Value, at: &str, faults: &mut Vec<(String, String)>) -> Template {
    match value {
        Value::Object(members) => {
            let mut compiled = Vec::with_capacity(members.len());
            for (name, member) in members {
                let below = format!("{at}/{name}");
                let Some(plain) = name.strip_suffix(".$") else {
                    compiled.push((name.clone(), compile(member, &below, faults)));
                    continue;
                };
                match member.as_str().map(Query::parse) {
                    Some(Ok(query)) => compiled.push((
                        plain.to_owned(),
                        Template::Query {
                            field: name.clone(),
                            query,
                        },
                    )),
                    _ => faults.push((below, name.clone())),
                }
            }
            if compiled
                .iter()
                .all(|(_, member)| matches!(member, Template::Constant(_)))
                && compiled.len() == members.len()
            {
                return Template::Constant(value.clone());
            }
            let places = places(&compiled);
            Template::Object(compiled, places)
        }
        Value::Array(items) => {
            let compiled: Vec<Template> = items
                .iter()
                .enumerate()
                .map(|(index, item)| compile(item, &format!("{at}[{index}]"), faults))
                .collect();
            if compiled
                .iter()
                .all(|item| matches!(item, Template::Constant(_)))
            {
                return Template::Constant(value.clone());
            }
            Template::Array(compiled)
        }
        other => Template::Constant(other.clone()),
    }
}

/// The order of an object's members once it is filled in.
fn places(members: &[(String, Template)]) -> Vec<usize> {
    let is_query = |&place: &usize| matches!(members[place].1, Template::Query { .. });
    let (mut queries, mut order): (Vec<usize>, Vec<usize>) = (0..members.len()).partition(is_query);
    let size = queries.len();
    queries.sort_by_key(|&place| crate::java::bucket(&members[place].0, size));
    order.append(&mut queries);
    order
}
