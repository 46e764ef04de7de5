//! The model that `learned` ships is what training gives, and its card tells of it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use kit::train::{GENERATED, Model, Options, generated, train};

/// As `tapemark resolver train --generated 2000 --out plugins/builtin/learned` does.
#[test]
fn training_on_the_same_records_gives_the_shipped_model_and_its_card() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/builtin/learned");
    let read = |name| fs::read_to_string(shipped.join(name)).unwrap();
    let model: Model = serde_json::from_str(&read("model.json")).unwrap();
    let trained = train(generated(2000), GENERATED, &Options::default()).unwrap();
    assert_eq!(
        trained.model, model,
        "train it anew, and run plugins/build.sh learned"
    );
    assert_eq!(trained.card, read("card.md"));
    assert!(trained.report.gain.low > 0.0, "{:?}", trained.report);
}
