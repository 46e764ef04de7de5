//! The grammar of paths.

use super::filter::parse_filter;
use super::{Function, JsonPath, Step};

/// Characters of a path; longer ones are refused before any work is done.
const MAX_PATH_CHARS: usize = 8_192;

pub(super) fn parse(text: &str) -> Result<JsonPath, String> {
    if text.len() > MAX_PATH_CHARS {
        return Err(format!(
            "a path may have at most {MAX_PATH_CHARS} characters"
        ));
    }
    let mut cursor = Cursor {
        chars: text.chars().collect(),
        at: 0,
    };
    let path = path(&mut cursor, text)?;
    if cursor.at != cursor.chars.len() {
        return Err(format!(
            "unexpected '{}' at position {}",
            cursor.rest(),
            cursor.at
        ));
    }
    Ok(path)
}

/// A place in a path, shared with the filter parser.
pub(super) struct Cursor {
    pub(super) chars: Vec<char>,
    pub(super) at: usize,
}

impl Cursor {
    pub(super) fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    pub(super) fn ahead(&self, by: usize) -> Option<char> {
        self.chars.get(self.at + by).copied()
    }

    pub(super) fn take(&mut self, wanted: char) -> bool {
        let hit = self.peek() == Some(wanted);
        if hit {
            self.at += 1;
        }
        hit
    }

    pub(super) fn take_str(&mut self, wanted: &str) -> bool {
        let hit = wanted
            .chars()
            .enumerate()
            .all(|(i, c)| self.ahead(i) == Some(c));
        if hit {
            self.at += wanted.chars().count();
        }
        hit
    }

    pub(super) fn blanks(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    pub(super) fn rest(&self) -> String {
        self.chars[self.at.min(self.chars.len())..].iter().collect()
    }

    /// A quoted string; the cursor is on its opening quote.
    pub(super) fn quoted(&mut self) -> Result<String, String> {
        let quote = self.peek().ok_or("expected a quote")?;
        self.at += 1;
        let mut out = String::new();
        loop {
            match self.peek() {
                None => return Err("a quoted name does not end".to_owned()),
                Some('\\') => {
                    let next = self.ahead(1).ok_or("a quoted name does not end")?;
                    out.push(next);
                    self.at += 2;
                }
                Some(c) if c == quote => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(c) => {
                    out.push(c);
                    self.at += 1;
                }
            }
        }
    }

    pub(super) fn integer(&mut self) -> Option<i64> {
        let start = self.at;
        self.take('-');
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self.chars[start..self.at].iter().collect();
        match digits.parse() {
            Ok(number) => Some(number),
            Err(_) => {
                self.at = start;
                None
            }
        }
    }
}

/// A path from its `$` (or `@`, inside filters) to the first character that cannot belong to it.
pub(super) fn path(cursor: &mut Cursor, text: &str) -> Result<JsonPath, String> {
    if !(cursor.take('$') || cursor.take('@')) {
        return Err("a path starts with '$'".to_owned());
    }
    let mut steps = Vec::new();
    let mut function = None;
    loop {
        match cursor.peek() {
            Some('.') if cursor.ahead(1) == Some('.') => {
                cursor.at += 2;
                steps.push(Step::Scan);
                match cursor.peek() {
                    Some('[') => {}
                    Some(_) => match name_or_function(cursor)? {
                        Named::Step(step) => steps.push(step),
                        Named::Function(_) => {
                            return Err("a function cannot follow '..'".to_owned());
                        }
                    },
                    None => return Err("a path may not end with '..'".to_owned()),
                }
            }
            // A dot before a bracket says nothing: `$.[0]` is `$[0]`.
            Some('.') if cursor.ahead(1) == Some('[') => cursor.at += 1,
            Some('.') => {
                cursor.at += 1;
                match name_or_function(cursor)? {
                    Named::Step(step) => steps.push(step),
                    Named::Function(found) => {
                        function = Some(found);
                        break;
                    }
                }
            }
            Some('[') => {
                cursor.at += 1;
                steps.push(bracket(cursor)?);
            }
            _ => break,
        }
    }
    Ok(JsonPath {
        steps,
        function,
        text: text.into(),
    })
}

enum Named {
    Step(Step),
    Function(Function),
}

fn name_or_function(cursor: &mut Cursor) -> Result<Named, String> {
    if cursor.take('*') {
        return Ok(Named::Step(Step::Wildcard));
    }
    let start = cursor.at;
    while let Some(c) = cursor.peek() {
        if matches!(
            c,
            '.' | '['
                | '('
                | ')'
                | ','
                | '='
                | '!'
                | '<'
                | '>'
                | '&'
                | '|'
                | ']'
                | '\''
                | '"'
                | '*'
                | '?'
        ) || c.is_whitespace()
        {
            break;
        }
        cursor.at += 1;
    }
    let name: String = cursor.chars[start..cursor.at].iter().collect();
    if name.is_empty() {
        return Err(format!("expected a name at position {start}"));
    }
    if cursor.peek() == Some('(') {
        if cursor.ahead(1) != Some(')') {
            return Err(format!("function '{name}' takes no arguments"));
        }
        cursor.at += 2;
        let function = match name.as_str() {
            "length" | "size" => Function::Length,
            "min" => Function::Min,
            "max" => Function::Max,
            "avg" => Function::Avg,
            "sum" => Function::Sum,
            "keys" => Function::Keys,
            "first" => Function::First,
            "last" => Function::Last,
            _ => return Err(format!("function '{name}' is not supported")),
        };
        return Ok(Named::Function(function));
    }
    Ok(Named::Step(Step::Property(vec![name])))
}

/// What stands between brackets; the opening one is read.
fn bracket(cursor: &mut Cursor) -> Result<Step, String> {
    cursor.blanks();
    let step = match cursor.peek() {
        Some('*') => {
            cursor.at += 1;
            Step::Wildcard
        }
        Some('?') => {
            cursor.at += 1;
            cursor.blanks();
            if !cursor.take('(') {
                return Err("a filter is written [?(…)]".to_owned());
            }
            let filter = parse_filter(cursor)?;
            cursor.blanks();
            if !cursor.take(')') {
                return Err(format!("expected ')' at position {}", cursor.at));
            }
            Step::Filter(filter)
        }
        Some('\'' | '"') => {
            let mut names = vec![cursor.quoted()?];
            loop {
                cursor.blanks();
                if !cursor.take(',') {
                    break;
                }
                cursor.blanks();
                if !matches!(cursor.peek(), Some('\'' | '"')) {
                    return Err("expected a quoted name after ','".to_owned());
                }
                names.push(cursor.quoted()?);
            }
            Step::Property(names)
        }
        Some(c) if c == '-' || c == ':' || c.is_ascii_digit() => indexes(cursor)?,
        _ => {
            return Err(format!(
                "expected a name, an index, '*' or a filter at position {}",
                cursor.at
            ));
        }
    };
    cursor.blanks();
    if !cursor.take(']') {
        return Err(format!("expected ']' at position {}", cursor.at));
    }
    Ok(step)
}

fn indexes(cursor: &mut Cursor) -> Result<Step, String> {
    let first = cursor.integer();
    cursor.blanks();
    if cursor.take(':') {
        cursor.blanks();
        let to = cursor.integer();
        return Ok(Step::Slice(first, to));
    }
    let mut all = vec![first.ok_or("expected an index")?];
    loop {
        cursor.blanks();
        if !cursor.take(',') {
            return Ok(Step::Index(all));
        }
        cursor.blanks();
        all.push(cursor.integer().ok_or("expected an index after ','")?);
    }
}
