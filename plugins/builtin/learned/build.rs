//! Freezes `model.json` into the component: the weights as an array, and the digest of the
//! records it was trained on. A model for other features, or of another format, is refused.

use std::{env, fs, path::Path};

use schedule::FEATURE_NAMES;
use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("model.json");
    println!("cargo::rerun-if-changed={}", path.display());
    let model: Value = serde_json::from_slice(&fs::read(&path)?)?;
    if model["format"] != 1 {
        return Err(format!("model.json: expected format 1, found {}", model["format"]).into());
    }
    if model["features"] != serde_json::json!(FEATURE_NAMES) {
        return Err(format!(
            "model.json: expected weights for {FEATURE_NAMES:?}, found {}; train it anew",
            model["features"]
        )
        .into());
    }
    let weights: Vec<i32> = serde_json::from_value(model["weights"].clone())?;
    if weights.len() != FEATURE_NAMES.len() || weights.iter().any(|w| w.abs() > 1000) {
        return Err(format!(
            "model.json: expected {} weights from -1000 to 1000, found {weights:?}",
            FEATURE_NAMES.len()
        )
        .into());
    }
    let data = model["data"].as_str().unwrap_or_default();
    let frozen = format!(
        "/// In thousandths a feature.\npub(crate) const WEIGHTS: [i32; schedule::FEATURES] = \
         {weights:?};\n/// SHA-256 over what it was trained on.\npub(crate) const DATA: &str = \
         {data:?};\n"
    );
    fs::write(Path::new(&env::var("OUT_DIR")?).join("model.rs"), frozen)?;
    Ok(())
}
