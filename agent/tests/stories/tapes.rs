//! Tapes that are not what the catalogue means: never written, named by their own code.

use model::Code;
use model::work::Order;

use crate::rig::{Rig, V1, V2, tag};

const V5: &str = "TM0005L9";

/// What is on a cartridge, as bytes.
fn dump(rig: &Rig, volume: &str) -> Vec<u8> {
    std::fs::read(rig.sim.cartridge_path(&tag(volume))).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_foreign_tape_is_not_written() {
    let mut rig = Rig::new();
    let records = vec![vec![b"somebody else's backup".to_vec()]];
    rig.sim
        .insert_foreign(rig.sim.mail_slot(0), &tag(V5), &records)
        .unwrap();
    let before = dump(&rig, V5);
    let order = rig.checkpoint(1000);
    rig.control.submit(V5, "w", Order::Write(order));
    let agent = rig.start();
    assert_eq!(rig.control.volume_fault(V5).await.code, Code::ForeignVolume);
    agent.stop().await;
    assert_eq!(dump(&rig, V5), before);
}

#[tokio::test(start_paused = true)]
async fn a_tape_behind_the_wrong_barcode_is_not_written() {
    let mut rig = Rig::new();
    let first = rig.checkpoint(1000);
    let second = rig.checkpoint(1000);
    let keys = [
        rig.control.submit(V1, "a", Order::Write(first)),
        rig.control.submit(V2, "b", Order::Write(second)),
    ];
    let agent = rig.start();
    for key in &keys {
        rig.control.placement(key).await;
    }
    agent.stop().await;
    // Volume 2 is in the drive; a third one takes its place there.
    let order = rig.checkpoint(1000);
    let other = rig.control.submit("TM0003L9", "c", Order::Write(order));
    let agent = rig.start();
    rig.control.placement(&other).await;
    agent.stop().await;
    rig.sim
        .swap_tapes_behind_barcodes(&tag(V1), &tag(V2))
        .unwrap();
    let before = dump(&rig, V1);
    let order = rig.checkpoint(1000);
    rig.control.submit(V1, "d", Order::Write(order));
    let agent = rig.start();
    let fault = rig.control.volume_fault(V1).await;
    assert_eq!(fault.code, Code::WrongVolume);
    assert!(fault.message.contains(V2), "{fault}");
    agent.stop().await;
    assert_eq!(dump(&rig, V1), before);
}

#[tokio::test(start_paused = true)]
async fn a_label_of_another_life_is_not_written_over() {
    let mut rig = Rig::new();
    let order = rig.checkpoint(1000);
    let key = rig.control.submit(V1, "a", Order::Write(order));
    let agent = rig.start();
    rig.control.placement(&key).await;
    agent.stop().await;
    rig.control.state.lock().vol(&V1.parse().unwrap()).uuid =
        model::VolumeUuid::from_parts(77, &[7; 10]);
    let order = rig.checkpoint(1000);
    rig.control.submit(V1, "b", Order::Write(order));
    let agent = rig.start();
    assert_eq!(rig.control.volume_fault(V1).await.code, Code::LabelMismatch);
    agent.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_blank_tape_where_data_should_be_is_not_labelled() {
    let mut rig = Rig::new();
    let position = model::VolumePosition {
        next: model::RecordNo(40),
        last_manifest: Some(model::Sha256::EMPTY),
        manifests: 3,
    };
    rig.control.state.lock().vol(&V1.parse().unwrap()).position = Some(position);
    let order = rig.checkpoint(1000);
    rig.control.submit(V1, "a", Order::Write(order));
    let agent = rig.start();
    assert_eq!(rig.control.volume_fault(V1).await.code, Code::BlankVolume);
    agent.stop().await;
    let state = rig.sim.standing(0).unwrap();
    assert_eq!((state.record, state.buffered_objects), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_volume_that_is_not_there_is_missing() {
    let mut rig = Rig::new();
    let order = rig.checkpoint(1000);
    rig.control.submit("TM9999L9", "a", Order::Write(order));
    let agent = rig.start();
    assert_eq!(
        rig.control.volume_fault("TM9999L9").await.code,
        Code::VolumeMissing
    );
    agent.stop().await;
}
