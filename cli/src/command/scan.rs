//! What a scan found, for people.

use serde_json::Value;

use crate::out::{Style, bytes, table};

/// A scan's report (`volume::ScanReport` as JSON): the label, a line a placement, and
/// everything that does not add up. What a report lacks is left out.
pub(super) fn scan_text(report: &Value, style: Style) -> String {
    let label = &report["label"];
    let mut text = format!(
        "{}  pool {}, {} used, end of data at record {}\n",
        style.bold(word(&label["barcode"])),
        word(&label["pool"]),
        bytes(report["used"].as_u64().unwrap_or_default()),
        report["position"]["next"],
    );
    let placements = list(&report["placements"]);
    let rows: Vec<Vec<String>> = placements.iter().map(row).collect();
    let head = [
        "CHECKPOINT",
        "SERVICE",
        "VERSION",
        "PART",
        "AT RECORD",
        "HAS",
        "SIZE",
        "DAMAGE",
    ];
    text.push_str(&table(style, &head, &rows));
    for group in list(&report["groups"]) {
        if group["restorable"] == false {
            text.push_str(&format!(
                "{} group {} is not complete on this volume\n",
                style.red("!"),
                word(&group["group"])
            ));
        }
    }
    for problem in list(&report["problems"]) {
        text.push_str(&format!("{} {}\n", style.red("!"), problem_text(problem)));
    }
    text
}

fn row(found: &Value) -> Vec<String> {
    let placement = &found["placement"];
    let sealed = &found["sealed"];
    let first = &list(&placement["segments"])
        .first()
        .map_or(Value::Null, |s| s["first"].clone());
    vec![
        word(&placement["checkpoint"]).to_owned(),
        word(&sealed["service"]).to_owned(),
        word(&sealed["service_version"]).to_owned(),
        format!(
            "{} of {}",
            placement["part"].as_u64().unwrap_or_default() + 1,
            placement["parts"]
        ),
        first.to_string(),
        format!("{} artifacts", found["artifacts"]),
        bytes(found["content_bytes"].as_u64().unwrap_or_default()),
        match list(&found["damage"]).len() {
            0 => "none".to_owned(),
            count => count.to_string(),
        },
    ]
}

fn problem_text(problem: &Value) -> String {
    problem
        .as_str()
        .map_or_else(|| problem.to_string(), str::to_owned)
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_add_up_is_said() {
        let report = json!({
            "label": {"barcode": "TM0001L9", "pool": "main"},
            "used": 2048,
            "position": {"next": 8},
            "placements": [{
                "placement": {"checkpoint": "c", "part": 0, "parts": 1, "segments": [{"first": 4}]},
                "artifacts": 2, "content_bytes": 10, "damage": [{}],
            }],
            "groups": [{"group": "g", "restorable": false}],
            "problems": ["a torn end"],
        });
        let text = scan_text(&report, Style::plain());
        for expected in [
            "TM0001L9",
            "1 of 1",
            "group g is not complete",
            "a torn end",
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        // Whatever the report is, it is shown.
        assert!(!scan_text(&Value::Null, Style::plain()).is_empty());
    }
}
