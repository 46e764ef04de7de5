//! The checks of Choice rules.

use serde_json::Value;

use super::{Checker, fields};
use crate::choice::{Kind, Operator, Pattern};
use crate::time;

const SELECTORS: [&str; 5] = ["And", "Or", "Not", "Variable", "Condition"];

/// All comparisons, in AWS's order.
const OPERATORS: &str = "StringEquals, IsBoolean, StringLessThan, IsNumeric, BooleanEquals, \
    StringLessThanEqualsPath, NumericLessThan, NumericGreaterThan, NumericLessThanPath, StringMatches, \
    TimestampLessThanEqualsPath, NumericEquals, TimestampGreaterThan, StringGreaterThanEqualsPath, \
    TimestampGreaterThanEqualsPath, TimestampLessThanEquals, NumericLessThanEqualsPath, \
    TimestampEquals, BooleanEqualsPath, IsTimestamp, StringLessThanEquals, NumericLessThanEquals, \
    StringLessThanPath, TimestampGreaterThanPath, StringGreaterThan, StringGreaterThanPath, IsString, \
    StringEqualsPath, TimestampEqualsPath, TimestampLessThan, StringGreaterThanEquals, \
    NumericGreaterThanPath, NumericGreaterThanEquals, NumericEqualsPath, TimestampLessThanPath, IsNull, \
    IsPresent, TimestampGreaterThanEquals, NumericGreaterThanEqualsPath";

impl Checker {
    pub(super) fn choice(&mut self, state: &Value, at: &str) {
        fields::required(self, state, &["Choices"], at);
        fields::string(self, state, "Default", at);
        let Some(rules) = self.list(state, "Choices", at, true) else {
            return;
        };
        for (index, rule) in rules.iter().enumerate() {
            let here = format!("{at}/Choices[{index}]");
            fields::required(self, rule, &["Next"], &here);
            fields::string(self, rule, "Next", &here);
            fields::assign(self, rule, &here);
            self.rule(rule, &here, true);
        }
    }

    fn rule(&mut self, rule: &Value, at: &str, top: bool) {
        let Some(members) = rule.as_object() else {
            self.schema("Expected value of type Object", at);
            return;
        };
        if members.contains_key("Condition") {
            let message = "The QueryLanguage is set to 'JSONPath', but field 'Condition' is only \
                           supported for the 'JSONata' QueryLanguage";
            self.schema(message, at);
            return;
        }
        if SELECTORS
            .iter()
            .filter(|name| members.contains_key(**name))
            .count()
            != 1
        {
            let message = "The object must have only one of the following fields, [And, Or, Not, \
                           Variable, Condition]";
            self.schema(message, at);
            return;
        }
        let plain = members.contains_key("Variable");
        let operators: Vec<&str> = members
            .keys()
            .map(String::as_str)
            .filter(|name| Operator::named(name).is_some())
            .collect();
        for name in members.keys() {
            let known = SELECTORS.contains(&name.as_str())
                || (plain && Operator::named(name).is_some())
                || name == "Comment"
                || (top && matches!(name.as_str(), "Next" | "Assign"));
            if !known {
                self.schema(format!("Field '{name}' is not supported"), at);
            }
        }
        if plain {
            self.comparison(rule, &operators, at);
        }
        for field in ["And", "Or"] {
            if let Some(rules) = self.list(rule, field, at, true) {
                for (index, inner) in rules.iter().enumerate() {
                    self.rule(inner, &format!("{at}/{field}[{index}]"), false);
                }
            }
        }
        if let Some(inner) = rule.get("Not") {
            self.rule(inner, &format!("{at}/Not"), false);
        }
    }

    fn comparison(&mut self, rule: &Value, operators: &[&str], at: &str) {
        fields::reference(self, rule, "Variable", at, true);
        match operators {
            [] => {
                let message = format!(
                    "This object should have only one of the following fields: [{OPERATORS}]"
                );
                self.schema(message, at);
            }
            [name] => self.operand(rule, name, at),
            _ => {
                let message =
                    format!("There should only be one of the following fields: [{OPERATORS}]");
                self.schema(message, at);
            }
        }
    }

    fn operand(&mut self, rule: &Value, name: &str, at: &str) {
        let (Some(operator), Some(operand)) = (Operator::named(name), rule.get(name)) else {
            return;
        };
        let place = format!("{at}/{name}");
        let (fits, expected) = match operator {
            Operator::Is(_) => (operand.is_boolean(), "Boolean"),
            Operator::Matches => {
                if let Some(Err(fault)) = operand.as_str().map(Pattern::parse) {
                    self.schema(
                        format!("Value is not a valid pattern: {fault}"),
                        place.clone(),
                    );
                }
                (operand.is_string(), "String")
            }
            Operator::Compare { path: true, .. } => {
                fields::reference(self, rule, name, at, true);
                return;
            }
            Operator::Compare {
                kind: Kind::String, ..
            } => (operand.is_string(), "String"),
            Operator::Compare {
                kind: Kind::Numeric,
                ..
            } => (operand.is_number(), "Number"),
            Operator::Compare {
                kind: Kind::Boolean,
                ..
            } => (operand.is_boolean(), "Boolean"),
            Operator::Compare {
                kind: Kind::Timestamp,
                ..
            } => {
                if operand
                    .as_str()
                    .is_some_and(|text| time::parse(text).is_none())
                {
                    self.schema("String does not match RFC3339 timestamp", place.clone());
                }
                (operand.is_string(), "String")
            }
        };
        if !fits {
            self.schema(format!("Expected value of type {expected}"), place);
        }
    }
}
