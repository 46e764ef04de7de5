//! A report for people, and for build servers.

use std::fmt::Write as _;

use super::{Check, Report, Status};

impl Status {
    /// Its name: `pass`, `skip`, `warn` or `fail`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

impl Report {
    /// For people: a line a check, and what was found below it. `paint` may colour the
    /// word that says how a check ended.
    pub fn to_text(&self, paint: impl Fn(Status, &str) -> String) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        if let Some(info) = &self.info {
            let _ = writeln!(text, "{} {}  {}", info.name, info.version, info.summary);
        }
        if let Some(component) = &self.component {
            let _ = writeln!(text, "component {component}");
        }
        for check in &self.checks {
            let status = paint(check.status, check.status.name());
            let _ = writeln!(text, "{status}  {:<12} {}", check.name, check.tried);
            for found in &check.found {
                let _ = writeln!(text, "        {found}");
            }
            if check.more > 0 {
                let _ = writeln!(text, "        and {} more", check.more);
            }
        }
        let _ = writeln!(
            text,
            "{} checks passed, {} warned, {} failed, {} skipped; {} decisions{}",
            self.count(Status::Pass),
            self.count(Status::Warn),
            self.count(Status::Fail),
            self.count(Status::Skip),
            self.calls,
            self.fuel.map_or(String::new(), |fuel| format!(
                ", fuel p50 {:.2} % of the budget",
                fuel.p50 as f64 * 100.0 / fuel.budget.max(1) as f64
            )),
        );
        text
    }

    /// As JUnit XML, in the form that build servers read: a suite with a case for each
    /// check. Warnings are passes with a `system-out`.
    pub fn to_junit(&self) -> String {
        let name = self.info.as_ref().map_or("resolver".to_owned(), |info| {
            format!("{} {}", info.name, info.version)
        });
        let seconds = |us: u64| us as f64 / 1e6;
        let total: u64 = self.checks.iter().map(|check| check.wall_us).sum();
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = writeln!(
            xml,
            "<testsuites>\n  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"0\" \
             skipped=\"{}\" time=\"{:.6}\">",
            escape(&name),
            self.checks.len(),
            self.count(Status::Fail),
            self.count(Status::Skip),
            seconds(total)
        );
        for check in &self.checks {
            let _ = write!(
                xml,
                "    <testcase classname=\"conformance\" name=\"{}\" time=\"{:.6}\">",
                escape(check.name),
                seconds(check.wall_us)
            );
            let found = escape(&findings(check));
            let tried = escape(&check.tried);
            let _ = match check.status {
                Status::Pass if check.found.is_empty() => Ok(()),
                Status::Pass => write!(xml, "<system-out>{found}</system-out>"),
                Status::Warn => write!(xml, "<system-out>warning: {found}</system-out>"),
                Status::Skip => write!(xml, "<skipped message=\"{found}\"/>"),
                Status::Fail => write!(xml, "<failure message=\"{tried}\">{found}</failure>"),
            };
            xml.push_str("</testcase>\n");
        }
        xml.push_str("  </testsuite>\n</testsuites>\n");
        xml
    }
}

fn findings(check: &Check) -> String {
    let mut text = check.found.join("\n");
    if check.more > 0 {
        let _ = write!(text, "\nand {} more", check.more);
    }
    text
}

/// Text as XML 1.0 has it: what it has no way to write (most control characters) becomes
/// U+FFFD.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' => escaped.push_str("&#10;"),
            '\t' => escaped.push_str("&#9;"),
            '\r' => escaped.push_str("&#13;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            plain => escaped.push(plain),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use model::{EngineId, Limits};

    use super::*;

    fn report() -> Report {
        let check = |name, status, found: &[&str]| Check {
            name,
            status,
            tried: "a < b".to_owned(),
            found: found.iter().map(|f| (*f).to_owned()).collect(),
            more: usize::from(found.len() > 1),
            wall_us: 1_500,
        };
        Report {
            component: None,
            info: None,
            engine: EngineId {
                version: "native".to_owned(),
                compatibility: "native".to_owned(),
            },
            limits: Limits::DEFAULT,
            calls: 3,
            fuel: None,
            wall_us: None,
            checks: vec![
                check("ties", Status::Pass, &[]),
                check("fuel", Status::Warn, &["60 %"]),
                check("cases", Status::Skip, &["no \"cases\""]),
                check("sizes", Status::Fail, &["1 & 2: trap\u{0}", "256: trap"]),
            ],
        }
    }

    #[test]
    fn people_read_what_was_tried_and_what_was_found() {
        expect![[r#"
            pass  ties         a < b
            warn  fuel         a < b
                    60 %
            skip  cases        a < b
                    no "cases"
            FAIL  sizes        a < b
                    1 & 2: trap
                    256: trap
                    and 1 more
            1 checks passed, 1 warned, 1 failed, 1 skipped; 3 decisions
        "#]]
        .assert_eq(
            &report()
                .to_text(|_, word| word.to_owned())
                .replace('\0', ""),
        );
        assert_eq!(report().status(), Status::Fail);
    }

    #[test]
    fn build_servers_read_well_formed_xml() {
        expect![[r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <testsuites>
              <testsuite name="resolver" tests="4" failures="1" errors="0" skipped="1" time="0.006000">
                <testcase classname="conformance" name="ties" time="0.001500"></testcase>
                <testcase classname="conformance" name="fuel" time="0.001500"><system-out>warning: 60 %</system-out></testcase>
                <testcase classname="conformance" name="cases" time="0.001500"><skipped message="no &quot;cases&quot;"/></testcase>
                <testcase classname="conformance" name="sizes" time="0.001500"><failure message="a &lt; b">1 &amp; 2: trap�&#10;256: trap&#10;and 1 more</failure></testcase>
              </testsuite>
            </testsuites>
        "#]]
        .assert_eq(&report().to_junit());
    }
}
