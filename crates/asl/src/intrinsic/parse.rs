//! The grammar of calls: names, quoted texts, numbers, `true`, `false`, `null`, paths, calls.

use serde_json::Value;

use super::{Argument, Call, Function};
use crate::limits::MAX_INTRINSIC_DEPTH;
use crate::query::parse_path;

pub(super) fn parse(text: &str) -> Result<Call, String> {
    let mut parser = Parser {
        chars: text.chars().collect(),
        at: 0,
    };
    let mut call = parser.call(MAX_INTRINSIC_DEPTH)?;
    parser.blanks();
    if parser.at != parser.chars.len() {
        return Err(format!(
            "unexpected text after the call at position {}",
            parser.at
        ));
    }
    call.text = text.into();
    Ok(call)
}

struct Parser {
    chars: Vec<char>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.peek() == Some(wanted) {
            self.at += 1;
            return Ok(());
        }
        Err(format!("expected '{wanted}' at position {}", self.at))
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+'))
        {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect()
    }

    fn call(&mut self, left: usize) -> Result<Call, String> {
        let deeper = left
            .checked_sub(1)
            .ok_or("calls nest too deeply: at most 10 levels")?;
        let start = self.at;
        let word = self.word();
        let function = word
            .strip_prefix("States.")
            .and_then(Function::named)
            .ok_or_else(|| format!("'{word}' is not an intrinsic function"))?;
        self.blanks();
        self.expect('(')?;
        let mut arguments = Vec::new();
        self.blanks();
        if self.peek() == Some(')') {
            self.at += 1;
        } else {
            loop {
                self.blanks();
                arguments.push(self.argument(deeper)?);
                self.blanks();
                if self.peek() == Some(',') {
                    self.at += 1;
                    continue;
                }
                self.expect(')')?;
                break;
            }
        }
        let text: String = self.chars[start..self.at].iter().collect();
        Ok(Call {
            function,
            arguments,
            text: text.into(),
        })
    }

    fn argument(&mut self, left: usize) -> Result<Argument, String> {
        match self.peek() {
            None => Err("an argument is missing".to_owned()),
            Some('\'') => self.text(),
            Some('$') => {
                let text = self.path_text();
                let kind = parse_path(&text).map_err(|e| format!("'{text}': {e}"))?;
                Ok(Argument::Path(kind, text))
            }
            Some('S') => Ok(Argument::Call(Box::new(self.call(left)?))),
            Some(_) => {
                let word = self.word();
                match word.as_str() {
                    "null" => Ok(Argument::Literal(Value::Null)),
                    "true" => Ok(Argument::Literal(Value::Bool(true))),
                    "false" => Ok(Argument::Literal(Value::Bool(false))),
                    _ => serde_json::from_str::<serde_json::Number>(&word)
                        .map(|number| Argument::Literal(Value::Number(number)))
                        .map_err(|_| format!("'{word}' is not an argument (position {})", self.at)),
                }
            }
        }
    }

    /// A text in single quotes: `\'`, `\\`, `\{` and `\}` are its escapes.
    fn text(&mut self) -> Result<Argument, String> {
        self.expect('\'')?;
        let mut plain = String::new();
        let mut written = String::new();
        loop {
            match self.peek() {
                None => return Err("a text does not end".to_owned()),
                Some('\'') => {
                    self.at += 1;
                    return Ok(Argument::Text { plain, written });
                }
                Some('\\') => {
                    let next = self
                        .chars
                        .get(self.at + 1)
                        .copied()
                        .ok_or("a text does not end")?;
                    if !matches!(next, '\'' | '\\' | '{' | '}') {
                        return Err(format!("'\\{next}' is not an escape of a text"));
                    }
                    plain.push(next);
                    written.push('\\');
                    written.push(next);
                    self.at += 2;
                }
                Some(c) => {
                    plain.push(c);
                    written.push(c);
                    self.at += 1;
                }
            }
        }
    }

    /// The characters of a path: up to a comma or a closing parenthesis of this call.
    fn path_text(&mut self) -> String {
        let start = self.at;
        let mut open = 0usize;
        let mut quote = None;
        while let Some(c) = self.peek() {
            match (quote, c) {
                (Some(q), _) if c == q => quote = None,
                (Some(_), '\\') => self.at += 1,
                (Some(_), _) => {}
                (None, '\'' | '"') => quote = Some(c),
                (None, '(' | '[') => open += 1,
                (None, ')' | ']') if open > 0 => open -= 1,
                (None, ')' | ',') if open == 0 => break,
                _ => {}
            }
            self.at += 1;
        }
        let end = self.at.min(self.chars.len());
        self.at = end;
        let text: String = self.chars[start..end].iter().collect();
        text.trim_end().to_owned()
    }
}
