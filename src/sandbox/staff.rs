//! Who works when, how fast, and where.
//!
//! An account has as many agents as its volume needs: each attends about 15 to 25 sessions on a
//! working day, as agents of messaging do.

use super::calendar::{self, HOUR, hour_of, local_day, weekday};
use super::chance;
use super::company::NOBODY;
use super::ids::{self, IdKind};
use super::names;

/// Sessions of a year that one agent stands for, those of bots included.
const SESSIONS_EACH: u64 = 5_500;
/// The home departments of the agents, in turn.
const HOMES: [u16; 12] = [0, 1, 2, 3, 4, 5, 0, 1, 0, 1, 3, 2];

/// How many agents so many sessions in so many days need.
fn needed(sessions: u32, days: i64) -> u32 {
    let days = u64::try_from(days).unwrap_or(0).max(1);
    let a_year = u64::from(sessions) * 365 / days;
    u32::try_from((a_year + SESSIONS_EACH / 2) / SESSIONS_EACH)
        .unwrap_or(u32::MAX)
        .clamp(3, 600)
}

/// The departments of an agent, the home first. In a small company everybody does two things.
pub(super) fn departments_of(seed: u64, number: u32, count: u32) -> Vec<u16> {
    let home = HOMES[number as usize % HOMES.len()];
    let mut all = vec![home];
    let departments = u16::try_from(names::DEPARTMENTS.len()).unwrap_or(1);
    // Departments that are nobody's home.
    let orphans = (0..departments).filter(|department| {
        let homes = HOMES.iter().take(count as usize);
        !homes.clone().any(|home| home == department)
    });
    all.extend(orphans.filter(|orphan| u32::from(*orphan) % count == number));
    let helps = match (count, home) {
        (..12, 2 | 4) => Some(0),
        (..12, 3 | 5) => Some(1),
        _ if ids::drawn(seed, IdKind::User, number, 0).is_multiple_of(3) => {
            Some((home + 1) % departments)
        }
        _ => None,
    };
    all.extend(helps.filter(|helped| !all.contains(helped)));
    all
}

/// What is an agent's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// How long they take to answer; 1 is usual.
    pub(super) slow: f64,
    /// How long they talk.
    pub(super) talk: f64,
    /// How well they sell.
    pub(super) wins: f64,
    /// The share of what they could take that they take.
    takes: f64,
    /// From which hour to which they work.
    shift: (usize, usize),
    lunch: usize,
    /// Whether they work on the even Saturdays or on the odd ones.
    saturday: i64,
    /// The day on which they began.
    since: i64,
}

/// All agents of an account.
#[derive(Debug)]
pub(super) struct Staff {
    seed: u64,
    members: Vec<Member>,
    by_department: Vec<Vec<u16>>,
}

impl Staff {
    /// The agents for so many sessions from one instant to another.
    pub(super) fn new(seed: u64, sessions: u32, start: i64, until: i64) -> Self {
        let first = local_day(start);
        let days = local_day(until) - first;
        let count = needed(sessions, days);
        let mut by_department = vec![Vec::new(); names::DEPARTMENTS.len()];
        let members = (0..count)
            .map(|number| {
                let departments = departments_of(seed, number, count);
                // Colleagues take turns.
                let colleagues = by_department.get(usize::from(departments[0]));
                let turn = colleagues.map_or(0, Vec::len) % 2;
                for department in &departments {
                    if let Some(agents) = by_department.get_mut(usize::from(*department)) {
                        agents.push(u16::try_from(number).unwrap_or(NOBODY));
                    }
                }
                let trait_of = |which: u32, step: f64| {
                    chance::spread(number, ids::drawn(seed, IdKind::User, 0, which), step)
                };
                let shift = match (
                    departments[0],
                    number as usize / HOMES.len() + number as usize / 6,
                ) {
                    (0 | 1, turn) if turn % 2 == 1 => (11, 20),
                    (2 | 4, _) => (9, 18),
                    _ => (8, 17),
                };
                let grown = number >= 6 && number % 5 == 3;
                Member {
                    slow: 0.6 * 3.2_f64.powf(trait_of(1, 0.618)),
                    talk: 0.62 * 2.7_f64.powf(trait_of(2, 0.755)),
                    wins: 0.7 * 2.1_f64.powf(trait_of(3, 0.57)),
                    takes: 0.45 + 0.55 * trait_of(4, 0.382),
                    shift,
                    lunch: 12 + number as usize % 2,
                    saturday: i64::try_from(turn).unwrap_or(0),
                    since: if grown {
                        first + days * (2 + i64::from(number % 4)) / 8
                    } else {
                        i64::MIN
                    },
                }
            })
            .collect::<Vec<_>>();
        let mut staff = Self {
            seed,
            members,
            by_department,
        };
        // One who is slow and wins.
        if let Some(first) = staff.members.first_mut() {
            (first.slow, first.talk, first.wins) = (1.5, 1.75, 1.6);
        }
        staff
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.members.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn member(&self, agent: u16) -> Option<&Member> {
        self.members.get(usize::from(agent))
    }

    /// Whether an agent works at an instant.
    fn is_on_shift(&self, agent: u16, at: i64) -> bool {
        let Some(member) = self.member(agent) else {
            return false;
        };
        let (day, hour) = (local_day(at), hour_of(at));
        if day < member.since {
            return false;
        }
        let drawn =
            |of: i64| ids::mix(self.seed ^ (u64::from(agent) << 40) ^ ids::mix(of.unsigned_abs()));
        // Three weeks of holidays, a sick day now and then, every other Saturday.
        let holidays = i64::try_from(drawn(-7) % 365).unwrap_or(0);
        let away = (day - holidays).rem_euclid(365) < 21 || drawn(day) % 100 < 4;
        let (from, to) = member.shift;
        !away
            && match weekday(day) {
                0 => false,
                6 => day.div_euclid(7).rem_euclid(2) == member.saturday,
                _ => (from..to).contains(&hour) && hour != member.lunch,
            }
    }

    /// Who of a department takes a session at an instant.
    pub(super) fn choose(&self, department: u16, at: i64, dice: &mut fastrand::Rng) -> u16 {
        let Some(agents) = self.by_department.get(usize::from(department)) else {
            return NOBODY;
        };
        if agents.is_empty() {
            return NOBODY;
        }
        for _ in 0..6 {
            let agent = agents[dice.usize(..agents.len())];
            let takes = self.member(agent).map_or(1.0, |member| member.takes);
            if chance::hit(dice, takes) && self.is_on_shift(agent, at) {
                return agent;
            }
        }
        let from = dice.usize(..agents.len());
        let turn = || agents[from..].iter().chain(&agents[..from]);
        if let Some(agent) = turn().find(|agent| self.is_on_shift(**agent, at)) {
            return *agent;
        }
        // Somebody of another department helps out.
        let count = self.count();
        let first = dice.u32(..count.max(1));
        let anybody = (0..count)
            .filter_map(|step| u16::try_from((first + step) % count).ok())
            .find(|agent| self.is_on_shift(*agent, at));
        let at_work = |agent: &&u16| {
            self.member(**agent)
                .is_some_and(|member| member.since <= local_day(at))
        };
        anybody.unwrap_or_else(|| *turn().find(at_work).unwrap_or(&agents[from]))
    }

    /// Who is on call at an instant: others each week.
    pub(super) fn on_call(&self, at: i64, dice: &mut fastrand::Rng) -> u16 {
        let count = self.members.len().max(1);
        let together = 1 + count / 8;
        let week = usize::try_from(local_day(at).unsigned_abs() / 7).unwrap_or(0);
        let chosen = (week * together + dice.usize(..together)) % count;
        u16::try_from(chosen).unwrap_or(NOBODY)
    }
}

/// How many of a department's agents work in an hour of a day, as a share of a working day's
/// hours.
pub(super) fn strength(department: u16, day: i64, hour: usize) -> f64 {
    let hour = i64::try_from(hour).unwrap_or(0);
    let Some((opens, closes)) = calendar::shift(department, day) else {
        return 0.0;
    };
    if hour < opens || hour >= closes {
        return 0.0;
    }
    let saturday = if weekday(day) == 6 { 0.5 } else { 1.0 };
    saturday
        * match hour {
            8 => 0.8,
            // Lunch, in two shifts.
            12 | 13 => 0.62,
            17 => 0.75,
            18 | 19 => 0.42,
            _ => 1.0,
        }
}

/// How strongly those on shift are loaded, hour by hour and department by department.
///
/// A fluid queue: what is not worked off in an hour waits for the next. Companies plan their staff
/// for usual days, so Mondays, busy seasons and incidents are what makes people wait.
#[derive(Debug)]
pub(super) struct Load {
    start: i64,
    hours: Vec<[Pressure; 6]>,
}

/// The load in an hour.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pressure {
    /// Sessions that want somebody, for each that can be taken; 0.8 is usual.
    pub(super) load: f32,
    /// How long the queue lasts at this hour's capacity, in hours.
    pub(super) queue: f32,
}

/// Of what one can take, how much a usual day wants.
const USED: f64 = 0.78;

impl Load {
    /// From the volume of each hour of these days, each with its season.
    pub(super) fn new(seed: u64, first_day: i64, until: i64, days: &[calendar::DayShape]) -> Self {
        let full: Vec<f64> = (0..6_u16)
            .map(|department| {
                // A Monday in June that is no holiday.
                (0..24).map(|hour| strength(department, 20_612, hour)).sum()
            })
            .collect();
        let mut queues = [0.0_f64; 6];
        let mut hours = Vec::with_capacity(days.len() * 24);
        for (day, shape) in (first_day..).zip(days) {
            let incident = calendar::is_incident(day, until);
            let sick = 1.0 - 0.12 * chance::spread(0, ids::mix(seed ^ day.unsigned_abs()), 0.0);
            for hour in 0..24 {
                let volume = shape.hour(hour);
                let mut pressures = [Pressure::default(); 6];
                for (department, pressure) in (0_u16..).zip(&mut pressures) {
                    let at = usize::from(department);
                    let hurt = incident && department == 1;
                    let wanted = volume * if hurt { 1.8 } else { 1.0 };
                    let strength = strength(department, day, hour) / full[at] / USED
                        * shape.season.powf(0.62)
                        * sick
                        * if hurt { 0.6 } else { 1.0 };
                    // Many of those who write at night leave it at that.
                    let queue = &mut queues[at];
                    *queue += if strength > 0.0 {
                        wanted
                    } else {
                        0.33 * wanted
                    };
                    if strength > 0.0 {
                        let left = (*queue - strength).max(0.0);
                        #[expect(
                            clippy::cast_possible_truncation,
                            reason = "a load needs no more digits"
                        )]
                        {
                            *pressure = Pressure {
                                load: ((wanted + 0.3 * left) / strength) as f32,
                                queue: (left / strength) as f32,
                            };
                        }
                        *queue = left * 0.9;
                    }
                }
                hours.push(pressures);
            }
        }
        Self {
            start: calendar::midnight(first_day),
            hours,
        }
    }

    /// The load of a department at an instant; after the time that is known, that of the same hour
    /// of the last week of it.
    pub(super) fn at(&self, department: u16, at: i64) -> Pressure {
        let hours = i64::try_from(self.hours.len()).unwrap_or(0);
        let mut hour = (at - self.start).div_euclid(HOUR);
        if hour >= hours {
            hour -= (hour - hours + 168) / 168 * 168;
        }
        let found = usize::try_from(hour)
            .ok()
            .and_then(|hour| self.hours.get(hour));
        found
            .and_then(|found| found.get(usize::from(department)))
            .copied()
            .unwrap_or(Pressure {
                load: 0.8,
                queue: 0.0,
            })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::ticks::DAY;
    use super::*;

    #[test]
    fn agents_work_every_other_saturday_and_take_turns() {
        let start = calendar::midnight(20_000);
        let staff = Staff::new(1, 200_000, start, start + 365 * DAY);
        // Those who sell and those who support.
        for department in 0..2 {
            let mut turns = BTreeSet::new();
            for agent in &staff.by_department[department] {
                let days = (20_000..20_365).filter(|day| weekday(*day) == 6);
                let worked: Vec<i64> = days
                    .filter(|day| staff.is_on_shift(*agent, calendar::midnight(*day) + 10 * HOUR))
                    .map(|day| day.div_euclid(7).rem_euclid(2))
                    .collect();
                let weeks: BTreeSet<i64> = worked.iter().copied().collect();
                assert_eq!(weeks.len(), 1, "{agent}: {worked:?}");
                assert!(worked.len() <= 27, "{agent}: {worked:?}");
                turns.extend(weeks);
            }
            assert_eq!(turns.len(), 2, "{department}");
        }
    }
}
