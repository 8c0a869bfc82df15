//! How many accounts are a process's share, out of who can sync which and who holds which. Pure.
//!
//! All processes compute the same from the same state of the database.

use std::collections::BTreeSet;

use crate::store::AccountId;

/// A process that shares accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Process {
    /// The accounts that it can sync.
    pub(super) wanted: BTreeSet<AccountId>,
    /// Those whose lease it holds.
    pub(super) held: BTreeSet<AccountId>,
}

/// What is fair for a process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// How many accounts it should hold.
    pub(super) target: usize,
    /// The accounts that it holds now and that a process with fewer could sync.
    pub(super) givable: BTreeSet<AccountId>,
}

/// The share of the process with the number `me`. Nobody holds the accounts in `free`.
///
/// Free accounts go to the process that has the fewest. Then accounts move, one at a time, from a process
/// to one that has at least two fewer, until there is no such pair.
pub(super) fn share(processes: &[Process], me: usize, free: &BTreeSet<AccountId>) -> Share {
    let mut then = processes.to_vec();
    for account in free {
        let takers = then.iter_mut();
        let takers = takers.filter(|process| process.wanted.contains(account));
        if let Some(poorest) = takers.min_by_key(|process| process.held.len()) {
            poorest.held.insert(*account);
        }
    }
    while let Some((from, to, account)) = next_move(&then) {
        then[from].held.remove(&account);
        then[to].held.insert(account);
    }
    let gained = |(now, then): &(&Process, &Process)| then.held.len() > now.held.len();
    let takers: Vec<&Process> = processes
        .iter()
        .zip(&then)
        .filter(gained)
        .map(|(now, _)| now)
        .collect();
    let is_givable = |account: &&AccountId| takers.iter().any(|to| to.wanted.contains(account));
    Share {
        target: then[me].held.len(),
        givable: processes[me]
            .held
            .iter()
            .filter(is_givable)
            .copied()
            .collect(),
    }
}

/// The move that evens out most: from which process, to which, and which account.
fn next_move(processes: &[Process]) -> Option<(usize, usize, AccountId)> {
    let mut best: Option<(usize, (usize, usize, AccountId))> = None;
    for (from, giver) in processes.iter().enumerate() {
        for (to, taker) in processes.iter().enumerate() {
            let more = giver.held.len().saturating_sub(taker.held.len());
            if more < 2 || best.is_some_and(|(most, _)| more <= most) {
                continue;
            }
            let account = giver.held.iter().find(|one| taker.wanted.contains(one));
            if let Some(account) = account {
                best = Some((more, (from, to, *account)));
            }
        }
    }
    best.map(|(_, step)| step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(numbers: impl IntoIterator<Item = i64>) -> BTreeSet<AccountId> {
        numbers.into_iter().map(AccountId).collect()
    }

    /// Processes that can all sync the accounts from 0 on, of which they hold so many each.
    fn alike(accounts: i64, held: &[i64]) -> Vec<Process> {
        let mut first = 0;
        held.iter()
            .map(|count| {
                let held = ids(first..first + count);
                first += count;
                Process {
                    wanted: ids(0..accounts),
                    held,
                }
            })
            .collect()
    }

    fn targets(processes: &[Process], free: &BTreeSet<AccountId>) -> Vec<usize> {
        let all = 0..processes.len();
        all.map(|me| share(processes, me, free).target).collect()
    }

    #[test]
    fn each_gets_as_many_as_the_others_and_at_most_one_more() {
        let free = ids(0..100);
        assert_eq!(targets(&alike(100, &[0, 0, 0]), &free), [34, 33, 33]);
        let none = ids([]);
        assert_eq!(targets(&alike(100, &[100, 0]), &none), [50, 50]);
        assert_eq!(targets(&alike(100, &[50, 50, 0]), &none), [33, 34, 33]);
        assert_eq!(targets(&alike(4, &[2, 2, 0]), &none), [1, 2, 1]);
        assert_eq!(targets(&alike(1, &[1, 0]), &none), [1, 0]);
        // A process has ended.
        assert_eq!(targets(&alike(100, &[33, 33]), &ids(66..100)), [50, 50]);
    }

    #[test]
    fn what_is_even_stays_as_it_is() {
        let even = alike(100, &[33, 33, 34]);
        for me in 0..3 {
            let Share { target, givable } = share(&even, me, &ids([]));
            assert_eq!(target, even[me].held.len());
            assert_eq!(givable, ids([]));
        }
    }

    #[test]
    fn only_what_another_process_can_sync_is_given_to_it() {
        let processes = [
            Process {
                wanted: ids(0..6),
                held: ids(0..6),
            },
            Process {
                wanted: ids([4]),
                held: ids([]),
            },
        ];
        let Share { target, givable } = share(&processes, 0, &ids([]));
        assert_eq!((target, givable), (5, ids([4])));
        assert_eq!(share(&processes, 1, &ids([])).target, 1);
    }

    proptest! {
        #[test]
        fn whoever_could_take_one_has_at_most_one_fewer_and_every_account_is_in_one_share(
            wanted in prop::collection::vec(prop::collection::btree_set(0_i64..30, 0..30), 1..6),
            holders in prop::collection::vec(0_usize..7, 30),
        ) {
            let mut processes: Vec<Process> = wanted
                .into_iter()
                .map(|wanted| Process { wanted: ids(wanted), held: ids([]) })
                .collect();
            let mut free = BTreeSet::new();
            let mut served = 0;
            for (account, holder) in ids(0..30).into_iter().zip(holders) {
                let is_wanted = processes.iter().any(|one| one.wanted.contains(&account));
                match processes.get_mut(holder) {
                    Some(process) if process.wanted.contains(&account) => {
                        process.held.insert(account);
                    }
                    _ => {
                        free.insert(account);
                    }
                }
                served += usize::from(is_wanted);
            }
            let targets = targets(&processes, &free);
            prop_assert_eq!(targets.iter().sum::<usize>(), served);
            for me in 0..processes.len() {
                let surplus = processes[me].held.len().saturating_sub(targets[me]);
                let givable = share(&processes, me, &free).givable;
                prop_assert!(givable.len() >= surplus, "{} of {:?}", surplus, givable);
            }
        }
    }
}
