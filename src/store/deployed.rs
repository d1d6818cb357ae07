//! Which release is current, and which have completed.

use serde::{Deserialize, Serialize};

use super::{Number, Store, Trouble, disk};
use crate::app::{Diagnostic, Place as Where};

/// What `deployed.json` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployed {
    /// The one that runs, or would be started by `start --release current`.
    pub current: Option<Number>,
    /// Those whose deploys have completed, the last one last.
    pub completed: Vec<Number>,
}

impl Store {
    /// Which release is current, and which have completed; none where nothing was deployed yet.
    ///
    /// # Errors
    /// It cannot be read, or names a release that is not there.
    pub fn deployed(&self) -> Result<Deployed, Trouble> {
        let path = self.directory.join(FILE);
        let Some(bytes) = disk::read(&path)? else { return Ok(Deployed::default()) };
        let broken = |reason: &str| {
            let help = "remove it: then no release is current, and the next deploy writes it anew";
            Trouble::Broken(path.clone(), format!("{reason}\n  help: {help}"))
        };
        let deployed: Deployed =
            serde_json::from_slice(&bytes).map_err(|_| broken("this is not the file that we wrote"))?;
        match deployed.current {
            Some(current) if !self.release(current).is_dir() => {
                Err(broken(&format!("it names {current}, which is not there")))
            }
            Some(_) | None => Ok(deployed),
        }
    }

    /// From now on that release is current, and has completed.
    ///
    /// # Errors
    /// There is no such release, or it cannot be written.
    pub fn commit(&self, number: Number) -> Result<(), Trouble> {
        let _writer = self.write()?;
        self.load(&number.to_string())?;
        // Who was pruned is of no use any more; the last one says which numbers were given.
        let known = self.numbers()?;
        let mut completed = self.deployed()?.completed;
        completed.retain(|earlier| *earlier != number && known.contains(earlier));
        completed.push(number);
        let deployed = Deployed { current: Some(number), completed };
        // Texts only.
        let mut text = serde_json::to_vec(&deployed).expect("texts are JSON");
        text.push(b'\n');
        disk::replace(&self.directory.join(FILE), &text)
    }

    /// Where a rollback leads: to the release that is named, else to the last one that completed before the current one and is not
    /// the same once more.
    ///
    /// # Errors
    /// There is none.
    pub fn rollback_target(&self, named: Option<Number>) -> Result<Number, Trouble> {
        if let Some(named) = named {
            return self.load(&named.to_string()).map(|kept| kept.number());
        }
        let Deployed { current, completed } = self.deployed()?;
        let current = current.map(|current| self.load(&current.to_string())).transpose()?;
        let differs = |number: &&Number| {
            let earlier = self.load(&number.to_string());
            earlier.is_ok_and(|earlier| {
                current.as_ref().is_none_or(|current| current.record.id != earlier.record.id)
            })
        };
        completed.iter().rev().find(differs).copied().ok_or_else(|| {
            let error = Diagnostic::new(Where::Arguments, "there is no earlier release to come back to");
            error
                .with_help("`supervise releases` shows those there are; name one: `supervise rollback v1`")
                .into()
        })
    }
}

const FILE: &str = "deployed.json";
