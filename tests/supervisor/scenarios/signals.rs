//! Signals to the supervisor.

use supervise::api::{Cause, Signal};
use supervise::supervisor::{Event, Habits, Hangup, Init, Terminal};

use crate::fake_host::{STUBBORN, Script, World, member, ms, obeys_after, slot};

fn habits() -> Habits {
    Habits::default()
}

/// Two slots that end three seconds after the stop signal, running, with nothing said yet.
fn slow(habits: Habits) -> World {
    let mut world = World::with_habits(vec![member("web", 2)], habits)
        .habit(0, Script::runs().led_by(obeys_after(ms(3_000))));
    world.pass(ms(1_000));
    world.skip();
    world
}

/// What a drain of that formation looks like.
fn drains(cause: &Cause, code: u8) -> Vec<String> {
    [
        format!("1.000 {cause}: draining [web=2] at most 8000ms"),
        "1.000 read on".to_owned(),
        "1.000 SIGTERM to the leader of web.1".to_owned(),
        "1.000 SIGTERM to the leader of web.2".to_owned(),
        "4.000 web.1 exited 0 (after its last words)".to_owned(),
        "4.000 web.2 exited 0 (after its last words)".to_owned(),
        format!("4.000 ended with {code}"),
        format!("4.000 exit {code}"),
    ]
    .into()
}

/// Held against what was seen.
#[track_caller]
fn saw(world: &mut World, lines: &[String]) {
    world.saw(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn term_int_hup_pwr_and_rtmin_3_drain_everything() {
    for (signal, code) in
        [(Signal::TERM, 0), (Signal::INT, 130), (Signal::HUP, 0), (Signal::PWR, 0), (Signal::RTMIN_3, 0)]
    {
        let mut world = slow(habits());
        world.signal(signal);
        assert_eq!(world.run_to_exit(), code, "{signal}");
        saw(&mut world, &drains(&Cause::Signal(signal), code));
    }
}

#[test]
fn without_a_reader_everything_drains() {
    let mut world = slow(habits());
    world.tell(Event::ReaderGone);
    world.pass(ms(10));
    world.tell(Event::ReaderGone);
    assert_eq!(world.run_to_exit(), 0);
    saw(&mut world, &drains(&Cause::ReaderGone, 0));
}

#[test]
fn a_second_term_changes_nothing() {
    let mut world = slow(habits());
    world.signal(Signal::TERM);
    for _ in 0..4 {
        world.pass(ms(600));
        world.signal(Signal::TERM);
    }
    world.run_to_exit();
    saw(&mut world, &drains(&Cause::Signal(Signal::TERM), 0));
}

#[test]
fn a_second_int_within_half_a_second_is_the_same_ctrl_c() {
    let mut world = slow(habits());
    world.signal(Signal::INT);
    world.pass(ms(499));
    world.signal(Signal::INT);
    world.run_to_exit();
    saw(&mut world, &drains(&Cause::Signal(Signal::INT), 130));
}

#[test]
fn a_second_int_after_half_a_second_kills_now() {
    let mut world = slow(habits());
    world.signal(Signal::INT);
    world.pass(ms(499));
    world.signal(Signal::INT);
    world.pass(ms(1));
    world.skip().signal(Signal::INT);
    assert_eq!(world.run_to_exit(), 137);
    world.saw(&[
        "1.500 web.1 killed: Asked",
        "1.500 kill everyone of web.1",
        "1.500 web.2 killed: Asked",
        "1.500 kill everyone of web.2",
        "1.500 web.1 died of SIGKILL (after its last words)",
        "1.500 web.2 died of SIGKILL (after its last words)",
        "1.500 ended with 137",
        "1.500 exit 137",
    ]);
}

#[test]
fn term_after_int_changes_nothing() {
    let mut world = slow(habits());
    world.signal(Signal::INT);
    world.pass(ms(1_000));
    world.signal(Signal::TERM);
    world.run_to_exit();
    saw(&mut world, &drains(&Cause::Signal(Signal::INT), 130));
}

#[test]
fn after_a_term_it_takes_two_ints_to_kill() {
    let mut world = slow(habits());
    world.signal(Signal::TERM);
    world.pass(ms(1_000));
    world.skip().signal(Signal::INT);
    world.pass(ms(500));
    world.saw(&[]);
    world.signal(Signal::INT);
    assert_eq!(world.run_to_exit(), 137);
    world.saw(&[
        "2.500 web.1 killed: Asked",
        "2.500 kill everyone of web.1",
        "2.500 web.2 killed: Asked",
        "2.500 kill everyone of web.2",
        "2.500 web.1 died of SIGKILL (after its last words)",
        "2.500 web.2 died of SIGKILL (after its last words)",
        "2.500 ended with 137",
        "2.500 exit 137",
    ]);
}

#[test]
fn quit_from_a_terminal_kills_what_is_draining() {
    let mut world = slow(habits());
    world.signal(Signal::TERM);
    world.pass(ms(100));
    world.skip().signal(Signal::QUIT);
    world.saw(&[
        "1.100 web.1 killed: Asked",
        "1.100 kill everyone of web.1",
        "1.100 web.2 killed: Asked",
        "1.100 kill everyone of web.2",
    ]);
    assert_eq!(world.run_to_exit(), 137);
}

#[test]
fn quit_without_a_terminal_drains() {
    let mut world = slow(Habits { terminal: Terminal::Absent, ..habits() });
    world.signal(Signal::QUIT);
    world.pass(ms(1_000));
    world.signal(Signal::QUIT);
    assert_eq!(world.run_to_exit(), 0);
    saw(&mut world, &drains(&Cause::Signal(Signal::QUIT), 0));
}

#[test]
fn a_half_born_child_is_killed_once_it_is_there_if_that_was_asked() {
    let unanswered =
        Script { birth: crate::fake_host::Birth::RunsUnanswered, ..Script::runs().led_by(STUBBORN) };
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [unanswered]);
    world.pass(ms(0));
    world.signal(Signal::QUIT);
    world.skip().answer();
    world.saw(&["0.000 web.1 started", "0.000 web.1 killed: Asked", "0.000 kill everyone of web.1"]);
    assert_eq!(world.run_to_exit(), 137);
}

#[test]
fn hup_where_there_never_was_a_terminal_is_a_reload() {
    let mut world = slow(Habits { hangup: Hangup::Reload, ..habits() });
    world.signal(Signal::HUP);
    world.pass(ms(10_000));
    world.saw(&["1.000 read again"]);
}

#[test]
fn init_ignores_tstp() {
    let mut world = slow(Habits { init: Init::Yes, ..habits() });
    world.signal(Signal::TSTP);
    world.saw(&[]);
    world.signal(Signal::CONT);
    world.saw(&["1.000 resume"]);
}

#[test]
fn other_signals_are_passed_on_and_who_did_not_get_one_is_named() {
    let mut world = slow(habits());
    let real_time = Signal::new(40).expect("a real-time signal");
    for signal in
        ["USR1", "USR2", "WINCH"].map(|name| name.parse().expect("a signal")).into_iter().chain([real_time])
    {
        world.signal(signal);
        world.saw(&[&format!("1.000 pass {signal}")]);
    }
    world.tell(Event::Withheld { signal: real_time, slots: vec![slot(0, 1), slot(0, 2)] });
    world.saw(&["1.000 SIGRTMIN+6 is not passed to web.1, web.2: no handler for it, it would end them"]);
}

#[test]
fn term_during_backoff_ends_at_once_and_starts_nothing() {
    let crash = || Script::exits(ms(300), 1);
    let mut world = World::new(vec![member("web", 1)]).script(slot(0, 1), [crash(), crash()]);
    world.pass(ms(700));
    world.skip().signal(Signal::TERM);
    world.saw(&["0.700 SIGTERM: draining [] at most 0ms", "0.700 ended with 0", "0.700 exit 0"]);
    assert_eq!(world.core.newest(), 2);
}

#[test]
fn a_signal_before_anything_is_started_ends_at_once() {
    let mut world = World::new(vec![member("web", 3)]);
    world.signal(Signal::INT);
    world.saw(&["0.000 SIGINT: draining [] at most 0ms", "0.000 ended with 130", "0.000 exit 130"]);
    for signal in [Signal::INT, Signal::TERM, Signal::QUIT, Signal::CONT, Signal::TSTP] {
        world.tell(Event::Received(signal));
    }
    world.tell(Event::Woke);
    world.saw(&[]);
}

#[test]
fn quit_from_a_terminal_kills_now_and_asks_nobody_to_end_first() {
    let mut world = slow(habits());
    world.signal(Signal::QUIT);
    let sentences: Vec<String> = world.notices().map(ToString::to_string).collect();
    assert!(sentences.contains(&"SIGQUIT: killing web=2".to_owned()), "{sentences:?}");
    assert_eq!(world.run_to_exit(), 137);
    world.saw(&[
        "1.000 SIGQUIT: draining [web=2] at most 0ms",
        "1.000 read on",
        "1.000 web.1 killed: Asked",
        "1.000 kill everyone of web.1",
        "1.000 web.2 killed: Asked",
        "1.000 kill everyone of web.2",
        "1.000 web.1 died of SIGKILL (after its last words)",
        "1.000 web.2 died of SIGKILL (after its last words)",
        "1.000 ended with 137",
        "1.000 exit 137",
    ]);
}

#[test]
fn tstp_stops_the_whole_job_and_cont_goes_on() {
    let mut world = slow(habits());
    world.signal(Signal::TSTP);
    world.saw(&["1.000 suspended with everything; `fg` or SIGCONT goes on", "1.000 suspend"]);
    world.signal(Signal::CONT);
    world.saw(&["1.000 resume", "1.000 going on"]);
    // Nothing was suspended this time: systemd sends one after each TERM (systemd.kill(5)).
    world.signal(Signal::CONT);
    world.saw(&["1.000 resume"]);
}
