//! Reading: back for comparison, out for a restore, over all for a scan.
//!
//! One path for the first two: records, CRCs, digests, age, zstd, content digests, into a
//! sink that keeps nothing or into files. Items are read in the order of the tape. An
//! unreadable record is tried once more after a rewind; a drive that fails ends the
//! session, and the items are somebody else's.

use model::work::{Outcome, RestoreOrder, VerifyOrder, WorkResult};
use model::{Bytes, Code, Placement, Refusal, WorkKey};
use stream::{
    NullSink, ReadBack, ReadOptions, Sink, StreamError, check_ciphertext, read_placement,
};
use volume::{DeviceErrorKind, RecordDevice as _, ScanOptions, Unseal, VolumeError};

use crate::agent::Context;
use crate::batch::trouble_of;
use crate::device::HeldDrive;
use crate::lease::Lease;
use crate::session::Session;
use crate::trouble::Trouble;

/// What became of the items of one claim, up to the trouble that ended them.
type Read = (Vec<WorkResult>, Result<(), Trouble>);

impl Session<'_> {
    /// Reads placements back and compares.
    pub(crate) async fn verify(
        &mut self,
        mut items: Vec<(WorkKey, VerifyOrder)>,
    ) -> Result<(), Trouble> {
        self.lease
            .doing(format!("reading {} placements back", items.len()));
        items.sort_by_key(|(_, order)| order.placement.first_record());
        let bytes: Bytes = items.iter().map(|(_, order)| order.placement.bytes()).sum();
        let lease = self.lease.clone();
        let read = self
            .on_medium(move |medium, ctx| {
                let drive = medium.drive().reading_back();
                each(items, |order| verify_one(ctx, &lease, &drive, order))
            })
            .await;
        self.report(read).await?;
        self.unverified = self.unverified.minus(bytes);
        Ok(())
    }

    /// Brings placements back as files.
    pub(crate) async fn restore(
        &mut self,
        mut items: Vec<(WorkKey, RestoreOrder)>,
    ) -> Result<(), Trouble> {
        self.lease
            .doing(format!("restoring {} placements", items.len()));
        items.sort_by_key(|(_, order)| order.placement.first_record());
        let lease = self.lease.clone();
        let read = self
            .on_medium(move |medium, ctx| {
                let drive = medium.drive();
                each(items, |order| restore_one(ctx, &lease, &drive, order))
            })
            .await;
        self.report(read).await
    }

    /// Lists what is on the volume.
    pub(crate) async fn scan(&mut self, keys: Vec<WorkKey>) -> Result<(), Trouble> {
        self.lease.doing("scanning the volume");
        let lease = self.lease.clone();
        let read = self
            .on_medium(move |medium, ctx| {
                let mut drive = medium.drive();
                let report = scan_all(ctx, &lease, &mut drive);
                let items = keys.into_iter().map(|key| (key, ())).collect();
                each(items, |()| {
                    report.clone().map(|report| match report {
                        Ok(report) => Outcome::Scanned { report },
                        Err(refusal) => Outcome::Failed { refusal },
                    })
                })
            })
            .await;
        self.report(read).await
    }

    /// Reports what was read, then tells of the trouble that ended it.
    async fn report(&mut self, (results, ended): Read) -> Result<(), Trouble> {
        let good = results
            .iter()
            .any(|result| !matches!(result.outcome, Outcome::Failed { .. }));
        if good {
            self.strikes.clear();
        }
        if !results.is_empty() && self.lease.lost().is_none() {
            self.complete(results, None).await?;
        }
        ended
    }
}

/// Does items one by one, until one says that the drive or the hold is gone.
fn each<O>(items: Vec<(WorkKey, O)>, mut one: impl FnMut(&O) -> Result<Outcome, Trouble>) -> Read {
    let mut results = Vec::with_capacity(items.len());
    for (key, order) in items {
        match one(&order) {
            Ok(outcome) => {
                if let Outcome::Failed { refusal } = &outcome {
                    tracing::warn!(work = %key, %refusal, "not read");
                }
                results.push(WorkResult { key, outcome });
            }
            Err(trouble) => return (results, Err(trouble)),
        }
    }
    (results, Ok(()))
}

fn verify_one(
    ctx: &Context,
    lease: &Lease,
    drive: &HeldDrive,
    order: &VerifyOrder,
) -> Result<Outcome, Trouble> {
    let read = persistently(lease, drive, |drive| match &ctx.data.keys.opener {
        Some(opener) => read_placement(
            &order.placement,
            drive,
            opener,
            &mut NullSink,
            &ReadOptions::default(),
        ),
        None => check_ciphertext(&order.placement, drive),
    })?;
    Ok(match read {
        Ok(ReadBack {
            content,
            artifacts,
            bytes,
            ..
        }) if content == order.expected => Outcome::Verified {
            content,
            artifacts,
            bytes,
        },
        Ok(ReadBack { content, .. }) => Outcome::Failed {
            refusal: Refusal::new(
                Code::VerifyMismatch,
                format!("expected content {}, read back {content}", order.expected),
            ),
        },
        Err(mut refusal) => {
            // Well-formed or not, it is not what was written.
            if refusal.code == Code::FormatInvalid {
                refusal.code = Code::VerifyMismatch;
            }
            Outcome::Failed { refusal }
        }
    })
}

fn restore_one(
    ctx: &Context,
    lease: &Lease,
    drive: &HeldDrive,
    order: &RestoreOrder,
) -> Result<Outcome, Trouble> {
    let Some(opener) = &ctx.data.keys.opener else {
        let refusal = Refusal::new(Code::KeyMissing, "the agent has no identity_file");
        return Ok(Outcome::Failed { refusal });
    };
    let mut sink = match ctx.data.delivery(&order.deliver) {
        Ok(sink) => sink,
        Err(refusal) => return Ok(Outcome::Failed { refusal }),
    };
    let options = ReadOptions {
        only: order.only.clone(),
        keep_going: false,
    };
    let read = persistently(lease, drive, |drive| {
        read_into(&order.placement, drive, opener, &mut sink, &options)
    })?;
    Ok(match read {
        Ok(ReadBack {
            artifacts, bytes, ..
        }) => Outcome::Restored { artifacts, bytes },
        Err(refusal) => Outcome::Failed { refusal },
    })
}

fn read_into(
    placement: &Placement,
    drive: HeldDrive,
    opener: &stream::Opener,
    sink: &mut dyn Sink,
    options: &ReadOptions,
) -> Result<ReadBack, StreamError> {
    read_placement(placement, drive, opener, sink, options)
}

/// Reads, and where the medium would not give a record, rewinds and reads once more. The
/// inner result is about the item, the outer one about the session.
fn persistently<R>(
    lease: &Lease,
    drive: &HeldDrive,
    mut read: impl FnMut(HeldDrive) -> Result<R, StreamError>,
) -> Result<Result<R, Refusal>, Trouble> {
    let mut result = read(drive.clone());
    if result
        .as_ref()
        .is_err_and(|error| error.code() == Code::MediaError)
    {
        tracing::warn!("an unreadable record, trying once more after a rewind");
        drive
            .clone()
            .rewind()
            .map_err(|error| trouble_of(lease, &error.into()))?;
        result = read(drive.clone());
    }
    match result {
        Ok(read) => Ok(Ok(read)),
        Err(StreamError::Volume(error)) if is_session_over(lease, &error) => {
            Err(trouble_of(lease, &error))
        }
        Err(error) => match lease.lost() {
            Some(refusal) => Err(Trouble::Lost(refusal)),
            None => Ok(Err(error.refusal())),
        },
    }
}

fn is_session_over(lease: &Lease, error: &VolumeError) -> bool {
    let drive_failed = matches!(
        error,
        VolumeError::Device(device)
            if matches!(device.kind, DeviceErrorKind::Poisoned | DeviceErrorKind::Drive)
    );
    drive_failed || lease.lost().is_some()
}

/// The report as JSON, or why there is none; the outer error ends the session.
fn scan_all(
    ctx: &Context,
    lease: &Lease,
    drive: &mut HeldDrive,
) -> Result<Result<String, Refusal>, Trouble> {
    let unseal = ctx
        .data
        .keys
        .opener
        .as_ref()
        .map(|opener| opener as &dyn Unseal);
    match volume::scan(drive, unseal, ScanOptions::default()) {
        Ok(report) => Ok(serde_json::to_string(&report)
            .map_err(|error| Refusal::new(Code::Internal, error.to_string()))),
        Err(error) if is_session_over(lease, &error) => Err(trouble_of(lease, &error)),
        Err(error) => Ok(Err(error.refusal())),
    }
}
