//! A control plane in memory that enforces what the real one does: fences that only rise,
//! leases, one session a drive and a volume, results of live sessions only.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use model::work::{
    Ack, Claim, ClaimAnswer, Close, Complete, CompleteAnswer, Inventory, InventoryAnswer,
    OpenAnswer, OpenSession, Order, Outcome, Renew, SessionReady, SessionRef, WorkItem, WorkKind,
};
use model::{
    Barcode, Bytes, Code, DriveSerial, Fence, Placement, Refusal, SessionId, VolumePosition,
    VolumeUuid, WorkKey, WriteSession,
};
use parking_lot::Mutex;
use tapemark_agent::{CallError, Clock, ControlPlane};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) struct FakeControl {
    pub(crate) state: Mutex<State>,
    changed: Notify,
    clock: Clock,
    lease: Duration,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) volumes: BTreeMap<Barcode, Vol>,
    pub(crate) drive_faults: BTreeMap<DriveSerial, Refusal>,
    pub(crate) items: Vec<Item>,
    pub(crate) sessions: BTreeMap<SessionId, Sess>,
    pub(crate) inventory: Option<Inventory>,
    /// How many results each `complete` brought, and whether it told a position.
    pub(crate) reports: Vec<(usize, bool)>,
    pub(crate) abandoned: u64,
    pub(crate) closed: u32,
    /// The network: calls get no answer.
    pub(crate) cut: bool,
    /// Grants this fence next, whatever was granted before: what a broken or restored
    /// control plane would do.
    pub(crate) forge_fence: Option<Fence>,
    drive_fences: BTreeMap<DriveSerial, Fence>,
    next_session: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Vol {
    pub(crate) uuid: VolumeUuid,
    pub(crate) position: Option<VolumePosition>,
    pub(crate) fence: Fence,
    pub(crate) fault: Option<Refusal>,
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) key: WorkKey,
    pub(crate) volume: Barcode,
    pub(crate) order: Order,
    pub(crate) holder: Option<SessionId>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) adopted: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Sess {
    drive: DriveSerial,
    volume: Barcode,
    fence: Fence,
    expires: jiff::Timestamp,
    over: bool,
}

fn kind(order: &Order) -> WorkKind {
    match order {
        Order::Write(_) => WorkKind::Write,
        Order::Verify(_) => WorkKind::Verify,
        Order::Restore(_) => WorkKind::Restore,
        Order::Scan => WorkKind::Scan,
    }
}

impl FakeControl {
    pub(crate) fn new(clock: Clock, lease: Duration) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            clock,
            lease,
        }
    }

    pub(crate) fn submit(&self, volume: &str, key: &str, order: Order) -> WorkKey {
        let key: WorkKey = key.parse().unwrap();
        let volume: Barcode = volume.parse().unwrap();
        let mut state = self.state.lock();
        state.vol(&volume);
        state.items.push(Item {
            key: key.clone(),
            volume,
            order,
            holder: None,
            outcome: None,
            adopted: false,
        });
        drop(state);
        self.changed.notify_waiters();
        key
    }

    /// Waits until something is so.
    pub(crate) async fn until<R>(&self, mut what: impl FnMut(&State) -> Option<R>) -> R {
        loop {
            let changed = self.changed.notified();
            if let Some(result) = what(&self.state.lock()) {
                return result;
            }
            // Virtual seconds: a story that hangs fails at once.
            if tokio::time::timeout(Duration::from_secs(3600), changed)
                .await
                .is_err()
            {
                let state = self.state.lock();
                panic!(
                    "nothing happened for an hour: items {:#?}, volumes {:#?}",
                    state.items, state.volumes
                );
            }
        }
    }

    pub(crate) async fn outcome(&self, key: &WorkKey) -> Outcome {
        self.until(|state| state.item(key).outcome.clone()).await
    }

    pub(crate) async fn placement(&self, key: &WorkKey) -> Placement {
        match self.outcome(key).await {
            Outcome::Written { placement } => placement,
            other => panic!("{key}: expected it to be written, found {other:?}"),
        }
    }

    pub(crate) async fn refusal(&self, key: &WorkKey) -> Refusal {
        match self.outcome(key).await {
            Outcome::Failed { refusal } => refusal,
            other => panic!("{key}: expected a failure, found {other:?}"),
        }
    }

    pub(crate) async fn volume_fault(&self, volume: &str) -> Refusal {
        let volume: Barcode = volume.parse().unwrap();
        self.until(|state| state.volumes.get(&volume)?.fault.clone())
            .await
    }

    /// Ends every session, as a control plane does that gave the volumes to somebody else.
    pub(crate) fn fence_off(&self) {
        let mut state = self.state.lock();
        state
            .sessions
            .values_mut()
            .for_each(|session| session.over = true);
        for vol in state.volumes.values_mut() {
            vol.fence = vol.fence.next();
        }
        state
            .items
            .iter_mut()
            .filter(|item| item.outcome.is_none())
            .for_each(|item| item.holder = None);
    }

    pub(crate) fn poke(&self) {
        self.changed.notify_waiters();
    }

    fn reach(&self) -> Result<(), CallError> {
        if self.state.lock().cut {
            return Err(CallError::Unreachable("the network is cut".into()));
        }
        Ok(())
    }

    fn ack(&self) -> Ack {
        Ack {
            expires: (self.clock)() + self.lease,
            yield_requested: false,
        }
    }

    /// The live session, renewed.
    fn live(&self, reference: &SessionRef) -> Result<(), CallError> {
        self.reach()?;
        let now = (self.clock)();
        let mut state = self.state.lock();
        let session = state
            .sessions
            .get_mut(&reference.session)
            .filter(|session| {
                !session.over && session.fence == reference.fence && session.expires > now
            });
        match session {
            Some(session) => {
                session.expires = now + self.lease;
                Ok(())
            }
            None => Err(Refusal::new(Code::FenceLost, "the session is over").into()),
        }
    }

    fn grant(&self, question: &OpenSession) -> Option<WriteSession> {
        let now = (self.clock)();
        let mut state = self.state.lock();
        if state.drive_faults.contains_key(&question.drive) {
            return None;
        }
        let lapsed: Vec<_> = state
            .sessions
            .iter()
            .filter(|(_, session)| {
                session.over || session.expires <= now || session.drive == question.drive
            })
            .map(|(id, _)| *id)
            .collect();
        for id in lapsed {
            state.sessions.get_mut(&id).unwrap().over = true;
            state
                .items
                .iter_mut()
                .filter(|item| item.holder == Some(id) && item.outcome.is_none())
                .for_each(|item| item.holder = None);
        }
        let held: Vec<_> = state
            .sessions
            .values()
            .filter(|s| !s.over)
            .map(|s| s.volume.clone())
            .collect();
        let item = state.items.iter().find(|item| {
            let fault = &state.volumes[&item.volume].fault;
            let readable = !matches!(item.order, Order::Write(_));
            item.outcome.is_none() && !held.contains(&item.volume) && (fault.is_none() || readable)
        })?;
        let volume = item.volume.clone();
        let drive_fence = state
            .drive_fences
            .get(&question.drive)
            .copied()
            .unwrap_or_default();
        let forged = state.forge_fence.take();
        let vol = state.volumes.get_mut(&volume).unwrap();
        let fence = forged.unwrap_or(vol.fence.max(drive_fence).next());
        vol.fence = fence;
        let (uuid, position, writable) = (vol.uuid, vol.position.clone(), vol.fault.is_none());
        state.drive_fences.insert(question.drive.clone(), fence);
        state.next_session += 1;
        let id = SessionId::from_parts(state.next_session, &[1; 10]);
        let expires = now + self.lease;
        state.sessions.insert(
            id,
            Sess {
                drive: question.drive.clone(),
                volume: volume.clone(),
                fence,
                expires,
                over: false,
            },
        );
        Some(WriteSession {
            id,
            fence,
            library: question.library.clone(),
            drive: question.drive.clone(),
            volume,
            pool: "main".parse().unwrap(),
            writable,
            uuid,
            position,
            capacity: Bytes::gib(1),
            expires,
        })
    }
}

impl State {
    pub(crate) fn vol(&mut self, barcode: &Barcode) -> &mut Vol {
        let number = self.volumes.len() as u64 + 1;
        self.volumes.entry(barcode.clone()).or_insert_with(|| Vol {
            uuid: VolumeUuid::from_parts(number, &[9; 10]),
            position: None,
            fence: Fence(0),
            fault: None,
        })
    }

    pub(crate) fn item(&self, key: &WorkKey) -> &Item {
        self.items.iter().find(|item| item.key == *key).unwrap()
    }
}

#[async_trait]
impl ControlPlane for FakeControl {
    async fn inventory(&self, question: &Inventory) -> Result<InventoryAnswer, CallError> {
        self.reach()?;
        self.state.lock().inventory = Some(question.clone());
        self.changed.notify_waiters();
        Ok(InventoryAnswer {
            registered: Vec::new(),
            missing: Vec::new(),
        })
    }

    async fn open(&self, question: &OpenSession) -> Result<OpenAnswer, CallError> {
        let until = Instant::now() + Duration::from_millis(question.wait_ms);
        loop {
            self.reach()?;
            let changed = self.changed.notified();
            if let Some(session) = self.grant(question) {
                return Ok(OpenAnswer {
                    session: Some(session),
                });
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                return Ok(OpenAnswer { session: None });
            }
        }
    }

    async fn ready(&self, question: &SessionReady) -> Result<Ack, CallError> {
        self.live(&question.session)?;
        let mut state = self.state.lock();
        let vol = state.volumes.get_mut(&question.session.volume).unwrap();
        if let Some(known) = &vol.position {
            assert!(
                question.position.next >= known.next,
                "the end of data went back"
            );
        }
        vol.position = Some(question.position.clone());
        state.abandoned += question.abandoned.0;
        for placement in &question.found {
            let item = state
                .items
                .iter_mut()
                .find(|item| item.key == placement.work)
                .unwrap();
            if item.outcome.is_none() {
                item.outcome = Some(Outcome::Written {
                    placement: placement.clone(),
                });
                item.adopted = true;
            }
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(self.ack())
    }

    async fn claim(&self, question: &Claim) -> Result<ClaimAnswer, CallError> {
        let until = Instant::now() + Duration::from_millis(question.wait_ms);
        loop {
            self.live(&question.session)?;
            let changed = self.changed.notified();
            let mut items = Vec::new();
            let others_waiting = {
                let mut state = self.state.lock();
                for wanted in &question.kinds {
                    for item in &mut state.items {
                        let free = item.holder.is_none()
                            && item.outcome.is_none()
                            && item.volume == question.session.volume
                            && kind(&item.order) == *wanted;
                        if free && items.len() < question.max_items as usize {
                            item.holder = Some(question.session.session);
                            items.push(WorkItem {
                                key: item.key.clone(),
                                order: item.order.clone(),
                            });
                        }
                    }
                    if !items.is_empty() {
                        break;
                    }
                }
                state.items.iter().any(|item| {
                    item.outcome.is_none()
                        && item.holder.is_none()
                        && item.volume != question.session.volume
                })
            };
            if !items.is_empty() || Instant::now() >= until || others_waiting {
                return Ok(ClaimAnswer {
                    items,
                    others_waiting,
                });
            }
            let _ = tokio::time::timeout_at(until, changed).await;
        }
    }

    async fn renew(&self, question: &Renew) -> Result<Ack, CallError> {
        self.live(&question.session)?;
        Ok(self.ack())
    }

    async fn complete(&self, question: &Complete) -> Result<CompleteAnswer, CallError> {
        self.live(&question.session)?;
        let mut state = self.state.lock();
        state
            .reports
            .push((question.results.len(), question.position.is_some()));
        if let Some(position) = &question.position {
            state
                .volumes
                .get_mut(&question.session.volume)
                .unwrap()
                .position = Some(position.clone());
        }
        for result in &question.results {
            let item = state
                .items
                .iter_mut()
                .find(|item| item.key == result.key)
                .unwrap();
            assert_eq!(
                item.holder,
                Some(question.session.session),
                "{}: not claimed",
                item.key
            );
            match &result.outcome {
                Outcome::Returned => item.holder = None,
                outcome => item.outcome = Some(outcome.clone()),
            }
        }
        drop(state);
        self.changed.notify_waiters();
        Ok(CompleteAnswer {
            refused: Vec::new(),
            expires: self.ack().expires,
        })
    }

    async fn close(&self, question: &Close) -> Result<Ack, CallError> {
        self.live(&question.session)?;
        let mut state = self.state.lock();
        state.closed += 1;
        let session = state.sessions.get_mut(&question.session.session).unwrap();
        session.over = true;
        let drive = session.drive.clone();
        if let Some(fault) = &question.volume_fault {
            state
                .volumes
                .get_mut(&question.session.volume)
                .unwrap()
                .fault = Some(fault.clone());
        }
        if let Some(fault) = &question.drive_fault {
            state.drive_faults.insert(drive, fault.clone());
        }
        let id = question.session.session;
        state
            .items
            .iter_mut()
            .filter(|item| item.holder == Some(id) && item.outcome.is_none())
            .for_each(|item| item.holder = None);
        drop(state);
        self.changed.notify_waiters();
        Ok(self.ack())
    }
}
