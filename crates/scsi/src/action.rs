//! What a sense means for whoever sent the command.
//!
//! The table is judged from the vendor tables of the LTFS reference implementation and from
//! incidents of other systems. It is a pure function: the caller acts.

use crate::sense::{Sense, SenseKey};

/// What to do about a sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// The command succeeded.
    Continue,
    /// The command succeeded after recovery; count it, a trend retires medium or drive.
    CountRecovered,
    /// A filemark was met on a read: the normal end of a tape file.
    Filemark,
    /// A record's length is not what was asked; the data that fitted was delivered.
    WrongLength,
    /// Early warning, data accepted: finish, write the trailer, take the next volume.
    EarlyWarning,
    /// Programmable early warning: accept no new segment, keep the rest for trailers.
    ProgrammableEarlyWarning,
    /// The record was **not** wholly written: the segment is invalid, the volume full.
    VolumeFull,
    /// End of data, where a reader expects it.
    EndOfData,
    /// End of data cannot be found: medium read-only, rebuild from a scan, call the operator.
    TornEnd,
    /// Beginning of partition met on reverse motion: establish the position, then decide.
    Reposition,
    /// The device is at work; wait with a budget of the generation.
    Wait,
    /// Finish what is under way, then clean the drive; drain it when it asks again soon.
    CleanDrive,
    /// Finish what is under way, then take the drive out of service.
    DrainAfterCheckpoint,
    /// Take the drive out of service now, keep a dump, call the operator if a tape is stuck.
    DrainDrive,
    /// A cleaning cartridge could not clean, or is worn out: operator and drain.
    CleaningFailed,
    /// No medium, or it did not load: reconcile the inventory, reload once, then operator.
    Reconcile,
    /// Abort the segment, never append after it on this volume, take the next volume.
    AbortSegment,
    /// Unrecovered read: retry after REWIND, on another drive, from another copy.
    RetryElsewhere,
    /// The medium is unfit or not ours: quarantine, operator.
    QuarantineMedium,
    /// The drive's guard check found the data damaged on its way from host to drive: segment
    /// invalid, drain the path, never retire the medium for this alone.
    PathCorrupts,
    /// A bug or a quirk of the device: fail the job, do not retry.
    FailJob,
    /// The changer's elements are not as assumed: take a fresh inventory.
    Reinventory,
    /// Removal is prevented: allow it first (or another owner holds the drive).
    AllowRemoval,
    /// The medium may have been changed: drop all cached state and identify it again.
    Reidentify,
    /// Reset: position unknown, modes and keys gone. Poison the session; prove label and end of
    /// data before the next write.
    PoisonSession,
    /// Mode or log parameters changed: set and read them again.
    RereadModes,
    /// The reservation is gone: another owner took over; stop.
    Fenced,
    /// Encryption parameters changed: treat data since the last proof as unproven.
    EncryptionUnproven,
    /// New microcode: inquire and qualify again.
    Requalify,
    /// Write protected, or WORM refuses: next volume, operator.
    WriteProtected,
    /// Decryption key missing or wrong: fetch once, else operator; never clear it unasked.
    FetchKey,
    /// Transport trouble: READ POSITION decides whether the command was done exactly or not at
    /// all; otherwise abort the segment.
    ProveByPosition,
    /// Not in the table: fail closed and show it to an operator.
    Operator,
}

/// The action for a sense. Looks at key, code and flags; a deferred error is judged by what it
/// reports, so the caller must also know that its own command was not executed.
pub fn classify(sense: &Sense) -> Action {
    use SenseKey as K;
    let code = (sense.code.asc, sense.code.ascq);
    match (sense.key, code) {
        // Codes that mean the same under several keys come first.
        (K::VolumeOverflow, _) => Action::VolumeFull,
        (K::NoSense | K::UnitAttention, (0x00, 0x02)) => Action::EarlyWarning,
        (K::NoSense | K::RecoveredError | K::NotReady, (0x00, 0x17) | (0x82, 0x82)) => {
            Action::CleanDrive
        }
        (_, (0x5d, 0x00)) => Action::DrainAfterCheckpoint,
        (_, (0x30, 0x07)) => Action::CleaningFailed,
        (K::NotReady | K::MediumError, (0x30, 0x03)) => Action::Wait,

        (K::NoSense, (0x00, 0x01)) => Action::Filemark,
        (K::NoSense, (0x00, 0x04)) => Action::Reposition,
        (K::NoSense, (0x00, 0x07)) => Action::ProgrammableEarlyWarning,
        (K::NoSense, (0x00, 0x16) | (0x00, 0x18)) => Action::Wait,
        (K::NoSense, _) if sense.filemark => Action::Filemark,
        (K::NoSense, _) if sense.ili => Action::WrongLength,
        (K::NoSense, _) if sense.eom => Action::EarlyWarning,
        (K::NoSense, _) => Action::Continue,

        (K::RecoveredError, (0x37, 0x00)) => Action::RereadModes,
        (K::RecoveredError | K::Completed, _) => Action::CountRecovered,

        (K::NotReady, (0x04, 0x00 | 0x01 | 0x04 | 0x07)) => Action::Wait,
        (K::NotReady, (0x3a, _) | (0x53, _) | (0x04, _)) => Action::Reconcile,

        (K::MediumError, (0x11, _)) => Action::RetryElsewhere,
        (K::MediumError, (0x14, 0x03)) => Action::TornEnd,
        (K::MediumError, (0x14 | 0x3b | 0x50, _)) => Action::Reposition,
        (K::MediumError, (0x30 | 0x31 | 0x52 | 0x53, _)) => Action::QuarantineMedium,
        (K::MediumError, _) => Action::AbortSegment,

        (K::HardwareError, (0x10, _)) => Action::PathCorrupts,
        (K::HardwareError, _) => Action::DrainDrive,

        (K::IllegalRequest, (0x3b, 0x0d | 0x0e) | (0x21, 0x01)) => Action::Reinventory,
        (K::IllegalRequest, (0x53, 0x02)) => Action::AllowRemoval,
        (K::IllegalRequest, (0xee, _)) => Action::FetchKey,
        (K::IllegalRequest, _) => Action::FailJob,

        (K::UnitAttention, (0x28, _)) => Action::Reidentify,
        (K::UnitAttention, (0x29 | 0x2f, _)) => Action::PoisonSession,
        (K::UnitAttention, (0x2a, 0x03..=0x05)) => Action::Fenced,
        (K::UnitAttention, (0x2a, 0x11..=0x13)) => Action::EncryptionUnproven,
        (K::UnitAttention, (0x2a, _)) => Action::RereadModes,
        (K::UnitAttention, (0x3f, _)) => Action::Requalify,
        // An attention nobody knows still means that something changed.
        (K::UnitAttention, _) => Action::PoisonSession,

        (K::DataProtect, (0x2a, 0x13)) => Action::EncryptionUnproven,
        (K::DataProtect, (0x74 | 0xef, _) | (0x26, 0x10)) => Action::FetchKey,
        (K::DataProtect, _) => Action::WriteProtected,

        (K::BlankCheck, (0x14, 0x03)) => Action::TornEnd,
        (K::BlankCheck, _) => Action::EndOfData,

        (K::AbortedCommand, _) => Action::ProveByPosition,

        (K::NotReady | K::VendorSpecific | K::CopyAborted | K::Reserved | K::Miscompare, _) => {
            Action::Operator
        }
    }
}
