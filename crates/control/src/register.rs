//! What operators set up and look at: services, pools, volumes, drives.

use std::collections::BTreeMap;

use model::{
    Barcode, Code, Drive, DriveSerial, DriveState, LibraryId, Pool, PoolName, Refusal, Service,
    ServiceName, Volume,
};

use crate::authority::{Action, Resource};
use crate::catalogue::{Answer, TRIES, Tx, from_item, lost_race, query};
use crate::ports::{Cursor, Index, Item, MAX_WRITES, SortKeys};
use crate::records::{
    DriveLease, DriveMeta, LibraryRecord, VolumeAccount, VolumeLease, VolumeMeta,
};
use crate::{Control, Principal, keys};

impl Control {
    /// Registers services, or changes them.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` for a pool that does not exist;
    /// `InvalidRequest` for a service without retention class or with a key that is none.
    pub async fn register_services(&self, who: &Principal, services: Vec<Service>) -> Answer<()> {
        for (n, service) in services.iter().enumerate() {
            let on = Resource::Service(&service.name);
            let actions = [Action::RegisterService, Action::FreezeService];
            for action in actions.into_iter().take(1 + usize::from(service.frozen)) {
                self.authorize(who, action, on)
                    .map_err(|refusal| refusal.at(format!("services[{n}].name")))?;
            }
        }
        let mut pools = BTreeMap::new();
        for (n, service) in services.iter().enumerate() {
            if service.retention.is_empty() {
                return Err(Refusal::new(
                    Code::InvalidRequest,
                    format!("{}: expected at least one retention class", service.name),
                )
                .at(format!("services[{n}].retention")));
            }
            if let Some(key) = &service.provenance_key {
                check_key(key)
                    .map_err(|refusal| refusal.at(format!("services[{n}].provenance_key")))?;
            }
            pools.entry(service.pool.clone()).or_insert(n);
        }
        for (pool, n) in pools {
            self.pool_record(&pool)
                .await
                .map_err(|refusal| refusal.at(format!("services[{n}].pool")))?;
        }
        // The last of several with one name stands, as if they had come one by one.
        let services: BTreeMap<_, _> = services
            .into_iter()
            .map(|service| (service.name.clone(), service))
            .collect();
        let services: Vec<_> = services.into_values().collect();
        for chunk in services.chunks(MAX_WRITES) {
            let mut tx = Tx::new();
            for service in chunk {
                tx.put(service);
            }
            self.transact(tx).await?;
        }
        Ok(())
    }

    /// One service.
    ///
    /// # Errors
    /// `Forbidden`, `NotFound`.
    pub async fn service(&self, who: &Principal, name: &ServiceName) -> Answer<Service> {
        self.authorize(who, Action::ViewService, Resource::Service(name))?;
        let seen = self.get::<Service>(&keys::service(name)).await?;
        seen.map(|seen| seen.value)
            .ok_or_else(|| Refusal::new(Code::NotFound, format!("no service {name}")))
    }

    /// Services by name, at most `limit` (1 to 1,000), and where to go on. A caller
    /// who may not list all sees its own, all at once.
    ///
    /// # Errors
    /// `Transient` where the catalogue could not be asked.
    pub async fn list_services(
        &self,
        who: &Principal,
        limit: u32,
        after: Option<Cursor>,
    ) -> Answer<(Vec<Service>, Option<Cursor>)> {
        let visible = |service: &Service| {
            self.permits(who, Action::ViewService, Resource::Service(&service.name))
        };
        if !self.permits(who, Action::ListServices, Resource::Installation) {
            let found = self
                .get_all::<Service>(who.services().iter().map(keys::service).collect())
                .await?;
            let own = found.into_iter().flatten().map(|seen| seen.value);
            return Ok((own.filter(visible).collect(), None));
        }
        let mut question = query(
            Index::Gsi1,
            keys::SERVICES.to_owned(),
            SortKeys::All,
            limit.clamp(1, 1000),
        );
        question.after = after;
        let (found, next) = self.page::<Service>(question).await?;
        let found = found.into_iter().map(|seen| seen.value);
        Ok((found.filter(visible).collect(), next))
    }

    /// Creates a pool, or changes it. The first pool of a library is where new cartridges
    /// go.
    ///
    /// # Errors
    /// `Forbidden`; `InvalidRequest` for other than one copy
    /// (more are not written yet), for no write drive, or where the library of an
    /// existing pool would change.
    pub async fn put_pool(&self, who: &Principal, pool: Pool) -> Answer<()> {
        self.authorize(who, Action::PutPool, Resource::Pool(&pool.name))?;
        if pool.copies != 1 {
            return Err(Refusal::new(
                Code::InvalidRequest,
                format!(
                    "expected 1 copy, found {}: this version writes one copy of a checkpoint",
                    pool.copies
                ),
            )
            .at("copies"));
        }
        if pool.write_drives == 0 {
            return Err(Refusal::new(
                Code::InvalidRequest,
                "expected at least 1 write drive, found 0",
            )
            .at("write_drives"));
        }
        for _ in 0..TRIES {
            let mut tx = Tx::new();
            match self.get::<Pool>(&keys::pool(&pool.name)).await? {
                Some(seen) if seen.value.library != pool.library => {
                    return Err(Refusal::new(
                        Code::InvalidRequest,
                        format!(
                            "expected pool {} in library {}, found {}",
                            pool.name, seen.value.library, pool.library
                        ),
                    )
                    .at("library"));
                }
                Some(seen) => tx.replace(&pool, seen.version),
                None => tx.create(&pool),
            }
            let library = keys::library(&pool.library);
            if self.get::<LibraryRecord>(&library).await?.is_none() {
                tx.create(&LibraryRecord {
                    library: pool.library.clone(),
                    default_pool: pool.name.clone(),
                });
            }
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer;
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// One pool.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn pool(&self, who: &Principal, name: &PoolName) -> Answer<Pool> {
        self.authorize(who, Action::ViewPool, Resource::Pool(name))?;
        self.pool_record(name).await
    }

    async fn pool_record(&self, name: &PoolName) -> Answer<Pool> {
        let seen = self.get::<Pool>(&keys::pool(name)).await?;
        seen.map(|seen| seen.value)
            .ok_or_else(|| Refusal::new(Code::NotFound, format!("no pool {name}")))
    }

    /// The volumes of a library, by barcode.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn volumes(&self, who: &Principal, library: &LibraryId) -> Answer<Vec<Volume>> {
        self.authorize(who, Action::ViewVolume, Resource::Library(library))?;
        let items = self.all(Index::Gsi1, keys::volumes_of(library)).await?;
        volumes(items)
    }

    /// One volume.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn volume(&self, who: &Principal, barcode: &Barcode) -> Answer<Volume> {
        self.authorize(who, Action::ViewVolume, Resource::Volume(barcode))?;
        let items = self.all(Index::Main, keys::volume_pk(barcode)).await?;
        volumes(items)?
            .pop()
            .ok_or_else(|| Refusal::new(Code::NotFound, format!("no volume {barcode}")))
    }

    /// The drives of a library, by serial number.
    ///
    /// # Errors
    /// `Forbidden`.
    pub async fn drives(&self, who: &Principal, library: &LibraryId) -> Answer<Vec<Drive>> {
        self.authorize(who, Action::ViewDrive, Resource::Library(library))?;
        let (drives, _) = self.drives_of(library).await?;
        Ok(drives
            .into_iter()
            .map(|(meta, lease)| Drive {
                state: drive_state(&meta, &lease),
                serial: meta.serial,
                library: meta.library,
                element: meta.element,
                volume: meta.volume,
            })
            .collect())
    }

    /// Puts a drive into service again that faults in a row had taken down for good.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound`.
    pub async fn reset_drive(
        &self,
        who: &Principal,
        library: &LibraryId,
        serial: &DriveSerial,
    ) -> Answer<()> {
        self.authorize(who, Action::ResetDrive, Resource::Library(library))?;
        for _ in 0..TRIES {
            let seen = self
                .get::<DriveMeta>(&keys::drive(library, serial))
                .await?
                .ok_or_else(|| Refusal::new(Code::NotFound, format!("no drive {serial}")))?;
            let mut tx = Tx::new();
            tx.replace(
                &DriveMeta {
                    down: None,
                    faults: 0,
                    ..seen.value
                },
                seen.version,
            );
            let answer = self.transact(tx).await;
            if !lost_race(&answer) {
                return answer;
            }
        }
        Err(Refusal::new(Code::Conflict, "others were faster each time"))
    }

    /// Drives with their leases, and how many there are.
    pub(crate) async fn drives_of(
        &self,
        library: &LibraryId,
    ) -> Answer<(Vec<(DriveMeta, DriveLease)>, usize)> {
        let items = self.all(Index::Gsi1, keys::drives_of(library)).await?;
        let mut metas = BTreeMap::new();
        let mut leases = BTreeMap::new();
        for item in items {
            if item.key.sk == "META" {
                let meta = from_item::<DriveMeta>(item)?.value;
                metas.insert(meta.serial.clone(), meta);
            } else {
                let lease = from_item::<DriveLease>(item)?.value;
                leases.insert(lease.serial.clone(), lease);
            }
        }
        let drives: Vec<_> = metas
            .into_iter()
            .filter_map(|(serial, meta)| Some((meta, leases.remove(&serial)?)))
            .collect();
        let count = drives.len();
        Ok((drives, count))
    }

    /// All items of a partition, page by page.
    async fn all(&self, index: Index, pk: String) -> Answer<Vec<Item>> {
        let mut question = query(index, pk, SortKeys::All, 1000);
        let mut items = Vec::new();
        loop {
            let page = self.ports.table.query(&question).await?;
            items.extend(page.items);
            if page.next.is_none() {
                return Ok(items);
            }
            question.after = page.next;
        }
    }
}

/// What a drive is doing.
pub(crate) fn drive_state(meta: &DriveMeta, lease: &DriveLease) -> DriveState {
    if meta.down.is_some() {
        DriveState::Down
    } else if lease.hold.is_some() {
        DriveState::InSession
    } else if meta.volume.is_some() {
        DriveState::Loaded
    } else {
        DriveState::Empty
    }
}

/// Volumes out of their three items each.
fn volumes(items: Vec<Item>) -> Answer<Vec<Volume>> {
    let mut metas = BTreeMap::new();
    let mut accounts = BTreeMap::new();
    let mut leases = BTreeMap::new();
    for item in items {
        match item.key.sk.as_str() {
            "META" => {
                let meta = from_item::<VolumeMeta>(item)?.value;
                metas.insert(meta.barcode.clone(), meta);
            }
            "ACCT" => {
                let account = from_item::<VolumeAccount>(item)?.value;
                accounts.insert(account.barcode.clone(), account);
            }
            "LEASE" => {
                let lease = from_item::<VolumeLease>(item)?.value;
                leases.insert(lease.barcode.clone(), lease);
            }
            _ => {}
        }
    }
    Ok(metas
        .into_iter()
        .filter_map(|(barcode, meta)| {
            let account = accounts.remove(&barcode)?;
            let lease = leases.remove(&barcode)?;
            Some(Volume {
                barcode,
                library: meta.library,
                pool: meta.pool,
                lifecycle: meta.lifecycle,
                uuid: meta.uuid,
                position: meta.position,
                capacity: meta.capacity,
                used: meta.used,
                reserved: account.reserved,
                fence: lease.fence,
                checkpoints: account.checkpoints,
                abandoned: account.abandoned,
            })
        })
        .collect())
}

fn check_key(key: &str) -> Answer<()> {
    use base64::Engine as _;
    let valid = base64::engine::general_purpose::STANDARD
        .decode(key)
        .ok()
        .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
        .is_some_and(|bytes| ed25519_dalek::VerifyingKey::from_bytes(&bytes).is_ok());
    if valid {
        return Ok(());
    }
    Err(Refusal::new(
        Code::InvalidRequest,
        "expected an Ed25519 public key, 32 bytes in base64",
    ))
}
