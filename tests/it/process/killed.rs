//! Killed with -9 at any moment, the next start ends with a perfect mirror.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use helena_sync::clock::{Clock, SystemClock};
use helena_sync::sandbox::{RequestSeen, Sandbox};
use rustix::process::{Pid, Signal, kill_process};

use super::mirror::assert_perfect;
use super::program::{Place, Running, account, on_both, until};

/// A place whose walks have many small pages and windows.
fn small_pages(place: Place, sandbox: &Sandbox) -> Place {
    place
        .with("HELENA_BASE_URL", &sandbox.base_url())
        .with("HELENA_SYNC__API__PAGE_SIZE", "20")
        .with("HELENA_SYNC__BACKFILL__WINDOW_PAGES", "10")
}

/// Kills the program with -9 some time after the platform's n-th answer. Without delay it dies
/// before it sees this answer.
async fn kill_after(sandbox: &Sandbox, mut program: Running, answers: usize, later: Duration) {
    let (pid, mut seen) = (program.pid(), 0);
    let reached = Arc::new(AtomicBool::new(false));
    let reaching = Arc::clone(&reached);
    sandbox.on_answer(move |_, _| {
        seen += 1;
        if seen == answers {
            if later.is_zero() {
                kill(pid);
            }
            reaching.store(true, Ordering::SeqCst);
        }
    });
    // A pass may be over before so many answers.
    until("it is to be killed", async || {
        reached.load(Ordering::SeqCst) || program.has_ended()
    })
    .await;
    if !program.has_ended() {
        SystemClock.sleep(later).await;
        program.signal(Signal::KILL);
    }
    sandbox.clear_hooks();
    program.end().await;
}

fn kill(pid: Pid) {
    // Not yet reaped, so that the id is still that of our child.
    let _dead = kill_process(pid, Signal::KILL);
}

/// Whether a request reads a page of sessions of a load.
fn is_page(request: &RequestSeen) -> bool {
    request.path.ends_with("/session")
        && request.param("PageSize") == Some("20")
        && request.param("UpdatedAt.After").is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_of_the_first_load_the_next_sync_ends_perfect() {
    on_both(|place| async move {
        let mut dice = fastrand::Rng::with_seed(20_261_122);
        let sandbox = account(500).await;
        let place = small_pages(place, &sandbox);
        let mut answers = 0;
        for _ in 0..5 {
            answers += 1 + dice.usize(..12);
            let later = Duration::from_millis(dice.u64(..3) * dice.u64(..40));
            kill_after(&sandbox, place.start(&["sync"]), answers, later).await;
            sandbox.account().live_step(5);
        }
        place.succeeds(&["sync"]).await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments_of_a_pass_the_next_sync_ends_perfect() {
    on_both(|place| async move {
        let mut dice = fastrand::Rng::with_seed(4711);
        let sandbox = account(300).await;
        let place = small_pages(place, &sandbox);
        place.succeeds(&["sync"]).await;
        for _ in 0..5 {
            sandbox.account().live_step(60);
            let answers = 1 + dice.usize(..14);
            let later = Duration::from_millis(dice.u64(..3) * dice.u64(..15));
            kill_after(&sandbox, place.start(&["sync"]), answers, later).await;
        }
        place.succeeds(&["sync"]).await;
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_three_quarters_of_a_first_load_little_is_read_again() {
    const SESSIONS: usize = 1_200;
    const WINDOW: usize = 20;
    on_both(|place| async move {
        let sandbox = account(u32::try_from(SESSIONS).unwrap()).await;
        let place = small_pages(place, &sandbox).with("HELENA_SYNC__BACKFILL__WINDOW_PAGES", "20");
        let pages = SESSIONS / 20;
        let mut seen = 0;
        sandbox.on_answer(move |account, request| {
            seen += usize::from(is_page(request));
            if seen == pages * 3 / 4 {
                // The platform takes its time, so that what was read is stored before the kill:
                // a kill in the middle of that costs what was on its way, too.
                account.moods.latency = Duration::from_hours(1);
            }
        });
        let database = place.database().await;
        let program = place.start(&["sync"]);
        let stored = i64::try_from(SESSIONS * 3 / 4 - 10 * 20).unwrap();
        until(
            "what was read is stored, but for pages that wait for one before them",
            async || database.count("sessions", "1 = 1").await >= stored,
        )
        .await;
        program.signal(Signal::KILL);
        assert_eq!(program.end().await.code, None, "it was killed");
        sandbox.clear_hooks();
        sandbox.take_requests();
        sandbox.account().moods.latency = Duration::ZERO;

        let done = place.succeeds(&["sync"]).await;
        done.says(&["resuming the first load of sessions"]);
        let read = sandbox
            .requests()
            .iter()
            .filter(|request| is_page(request))
            .count();
        println!("{pages} pages in all, {read} after the kill at three quarters");
        assert!(read <= pages / 4 + WINDOW, "{read} of {pages}");
        assert_perfect(&place, &sandbox).await;
    })
    .await;
}
