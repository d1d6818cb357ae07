//! Who asks whom: the services of the newest release for whoever looks, those of a type before it is started. What was
//! found out a moment ago is not asked again, so that a flood of questions does not become one at the database.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::{Missing, ServiceStatus, TypeName};
use crate::app::{Release, Service};

use super::{Finding, ask};

/// For so long after an asking began its answer holds: whoever asks every second hears something new each time.
pub(super) const FRESH: Duration = Duration::from_millis(900);

/// What is asked of backing services. All of it happens in tasks on the loop's runtime, and nothing here waits.
pub(in crate::daemon) struct Survey {
    roster: Roster,
    /// That of a release that was read again, until it holds.
    next: Option<Roster>,
    /// By the URL and the root.
    askings: HashMap<(String, PathBuf), Asking>,
}

/// An asking that goes on, or what came of it.
#[derive(Clone)]
struct Asking {
    began: Instant,
    found: watch::Receiver<Option<Finding>>,
}

/// The services of a release, and who needs each.
#[derive(Clone)]
struct Roster {
    root: PathBuf,
    services: Vec<(Service, Vec<TypeName>)>,
}

impl Survey {
    pub(in crate::daemon) fn new(release: &Release) -> Survey {
        Survey { roster: Roster::of(release), next: None, askings: HashMap::new() }
    }

    /// Has another release ready, which may come to hold.
    pub(in crate::daemon) fn propose(&mut self, release: &Release) {
        self.next = Some(Roster::of(release));
    }

    /// From now on the release that was proposed holds.
    pub(in crate::daemon) fn adopt(&mut self) {
        if let Some(next) = self.next.take() {
            self.roster = next;
        }
    }

    /// Asks these, all at the same time: which of them do not answer.
    pub(in crate::daemon) fn missing(
        &mut self,
        needs: &[Service],
        root: &Path,
    ) -> impl Future<Output = Vec<Missing>> + Send + use<> {
        let askings: Vec<(String, Asking)> =
            needs.iter().map(|need| (need.name.clone(), self.asking(need, root))).collect();
        async {
            let mut missing = Vec::new();
            for (service, asking) in askings {
                let found = asking.finding().await;
                let place = found.place();
                missing.extend(found.verdict.err().map(|why| Missing {
                    service,
                    place,
                    why: why.into_owned(),
                }));
            }
            missing
        }
    }

    /// Asks every service of the release that holds, all at the same time.
    pub(in crate::daemon) fn statuses(&mut self) -> impl Future<Output = Vec<ServiceStatus>> + Send + use<> {
        let Roster { root, services } = self.roster.clone();
        let askings: Vec<_> = services
            .into_iter()
            .map(|(service, needed_by)| (self.asking(&service, &root), service.name, needed_by))
            .collect();
        async {
            let mut statuses = Vec::new();
            for (asking, name, needed_by) in askings {
                let Finding { kind, host, verdict, took } = asking.finding().await;
                let ok = verdict.is_ok();
                let message = verdict.unwrap_or_else(|why| why).into_owned();
                let time_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                statuses.push(ServiceStatus {
                    name,
                    kind: kind.to_owned(),
                    host,
                    ok,
                    message,
                    time_ms,
                    needed_by,
                });
            }
            statuses
        }
    }

    /// The asking of a service: one that goes on, one that has just ended, or a new one.
    fn asking(&mut self, service: &Service, root: &Path) -> Asking {
        self.askings.retain(|_, asking| asking.is_fresh());
        let key = (service.url.clone(), root.to_owned());
        let (url, root) = key.clone();
        self.askings.entry(key).or_insert_with(|| Asking::begin(url, root)).clone()
    }
}

impl Asking {
    fn begin(url: String, root: PathBuf) -> Asking {
        let (told, found) = watch::channel(None);
        tokio::spawn(async move { told.send_replace(Some(ask(&url, &root).await)) });
        Asking { began: Instant::now(), found }
    }

    fn is_fresh(&self) -> bool {
        self.found.borrow().is_none() || self.began.elapsed() < FRESH
    }

    async fn finding(mut self) -> Finding {
        let found = self.found.wait_for(Option::is_some).await;
        match found.as_deref() {
            Ok(Some(found)) => found.clone(),
            // Whoever asked is gone, and so is the loop.
            Ok(None) | Err(_) => Finding {
                kind: "somewhere",
                host: String::new(),
                verdict: Err("was not asked any more".into()),
                took: Duration::ZERO,
            },
        }
    }
}

impl Roster {
    /// The services as the app has them; one that a type has with another URL stands for itself. Where it has none, nothing of
    /// the type runs.
    fn of(release: &Release) -> Roster {
        let mut services: Vec<(Service, Vec<TypeName>)> =
            release.services.iter().map(|service| (service.clone(), Vec::new())).collect();
        for process_type in &release.types {
            for need in process_type.needs.iter().filter(|need| !need.url.is_empty()) {
                let same = |(known, _): &&mut (Service, _)| known.name == need.name && known.url == need.url;
                match services.iter_mut().find(same) {
                    Some((_, needed_by)) => needed_by.push(process_type.name.clone()),
                    None => services.push((need.clone(), vec![process_type.name.clone()])),
                }
            }
        }
        Roster { root: release.root.clone(), services }
    }
}
