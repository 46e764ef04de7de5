//! The changer handle against a script of answers.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use scsi::{
    Changer, Completion, Data, ElementAddress, ElementProblem, ScsiError, Sense, SenseKey,
    Transport, TransportError,
};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One answer: what comes back, and what fills the buffer.
type Answer = (Completion, Vec<u8>);

#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Transport for Script {
    fn exec(
        &mut self,
        cdb: &[u8],
        data: Data<'_>,
        _: Duration,
    ) -> Result<Completion, TransportError> {
        self.asked.lock().unwrap().push(cdb.to_vec());
        let (completion, bytes) = self
            .answers
            .lock()
            .unwrap()
            .pop_front()
            .unwrap_or((Completion::good(), vec![]));
        if let Data::In(buffer) = data {
            let n = bytes.len().min(buffer.len());
            buffer[..n].copy_from_slice(&bytes[..n]);
            return Ok(Completion {
                residual: buffer.len() - n,
                ..completion
            });
        }
        Ok(completion)
    }
}

/// Mode page 1Dh: picker 1, 300 slots at 1024, no mail slots, 1 drive at 257.
fn assignment() -> (Completion, Vec<u8>) {
    let page = [
        0x1d, 0x12, 0, 1, 0, 1, 4, 0, 1, 44, 0, 0, 0, 0, 1, 1, 0, 1, 0, 0,
    ];
    (Completion::good(), [&[23, 0, 0, 0][..], &page].concat())
}

fn check(key: SenseKey, asc: u8, ascq: u8) -> (Completion, Vec<u8>) {
    (
        Completion::check(Sense::new(key, asc, ascq).to_fixed().to_vec(), 0),
        vec![],
    )
}

fn moved(answer: (Completion, Vec<u8>)) -> (Result<(), ScsiError>, Script) {
    let script = Script::default();
    script
        .answers
        .lock()
        .unwrap()
        .extend([assignment(), answer]);
    let mut changer = Changer::new(script.clone());
    (
        changer.move_medium(ElementAddress(1024), ElementAddress(257)),
        script,
    )
}

#[test]
fn why_a_move_was_not_done() {
    let cases = [
        (
            SenseKey::IllegalRequest,
            0x3b,
            0x0e,
            ElementProblem::SourceEmpty,
        ),
        (
            SenseKey::IllegalRequest,
            0x3b,
            0x0d,
            ElementProblem::DestinationFull,
        ),
        (
            SenseKey::IllegalRequest,
            0x21,
            0x01,
            ElementProblem::NoSuchElement,
        ),
        (
            SenseKey::IllegalRequest,
            0x53,
            0x02,
            ElementProblem::RemovalPrevented,
        ),
        (SenseKey::HardwareError, 0x15, 0x01, ElementProblem::Jammed),
        (
            SenseKey::HardwareError,
            0x53,
            0x00,
            ElementProblem::LoadFailed,
        ),
    ];
    for (key, asc, ascq, expected) in cases {
        let (result, script) = moved(check(key, asc, ascq));
        assert!(
            matches!(result, Err(ScsiError::Element { problem, .. }) if problem == expected),
            "{result:?}"
        );
        let last = script.asked.lock().unwrap().last().cloned().unwrap();
        assert_eq!(last, [0xa5, 0, 0, 1, 4, 0, 1, 1, 0, 0, 0, 0]);
    }
}

/// A move must never be repeated by itself: after an attention the cartridge may be elsewhere.
#[test]
fn an_attention_stops_a_move() {
    let (result, script) = moved(check(SenseKey::UnitAttention, 0x28, 0x01));
    assert!(matches!(
        result,
        Err(ScsiError::Attention {
            command: "MOVE MEDIUM",
            ..
        })
    ));
    let moves = script
        .asked
        .lock()
        .unwrap()
        .iter()
        .filter(|cdb| cdb[0] == 0xa5)
        .count();
    assert_eq!(moves, 1);
}

/// 300 slots with barcodes need more than 65,535 bytes: a changer driver that sent two of the
/// three allocation-length bytes saw nothing of them.
#[test]
fn large_libraries_need_the_third_allocation_byte() {
    let script = Script::default();
    let slots = |from: u16, to: u16| {
        let mut body = Vec::new();
        for address in from..to {
            body.extend_from_slice(&address.to_be_bytes());
            body.extend_from_slice(&[0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            body.extend_from_slice(format!("{:32}", format!("V{address:05}L9")).as_bytes());
            body.extend_from_slice(&[0; 8]);
        }
        let page = [
            &[2, 0x80, 0, 52][..],
            &(body.len() as u32).to_be_bytes(),
            &body,
        ]
        .concat();
        [
            &from.to_be_bytes()[..],
            &(to - from).to_be_bytes(),
            &(page.len() as u32).to_be_bytes(),
            &page,
        ]
        .concat()
    };
    script.answers.lock().unwrap().extend([
        assignment(),
        (Completion::good(), vec![0; 8]),
        (Completion::good(), slots(1024, 1324)),
    ]);
    let mut changer = Changer::new(script.clone());
    let inventory = changer.inventory().unwrap();
    assert_eq!(inventory.slots.len(), 300);
    assert_eq!(
        inventory.slots[299].tag.as_ref().unwrap().as_str(),
        "V01323L9"
    );
    let asked = script.asked.lock().unwrap();
    let slots = asked
        .iter()
        .find(|cdb| cdb[0] == 0xb8 && cdb[1] & 0x0f == 2)
        .unwrap();
    let allocation = u32::from_be_bytes([0, slots[7], slots[8], slots[9]]);
    assert!(allocation > 0xffff, "{allocation}");
    // No mail slots: not asked for. Drives: barcodes and identifiers in two questions.
    let kinds: Vec<u8> = asked
        .iter()
        .filter(|cdb| cdb[0] == 0xb8)
        .map(|cdb| cdb[1] & 0x0f)
        .collect();
    assert_eq!(kinds, [1, 2, 4, 4]);
}

#[test]
fn questions_are_asked_again_after_an_attention_and_it_is_remembered() {
    let script = Script::default();
    script
        .answers
        .lock()
        .unwrap()
        .extend([check(SenseKey::UnitAttention, 0x29, 0x00), assignment()]);
    let mut changer = Changer::new(script);
    assert_eq!(changer.assignment().unwrap().slots.count, 300);
    let attentions = changer.take_attentions();
    assert_eq!(
        attentions,
        [Sense::new(SenseKey::UnitAttention, 0x29, 0x00)]
    );
    assert!(changer.take_attentions().is_empty());
}

/// Older changers know neither CURDATA nor device identifiers. The inventory is complete but for
/// the serials.
#[test]
fn a_changer_that_refuses_fields_is_asked_more_simply() {
    let script = Script::default();
    let bad_field = || check(SenseKey::IllegalRequest, 0x24, 0x00);
    let mut drive = vec![1, 1, 0, 1, 0, 0, 0, 60, 4, 0x80, 0, 52, 0, 0, 0, 52];
    drive.extend_from_slice(&[1, 1, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    drive.extend_from_slice(format!("{:32}", "TM0001L9").as_bytes());
    drive.extend_from_slice(&[0; 8]);
    script.answers.lock().unwrap().extend([
        assignment(),
        bad_field(),
        (Completion::good(), vec![0; 8]),
        bad_field(),
        (Completion::good(), vec![0; 8]),
        bad_field(),
        (Completion::good(), drive),
        bad_field(),
        bad_field(),
    ]);
    let inventory = Changer::new(script.clone()).inventory().unwrap();
    assert_eq!(inventory.drives.len(), 1);
    assert_eq!(
        inventory.drives[0].tag.as_ref().unwrap().as_str(),
        "TM0001L9"
    );
    assert_eq!(inventory.drives[0].drive_serial, None);
    let asked = script.asked.lock().unwrap();
    let curdata: Vec<bool> = asked.iter().skip(1).map(|cdb| cdb[6] & 2 != 0).collect();
    assert_eq!(curdata, [true, false].repeat(4));
}

/// Any other failure of the same question is a failure.
#[test]
fn an_inventory_is_whole_or_an_error() {
    let script = Script::default();
    script
        .answers
        .lock()
        .unwrap()
        .extend([assignment(), check(SenseKey::HardwareError, 0x44, 0x00)]);
    assert!(Changer::new(script).inventory().is_err());
}

/// A library that was reset may come back with another partitioning.
#[test]
fn after_an_attention_the_element_addresses_are_asked_again() {
    let script = Script::default();
    script.answers.lock().unwrap().extend([
        assignment(),
        check(SenseKey::UnitAttention, 0x29, 0x00),
        assignment(),
    ]);
    let mut changer = Changer::new(script.clone());
    let (from, to) = (ElementAddress(1024), ElementAddress(257));
    changer.move_medium(from, to).unwrap_err();
    changer.move_medium(from, to).unwrap();
    let asked = script.asked.lock().unwrap();
    let opcodes: Vec<u8> = asked.iter().map(|cdb| cdb[0]).collect();
    assert_eq!(opcodes, [0x1a, 0xa5, 0x1a, 0xa5]);
}

/// A slot read before an operator opened the door, a drive read after: an inventory of two
/// moments shows a cartridge twice, or nowhere.
#[test]
fn an_inventory_is_of_one_moment() {
    let slots = |tag: &str| {
        let mut bytes = vec![4, 0, 0, 1, 0, 0, 0, 60, 2, 0x80, 0, 52, 0, 0, 0, 52];
        bytes.extend_from_slice(&[4, 0, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(format!("{tag:32}").as_bytes());
        bytes.extend_from_slice(&[0; 8]);
        (Completion::good(), bytes)
    };
    let nothing = || (Completion::good(), vec![0; 8]);
    let door = || check(SenseKey::UnitAttention, 0x28, 0x01);
    let script = Script::default();
    script.answers.lock().unwrap().extend([
        assignment(),
        nothing(),
        slots("BEFORE"),
        door(),
        nothing(),
        nothing(),
        // Once more, from the start.
        assignment(),
        nothing(),
        slots("AFTER"),
        nothing(),
        nothing(),
    ]);
    let mut changer = Changer::new(script.clone());
    let inventory = changer.inventory().unwrap();
    assert_eq!(inventory.slots[0].tag.as_ref().unwrap().as_str(), "AFTER");
    assert_eq!(changer.take_attentions().len(), 1);

    // A library that does not keep still is told, not guessed.
    let restless = Script::default();
    for _ in 0..10 {
        restless.answers.lock().unwrap().extend([
            assignment(),
            nothing(),
            slots("X"),
            door(),
            nothing(),
            nothing(),
        ]);
    }
    let error = Changer::new(restless).inventory().unwrap_err();
    assert!(matches!(error, ScsiError::Attention { .. }), "{error}");
}
