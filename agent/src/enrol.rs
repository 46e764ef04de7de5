//! Becoming known to a control plane, and changing the key.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use model::agents::{CodeText, Enrol, Rotate, RotateAnswer, rotation_text};
use model::{AgentId, Code};

use crate::config::AgentConfig;
use crate::identity;
use crate::protocol::{CallError, HttpControl};

/// What came of an enrolment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The agent.
    pub agent: AgentId,
    /// The library it is to drive.
    pub library: model::LibraryId,
    /// Where its key lies.
    pub key_file: PathBuf,
    /// Whether the configuration was begun; else it was there.
    pub wrote_config: bool,
}

/// Enrols an agent with a code as `tapemark agent enrol-code` shows it: `AGENT.CODE`. Draws
/// a key where there is none, and begins a configuration where there is none. May be done
/// again where the answer was lost.
///
/// # Errors
/// When the code is not one, or is refused; when the configuration names another agent or
/// another control plane; when a file cannot be read or made.
pub async fn enrol(
    url: Option<&str>,
    code: &str,
    ca_file: Option<&Path>,
    config: &Path,
) -> anyhow::Result<Enrolled> {
    let (agent, secret) = code
        .trim()
        .split_once('.')
        .context("--code: expected AGENT.CODE, as tapemark agent enrol-code shows it")?;
    let agent: AgentId = agent.parse().context("--code")?;
    let there = config.try_exists().context("--config")?;
    let (url, key_file, ca_file) = if there {
        let known = AgentConfig::load(config)?;
        anyhow::ensure!(
            known.agent == agent,
            "{}: expected agent {agent}, whose code this is, found {}",
            config.display(),
            known.agent
        );
        if let Some(url) = url {
            anyhow::ensure!(
                url.trim_end_matches('/') == known.control.url.trim_end_matches('/'),
                "{}: expected control.url {url}, as --url says, found {}",
                config.display(),
                known.control.url
            );
        }
        let ca_file = ca_file.map(Path::to_owned).or(known.control.ca_file);
        (known.control.url, known.control.key_file, ca_file)
    } else {
        let url = url.context("--url: expected where the control plane is")?;
        let key_file = std::path::absolute(config.with_extension("key"))?;
        (url.to_owned(), key_file, ca_file.map(Path::to_owned))
    };
    let key = identity::load_or_draw(&key_file)?;
    let question = Enrol {
        agent: agent.clone(),
        code: CodeText::new(secret),
        key: key.public(),
    };
    let control = HttpControl::new(&url, agent, key, ca_file.as_deref())?;
    let answer = control.enrol(&question).await?;
    if !there {
        let text = template(
            &answer.agent,
            &url,
            &key_file,
            ca_file.as_deref(),
            &answer.library,
        );
        std::fs::write(config, text).with_context(|| format!("writing {}", config.display()))?;
    }
    Ok(Enrolled {
        agent: answer.agent,
        library: answer.library,
        key_file,
        wrote_config: !there,
    })
}

/// Changes the key: draws the next one, has it taken, and puts it in place. A running agent
/// goes on with the old one and reads the new one when that ends. May be done again where
/// it was cut off anywhere.
///
/// # Errors
/// When the control plane refuses or does not answer, and when a file cannot be used.
pub async fn rotate(config: &Path) -> anyhow::Result<RotateAnswer> {
    let config = AgentConfig::load(config)?;
    let key_file = &config.control.key_file;
    let old = identity::load(key_file)?;
    let new = identity::load_or_draw(&identity::next(key_file))?;
    let key = new.public();
    let text = rotation_text(&config.agent, &key);
    let question = Rotate {
        agent: config.agent.clone(),
        key,
        proof: hex::encode(new.sign(text.as_bytes())),
    };
    let ca_file = config.control.ca_file.as_deref();
    let control = |key| HttpControl::new(&config.control.url, config.agent.clone(), key, ca_file);
    let answer = match control(old)?.rotate(&question).await {
        // Cut off a day ago or more, after the new key was taken: the old one is over.
        Err(CallError::Refused(refusal)) if refusal.code == Code::Unauthorized => {
            let again = control(new)?.rotate(&question).await;
            again.map_err(|_| CallError::Refused(refusal))?
        }
        answer => answer?,
    };
    identity::promote(key_file)?;
    Ok(answer)
}

/// What an operator fills in.
fn template(
    agent: &AgentId,
    url: &str,
    key_file: &Path,
    ca_file: Option<&Path>,
    library: &model::LibraryId,
) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let ca = ca_file.map_or(String::new(), |path| {
        format!("ca_file = {}\n", quoted(&path.to_string_lossy()))
    });
    format!(
        "# Begun by `tapemark-agent enrol`. Fill in what is empty.\n\
         agent = {}\n\
         # Whom everything written is encrypted to: age1…\n\
         recipients = []\n\
         # The age identities that open what is on tape.\n\
         # identity_file = \"/etc/tapemark/identity.txt\"\n\
         journal_dir = \"/var/lib/tapemark-agent\"\n\
         # restore_roots = [\"/srv/restore\"]\n\n\
         [control]\nurl = {}\nkey_file = {}\n{ca}\n\
         [library]\nkind = \"simulated\"\nid = {}\ndir = \"/var/lib/tapemark/library\"\n\
         drives = 2\nslots = 24\n",
        quoted(agent.as_str()),
        quoted(url),
        quoted(&key_file.to_string_lossy()),
        quoted(library.as_str()),
    )
}
