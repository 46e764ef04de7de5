//! An agent with a URL and a key of its own, against the real gateway: over TLS, from a
//! code to work, through a change of keys, to its end.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use control::testing::World;
use control::{Control, Principal};
use model::work::Inventory;
use model::{AgentKey, AgentState, Bytes, Code, Pool};
use tapemark_agent::{CallError, ControlPlane as _, HttpControl, enrol, rotate};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use wire::SecretKey;

const OPERATOR: Principal = Principal::Operator;

/// A control plane whose clock is the machine's, as the agent's is.
struct Place {
    dir: tempfile::TempDir,
    control: Control,
    address: SocketAddr,
    ca_file: PathBuf,
}

impl Place {
    /// Behind TLS with a certificate of a CA that nobody else trusts.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let world = World::new(3);
        let mut ports = world.ports();
        ports.clock = Arc::new(control::ports::system::SystemClock);
        let control = Control::new(ports);
        let pool = Pool {
            name: "main".parse().unwrap(),
            library: "lib-1".parse().unwrap(),
            copies: 1,
            reserve: Bytes(0),
            write_drives: 1,
            fallback: model::Fallback::BuiltIn,
        };
        control.put_pool(&OPERATOR, pool).await.unwrap();
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let ca_file = dir.path().join("ca.pem");
        std::fs::write(&ca_file, own.cert.pem()).unwrap();
        let key = own.signing_key.serialize_der().try_into().unwrap();
        let tls = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = gateway::router(control.clone());
        let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = inside.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(inside, router).await });
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    // A client that does not trust the certificate hangs up here.
                    if let Ok(stream) = acceptor.accept(stream).await {
                        pass_on(stream, plain).await;
                    }
                });
            }
        });
        Self {
            dir,
            control,
            address,
            ca_file,
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    async fn code(&self) -> String {
        let agent = "edge-1".parse().unwrap();
        let library = "lib-1".parse().unwrap();
        let issued = self
            .control
            .issue_enrolment_code(&OPERATOR, &agent, &library)
            .await;
        format!("edge-1.{}", issued.unwrap().code.grouped())
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("agent.toml")
    }

    /// The configuration that enrolling began, with what it leaves to the operator.
    fn fill_in(&self) {
        let text = std::fs::read_to_string(self.config()).unwrap();
        let filled = text.replace("recipients = []", "recipients = [\"age1x\"]");
        assert_ne!(text, filled);
        std::fs::write(self.config(), filled).unwrap();
    }

    fn key(&self) -> SecretKey {
        let text = std::fs::read_to_string(self.dir.path().join("agent.key")).unwrap();
        SecretKey::parse(&text).unwrap()
    }

    fn client(&self, ca_file: Option<&Path>) -> HttpControl {
        let agent = "edge-1".parse().unwrap();
        HttpControl::new(&self.url(), agent, self.key(), ca_file)
            .unwrap()
            .with_key_file(&self.dir.path().join("agent.key"))
    }

    /// The agent's state and its keys.
    async fn known(&self) -> (AgentState, Vec<AgentKey>) {
        let agents = self.control.agents(&OPERATOR).await.unwrap();
        let keys = agents[0].keys.iter().map(|held| held.key).collect();
        (agents[0].state, keys)
    }
}

async fn pass_on(mut outside: impl AsyncRead + AsyncWrite + Unpin, to: SocketAddr) {
    let mut inside = tokio::net::TcpStream::connect(to).await.unwrap();
    // Who hangs up has heard enough.
    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
    let _ = outside.shutdown().await;
}

fn inventory() -> Inventory {
    Inventory {
        agent: "edge-1".parse().unwrap(),
        library: "lib-1".parse().unwrap(),
        slots: (0..400)
            .map(|n| model::Slot {
                element: 1000 + n,
                kind: model::SlotKind::Storage,
                volume: Some(format!("TM{n:04}L9").parse().unwrap()),
                full: true,
            })
            .collect(),
        drives: Vec::new(),
        native_capacity: Bytes::gib(1),
    }
}

#[tokio::test]
async fn from_a_code_to_work_over_tls_and_through_a_change_of_keys() {
    let place = Place::start().await;
    let code = place.code().await;
    let url = place.url();
    let enrolled = enrol(Some(&url), &code, Some(&place.ca_file), &place.config())
        .await
        .unwrap();
    assert!(enrolled.wrote_config);
    let mode = std::fs::metadata(&enrolled.key_file).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The answer was lost before the configuration was written: all of it again.
    std::fs::remove_file(place.config()).unwrap();
    let again = enrol(Some(&url), &code, Some(&place.ca_file), &place.config()).await;
    assert_eq!(again.unwrap(), enrolled);
    place.fill_in();

    // A question and an answer that are packed.
    let daemon = place.client(Some(&place.ca_file));
    let answer = daemon.inventory(&inventory()).await.unwrap();
    assert_eq!(answer.registered.len(), 400);

    let first = place.key().public();
    rotate(&place.config()).await.unwrap();
    let second = place.key().public();
    assert_ne!(first, second);
    assert_eq!(
        place.known().await,
        (AgentState::Enrolled, vec![second, first])
    );
    // The daemon has the old key in memory; when that is over it reads the new one.
    daemon.inventory(&inventory()).await.unwrap();
    let library = "lib-1".parse().unwrap();
    let agent = "edge-1".parse().unwrap();
    let third = SecretKey::generate();
    place
        .control
        .register_agent(&OPERATOR, &agent, &library, third.public())
        .await
        .unwrap();
    std::fs::write(place.dir.path().join("agent.key"), third.to_text()).unwrap();
    // What the gateway remembers of the agent is at most five seconds old.
    let began = std::time::Instant::now();
    while place
        .client(Some(&place.ca_file))
        .inventory(&inventory())
        .await
        .is_err()
    {
        assert!(began.elapsed().as_secs() < 20);
    }
    daemon.inventory(&inventory()).await.unwrap();
}

#[tokio::test]
async fn a_rotation_that_was_cut_off_is_finished_by_the_next() {
    let place = Place::start().await;
    let code = place.code().await;
    enrol(
        Some(&place.url()),
        &code,
        Some(&place.ca_file),
        &place.config(),
    )
    .await
    .unwrap();
    place.fill_in();
    let old = std::fs::read(place.dir.path().join("agent.key")).unwrap();
    rotate(&place.config()).await.unwrap();
    // As if the process had died after the control plane took the key: old key in place,
    // new one beside it.
    let key_file = place.dir.path().join("agent.key");
    let next = place.dir.path().join("agent.key.next");
    std::fs::rename(&key_file, &next).unwrap();
    std::fs::write(&key_file, old).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key_file, mode).unwrap();
    rotate(&place.config()).await.unwrap();
    assert!(!next.exists());
    let (_, keys) = place.known().await;
    assert_eq!((keys.len(), keys[0]), (2, place.key().public()));
}

#[tokio::test]
async fn a_certificate_of_nobody_known_is_not_spoken_to() {
    let place = Place::start().await;
    let code = place.code().await;
    let error = enrol(Some(&place.url()), &code, None, &place.config())
        .await
        .unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("no answer from the control plane"), "{text}");
    assert!(!text.contains(&code[7..]), "{text}");
    // The key is there for the next attempt, and nothing was told to anybody.
    assert!(place.dir.path().join("agent.key").exists());
    assert_eq!(place.known().await, (AgentState::Invited, vec![]));
}

#[tokio::test]
async fn a_wrong_code_and_a_revoked_agent_are_told_so() {
    let place = Place::start().await;
    place.code().await;
    let url = place.url();
    let config = place.config();
    let guess = "edge-1.0000-0000";
    let wrong = enrol(Some(&url), guess, Some(&place.ca_file), &config).await;
    let text = format!("{:#}", wrong.unwrap_err());
    assert!(text.contains("tapemark agent enrol-code edge-1"), "{text}");
    assert!(!place.config().exists());
    let no_code = enrol(Some(&url), "0000", None, &place.config()).await;
    assert!(format!("{:#}", no_code.unwrap_err()).contains("--code: expected AGENT.CODE"));

    let code = place.code().await;
    enrol(Some(&url), &code, Some(&place.ca_file), &place.config())
        .await
        .unwrap();
    let agent = "edge-1".parse().unwrap();
    place.control.revoke_agent(&OPERATOR, &agent).await.unwrap();
    let refused = place
        .client(Some(&place.ca_file))
        .inventory(&inventory())
        .await;
    match refused {
        Err(CallError::Refused(refusal)) => {
            assert_eq!(refusal.code, Code::Forbidden);
            assert!(refusal.message.contains("revoked"), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
}
