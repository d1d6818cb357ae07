//! How well everything is, for whoever is above us: each check by its name, and whether it holds.
//!
//! *Live* is whether the loop answers, and never depends on anything else: whoever restarts us because a database is away makes
//! it worse. *Ready* is whether the formation may be sent work. *Startup* is whether it ever was.

use std::time::Duration;

use crate::api::{Formation, Health, HealthCheck, HealthQuestion, TypeName, TypeVitals, Vitals};

use super::answer::ask;
use super::server::Server;
use super::{Asked, Look};

/// So soon the loop answers, or it does not live: the default timeout of a probe of Kubernetes, and far longer than any turn of
/// the loop.
const PATIENCE: Duration = Duration::from_secs(1);

/// The name of the check that is about ourselves.
const OURSELVES: &str = "supervisor";

/// Answers a question.
pub(super) async fn health(server: &Server, question: HealthQuestion) -> Health {
    let heard = vitals(server).await;
    let checks = match (question, &heard) {
        (HealthQuestion::Live, _) => vec![live(&heard)],
        (HealthQuestion::Ready, Heard::Vitals(vitals, formation)) if !vitals.draining => {
            let services = services(server, formation).await;
            ready(vitals).into_iter().chain(services).collect()
        }
        (HealthQuestion::Ready, Heard::Vitals(vitals, _)) => ready(vitals),
        (HealthQuestion::Startup, Heard::Vitals(vitals, _)) => startup(vitals),
        (HealthQuestion::Ready | HealthQuestion::Startup, Heard::Ending) => {
            vec![check(OURSELVES, false, "ending")]
        }
        (HealthQuestion::Ready | HealthQuestion::Startup, Heard::Nothing) => vec![live(&heard)],
    };
    Health { ok: checks.iter().all(|check| check.ok), checks }
}

/// What the loop said.
enum Heard {
    Vitals(Vitals, Formation),
    /// That everything is over, and the last lines are being written.
    Ending,
    Nothing,
}

async fn vitals(server: &Server) -> Heard {
    match tokio::time::timeout(PATIENCE, ask(server, |reply| Asked::Look(Look::Vitals(reply)))).await {
        Ok(Ok((vitals, formation))) => Heard::Vitals(vitals, formation),
        Ok(Err(_)) => Heard::Ending,
        Err(_) => Heard::Nothing,
    }
}

/// Whether each backing service answers that something needs that shall run.
async fn services(server: &Server, formation: &Formation) -> Vec<HealthCheck> {
    let Some(services) = server.checkup.statuses(&server.facts).await else {
        return vec![check("services", false, "have not answered yet")];
    };
    let wanted = |name: &TypeName| formation.0.iter().any(|(known, count)| known == name && *count > 0);
    let needed = services.iter().filter(|service| service.needed_by.iter().any(wanted));
    needed.map(|service| check(&service.name, service.ok, &service.message)).collect()
}

fn live(heard: &Heard) -> HealthCheck {
    match heard {
        Heard::Vitals(Vitals { draining: false, .. }, _) => check(OURSELVES, true, "answers"),
        Heard::Vitals(Vitals { draining: true, .. }, _) => check(OURSELVES, true, "answers, and is draining"),
        Heard::Ending => check(OURSELVES, true, "ending"),
        Heard::Nothing => check(OURSELVES, false, &format!("has not answered for {} s", PATIENCE.as_secs())),
    }
}

fn ready(vitals: &Vitals) -> Vec<HealthCheck> {
    let ourselves = check(OURSELVES, !vitals.draining, if vitals.draining { "draining" } else { "running" });
    [ourselves].into_iter().chain(vitals.essential.iter().map(of_type)).collect()
}

fn startup(vitals: &Vitals) -> Vec<HealthCheck> {
    if vitals.started {
        return vec![check(OURSELVES, true, "started")];
    }
    let ourselves = check(OURSELVES, false, "not every essential type has been ready yet");
    [ourselves].into_iter().chain(vitals.essential.iter().map(of_type)).collect()
}

fn of_type(vitals: &TypeVitals) -> HealthCheck {
    let TypeVitals { process_type, wanted, ready, enough } = vitals;
    let ok = ready >= enough;
    let message = if ok || enough == wanted {
        format!("{ready} of {wanted} ready")
    } else {
        format!("{ready} of {wanted} ready, and {enough} are needed")
    };
    check(process_type.as_str(), ok, &message)
}

fn check(name: &str, ok: bool, message: &str) -> HealthCheck {
    HealthCheck { name: name.to_owned(), ok, message: message.to_owned() }
}
