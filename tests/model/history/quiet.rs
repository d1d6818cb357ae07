//! Waits until all is as it was asked for, and looks at everything then.

use std::thread;
use std::time::{Duration, Instant};

use super::History;
use crate::check::{Complaints, Sight, asked, core, processes, stream};

/// From the last step until everything is as it was asked for: drains, waits after failures and rollouts, under load.
const REST: Duration = Duration::from_secs(90);

/// From then on until everything else agrees: processes are reaped, connections closed, what was written is read.
const AGREEMENT: Duration = Duration::from_secs(15);

impl History {
    pub(crate) fn comes_to_rest(&mut self) {
        let mut deadline = Instant::now() + REST;
        let mut rested = false;
        loop {
            let steps = self.retell();
            let sight = Sight::new(&self.life);
            let twins = processes::twins(&sight);
            assert!(twins.is_empty(), "{}\n{sight}\n{}", twins.join("\n"), self.life);
            let rolling = self.life.core.rolling();
            let mut complaints = asked::complaints(&sight, &self.book);
            complaints.extend(rolling.into_iter().map(|name| format!("{name} is being replaced")));
            complaints.extend(
                self.life.core.deploying.iter().map(|release| format!("{release} is being deployed")),
            );
            if complaints.is_empty() {
                if !rested {
                    (rested, deadline) = (true, Instant::now() + AGREEMENT);
                }
                complaints = self.disagreements(&sight);
                // Where the core has been told something meanwhile, it is another moment.
                if complaints.is_empty() && self.retell() == 0 {
                    return self.rests(sight);
                }
            }
            assert!(
                Instant::now() < deadline,
                "{}:\n{}\nlast were told {steps} steps\n{}\n{}",
                if rested { "when all was quiet" } else { "it never became quiet" },
                complaints.join("\n"),
                sight,
                self.life
            );
            thread::sleep(Duration::from_millis(25));
        }
    }

    /// How many steps the core was told that it did not know.
    fn retell(&mut self) -> usize {
        let steps =
            self.life.core.catch_up().unwrap_or_else(|error| panic!("the trace is not what was: {error}"));
        for name in std::mem::take(&mut self.life.core.turned_back) {
            self.note(format!("{name} was turned back"));
            self.book.turned_back(&name);
        }
        for release in std::mem::take(&mut self.life.core.not_deployed) {
            self.was_not_deployed(&release);
        }
        steps
    }

    fn disagreements(&mut self, sight: &Sight) -> Complaints {
        let Some(told) = self.life.core.status() else { return vec!["there is no trace".to_owned()] };
        let mut complaints = [
            processes::complaints(sight),
            asked::particulars(sight, &self.book),
            core::complaints(&sight.ps, &told),
            self.unheard(),
        ]
        .concat();
        if !self.life.run.is_deaf() {
            // As long as nobody reads what they wrote, the pipes of those who have ended are kept.
            complaints.extend(self.held_otherwise(sight));
        }
        if let Some(before) = &self.before {
            complaints.extend(asked::changes(before, sight, &self.book));
        }
        let waiting = self.unanswered.iter().filter(|(_, answer)| !answer.is_finished());
        complaints.extend(waiting.map(|(change, _)| format!("not answered: {change}")));
        for dead in &self.dead {
            let left = dead.alive();
            complaints.extend((!left.is_empty()).then(|| format!("left of a killed supervisor: {left:?}")));
        }
        complaints
    }

    /// With the same formation the supervisor holds what it held before.
    pub(crate) fn held_otherwise(&self, sight: &Sight) -> Complaints {
        let Some((descriptors, threads)) = self.held.get(&sight.living()) else { return Complaints::new() };
        let before = |what: &String| descriptors.get(what).copied().unwrap_or(0);
        let more = sight.descriptors.iter().filter(|(what, count)| before(what) < **count);
        let more =
            more.map(|(what, count)| format!("descriptors: {} of {what} before, {count} now", before(what)));
        let more_threads =
            (sight.threads > *threads).then(|| format!("{threads} threads before, {} now", sight.threads));
        more.chain(more_threads).collect()
    }

    /// What was counted and has not come out, as far as we listen.
    fn unheard(&mut self) -> Complaints {
        // What was counted at the first look was written before it, and comes out, however much is written meanwhile.
        let told = &self.life.told;
        let counted = self.counted.get_or_insert_with(|| stream::counted(told)).clone();
        self.hear();
        let torn = self.life.hearing.complaints.clone();
        if self.life.run.is_deaf() {
            return torn;
        }
        [torn, self.life.hearing.missing(&counted)].concat()
    }

    /// All is as it should be: what comes is held against this.
    fn rests(&mut self, sight: Sight) {
        self.note("all is quiet");
        self.counted = None;
        if !self.life.run.is_deaf() {
            // A connection of ours may not have been closed yet: the least counts.
            let known = self.held.entry(sight.living());
            let (descriptors, threads) = known.or_insert_with(|| (sight.descriptors.clone(), sight.threads));
            descriptors.retain(|what, _| sight.descriptors.contains_key(what));
            for (what, count) in descriptors {
                *count = (*count).min(sight.descriptors[what]);
            }
            *threads = sight.threads.min(*threads);
        }
        self.before = Some(sight);
        self.book.all_seen();
        self.dead.clear();
        for (change, answer) in self.unanswered.drain(..) {
            let answer = answer.join().expect("it only reads");
            let is_fine = match &answer {
                Ok((200 | 202, _)) => true,
                // A newer request replaces them, or those who were killed were too many.
                Ok((_, body)) => body.contains("\"superseded\"") || body.contains("\"turned_back\""),
                Err(_) => false,
            };
            assert!(is_fine, "{change}: {answer:?}\n{}", self.life);
        }
    }
}
